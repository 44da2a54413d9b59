package listener

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// patience bounds every wait of a test on a real socket; it only matters when the test fails.
const patience = 10 * time.Second

type handed struct {
	net.Conn
	peer Peer
}

// A running listener with what it gave away and said.
type running struct {
	Listener
	attached chan handed
	refused  chan Reason
	log      *lockedBuffer
	served   chan error
}

// start starts a listener at a free port, or at cfg.Address.
func start(t *testing.T, cfg configs.Listener, o Options) *running {
	t.Helper()
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	cfg.Name = "under-test"
	r := newRunning(&o)
	l, err := Open(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	r.serve(t, l)
	return r
}

func newRunning(o *Options) *running {
	r := &running{
		attached: make(chan handed, 100), refused: make(chan Reason, 100),
		log: new(lockedBuffer), served: make(chan error, 1),
	}
	o.Log = slog.New(slog.NewTextHandler(r.log, nil))
	o.Refused = func(why Reason) { r.refused <- why }
	return r
}

func (r *running) serve(t *testing.T, l Listener) {
	r.Listener = l
	go func() { r.served <- l.Serve(func(nc net.Conn, p Peer) { r.attached <- handed{nc, p} }) }()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-r.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		close(r.attached)
		for h := range r.attached {
			_ = h.Close()
		}
	})
}

// next is the next connection handed over.
func (r *running) next(t *testing.T) handed {
	t.Helper()
	select {
	case h := <-r.attached:
		t.Cleanup(func() { _ = h.Close() })
		return h
	case <-time.After(patience):
		t.Fatalf("no connection was handed over; log:\n%s", r.log)
		return handed{}
	}
}

// expectRefusal waits for a refusal and its log line.
func (r *running) expectRefusal(t *testing.T, want Reason, logged string) {
	t.Helper()
	select {
	case got := <-r.refused:
		if got != want {
			t.Errorf("refused for %q, want %q", got, want)
		}
	case h := <-r.attached:
		t.Fatalf("handed over %v, want a refusal", h.peer)
	case <-time.After(patience):
		t.Fatal("no connection was refused")
	}
	// Close waits for the goroutine that writes the line.
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(r.log.String(), "\n"); lines != 1 || !strings.Contains(r.log.String(), logged) {
		t.Errorf("log is\n%swant one line with %q", r.log, logged)
	}
}

// dial connects to the listener.
func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	nc, err := net.Dial(r.Addr().Network(), r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return nc
}

// expectTalk checks that bytes pass both ways.
func expectTalk(t *testing.T, client, server net.Conn) {
	t.Helper()
	if err := server.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct{ from, to net.Conn }{{client, server}, {server, client}} {
		want := []byte("to " + way.to.LocalAddr().Network())
		if _, err := way.from.Write(want); err != nil {
			t.Fatalf("Write: %v", err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
}

// expectEnd checks that the other side ended the connection.
func expectEnd(t *testing.T, client net.Conn) {
	t.Helper()
	n, err := io.Copy(io.Discard, client)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection lives on")
	}
	if n != 0 {
		t.Errorf("received %d bytes, want none", n)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
