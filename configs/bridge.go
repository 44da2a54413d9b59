package configs

import (
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/penstockmq/penstock/broker/topic"
)

// A Bridge is a connection that the broker keeps to another broker, and what moves over it.
type Bridge struct {
	Name string `mapstructure:"name"` // unique; names its queue, so another name is another bridge
	// Address is where the other broker listens, as a URL: tcp, tls, ws, wss, unix, or srv and srvs for a name to look up in DNS.
	Address string `mapstructure:"address"`
	// Addresses are tried in order instead of Address; the first is gone back to when it is reachable again.
	Addresses []string      `mapstructure:"addresses"`
	Version   string        `mapstructure:"version"`    // auto (5, or 3.1.1 if the other broker refuses it), 5 or 3.1.1
	ClientID  string        `mapstructure:"client_id"`  // default: penstock-, the host's name, - and the bridge's name
	KeepAlive time.Duration `mapstructure:"keep_alive"` // whole seconds
	Session   string        `mapstructure:"session"`    // durable or clean: what the other broker keeps while the link is down
	BridgeBit bool          `mapstructure:"bridge_bit"` // 3.1.1: say that this is a bridge, as mosquitto does

	Username     string `mapstructure:"username"`      //
	UsernameEnv  string `mapstructure:"username_env"`  // name of the environment variable that holds it
	Password     string `mapstructure:"password"`      //
	PasswordEnv  string `mapstructure:"password_env"`  // name of the environment variable that holds it
	PasswordFile string `mapstructure:"password_file"` // file with it on the first line, read at each connect

	CA         string `mapstructure:"ca"`          // tls and wss: PEM file of authorities; empty takes the system's
	Cert       string `mapstructure:"cert"`        // tls and wss: PEM file of the client certificate, read at each connect
	Key        string `mapstructure:"key"`         // tls and wss: PEM file of its private key
	ServerName string `mapstructure:"server_name"` // tls and wss: name the certificate must have, if not the address's
	Insecure   bool   `mapstructure:"insecure"`    // tls and wss: accept any certificate

	Start       string        `mapstructure:"start"`        // automatic, or lazy: connected while there is something to send
	IdleTimeout time.Duration `mapstructure:"idle_timeout"` // lazy: disconnect after that
	// AnswerTimeout is how long the other broker may take to answer, or to take what is written.
	AnswerTimeout time.Duration `mapstructure:"answer_timeout"`
	RetryMin      time.Duration `mapstructure:"retry_min"` // wait before the first attempt to connect again; doubles, with jitter, up to
	RetryMax      time.Duration `mapstructure:"retry_max"` //
	FailBack      time.Duration `mapstructure:"fail_back"` // how often a better address is tried; 0 is never

	MaxInflight      uint16        `mapstructure:"max_inflight"`       // unacknowledged messages on the link
	MaxQueueMessages int           `mapstructure:"max_queue_messages"` // waiting for the other broker
	MaxQueueBytes    int64         `mapstructure:"max_queue_bytes"`    //
	OnFull           string        `mapstructure:"on_full"`            // reject, block or drop_oldest
	RateLimit        int           `mapstructure:"rate_limit"`         // messages a second to the other broker; 0 is no limit
	StateTopic       string        `mapstructure:"state_topic"`        // at the other broker: retained "connected" or "disconnected"; empty is none
	Topics           []BridgeTopic `mapstructure:"topics"`
}

// A BridgeTopic says which topics move over a bridge. The first rule of a direction that matches a message is taken.
//
// In prefixes and filter {client} is the bridge's client identifier, {bridge} its name, {host} the host's name; in
// RemotePrefix {publisher} is the client identifier of who published.
type BridgeTopic struct {
	Filter       string `mapstructure:"filter"`        // of the topic without the prefixes
	Direction    string `mapstructure:"direction"`     // out, in or both
	QoS          byte   `mapstructure:"qos"`           // at most
	LocalPrefix  string `mapstructure:"local_prefix"`  // in front of the topic here
	RemotePrefix string `mapstructure:"remote_prefix"` // in front of the topic there
	Retain       string `mapstructure:"retain"`        // keep or clear: what becomes of the retain flag
}

