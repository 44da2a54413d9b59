package broker

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
)

// A heapPoller is a poller without a system: tests put in what a client has sent, and turn the loop themselves.
type heapPoller struct{ sockets []*heapSocket }

type heapSocket struct {
	in, out   []byte
	room      int // bytes that write takes; -1 is any
	writes    int // that took some
	shut      bool
	watched   bool
	happening happening
}

// connect attaches a client and has it accepted.
func (p *heapPoller) connect(t *testing.T, l *loop, h hello) *heapClient {
	t.Helper()
	c := newConn(l.b, listener.Peer{Listener: "test"})
	socket, _ := p.take(nil)
	d := &heapClient{loopDriver: &loopDriver{c: c, l: l, socket: socket}, p: p}
	c.driver = d.loopDriver
	if !l.b.connections.add(c) {
		t.Fatal("the broker takes no connection")
	}
	t.Cleanup(func() {
		if d.stage != gone {
			d.close()
		}
	})
	c.watchConnect(time.Time{})
	l.add(d.loopDriver)
	d.feed(h.packet(packet.V311))
	for c.phase != open {
		elapse(0) // for the hooks' answer
		p.round(l)
	}
	return d
}

// connectAll attaches n clients.
func (p *heapPoller) connectAll(t *testing.T, l *loop, n int) []*heapClient {
	t.Helper()
	var all []*heapClient
	for i := range n {
		all = append(all, p.connect(t, l, hello{id: fmt.Sprint("client", i)}))
	}
	return all
}

// A heapClient is a connection with the client's side of it.
type heapClient struct {
	*loopDriver
	p *heapPoller
}

// feed has the loop read b.
func (d *heapClient) feed(b []byte) {
	d.p.sockets[d.socket].in = append(d.p.sockets[d.socket].in, b...)
	d.p.round(d.l)
}

// round turns the loop until it has nothing to do.
func (p *heapPoller) round(l *loop) {
	for more := true; more; {
		l.wait()
		l.collect()
		more = len(l.told) > 0 || len(l.calls) > 0 || len(l.more) > 0
		l.round()
	}
}

func (p *heapPoller) wait(_ bool, told []happening) []happening {
	for i, s := range p.sockets {
		if s == nil {
			continue
		}
		h := s.happening
		s.happening = happening{}
		h.socket, h.readable, h.room = i, h.readable || len(s.in) > 0, h.room && s.watched
		if h.readable || h.room {
			told = append(told, h)
		}
	}
	return told
}

func (p *heapPoller) wake() {}

func (p *heapPoller) take(net.Conn) (socket int, ok bool) {
	p.sockets = append(p.sockets, &heapSocket{room: -1})
	return len(p.sockets) - 1, true
}

func (p *heapPoller) add(int) error { return nil }

func (p *heapPoller) watchRoom(socket int, watch bool) { p.sockets[socket].watched = watch }

func (p *heapPoller) read(socket int, b []byte) (n int, err error) {
	s := p.sockets[socket]
	if len(s.in) == 0 {
		return 0, errNotNow
	}
	n = copy(b, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (p *heapPoller) write(socket int, from parcel) (n int, err error) {
	s := p.sockets[socket]
	if s.shut {
		return 0, io.ErrClosedPipe
	}
	if s.room == 0 {
		return 0, errNotNow
	}
	limit := s.room
	if s.room < 0 {
		limit = writePiece
	}
	b := from.front(limit)
	s.out = append(s.out, b...)
	s.writes++
	if s.room > 0 {
		s.room -= len(b)
	}
	return len(b), nil
}

func (p *heapPoller) closeWrite(socket int) error { p.sockets[socket].shut = true; return nil }

func (p *heapPoller) remove(socket int) { p.sockets[socket] = nil }

func (p *heapPoller) close() {}
