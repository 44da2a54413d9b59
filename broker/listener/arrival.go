package listener

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// An arrival is a connection between accept and hand-over. One timer, which closes the
// socket, bounds all its steps together.
type arrival struct {
	raw   net.Conn // the socket: closing it ends whatever step the arrival is at
	timer *time.Timer
	// Only the goroutine that takes the arrival through its steps touches these.
	peer     Peer
	conn     net.Conn // what the next step reads and writes
	hijacked bool     // by the WebSocket upgrade
	failure  error    // why there was no upgrade
}

// admit counts a connection among the arrivals and its goroutine as working. It returns nil if the gate is closed or full.
func (g *gate) admit(nc net.Conn, p Peer) (a *arrival, full bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, false
	}
	if len(g.arrivals) >= g.options.MaxArrivals {
		return nil, true
	}
	a = &arrival{raw: nc, peer: p, conn: nc}
	a.timer = time.AfterFunc(g.options.ConnectTimeout, func() { _ = nc.Close() })
	g.arrivals[a] = struct{}{}
	g.working.Add(1)
	return a, false
}

// forget removes a from the arrivals and reports whether it was there.
func (g *gate) forget(a *arrival) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, there := g.arrivals[a]
	delete(g.arrivals, a)
	return there
}

// arrive takes a through the steps of the gate. WebSocket is the last one and goes on in
// goroutines of the HTTP server.
func (g *gate) arrive(a *arrival) {
	if g.expectsHeader() {
		if err := g.readHeader(a); err != nil {
			g.refuse(a, RefusedProxyHeader, err)
			return
		}
	}
	if g.certificates != nil {
		if err := g.handshake(a); err != nil {
			g.refuse(a, RefusedTLS, err)
			return
		}
	}
	if g.web != nil {
		g.web.feed(a)
		return
	}
	g.handOver(a, a.conn)
}

// handshake is the TLS step.
func (g *gate) handshake(a *arrival) error {
	secured := tls.Server(a.conn, g.certificates.config())
	// No deadline of its own: the arrival's timer closes the socket.
	if err := secured.HandshakeContext(context.Background()); err != nil {
		return err
	}
	if chains := secured.ConnectionState().VerifiedChains; len(chains) > 0 {
		a.peer.CommonName = chains[0][0].Subject.CommonName
	}
	a.conn = secured
	return nil
}

// handOver ends the arrival and gives nc to attach, unless time ran out or the gate closed just now.
func (g *gate) handOver(a *arrival, nc net.Conn) {
	if g.isClosed() || !a.timer.Stop() {
		g.refuse(a, RefusedTimeout, errTimeout)
		return
	}
	if g.forget(a) {
		g.attach(nc, a.peer)
	}
}