// The values of Bridge.OnFull.
const (
	FullReject     = "reject"      // the publisher is told 0x97 and nobody gets the message
	FullBlock      = "block"       // the publisher waits
	FullDropOldest = "drop_oldest" // the oldest message that is not on its way makes room
)

// The values of BridgeTopic.Direction.
const (
	DirectionOut  = "out"
	DirectionIn   = "in"
	DirectionBoth = "both"
)

// The values of Bridge.Version.
const (
	VersionAuto = "auto"
	Version5    = "5"
	Version311  = "3.1.1"
)

// The values of Bridge.Session, Bridge.Start and BridgeTopic.Retain that are not the default.
const (
	SessionClean = "clean"
	StartLazy    = "lazy"
	RetainClear  = "clear"
)

// DefaultBridge is a bridge of which nothing but name, address and topics was said.
func DefaultBridge() Bridge {
	return Bridge{
		Version: VersionAuto, KeepAlive: 30 * time.Second, Session: "durable", BridgeBit: true,
		Start: "automatic", IdleTimeout: time.Minute, AnswerTimeout: 20 * time.Second, RetryMin: time.Second, RetryMax: 2 * time.Minute, FailBack: time.Minute,
		MaxInflight: 1000, MaxQueueMessages: 10_000_000, MaxQueueBytes: 4 << 30, OnFull: FullReject,
	}
}

// DefaultBridgeTopic is a rule of which nothing but its filter was said.
func DefaultBridgeTopic() BridgeTopic {
	return BridgeTopic{Direction: DirectionOut, QoS: 2, Retain: "keep"}
}

// ParseBridge reads one bridge in YAML, as it would stand in the list of a configuration. file is what errors call it.
func ParseBridge(file string, text []byte) (Bridge, error) {
	d := &document{name: file, lines: map[string]int{}, values: map[string]any{}}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return Bridge{}, d.syntaxError(err)
	}
	if len(root.Content) == 0 {
		return Bridge{}, &Error{Where: file, Text: "expected keys with values, got nothing"}
	}
	values, err := d.value(setting{key: "bridges", kind: reflect.TypeFor[Bridge]()}, "bridges[0]", root.Content[0])
	if err != nil {
		return Bridge{}, err
	}
	v := viper.New()
	if err := v.MergeConfigMap(map[string]any{"bridges": []any{values}}); err != nil {
		return Bridge{}, fmt.Errorf("configs: merging %s: %w", file, err)
	}
	var c Config
	if err := v.Unmarshal(&c); err != nil {
		return Bridge{}, fmt.Errorf("configs: decoding: %w", err)
	}
	if err := c.completeBridges(sources{file: d}); err != nil {
		return Bridge{}, err
	}
	return c.Bridges[0], nil
}

// Targets are the addresses of a bridge in their order.
func (b *Bridge) Targets() []string {
	if len(b.Addresses) > 0 {
		return b.Addresses
	}
	return []string{b.Address}
}

// Sends and Receives tell whether a rule has that direction.
func (t *BridgeTopic) Sends() bool { return t.Direction != DirectionIn }

// Receives tells whether the rule brings messages here.
func (t *BridgeTopic) Receives() bool { return t.Direction != DirectionOut }

// bridgeSchemes may stand in front of :// in the address of a bridge.
var bridgeSchemes = []string{"tcp", "mqtt", "tls", "mqtts", "ws", "wss", "unix", "srv", "srvs"}

// bridgeNameMax bounds a bridge's name, which is part of topics and of keys in the store.
const bridgeNameMax = 64

// A bridgeCheck looks for the mistakes in one bridge.
type bridgeCheck struct {
	*Bridge
	key string // "bridges[0]"
	src sources
}

func (b bridgeCheck) mistake(key, format string, args ...any) error {
	return b.src.mistake(b.key+"."+key, format, args...)
}

