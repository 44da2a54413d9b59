package broker

import "sync"

const (
	// One connection gives at most so many bytes to one round: a client that floods waits for the others after that. It is less
	// where outboxes are small.
	loopReadMin, loopReadMax = 4 << 10, 64 << 10
	// loopSettleReads is how many full reads there are before receivers are flushed in the middle of a round: outboxes are
	// bounded, and what is written soon is still in the processor's cache.
	loopSettleReads = 2
	// loopFew is how many connections at most are served one by one, so that what the first has sent does not wait for the others:
	// when so few are ready the loop is not busy, and has little to gather.
	loopFew = 4
)

// A loop serves connections from one goroutine: it waits for all their sockets at once, feeds what those that are ready
// have sent, in one turn, and so flushes each receiver once for all of it, unless they are few. A connection that is idle
// costs it nothing.
type loop struct {
	// Fixed when newLoop returns.
	b    *Broker
	poll poller
	done chan struct{}

	// Only the loop's goroutine touches these.
	told      []happening
	buf       []byte        // what one read takes
	active    []*loopDriver // of told, in their order
	calls     []*loopDriver // taken from called
	more      []*loopDriver // not read to the end
	spare     []*loopDriver // the memory of the last more
	unflushed int           // bytes that were fed since receivers were flushed

	mu      sync.Mutex    // guards what follows; a leaf in the lock order
	drivers []*loopDriver // by socket
	open    int           // of them
	called  []*loopDriver // each once
	asleep  bool          // or about to wait: it must be woken
	ending  bool
}

func newLoop(b *Broker, p poller) *loop {
	return &loop{
		b: b, poll: p, done: make(chan struct{}),
		buf: make([]byte, min(max(b.limits.MaxOutboxBytes/(2*loopSettleReads), loopReadMin), loopReadMax)),
	}
}

// run serves until end is called and the last connection is gone.
func (l *loop) run() {
	defer close(l.done)
	defer l.poll.close()
	for {
		l.wait()
		if !l.collect() {
			return
		}
		l.round()
	}
}

// wait waits until something happens, unless there is something to do anyway.
func (l *loop) wait() {
	l.mu.Lock()
	l.asleep = len(l.called) == 0 && len(l.more) == 0 && (!l.ending || l.open > 0)
	asleep := l.asleep
	l.mu.Unlock()
	l.told = l.poll.wait(asleep, l.told[:0])
}

// collect finds whom the events and the calls are for. It reports false when the loop is over.
func (l *loop) collect() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = false
	l.active = l.active[:0]
	for _, h := range l.told {
		l.active = append(l.active, l.drivers[h.socket]) // nil for who has just gone
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
		if i > 0 && len(l.active) <= loopFew {
			t.settle()
		}
		if d != nil {
			d.happened(t, l.told[i])
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
		l.poll.wake()
	}
}

// add begins to serve d.
func (l *loop) add(d *loopDriver) error {
	l.mu.Lock()
	if d.socket >= len(l.drivers) {
		l.drivers = append(l.drivers, make([]*loopDriver, d.socket+1+len(l.drivers)/2-len(l.drivers))...)
	}
	l.drivers[d.socket] = d
	l.open++
	l.mu.Unlock()
	return l.poll.add(d.socket)
}

// remove lets go of d. Its socket's number may be another connection's as soon as it is closed.
func (l *loop) remove(d *loopDriver) {
	l.mu.Lock()
	l.drivers[d.socket] = nil
	l.open--
	l.mu.Unlock()
	l.poll.remove(d.socket)
}

// end has run return once the last connection is gone.
func (l *loop) end() {
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	l.poll.wake()
}
