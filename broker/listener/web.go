package listener

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// headerBytesMax bounds the HTTP request of an upgrade; cookies of a web page's domain are part of it.
	headerBytesMax = 16 << 10
	// writeBufferBytes is the largest frame written with one system call; the buffers are pooled.
	writeBufferBytes = 16 << 10
	// A WebSocket message may hold many packets [MQTT5-6.0.0-2] and is never held in memory whole, so its
	// bound is a multiple of the largest packet, and never below messageMin.
	packetsPerMessage = 16
	messageMin        = 16 << 20
)

// subprotocols are the names a client may ask for [MQTT5-6.0.0-3] and is answered with [MQTT5-6.0.0-4]; the
// first is MQTT 3.1.1's and 5's, the second is what clients of MQTT 3.1 use.
var subprotocols = []string{"mqtt", "mqttv3.1"}

// A web is the WebSocket step of a gate: an HTTP server for arrivals that answers one request of
// each, the upgrade.
type web struct {
	// Fixed when newWeb returns.
	gate       *gate
	server     *http.Server
	upgrader   websocket.Upgrader
	path       string
	messageMax int64
	arrived    chan *arrival
}

func newWeb(g *gate) *web {
	w := &web{
		gate:       g,
		path:       cmp.Or(g.cfg.Path, "/mqtt"),
		messageMax: max(packetsPerMessage*int64(g.options.MaxPacketSize), messageMin),
		arrived:    make(chan *arrival),
	}
	w.upgrader = websocket.Upgrader{
		Subprotocols: subprotocols, CheckOrigin: w.originAllowed,
		WriteBufferSize: writeBufferBytes, WriteBufferPool: new(sync.Pool),
	}
	w.server = &http.Server{
		Handler:           http.HandlerFunc(w.upgrade),
		ReadHeaderTimeout: g.options.ConnectTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ConnContext:       rememberArrival,
		ConnState:         w.track,
		ErrorLog:          slog.NewLogLogger(g.options.Log.Handler(), slog.LevelWarn),
	}
	w.server.SetKeepAlivesEnabled(false)
	return w
}

// serve runs the HTTP server until close.
func (w *web) serve() { _ = w.server.Serve(w) }

// close ends the HTTP server; connections that were upgraded live on.
func (w *web) close() { _ = w.server.Close() }

// feed hands an arrival to the HTTP server.
func (w *web) feed(a *arrival) {
	select {
	case w.arrived <- a:
	case <-w.gate.done:
		w.gate.refuse(a, RefusedHTTP, net.ErrClosed)
	}
}

// Accept makes the web the HTTP server's net.Listener.
func (w *web) Accept() (net.Conn, error) {
	select {
	case a := <-w.arrived:
		return &wire{Conn: a.conn, arrival: a}, nil
	case <-w.gate.done:
		return nil, net.ErrClosed
	}
}

// Close has nothing to do: the gate closes the socket.
func (w *web) Close() error { return nil }

// Addr is the gate's address.
func (w *web) Addr() net.Addr { return w.gate.Addr() }

// A wire is the connection under the HTTP server and the WebSocket codec. Both mean to set
// write deadlines of their own; they belong to whom the connection is handed.
type wire struct {
	net.Conn
	arrival *arrival
}

// SetWriteDeadline does nothing.
func (*wire) SetWriteDeadline(time.Time) error { return nil }

type arrivalKey struct{}

func rememberArrival(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, arrivalKey{}, nc.(*wire).arrival)
}

// track counts the goroutines of the HTTP server as the gate's: it is called when one starts, and when one ends
// or its connection is hijacked, from where on upgrade counts.
func (w *web) track(nc net.Conn, s http.ConnState) {
	a := nc.(*wire).arrival
	switch s {
	case http.StateNew:
		w.gate.working.Add(1)
	case http.StateHijacked:
		a.hijacked = true
	case http.StateClosed:
		w.gate.refuse(a, RefusedHTTP, cmp.Or(a.failure, errNoUpgrade))
		w.gate.working.Done()
	}
}

// upgrade answers the one request of a connection.
func (w *web) upgrade(rw http.ResponseWriter, r *http.Request) {
	a := r.Context().Value(arrivalKey{}).(*arrival)
	defer func() {
		if a.hijacked {
			w.gate.working.Done()
		}
	}()
	if status, err := w.check(r); err != nil {
		http.Error(rw, err.Error(), status)
		a.failure = err
		return
	}
	ws, err := w.upgrader.Upgrade(rw, r, nil)
	switch {
	case err == nil:
	case a.hijacked:
		w.gate.refuse(a, RefusedHTTP, err)
		return
	default: // answered with a status; the HTTP server ends the connection when that is sent
		a.failure = err
		return
	}
	ws.SetReadLimit(w.messageMax)
	w.gate.handOver(a, newWSConn(ws, a.conn))
}

// check refuses what the upgrade itself would let pass.
func (w *web) check(r *http.Request) (status int, err error) {
	if r.URL.Path != w.path {
		return http.StatusNotFound, fmt.Errorf("websocket: no MQTT at path %q", r.URL.Path)
	}
	for _, offered := range websocket.Subprotocols(r) {
		if slices.Contains(subprotocols, offered) {
			return 0, nil
		}
	}
	return http.StatusBadRequest, errors.New("websocket: subprotocol mqtt was not asked for") // [MQTT5-6.0.0-3]
}

// originAllowed keeps web pages of other sites out. Only browsers send Origin.
func (w *web) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || len(w.gate.cfg.Origins) == 0 {
		return true
	}
	return slices.ContainsFunc(w.gate.cfg.Origins, func(allowed string) bool {
		return strings.EqualFold(origin, allowed)
	})
}
