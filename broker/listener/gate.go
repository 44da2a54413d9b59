package listener

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// How long the accept loop waits after a failed accept: the first time, and at most.
const (
	retryMin = 5 * time.Millisecond
	retryMax = time.Second
)

// A gate is the one Listener: a listening socket and the steps that a connection takes
// from it to attach, of which any may be missing.
type gate struct {
	// Fixed when Open returns.
	cfg          configs.Listener
	options      Options
	socket       net.Listener
	certificates *certificates // nil without TLS
	web          *web          // nil without WebSocket
	done         chan struct{} // closed by Close

	// Fixed when Serve begins.
	attach func(net.Conn, Peer)
	// Only the accept loop touches this.
	crowded bool // the last connection found the arrivals full

	// Shared.
	working  sync.WaitGroup // the accept loop and every goroutine it started
	mu       sync.Mutex     // guards what follows
	closed   bool
	arrivals map[*arrival]struct{}
}

// open makes the socket and what its type needs beside it.
func (g *gate) open() (err error) {
	switch g.cfg.Type {
	case "tcp", "unix":
	case "ws":
		g.web = newWeb(g)
	case "tls", "wss":
		if g.certificates, err = newCertificates(g.cfg); err != nil {
			return err
		}
		if g.cfg.Type == "wss" {
			g.web = newWeb(g)
		}
	default:
		return fmt.Errorf("type %q is none of tcp, tls, ws, wss and unix", g.cfg.Type)
	}
	if g.cfg.Type == "unix" {
		g.socket, err = listenUnix(g.cfg.Address, g.options.SocketMode)
	} else {
		g.socket, err = listenTCP(g.cfg.Address)
	}
	return err
}

// Name is the listener's name in the configuration.
func (g *gate) Name() string { return g.cfg.Name }

// Addr is the address it listens on.
func (g *gate) Addr() net.Addr { return g.socket.Addr() }

// Reload reads the certificate files again; without TLS there is nothing to read.
func (g *gate) Reload() error {
	if g.certificates == nil {
		return nil
	}
	if err := g.certificates.load(); err != nil {
		return fmt.Errorf("listener %s: %w", g.cfg.Name, err)
	}
	return nil
}

// Serve accepts until Close.
func (g *gate) Serve(attach func(net.Conn, Peer)) error {
	g.attach = attach
	if !g.begin() {
		return nil
	}
	defer g.working.Done()
	if g.web != nil {
		g.working.Go(g.web.serve)
	}
	return g.accept()
}

// begin counts the caller as working, unless the gate is closed.
func (g *gate) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.working.Add(1)
	return true
}

// accept takes connections off the socket. A failing accept, out of file descriptors say, is tried again ever more
// slowly, and logged when the failing starts.
func (g *gate) accept() error {
	retry := time.Duration(0)
	for {
		nc, err := g.socket.Accept()
		switch {
		case err == nil:
			retry = 0
			g.receive(nc)
			continue
		case g.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("listener %s: %w", g.cfg.Name, err)
		case retry == 0:
			g.options.Log.Error("accepting fails, trying again", "listener", g.cfg.Name, "err", err)
		}
		retry = min(max(2*retry, retryMin), retryMax)
		if !g.pause(retry) {
			return nil
		}
	}
}

// pause waits for d and reports whether the gate is still open.
func (g *gate) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-g.done:
		return false
	}
}

func (g *gate) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// receive hands nc over at once, or starts its arrival if something has to be read from the client first.
func (g *gate) receive(nc net.Conn) {
	p := Peer{
		Listener: g.cfg.Name, Remote: nc.RemoteAddr(),
		UsernameFromCert: g.cfg.UsernameFromCert, Accepted: time.Now(),
	}
	if g.certificates == nil && g.web == nil && !g.expectsHeader() {
		g.attach(nc, p)
		return
	}
	a, full := g.admit(nc, p)
	if full {
		g.options.Refused(RefusedArrivals)
		if !g.crowded {
			g.options.Log.Warn("too many connections are shaking hands, closing new ones",
				"listener", g.cfg.Name, "remote", nc.RemoteAddr().String(), "reason", string(RefusedArrivals))
		}
	}
	g.crowded = full
	if a == nil {
		_ = nc.Close()
		return
	}
	go func() {
		defer g.working.Done()
		g.arrive(a)
	}()
}

// Close stops accepting and ends arrivals.
func (g *gate) Close() error {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	if first {
		close(g.done)
	}
	for a := range g.arrivals {
		_ = a.raw.Close()
	}
	g.mu.Unlock()
	var err error
	if first {
		err = g.socket.Close()
		if g.web != nil {
			g.web.close()
		}
	}
	g.working.Wait()
	return err
}

// refuse ends an arrival that will not be handed over. Only the first call for an arrival counts.
func (g *gate) refuse(a *arrival, reason Reason, err error) {
	if !g.forget(a) {
		return
	}
	_ = a.raw.Close()
	if !a.timer.Stop() {
		reason, err = RefusedTimeout, errTimeout
	}
	if g.isClosed() {
		return // it is we who ended it
	}
	g.options.Refused(reason)
	g.options.Log.Info("connection refused",
		"listener", g.cfg.Name, "remote", a.peer.Remote.String(), "reason", string(reason), "err", err)
}
