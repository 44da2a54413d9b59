package main

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/client"
)

// expiryNever is the session expiry interval that has no end (MQTT 5, 3.1.2.11.2).
const expiryNever = 0xFFFFFFFF

// A connection is the flags of pub and sub that say how to connect, with the letters of mosquitto's clients.
type connection struct {
	host, url, unix   string
	port              uint16
	version           string
	id                string
	username          string
	password          string
	keepAlive         uint16
	keep              bool
	expiry            string
	secure            bool
	tls               client.TLS
	connectProperties []string
	timeout           time.Duration

	willTopic, willPayload string
	willQoS                uint8
	willRetain             bool
	willDelay              uint32
}

func (c *connection) define(f *pflag.FlagSet) {
	f.Bool("help", false, "print this help") // without its letter, which is that of --host
	f.StringVarP(&c.host, "host", "h", "localhost", "host of the broker")
	f.Uint16VarP(&c.port, "port", "p", 0, "port of the broker (default 1883, with TLS 8883)")
	f.StringVar(&c.url, "url", "", "instead: mqtt://user:password@host:port, mqtts://…, ws://host:port/path, wss://…, unix:///path")
	f.StringVar(&c.unix, "unix", "", "instead: path of the broker's Unix socket")
	f.StringVarP(&c.version, "protocol-version", "V", "5", "version of MQTT: 31, 311 or 5")
	f.StringVarP(&c.id, "id", "i", "", "client identifier (default: a new one each time)")
	f.StringVarP(&c.username, "username", "u", "", "username")
	f.StringVarP(&c.password, "pw", "P", "", "password; better in the environment: PENSTOCK_PASSWORD")
	f.Uint16VarP(&c.keepAlive, "keepalive", "k", 60, "keep alive in seconds")
	f.BoolVarP(&c.keep, "disable-clean-session", "c", false, "take up the session of this --id, and have it kept")
	f.StringVarP(&c.expiry, "session-expiry", "x", "", "how long the session is kept: seconds, 1h or never (MQTT 5; default with -c: never)")
	f.BoolVar(&c.secure, "tls", false, "use TLS")
	f.StringVar(&c.tls.CAFile, "cafile", "", "authorities that sign the broker's certificate, PEM (default: the system's); implies --tls")
	f.StringVar(&c.tls.CertFile, "cert", "", "the client's certificate, PEM; implies --tls")
	f.StringVar(&c.tls.KeyFile, "key", "", "the client's private key, PEM")
	f.BoolVar(&c.tls.Insecure, "insecure", false, "accept any certificate of the broker; implies --tls")
	f.StringArrayVar(&c.connectProperties, "connect-property", nil, "user property of the connection, name=value; repeatable (MQTT 5)")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long to wait for the connection and for each acknowledgement")
	f.StringVar(&c.willTopic, "will-topic", "", "topic of the will")
	f.StringVar(&c.willPayload, "will-payload", "", "payload of the will")
	f.Uint8Var(&c.willQoS, "will-qos", 0, "QoS of the will")
	f.BoolVar(&c.willRetain, "will-retain", false, "retain the will")
	f.Uint32Var(&c.willDelay, "will-delay", 0, "seconds before the will is published (MQTT 5)")
}

// options turns the flags into options of the client.
func (c *connection) options() (o client.Options, err error) {
	o = client.Options{
		ClientID: c.id, Username: c.username, Password: c.password, KeepAlive: c.keepAlive, Clean: !c.keep, Timeout: c.timeout,
	}
	if o.Version, err = client.ParseVersion(c.version); err != nil {
		return o, misused("-V: %w", err)
	}
	if o.Endpoint, err = c.endpoint(&o); err != nil {
		return o, err
	}
	if o.Password == "" {
		o.Password = os.Getenv("PENSTOCK_PASSWORD")
	}
	if o.SessionExpiry, err = c.sessionExpiry(o.Version); err != nil {
		return o, err
	}
	if o.User, err = userProperties("--connect-property", c.connectProperties); err != nil {
		return o, err
	}
	if o.Will, err = c.will(); err != nil {
		return o, err
	}
	if o.ClientID == "" && o.Clean {
		o.ClientID = client.NewID() // MQTT 3.1 demands one, and brokers' logs are clearer with one
	}
	if err := o.Check(); err != nil {
		return o, usageError{err}
	}
	return o, nil
}

// endpoint is where to connect. A URL may hold username and password too.
func (c *connection) endpoint(o *client.Options) (e client.Endpoint, err error) {
	useTLS := c.secure || c.tls != client.TLS{}
	switch {
	case c.url != "" && c.unix != "":
		return e, misused("--url and --unix exclude each other")
	case c.url != "":
		var username, password string
		if e, username, password, err = client.ParseURL(c.url); err != nil {
			return e, misused("--url: %w", err)
		}
		if o.Username == "" {
			o.Username, o.Password = username, password
		}
		useTLS = useTLS || e.Scheme == "mqtts" || e.Scheme == "wss"
	case c.unix != "":
		e = client.Endpoint{Scheme: "unix", Address: c.unix}
	default:
		e = c.byHost(useTLS)
	}
	if !useTLS {
		return e, nil
	}
	if e.Scheme != "mqtts" && e.Scheme != "wss" {
		return e, misused("flags of TLS do not go with %s", e.Scheme)
	}
	if e.TLS, err = c.tls.Config(); err != nil {
		return e, usageError{err}
	}
	return e, nil
}

func (c *connection) byHost(useTLS bool) client.Endpoint {
	scheme, port := "mqtt", uint16(1883)
	if useTLS {
		scheme, port = "mqtts", 8883
	}
	if c.port != 0 {
		port = c.port
	}
	return client.Endpoint{Scheme: scheme, Address: net.JoinHostPort(c.host, strconv.Itoa(int(port)))}
}

// sessionExpiry is, as with mosquitto's clients, without end for a session that is to be found again.
func (c *connection) sessionExpiry(version byte) (uint32, error) {
	switch {
	case c.expiry == "" && c.keep && version == client.MQTT5, c.expiry == "never", c.expiry == "∞":
		return expiryNever, nil
	case c.expiry == "":
		return 0, nil
	}
	d, err := parseSeconds(c.expiry)
	if err != nil {
		return 0, misused("-x: expected seconds, a duration such as 1h, or never, got %q", c.expiry)
	}
	return uint32(min(d/time.Second, expiryNever)), nil
}

func (c *connection) will() (*client.Will, error) {
	if c.willTopic == "" {
		if c.willPayload != "" || c.willQoS != 0 || c.willRetain || c.willDelay != 0 {
			return nil, misused("a will needs --will-topic")
		}
		return nil, nil
	}
	return &client.Will{
		Message: client.Message{Topic: c.willTopic, Payload: []byte(c.willPayload), QoS: c.willQoS, Retain: c.willRetain},
		Delay:   c.willDelay,
	}, nil
}

// userProperties reads name=value pairs.
func userProperties(flag string, pairs []string) ([]packet.UserProperty, error) {
	var properties []packet.UserProperty
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, misused("%s: expected name=value, got %q", flag, pair)
		}
		properties = append(properties, packet.UserProperty{Key: key, Value: value})
	}
	return properties, nil
}

// parseSeconds reads a duration, or a number of seconds.
func parseSeconds(text string) (time.Duration, error) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		return 0, strconv.ErrRange
	}
	return d, err
}
