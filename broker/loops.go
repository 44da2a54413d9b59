package broker

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// The loops of a broker. They start with the first connection that one of them can serve.
type loops struct {
	// Fixed when newLoops returns.
	b         *Broker
	newPoller func() (poller, error)
	serves    func(nc net.Conn) bool

	next atomic.Uint32 // connections go to the loops in turn

	mu    sync.Mutex // guards what follows; a leaf in the lock order
	count int        // how many there are to be
	all   []*loop
	over  bool
}

// newLoops makes the loops for sockets, or for every kind of connection.
func newLoops(b *Broker, everything bool) *loops {
	ls := &loops{b: b, serves: isSocket, count: b.limits.EventLoops}
	switch ls.count {
	case 0:
		ls.count = max(runtime.GOMAXPROCS(0)/2, 1)
	case configs.NoEventLoops:
		ls.count = 0
	}
	ls.newPoller = func() (poller, error) { return newEpoll(ls.count) }
	if everything {
		ls.newPoller, ls.serves = newConnPoller, func(net.Conn) bool { return true }
	}
	return ls
}

// pick returns the loop for a new connection, nil if there is none.
func (ls *loops) pick() *loop {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.all == nil {
		ls.startLocked()
	}
	if ls.over || len(ls.all) == 0 {
		return nil
	}
	return ls.all[int(ls.next.Add(1))%len(ls.all)]
}

// startLocked starts the loops. Without them goroutines serve the connections.
func (ls *loops) startLocked() {
	for range ls.count {
		p, err := ls.newPoller()
		if err != nil {
			ls.b.log.Warn("connections are served by a goroutine each", "err", err)
			ls.count = 0
			return
		}
		l := newLoop(ls.b, p)
		ls.all = append(ls.all, l)
		go l.run()
	}
}

// attach has a loop serve nc. It reports false, and leaves nc alone, if none can.
func (ls *loops) attach(c *conn, nc net.Conn, accepted time.Time) bool {
	if !ls.serves(nc) {
		return false
	}
	l := ls.pick()
	if l == nil {
		return false
	}
	socket, ok := l.poll.take(nc)
	if !ok {
		return false
	}
	d := &loopDriver{c: c, l: l, socket: socket}
	c.driver = d
	if !ls.b.connections.add(c) {
		l.poll.remove(socket)
		return true
	}
	c.watchConnect(accepted)
	if err := l.add(d); err != nil {
		ls.b.log.Error("connection refused", "remote", c.remote(), "listener", c.client.Listener, "err", err)
		c.lost("connection lost")
		d.shut()
	}
	return true
}

// end waits until the loops have ended, after their last connections have, or until ctx ends.
func (ls *loops) end(ctx context.Context) {
	ls.mu.Lock()
	ls.over = true
	all := ls.all
	ls.mu.Unlock()
	for _, l := range all {
		l.end()
	}
	for _, l := range all {
		select {
		case <-l.done:
		case <-ctx.Done():
		}
	}
}