// completeBridges fills in and checks all bridges.
func (c *Config) completeBridges(src sources) error {
	names := map[string]int{}
	for i := range c.Bridges {
		check := bridgeCheck{Bridge: &c.Bridges[i], key: fmt.Sprintf("bridges[%d]", i), src: src}
		check.fill()
		if err := check.run(); err != nil {
			return err
		}
		if err := check.checkElsewhere(c.Listeners); err != nil {
			return err
		}
		if first, twice := names[check.Name]; twice {
			return check.mistake("name", "expected a name of its own, %q is that of bridges[%d]", check.Name, first)
		}
		names[check.Name] = i
	}
	return nil
}

// fill gives what the file does not say its default. A zero that was written stays.
func (b bridgeCheck) fill() {
	said := func(key string) bool { _, ok := b.src.file.lines[b.key+"."+key]; return ok }
	fillUnsaid(b.Bridge, DefaultBridge(), said)
	for i := range b.Topics {
		prefix := fmt.Sprintf("topics[%d].", i)
		fillUnsaid(&b.Topics[i], DefaultBridgeTopic(), func(key string) bool { return said(prefix + key) })
	}
}

func (b bridgeCheck) run() error {
	for _, step := range []func() error{
		b.checkName, b.checkAddresses, b.checkTimes, b.checkCredentials, b.checkCertificates, b.checkState, b.checkTopics,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (b bridgeCheck) checkName() error {
	plain := func(r rune) bool {
		return r == '-' || r == '_' || r == '.' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z')
	}
	if b.Name == "" || len(b.Name) > bridgeNameMax || strings.ContainsFunc(b.Name, func(r rune) bool { return !plain(r) }) {
		return b.mistake("name", "expected 1 to %d letters, digits and - _ . , got %q", bridgeNameMax, b.Name)
	}
	return nil
}

func (b bridgeCheck) checkAddresses() error {
	if (b.Address == "") == (len(b.Addresses) == 0) {
		return b.mistake("address", "expected either address or addresses")
	}
	if b.Address != "" {
		if err := checkBridgeAddress(b.Address); err != nil {
			return b.mistake("address", "%s", err)
		}
	}
	for i, a := range b.Addresses {
		if err := checkBridgeAddress(a); err != nil {
			return b.mistake(fmt.Sprintf("addresses[%d]", i), "%s", err)
		}
		if slices.Index(b.Addresses, a) < i {
			return b.mistake(fmt.Sprintf("addresses[%d]", i), "expected each address once, got %q twice", a)
		}
	}
	return nil
}

func checkBridgeAddress(text string) error {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(bridgeSchemes, u.Scheme) || (u.Scheme != "unix" && u.Hostname() == "") || u.Host+u.Path == "" {
		return fmt.Errorf("expected a URL such as tls://hub.example:8883, with %s, got %q", oneOf(bridgeSchemes), text)
	}
	if u.User != nil {
		return fmt.Errorf("expected a URL without user and password: there are keys for them")
	}
	return nil
}

// checkElsewhere refuses addresses at which this broker listens itself: messages would be mapped onto themselves.
func (b bridgeCheck) checkElsewhere(listeners []Listener) error {
	for i, target := range b.Targets() {
		u, err := url.Parse(target)
		if err != nil || u.Port() == "" {
			continue // unix, srv, or the usual port of another host
		}
		host := u.Hostname()
		for k, l := range listeners {
			if l.Type == "unix" {
				continue
			}
			own, port, err := net.SplitHostPort(l.Address)
			if err != nil || port != u.Port() || port == "0" || !isThisHost(host) || (own != "" && own != host && !isAny(own)) {
				continue
			}
			key := "address"
			if b.Address == "" {
				key = fmt.Sprintf("addresses[%d]", i)
			}
			return b.mistake(key, "expected another broker: %s is listeners[%d] of this one", target, k)
		}
	}
	return nil
}

func isThisHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func isAny(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

func (b bridgeCheck) checkTimes() error {
	if b.KeepAlive%time.Second != 0 {
		return b.mistake("keep_alive", "expected whole seconds, got %s", b.KeepAlive)
	}
	if b.RetryMax < b.RetryMin {
		return b.mistake("retry_max", "expected no less than retry_min, which is %s, got %s", b.RetryMin, b.RetryMax)
	}
	if len(b.ClientID) > 65535 {
		return b.mistake("client_id", "expected at most 65535 bytes")
	}
	return nil
}

func (b bridgeCheck) checkCredentials() error {
	if b.Username != "" && b.UsernameEnv != "" {
		return b.mistake("username_env", "expected only one of username and username_env")
	}
	given := 0
	for _, text := range []string{b.Password, b.PasswordEnv, b.PasswordFile} {
		if text != "" {
			given++
		}
	}
	if given > 1 {
		return b.mistake("password", "expected only one of password, password_env and password_file")
	}
	if given > 0 && b.Username == "" && b.UsernameEnv == "" {
		return b.mistake("password", "expected a username with it")
	}
	if b.PasswordFile != "" {
		if err := checkReadable(b.PasswordFile); err != nil {
			return b.mistake("password_file", "expected a readable file: %s: %s", b.PasswordFile, reason(err))
		}
	}
	return nil
}

func (b bridgeCheck) checkCertificates() error {
	for _, file := range []struct{ key, path string }{{"ca", b.CA}, {"cert", b.Cert}, {"key", b.Key}} {
		if file.path == "" {
			continue
		}
		if err := checkReadable(file.path); err != nil {
			return b.mistake(file.key, "expected a readable PEM file: %s: %s", file.path, reason(err))
		}
	}
	if (b.Cert == "") != (b.Key == "") {
		return b.mistake("cert", "expected cert and key together")
	}
	return nil
}

func (b bridgeCheck) checkState() error {
	if b.StateTopic == "" {
		return nil
	}
	if err := topic.CheckName(expanded(b.StateTopic), topic.Limits{}); err != nil {
		return b.mistake("state_topic", "expected a topic: %s", err)
	}
	return nil
}

func (b bridgeCheck) checkTopics() error {
	if len(b.Topics) == 0 {
		return b.mistake("topics", "expected at least one topic rule")
	}
	for i := range b.Topics {
		t := &b.Topics[i]
		if key, err := t.check(); err != nil {
			return b.mistake(fmt.Sprintf("topics[%d].%s", i, key), "%s", err)
		}
		if b.Start == StartLazy && t.Receives() {
			return b.mistake("start", "expected automatic: topics[%d] brings messages here, which a link that is down cannot", i)
		}
	}
	return nil
}

// check returns the key that is wrong.
func (t *BridgeTopic) check() (key string, err error) {
	if t.Filter == "" {
		return "filter", fmt.Errorf("expected a topic filter, got nothing")
	}
	for _, p := range []struct{ key, prefix string }{{"local_prefix", t.LocalPrefix}, {"remote_prefix", t.RemotePrefix}} {
		if strings.ContainsAny(expanded(p.prefix), "+#\x00{}") {
			return p.key, fmt.Errorf("expected a prefix without wildcards, with {client}, {bridge} or {host}, got %q", p.prefix)
		}
		if err := topic.CheckFilter(expanded(p.prefix+t.Filter), topic.Limits{}); err != nil {
			return "filter", fmt.Errorf("expected a topic filter: %w", err)
		}
	}
	if strings.Contains(t.LocalPrefix+t.Filter, "{publisher}") || (t.Receives() && strings.Contains(t.RemotePrefix, "{publisher}")) {
		return "remote_prefix", fmt.Errorf("expected {publisher} in remote_prefix with direction out only")
	}
	if strings.HasPrefix(t.LocalPrefix+t.Filter, "$share/") || strings.HasPrefix(t.LocalPrefix+t.Filter, "$SYS") && t.Receives() {
		return "filter", fmt.Errorf("expected topics that clients may publish to, got %q", t.LocalPrefix+t.Filter)
	}
	return "", nil
}

// expanded is a text with something harmless in place of its placeholders.
func expanded(text string) string {
	return strings.NewReplacer("{client}", "c", "{bridge}", "b", "{host}", "h", "{publisher}", "p").Replace(text)
}
