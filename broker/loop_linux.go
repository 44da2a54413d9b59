package broker

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// loopEventsMax is how many connections one round serves.
	loopEventsMax = 256
	// One connection gives at most so many bytes to one round: a client that floods waits for the others after that. It is less
	// where outboxes are small.
	loopReadMin, loopReadMax = 4 << 10, 64 << 10
	// loopSettleReads is how many full reads there are before receivers are flushed in the middle of a round, because
	// their outboxes are bounded.
	loopSettleReads = 4
)

// A loop serves connections from one goroutine: it waits for all their sockets at once, feeds what those that are ready
// have sent, in one turn, and so flushes each receiver once for all of it. A connection that is idle costs it nothing.
type loop struct {
	// Fixed when newLoop returns.
	b     *Broker
	epoll *os.File // the runtime waits for it, so that waiting holds no thread up
	ready syscall.RawConn
	look  func(epoll uintptr) bool // for ready: findEvents
	peek  func(epoll uintptr)
	done  chan struct{}

	// Only the loop's goroutine touches these.
	events    []unix.EpollEvent
	found     int           // how many events look found
	buf       []byte        // what one read takes
	active    []*loopDriver // of the events, in their order
	calls     []*loopDriver // taken from called
	more      []*loopDriver // not read to the end
	spare     []*loopDriver // the memory of the last more
	unflushed int           // bytes that were fed since receivers were flushed

	mu      sync.Mutex    // guards what follows; a leaf in the lock order
	drivers []*loopDriver // by file descriptor
	open    int           // of them
	called  []*loopDriver // each once
	asleep  bool          // or about to wait: it must be woken
	ending  bool
}

func newLoop(b *Broker) (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("event loop: %w", os.NewSyscallError("epoll_create1", err))
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or NewFile takes it for one that cannot be waited for
		unix.Close(fd)
		return nil, fmt.Errorf("event loop: %w", os.NewSyscallError("fcntl", err))
	}
	l := &loop{
		b: b, epoll: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}),
		events: make([]unix.EpollEvent, loopEventsMax),
		buf:    make([]byte, min(max(b.limits.MaxOutboxBytes/loopSettleReads, loopReadMin), loopReadMax)),
	}
	l.look = l.findEvents
	l.peek = func(epoll uintptr) { l.findEvents(epoll) }
	l.ready, err = l.epoll.SyscallConn()
	if err == nil {
		err = l.epoll.SetReadDeadline(time.Time{}) // fails where the runtime cannot wait
	}
	if err != nil {
		l.epoll.Close()
		return nil, fmt.Errorf("event loop: %w", err)
	}
	return l, nil
}

// run serves until end is called and the last connection is gone.
func (l *loop) run() {
	defer close(l.done)
	defer l.epoll.Close()
	for {
		l.wait()
		if !l.collect() {
			return
		}
		l.round()
	}
}

// wait waits for events, unless there is something to do without them.
func (l *loop) wait() {
	l.mu.Lock()
	l.asleep = len(l.called) == 0 && len(l.more) == 0 && (!l.ending || l.open > 0)
	asleep := l.asleep
	l.mu.Unlock()
	l.found = 0
	if !asleep {
		l.ready.Control(l.peek)
	} else if err := l.ready.Read(l.look); errors.Is(err, os.ErrDeadlineExceeded) { // wake did that
		l.epoll.SetReadDeadline(time.Time{})
	}
}

// findEvents reports whether there are any.
func (l *loop) findEvents(epoll uintptr) bool {
	n, err := epollNow(int(epoll), l.events)
	if err != nil && err != unix.EINTR {
		panic(fmt.Sprintf("broker: epoll_wait: %v", err)) // only a wrong argument fails
	}
	l.found = n
	return n > 0
}

// collect finds whom the events and the calls are for. It reports false when the loop is over.
func (l *loop) collect() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = false
	l.active = l.active[:0]
	for i := range l.found {
		l.active = append(l.active, l.drivers[l.events[i].Fd]) // nil for who has just gone
	}
	l.calls, l.called = l.called, l.calls[:0]
	for _, d := range l.calls {
		d.called = false
	}
	return !l.ending || l.open > 0
}

// round serves everybody who is ready, in one turn.
func (l *loop) round() {
	t := l.b.begin()
	defer t.end()
	more := l.more
	l.more = l.spare[:0]
	l.unflushed = 0
	for i, d := range l.active {
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
	if l.unflushed += n; l.unflushed >= loopSettleReads*len(l.buf) {
		l.unflushed = 0
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
	asleep := l.asleep
	l.asleep = false
	l.mu.Unlock()
	if asleep {
		l.wake()
	}
}

// wake ends a wait, or the next one.
func (l *loop) wake() { l.epoll.SetReadDeadline(time.Unix(1, 0)) }

// add begins to serve d.
func (l *loop) add(d *loopDriver) error {
	l.mu.Lock()
	if d.fd >= len(l.drivers) {
		l.drivers = append(l.drivers, make([]*loopDriver, d.fd+1+len(l.drivers)/2-len(l.drivers))...)
	}
	l.drivers[d.fd] = d
	l.open++
	l.mu.Unlock()
	return l.control(unix.EPOLL_CTL_ADD, d, loopEvents)
}

// remove lets go of d. Its descriptor may be another connection's as soon as it is closed.
func (l *loop) remove(d *loopDriver) {
	l.mu.Lock()
	l.drivers[d.fd] = nil
	l.open--
	l.mu.Unlock()
	l.control(unix.EPOLL_CTL_DEL, d, 0) // fails only if add did
	unix.Close(d.fd)
}

// end has run return once the last connection is gone.
func (l *loop) end() {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.wake()
}

// control tells epoll what the loop wants to hear of d.
func (l *loop) control(operation int, d *loopDriver, events uint32) error {
	var err error
	event := unix.EpollEvent{Events: events, Fd: int32(d.fd)}
	closed := l.ready.Control(func(epoll uintptr) { err = unix.EpollCtl(int(epoll), operation, d.fd, &event) })
	return errors.Join(closed, os.NewSyscallError("epoll_ctl", err))
}
