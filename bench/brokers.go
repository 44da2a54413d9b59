package bench

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstockmq/penstock/configs"
)

// A Broker is a program that can be started to be measured.
type Broker struct {
	Name string
	// Path is the program.
	Path string
	// config is the text of its configuration file.
	config func(s settings) string
	// args are its arguments, given the configuration file.
	args func(file string) []string
	// environment is what it needs there, if it is not nil.
	environment func(s settings) []string
	// prepare returns the program to start instead of Path, if it is not nil, and may make what that needs.
	prepare func(path string, s settings) (string, error)
	// version are the arguments with which it prints its version, in the first line.
	version []string
	// measures is set if it serves metrics on settings.metrics.
	measures bool
	// without are the scenarios and groups of cases that it does not know, and only311 is set if it does not know MQTT 5.
	without []string
	only311 bool
}

// settings are what a broker is configured to.
type settings struct {
	port     int    // of 127.0.0.1
	window   int    // unacknowledged messages that a client may send
	inflight int    // unacknowledged messages that the broker may send to a client, at least
	folder   string // of all its files
	data     string // folder for what is durable; empty for none
	metrics  int    // port of 127.0.0.1; 0 for none
	spare    int    // another port that nobody listens on
	filter   string // of all topics
	channels int    // that take them
	hub      string // host:port of the broker to which it forwards them; empty for none
	version  byte   // of MQTT on the way there
}

// home is a folder for what a broker writes whatever is asked of it.
func (s *settings) home() string {
	if s.data != "" {
		return s.data
	}
	return filepath.Join(s.folder, "home")
}

// knows reports whether a broker can be measured in a case.
func (b *Broker) knows(k *Case) bool {
	if len(k.Only) > 0 && !slices.Contains(k.Only, b.Name) {
		return false
	}
	return !slices.Contains(b.without, string(k.Options.Scenario)) && !slices.Contains(b.without, k.Group) && !(b.only311 && k.Options.Version == 5)
}

// Brokers are the names of those that can be compared. The last is the reference.
var Brokers = []string{"penstock", "nanomq", "flashmq", "nats-server", "emqx", "vernemq", "mosquitto"}

// NewBroker is the broker with a name, as the program at a path.
func NewBroker(name, path string) (Broker, error) {
	makers := map[string]func(string) Broker{
		"penstock": Penstock, "nanomq": NanoMQ, "flashmq": FlashMQ, "nats-server": NATS, "emqx": EMQX, "vernemq": VerneMQ, "mosquitto": Mosquitto,
	}
	if makers[name] == nil {
		return Broker{}, fmt.Errorf("broker is %q, must be one of %s", name, strings.Join(Brokers, ", "))
	}
	return makers[name](path), nil
}

// Penstock is this broker. Queues are as good as unbounded, because mosquitto's are, and limits as measuring needs them; all
// else is as it comes, as with the others: how many messages may be on their way to a client, too, unless a case needs more.
func Penstock(path string) Broker {
	return Broker{
		Name: "penstock", Path: path, version: []string{"version"}, measures: true,
		args: func(file string) []string { return []string{"serve", "--config", file} },
		config: func(s settings) string {
			var admin string
			if s.metrics > 0 {
				admin = fmt.Sprintf("127.0.0.1:%d", s.metrics)
			}
			return fmt.Sprintf(`listeners:
  - {name: bench, type: tcp, address: "127.0.0.1:%d"}
storage: {path: %q, sync: always}
limits: {receive_maximum: %d, max_inflight: %d, max_queue_messages: %d, max_queue_bytes: %d}
admin: {address: %q}
log: {level: warn}
%s%s`, s.port, s.data, s.window, min(max(s.inflight, int(configs.Default().Limits.MaxInflight)), windowMax-1), countMax, int64(1)<<40, admin,
				penstockChannels(s), penstockBridge(s))
		},
	}
}

// penstockChannels declares the channels, as they come.
func penstockChannels(s settings) string {
	if s.channels == 0 {
		return ""
	}
	text := "channels:\n"
	for i := range s.channels {
		text += fmt.Sprintf("  - {name: %s, filter: %q}\n", channelName(i), s.filter)
	}
	return text
}

// penstockBridge declares the bridge to the hub.
func penstockBridge(s settings) string {
	if s.hub == "" {
		return ""
	}
	return fmt.Sprintf("bridges:\n  - {name: hub, address: %q, version: %q, client_id: edge, topics: [{filter: %q, direction: out}]}\n",
		"tcp://"+s.hub, map[byte]string{4: "3.1.1", 5: "5"}[s.version], s.filter)
}

// Mosquitto is Eclipse Mosquitto, as Debian builds it, with room for the window and queues without a bound. With a data folder
// its persistence is on, which writes now and then and acknowledges before.
func Mosquitto(path string) Broker {
	return Broker{
		Name: "mosquitto", Path: path, version: []string{"-h"},
		args: func(file string) []string { return []string{"-c", file} },
		config: func(s settings) string {
			// Its limit is one for both directions.
			text := fmt.Sprintf(`listener %d 127.0.0.1
allow_anonymous true
max_inflight_messages %d
max_queued_messages 0
log_type error
`, s.port, max(s.window, s.inflight)) + mosquittoBridge(s)
			if s.data == "" {
				return text + "persistence false\n"
			}
			// Started by root it would otherwise change to a user who may not write there.
			return text + fmt.Sprintf("user root\npersistence true\npersistence_location %s%c\n", s.data, filepath.Separator)
		},
	}
}

// mosquittoBridge declares the bridge to the hub. What waits for that is kept where its persistence is on.
func mosquittoBridge(s settings) string {
	if s.hub == "" {
		return ""
	}
	return fmt.Sprintf(`connection hub
address %s
remote_clientid edge
bridge_protocol_version %s
cleansession false
topic %s out 1
`, s.hub, map[byte]string{4: "mqttv311", 5: "mqttv50"}[s.version], s.filter)
}

// said is the first line that the program prints with its version, or its name.
func (b *Broker) said() string {
	output, _ := exec.Command(b.Path, b.version...).CombinedOutput() // mosquitto's way to say it is an error to it
	line, _, _ := bytes.Cut(output, []byte("\n"))
	if text := strings.TrimSpace(string(line)); text != "" {
		return text
	}
	return b.Name
}
