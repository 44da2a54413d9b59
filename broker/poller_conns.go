package broker

import (
	"bytes"
	"io"
	"net"
	"sync"
)

// connPiece is how many bytes a connPoller writes at once: what it has written is known only then.
const connPiece = 1 << 10

// A connPoller is a poller for connections of any kind, on every system: two goroutines for each connection wait in the
// loop's place. That costs more than a loop saves; it is for Options.LoopAll.
type connPoller struct {
	signal chan struct{} // something happened, or wake was called; capacity 1
	work   sync.WaitGroup

	mu    sync.Mutex // guards what follows; a leaf in the lock order
	conns []*polledConn
	told  []happening
}

// A polledConn is one connection. connPoller.mu guards all but the first three.
type polledConn struct {
	nc       net.Conn
	readMore chan struct{} // the last read was taken; capacity 1
	out      chan []byte   // to be written; capacity 1

	number  int
	in      []byte
	inErr   error
	writing bool // out has bytes that are not written yet
	wrote   int  // bytes that were, and that write has not told of
	outErr  error
	watched bool
}

func newConnPoller() (poller, error) { return &connPoller{signal: make(chan struct{}, 1)}, nil }

// take implements poller.
func (p *connPoller) take(nc net.Conn) (socket int, ok bool) {
	c := &polledConn{nc: nc, readMore: make(chan struct{}, 1), out: make(chan []byte, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.number = len(p.conns) // numbers are not given twice, which tests do not feel
	p.conns = append(p.conns, c)
	return c.number, true
}

// add implements poller.
func (p *connPoller) add(socket int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[socket]
	p.work.Go(func() { p.readAll(c) })
	p.work.Go(func() { p.writeAll(c) })
	c.readMore <- struct{}{}
	return nil
}

func (p *connPoller) readAll(c *polledConn) {
	buf := make([]byte, loopReadMin) // so much is read ahead
	for range c.readMore {
		n, err := c.nc.Read(buf)
		p.mu.Lock()
		c.in, c.inErr = buf[:n], err
		p.tellLocked(happening{socket: c.number, readable: true, hungUp: err != nil})
		p.mu.Unlock()
	}
}

func (p *connPoller) writeAll(c *polledConn) {
	for b := range c.out {
		n, err := c.nc.Write(b)
		p.mu.Lock()
		c.writing, c.wrote, c.outErr = false, n, err
		if c.watched {
			p.tellLocked(happening{socket: c.number, room: true})
		}
		p.mu.Unlock()
	}
}

func (p *connPoller) tellLocked(h happening) {
	p.told = append(p.told, h)
	p.wake()
}

// wait implements poller.
func (p *connPoller) wait(block bool, told []happening) []happening {
	if block {
		<-p.signal
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	told = append(told, p.told...)
	p.told = p.told[:0]
	return told
}

// wake implements poller.
func (p *connPoller) wake() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

// watchRoom implements poller.
func (p *connPoller) watchRoom(socket int, watch bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[socket]
	c.watched = watch
	if watch && !c.writing {
		p.tellLocked(happening{socket: socket, room: true})
	}
}

// read implements poller.
func (p *connPoller) read(socket int, b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[socket]
	switch {
	case len(c.in) > 0:
		n = copy(b, c.in)
		if c.in = c.in[n:]; len(c.in) == 0 && c.inErr == nil {
			c.readMore <- struct{}{}
		}
		return n, nil
	case c.inErr == io.EOF:
		return 0, nil
	case c.inErr != nil:
		return 0, c.inErr
	}
	return 0, errNotNow
}

// write implements poller. It tells of bytes only when they are written.
func (p *connPoller) write(socket int, from parcel) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.conns[socket]
	switch {
	case c.wrote > 0:
		n, c.wrote = c.wrote, 0
		return n, nil
	case c.outErr != nil:
		return 0, c.outErr
	case !c.writing:
		c.writing = true
		c.out <- bytes.Clone(from.front(connPiece)) // the parcel may be given up meanwhile
	}
	return 0, errNotNow
}

// closeWrite implements poller.
func (p *connPoller) closeWrite(socket int) error {
	p.mu.Lock()
	c := p.conns[socket]
	p.mu.Unlock()
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return io.ErrClosedPipe
}

// remove implements poller.
func (p *connPoller) remove(socket int) {
	p.mu.Lock()
	c := p.conns[socket]
	p.conns[socket] = nil
	p.mu.Unlock()
	close(c.readMore)
	close(c.out)
	c.nc.Close()
}

// close implements poller.
func (p *connPoller) close() { p.work.Wait() }
