package listener

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// A Listener is one address at which clients connect.
type Listener interface {
	// Name is the listener's name in the configuration.
	Name() string
	// Addr is the address it listens on, with the port the system chose for port 0.
	Addr() net.Addr
	// Serve accepts connections and hands each to attach, until Close; then it returns nil. No
	// client can end it. It is called once.
	//
	// attach takes the connection over, must return without waiting for the client, and is called by several
	// goroutines at once. Plain TCP without PROXY protocol is handed over as the bare *net.TCPConn.
	Serve(attach func(nc net.Conn, p Peer)) error
	// Reload reads the certificate files again, for handshakes to come. On an error the old ones stay.
	Reload() error
	// Close stops accepting and ends handshakes in progress. Connections handed over live on.
	// Twice is harmless. It must not be called by attach.
	Close() error
}

// A Peer is what is known of a client before it sends MQTT.
type Peer struct {
	Listener   string   // name of the listener
	Remote     net.Addr // where the client is: as the PROXY protocol announced, if it did
	CommonName string   // of the verified TLS client certificate, else empty
	// UsernameFromCert tells that CommonName replaces the username.
	UsernameFromCert bool
	// Accepted is when the connection was accepted: what limits.connect_timeout counts from.
	Accepted time.Time
}

// Options are what the listeners of one broker share. The zero value works.
type Options struct {
	Log *slog.Logger // nil is slog.Default()
	// ConnectTimeout bounds the time from accept to hand-over; 0 is 10 seconds.
	ConnectTimeout time.Duration
	// MaxPacketSize is the largest MQTT packet; it sets the largest WebSocket message.
	MaxPacketSize uint32
	// MaxArrivals bounds the connections between accept and hand-over; further ones are closed. 0 is 10 000.
	MaxArrivals int
	// SocketMode is the mode of a Unix socket's file; 0 is 0660.
	SocketMode os.FileMode
	// Refused, if not nil, is told of every connection that is not handed over. It must not block.
	Refused func(Reason)
}

// A Reason says why a connection was not handed over. The values are labels of the
// metric penstock_connections_refused_total.
type Reason string

// The reasons.
const (
	RefusedProxyHeader Reason = "proxy_header"  // PROXY header missing, malformed or not to be believed
	RefusedTLS         Reason = "tls_handshake" // handshake failed, or no acceptable client certificate
	RefusedHTTP        Reason = "http_request"  // not the upgrade to WebSocket with MQTT that was asked for
	RefusedTimeout     Reason = "handshake_timeout"
	RefusedArrivals    Reason = "handshakes_full" // Options.MaxArrivals reached
)

// Open listens at the address cfg names. The connections wait until Serve.
func Open(cfg configs.Listener, o Options) (Listener, error) {
	g := &gate{cfg: cfg, options: o.withDefaults(), done: make(chan struct{}), arrivals: make(map[*arrival]struct{})}
	if err := g.open(); err != nil {
		return nil, fmt.Errorf("listener %s: %w", cfg.Name, err)
	}
	return g, nil
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.MaxArrivals <= 0 {
		o.MaxArrivals = 10_000
	}
	if o.SocketMode == 0 {
		o.SocketMode = 0o660
	}
	if o.Refused == nil {
		o.Refused = func(Reason) {}
	}
	return o
}
