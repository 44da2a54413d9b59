package broker

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// loopReadMax is how many bytes one connection gives to one round: a client that floods waits for the others after that.
	loopReadMax = 64 << 10
	// loopEventsMax is how many connections one round serves.
	loopEventsMax = 256
	// loopSettleBytes is how much is read before receivers are flushed in the middle of a round: their outboxes are bounded.
	loopSettleBytes = 256 << 10
)

// A loop serves connections from one goroutine: it waits for all their sockets at once, feeds what those that are ready
// have sent, in one turn, and so flushes each receiver once for all of it. A connection that is idle costs it nothing.
type loop struct {
	// Fixed when newLoop returns.
	b     *Broker
	epoll int
	bell  int // an eventfd that ends a wait
	done  chan struct{}

	// Only the loop's goroutine touches these.
	events []unix.EpollEvent
	buf    []byte        // what one read takes
	active []*loopDriver // of the events, in their order
	calls  []*loopDriver // taken from called
	more   []*loopDriver // not read to the end
	spare  []*loopDriver // the memory of the last more
	unread int           // bytes fed since receivers were flushed

	mu      sync.Mutex    // guards what follows; a leaf in the lock order
	drivers []*loopDriver // by file descriptor
	open    int           // of them
	called  []*loopDriver // each once
	asleep  bool          // or about to wait: ring the bell
	ending  bool
}

func newLoop(b *Broker) (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", os.NewSyscallError("epoll_create1", err))
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(bell)}
		if err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, bell, &event); err != nil {
			unix.Close(bell)
		}
	}
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("event loop: %w", os.NewSyscallError("eventfd", err))
	}
	return &loop{
		b: b, epoll: epoll, bell: bell, done: make(chan struct{}),
		events: make([]unix.EpollEvent, loopEventsMax), buf: make([]byte, loopReadMax),
	}, nil
}

// run serves until end is called and the last connection is gone.
func (l *loop) run() {
	defer close(l.done)
	for {
		n := l.wait()
		if !l.collect(n) {
			break
		}
		l.round(n)
	}
	unix.Close(l.bell)
	unix.Close(l.epoll)
}

// wait returns how many events there are. It does not wait while there is something to do.
func (l *loop) wait() int {
	timeout := -1
	l.mu.Lock()
	if len(l.called) > 0 || len(l.more) > 0 || (l.ending && l.open == 0) {
		timeout = 0
	}
	l.asleep = timeout != 0
	l.mu.Unlock()
	n, err := unix.EpollWait(l.epoll, l.events, timeout)
	if err != nil && err != unix.EINTR {
		panic(fmt.Sprintf("broker: epoll_wait: %v", err)) // only a wrong argument fails
	}
	return max(n, 0)
}

// collect finds whom the events and the calls are for. It reports false when the loop is over.
func (l *loop) collect(n int) bool {
	rang := false
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = false
	l.active = l.active[:0]
	for i := range n {
		fd := int(l.events[i].Fd)
		rang = rang || fd == l.bell
		var d *loopDriver
		if fd < len(l.drivers) {
			d = l.drivers[fd] // nil for the bell, and for who has just gone
		}
		l.active = append(l.active, d)
	}
	if rang {
		var count [8]byte
		unix.Read(l.bell, count[:]) // only makes it silent
	}
	l.calls, l.called = l.called, l.calls[:0]
	for _, d := range l.calls {
		d.called = false
	}
	return !l.ending || l.open > 0
}

// round serves everybody who is ready, in one turn.
func (l *loop) round(n int) {
	t := l.b.begin()
	defer t.end()
	more := l.more
	l.more = l.spare[:0]
	l.unread = 0
	for i, d := range l.active[:n] {
		if d != nil {
			d.happened(t, l.events[i].Events)
		}
	}
	for _, d := range more {
		d.goOn(t)
	}
	for i, d := range l.calls {
		l.calls[i] = nil
		d.answer(t)
	}
	clear(more)
	clear(l.active)
	l.spare = more
}

// fed counts bytes and flushes receivers before their outboxes are full.
func (l *loop) fed(t *turn, n int) {
	if l.unread += n; l.unread >= loopSettleBytes {
		l.unread = 0
		t.settle()
	}
}

// call has the loop look after d. Anyone may call it.
func (l *loop) call(d *loopDriver) {
	l.mu.Lock()
	if !d.called {
		d.called = true
		l.called = append(l.called, d)
	}
	ring := l.asleep
	l.asleep = false
	l.mu.Unlock()
	if ring {
		l.ring()
	}
}

func (l *loop) ring() {
	one := [8]byte{1} // not zero on either byte order
	unix.Write(l.bell, one[:])
}

// add begins to serve d.
func (l *loop) add(d *loopDriver) error {
	l.mu.Lock()
	if d.fd >= len(l.drivers) {
		l.drivers = append(l.drivers, make([]*loopDriver, d.fd+1+len(l.drivers)/2-len(l.drivers))...)
	}
	l.drivers[d.fd] = d
	l.open++
	l.mu.Unlock()
	event := unix.EpollEvent{Events: loopEvents, Fd: int32(d.fd)}
	err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, d.fd, &event)
	return os.NewSyscallError("epoll_ctl", err)
}

// remove lets go of d. Its descriptor may be another connection's as soon as it is closed.
func (l *loop) remove(d *loopDriver) {
	l.mu.Lock()
	l.drivers[d.fd] = nil
	l.open--
	l.mu.Unlock()
	unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, d.fd, nil) // fails only if add did
	unix.Close(d.fd)
}

// end has run return once the last connection is gone.
func (l *loop) end() {
	l.mu.Lock()
	l.ending = true
	l.asleep = false
	l.mu.Unlock()
	l.ring()
}
