// Package configs holds the broker's configuration: its types, its defaults, the loader and the checks.
//
// A configuration comes from defaults, then one YAML file, then environment variables
// (PENSTOCK_LIMITS_MAX_PACKET_SIZE and so on), then flags; the later wins. Whatever is wrong in it is one
// error that names file, line, key and what was expected, and the broker does not start. It
// knows nothing of the broker. The example files beside it are tested.
package configs

import "time"

// A Config is everything an operator can set.
type Config struct {
	Listeners []Listener `mapstructure:"listeners"`
	Auth      Auth       `mapstructure:"auth"`
	Storage   Storage    `mapstructure:"storage"`
	Limits    Limits     `mapstructure:"limits"`
	Channels  []Channel  `mapstructure:"channels"`
	Bridges   []Bridge   `mapstructure:"bridges"`
	Admin     Admin      `mapstructure:"admin"`
	Log       Log        `mapstructure:"log"`
	Sys       Sys        `mapstructure:"sys"`
}

// A Listener is one address at which clients connect.
type Listener struct {
	Name    string `mapstructure:"name"`    // unique; defaults to the type
	Type    string `mapstructure:"type"`    // tcp, tls, ws, wss or unix
	Address string `mapstructure:"address"` // host:port, or the path of a Unix socket
	Path    string `mapstructure:"path"`    // ws and wss: the URL path, default /mqtt
	Cert    string `mapstructure:"cert"`    // tls and wss: PEM file of the certificate chain
	Key     string `mapstructure:"key"`     // tls and wss: PEM file of the private key
	// ClientCA is a PEM file; with it every client must show a certificate that one of these authorities signed.
	ClientCA string `mapstructure:"client_ca"`
	// UsernameFromCert takes the certificate's common name as the username; needs ClientCA.
	UsernameFromCert bool `mapstructure:"username_from_cert"`
	// ProxyProtocol: off, optional or required (PROXY protocol v1 and v2 in front of each connection).
	ProxyProtocol string `mapstructure:"proxy_protocol"`
	// Origins lists the allowed Origin headers of browsers for ws and wss; empty allows any.
	Origins []string `mapstructure:"origins"`
}

// Auth says who may connect.
type Auth struct {
	Anonymous    string `mapstructure:"anonymous"`     // never, loopback or always
	PasswordFile string `mapstructure:"password_file"` // made by "penstock user add"
	ACLFile      string `mapstructure:"acl_file"`      // YAML
	HideReasons  bool   `mapstructure:"hide_reasons"`  // refusals tell the client 0x80 and no reason string
}

// Storage says where durable state lives.
type Storage struct {
	Path string `mapstructure:"path"` // folder; empty keeps everything in memory
	// Sync says when an acknowledgement leaves: always, once the message is on disk; interval, before that,
	// and up to SyncInterval of acknowledged messages are lost by a power cut, none by kill -9; never, and
	// the operating system decides what a power cut loses.
	Sync         string        `mapstructure:"sync"`
	SyncInterval time.Duration `mapstructure:"sync_interval"` // with sync: interval
	CacheSize    int64         `mapstructure:"cache_size"`    // bytes of stored messages kept in memory
}

// The values of Storage.Sync.
const (
	SyncAlways   = "always"
	SyncInterval = "interval"
	SyncNever    = "never"
)

