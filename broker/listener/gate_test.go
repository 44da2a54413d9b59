package listener

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// The event loop needs the file descriptor: plain TCP is handed over as it was accepted.
func TestTCPIsHandedOverBare(t *testing.T) {
	r := start(t, configs.Listener{Type: "tcp", ProxyProtocol: "off", UsernameFromCert: true}, Options{})
	before := time.Now()
	client := r.dial(t)
	h := r.next(t)
	tcp, ok := h.Conn.(*net.TCPConn)
	if !ok {
		t.Fatalf("handed over a %T, want *net.TCPConn", h.Conn)
	}
	if h.peer.Listener != "under-test" || h.peer.Remote.String() != client.LocalAddr().String() ||
		h.peer.CommonName != "" || !h.peer.UsernameFromCert || h.peer.Accepted.Before(before) {
		t.Errorf("peer is %+v, client is at %v", h.peer, client.LocalAddr())
	}
	if !noDelay(t, tcp) {
		t.Error("TCP_NODELAY is off")
	}
	expectTalk(t, client, h)
}

// Close stops accepting; connections live on; twice is harmless.
func TestCloseLeavesConnectionsAlone(t *testing.T) {
	r := start(t, configs.Listener{Type: "tcp"}, Options{})
	client := r.dial(t)
	h := r.next(t)
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expectTalk(t, client, h)
	if nc, err := net.Dial("tcp", r.Addr().String()); err == nil {
		_ = nc.Close()
		t.Error("a closed listener accepted a connection")
	}
}

func TestServeAfterCloseReturns(t *testing.T) {
	l, err := Open(configs.Listener{Type: "tcp", Address: "127.0.0.1:0"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Serve(func(net.Conn, Peer) { t.Error("attach was called") }); err != nil {
		t.Errorf("Serve: %v, want nil", err)
	}
}

func TestOpenNamesTheListenerInErrors(t *testing.T) {
	for _, cfg := range []configs.Listener{
		{Name: "hall", Type: "carrier pigeon", Address: "127.0.0.1:0"},
		{Name: "hall", Type: "tcp", Address: "not an address"},
		{Name: "hall", Type: "tls", Address: "127.0.0.1:0", Cert: "missing.pem", Key: "missing.pem"},
		{Name: "hall", Type: "unix", Address: t.TempDir() + "/missing/socket"},
	} {
		if _, err := Open(cfg, Options{}); err == nil || !strings.Contains(err.Error(), "listener hall: ") {
			t.Errorf("Open(%v): %v, want an error that names the listener", cfg, err)
		}
	}
}

// A scriptedSocket is a net.Listener whose Accept returns what the test says.
type scriptedSocket struct {
	accepts chan any // net.Conn or error
	closed  chan struct{}
}

func newScriptedSocket() *scriptedSocket {
	return &scriptedSocket{accepts: make(chan any), closed: make(chan struct{})}
}

func (s *scriptedSocket) Accept() (net.Conn, error) {
	select {
	case a := <-s.accepts:
		if err, ok := a.(error); ok {
			return nil, err
		}
		return a.(net.Conn), nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *scriptedSocket) Close() error   { close(s.closed); return nil }
func (s *scriptedSocket) Addr() net.Addr { return &net.UnixAddr{Net: "pipe", Name: "pipe"} }

// startScripted starts a gate that accepts what the test says.
func startScripted(t *testing.T, g *gate, o Options) (*running, *scriptedSocket) {
	t.Helper()
	r, s := newRunning(&o), newScriptedSocket()
	g.cfg.Name, g.options, g.socket = "under-test", o.withDefaults(), s
	g.done, g.arrivals = make(chan struct{}), make(map[*arrival]struct{})
	if g.cfg.Type == "ws" {
		g.web = newWeb(g)
	}
	r.serve(t, g)
	return r, s
}

// Out of file descriptors, the accept loop waits ever longer, up to a second, and logs once.
func TestAcceptBacksOffAndLogsOncePerBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startScripted(t, &gate{}, Options{})
		began := time.Now()
		for range 12 {
			s.accepts <- syscall.EMFILE // taken only when the wait for the one before is over
		}
		// 5+10+20+...+640 ms, then a second each.
		if took, want := time.Since(began), 1275*time.Millisecond+3*time.Second; took != want {
			t.Errorf("11 waits took %v, want %v", took, want)
		}
		ours, theirs := net.Pipe()
		s.accepts <- ours
		if h := r.next(t); h.Conn != ours {
			t.Errorf("handed over %v, want the pipe", h.Conn)
		}
		_ = theirs.Close()
		s.accepts <- syscall.ENFILE
		synctest.Wait()
		if n := strings.Count(r.log.String(), "accepting fails"); n != 2 {
			t.Errorf("two bursts were logged %d times:\n%s", n, r.log)
		}
	})
}

// Close does not wait for the back-off to end.
func TestCloseEndsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := startScripted(t, &gate{}, Options{})
		s.accepts <- syscall.EMFILE
		synctest.Wait()
		began := time.Now()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
	})
}

// A socket that somebody else closed ends Serve with an error, not in a loop.
func TestServeEndsWhenTheSocketIsGone(t *testing.T) {
	g := &gate{options: Options{}.withDefaults(), socket: newScriptedSocket(), done: make(chan struct{})}
	_ = g.socket.Close()
	if err := g.Serve(func(net.Conn, Peer) {}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want net.ErrClosed", err)
	}
}
