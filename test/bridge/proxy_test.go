package bridge

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A proxy is a link that can be cut.
type proxy struct {
	address  string
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns map[net.Conn]bool
	dead  bool // takes connections and moves nothing
	wake  *sync.Cond
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	return startProxyAt(t, "127.0.0.1:0", target)
}

func startProxyAt(t testing.TB, address, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]bool{}}
	p.wake = sync.NewCond(&p.mu)
	p.running.Go(p.serve)
	t.Cleanup(func() {
		l.Close()
		p.setDead(false)
		p.cut()
		p.running.Wait()
	})
	return p
}

func (p *proxy) serve() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = true, true
		p.mu.Unlock()
		p.running.Go(func() { p.copy(in, out) })
		p.running.Go(func() { p.copy(out, in) })
	}
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	_, _ = io.Copy(slow{to, p}, from) // it ends with the connection
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, to)
	delete(p.conns, from)
}

// A slow waits while the link is dead.
type slow struct {
	net.Conn
	p *proxy
}

// Write implements io.Writer.
func (s slow) Write(b []byte) (int, error) {
	s.p.mu.Lock()
	for s.p.dead {
		s.p.wake.Wait()
	}
	s.p.mu.Unlock()
	return s.Conn.Write(b)
}

// cut ends every connection, with what is on its way.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset loses more than an end
		}
		c.Close()
	}
}

func (p *proxy) setDead(dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = dead
	p.wake.Broadcast()
}