// Limits bound everything a client can make grow.
type Limits struct {
	MaxPacketSize    uint32 `mapstructure:"max_packet_size"`    // bytes of one packet from a client, 1 KiB to 256 MiB
	ReceiveMaximum   uint16 `mapstructure:"receive_maximum"`    // unacknowledged QoS 1 and 2 messages a client may send, 1 to 65535
	MaxInflight      uint16 `mapstructure:"max_inflight"`       // unacknowledged messages sent to a client, 1 to 65534; its own Receive Maximum lowers it
	MaxQueueMessages int    `mapstructure:"max_queue_messages"` // messages waiting for one session
	MaxQueueBytes    int64  `mapstructure:"max_queue_bytes"`    // bytes waiting for one session
	// QueueFull says what happens at a session's limit: reject_new or drop_oldest.
	QueueFull           string        `mapstructure:"queue_full"`
	MaxQueueAge         time.Duration `mapstructure:"max_queue_age"`         // how long a message waits for a client; 0 is for ever
	MaxTotalMessages    int64         `mapstructure:"max_total_messages"`    // waiting for all sessions together; 0 is no limit
	MaxTotalBytes       int64         `mapstructure:"max_total_bytes"`       // of them; 0 is no limit
	MaxOutboxBytes      int           `mapstructure:"max_outbox_bytes"`      // bytes written to a connection that its socket has not taken; QoS 0 beyond it is dropped
	MaxKeepAlive        uint16        `mapstructure:"max_keep_alive"`        // seconds, 0 is no limit; answered with Server Keep Alive
	TopicAliasMaximum   uint16        `mapstructure:"topic_alias_maximum"`   // aliases a client may set up, and most we set up towards a client
	MaxQoS              byte          `mapstructure:"max_qos"`               // 0, 1 or 2
	RetainAvailable     bool          `mapstructure:"retain_available"`      //
	WildcardAvailable   bool          `mapstructure:"wildcard_available"`    // wildcard subscriptions
	SharedAvailable     bool          `mapstructure:"shared_available"`      // shared subscriptions
	SubscriptionIDs     bool          `mapstructure:"subscription_ids"`      // subscription identifiers
	MaxConnections      int           `mapstructure:"max_connections"`       // clients connected at once
	MaxSessions         int           `mapstructure:"max_sessions"`          // sessions, connected or not
	MaxSubscriptions    int           `mapstructure:"max_subscriptions"`     // of one session
	MaxSessionExpiry    uint32        `mapstructure:"max_session_expiry"`    // seconds, 4294967295 is no limit
	MaxRetainedMessages int           `mapstructure:"max_retained_messages"` // in all
	MaxRetainedBytes    int64         `mapstructure:"max_retained_bytes"`    // in all
	MaxTopicLength      int           `mapstructure:"max_topic_length"`      // bytes, 1 to 65535
	MaxTopicLevels      int           `mapstructure:"max_topic_levels"`      // levels of a topic name or filter
	MaxClientIDLength   int           `mapstructure:"max_client_id_length"`  // bytes, 23 to 65535
	MaxUserProperties   int           `mapstructure:"max_user_properties"`   // of one packet
	MaxDeferredMessages int           `mapstructure:"max_deferred_messages"` // published with a delay, and not due
	MaxDeferredBytes    int64         `mapstructure:"max_deferred_bytes"`    // of those
	MaxDelay            time.Duration `mapstructure:"max_delay"`             // of a publish
	// ConnectTimeout bounds the time from a connection's first byte of any protocol to its CONNACK.
	ConnectTimeout time.Duration `mapstructure:"connect_timeout"`
	// WriteTimeout is how long a client may take none of the bytes waiting for it before it is disconnected.
	WriteTimeout time.Duration `mapstructure:"write_timeout"`
	// ShutdownTimeout bounds the orderly end after SIGTERM.
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout"`
	// EventLoops is how many goroutines serve plain TCP and Unix sockets on Linux: 0 is one for two processors, NoEventLoops
	// gives each connection a goroutine of its own, as elsewhere.
	EventLoops int `mapstructure:"event_loops"`
}

// NoEventLoops is the value of Limits.EventLoops that turns them off.
const NoEventLoops = -1

// The values of Limits.QueueFull. With both, a message that is dropped has a reason and is counted.
const (
	RejectNew  = "reject_new"  // the new message is not queued; if no receiver can take it, the publisher hears 0x97
	DropOldest = "drop_oldest" // the oldest message that was never sent makes room
)

// Admin is the HTTP side: metrics and health.
type Admin struct {
	Address string `mapstructure:"address"` // host:port; empty turns it off
	Token   string `mapstructure:"token"`   // bearer token for /metrics and /api; empty asks for none
	// MaxChannelMetrics is how many channels have metrics of their own, those that exist longest.
	MaxChannelMetrics int `mapstructure:"max_channel_metrics"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `mapstructure:"level"`  // debug, info, warn or error
	Format string `mapstructure:"format"` // text or json
}

// Sys is the $SYS topic tree.
type Sys struct {
	Interval time.Duration `mapstructure:"interval"` // between updates; 0 turns $SYS off
}

// Default is the configuration without file, environment or flags.
func Default() Config {
	return Config{
		Listeners: []Listener{
			{Name: "tcp", Type: "tcp", Address: "127.0.0.1:1883", ProxyProtocol: "off"},
			{Name: "ws", Type: "ws", Address: "127.0.0.1:8083", Path: "/mqtt", ProxyProtocol: "off"},
		},
		Auth:    Auth{Anonymous: "loopback"},
		Storage: Storage{Path: "data", Sync: SyncAlways, SyncInterval: time.Second, CacheSize: 16 << 20},
		Limits: Limits{
			MaxPacketSize: 1 << 20, ReceiveMaximum: 1000, MaxInflight: 1000,
			MaxQueueMessages: 1_000_000, MaxQueueBytes: 1 << 30, MaxOutboxBytes: 1 << 20, QueueFull: RejectNew,
			TopicAliasMaximum: 10, MaxQoS: 2,
			RetainAvailable: true, WildcardAvailable: true, SharedAvailable: true, SubscriptionIDs: true,
			MaxConnections: 1_000_000, MaxSessions: 10_000_000, MaxSubscriptions: 100_000,
			MaxSessionExpiry:    0xFFFFFFFF,
			MaxRetainedMessages: 10_000_000, MaxRetainedBytes: 8 << 30,
			MaxTopicLength: 65535, MaxTopicLevels: 128, MaxClientIDLength: 65535, MaxUserProperties: 1000,
			MaxDeferredMessages: 1_000_000, MaxDeferredBytes: 1 << 30, MaxDelay: 366 * day,
			ConnectTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, ShutdownTimeout: 5 * time.Second,
		},
		Admin: Admin{Address: "127.0.0.1:9883", MaxChannelMetrics: 1000},
		Log:   Log{Level: "info", Format: "text"},
		Sys:   Sys{Interval: 10 * time.Second},
	}
}
