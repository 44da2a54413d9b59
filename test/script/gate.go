package script

import (
	"sync"

	"github.com/penstockmq/penstock/storage"
)

// A gate is a Store in front of another: it can hold writes back, refuse them as if the disk were full, or die with
// what was written so far, as a process does.
type gate struct {
	storage.Store
	releasing sync.WaitGroup

	mu     sync.Mutex // guards what follows; not held while calling the inner store or a Waiter
	notify func()
	held   []write // waiting, in order
	holds  bool    // new writes wait
	full   bool
	dead   bool
}

// A write is one call that waits.
type write struct {
	call   func() (pending bool, err error)
	waiter storage.Waiter
}

func newGate(inner storage.Store) *gate { return &gate{Store: inner} }

// Notify implements storage.Store.
func (g *gate) Notify(f func()) {
	g.mu.Lock()
	g.notify = f
	g.mu.Unlock()
	g.Store.Notify(f)
}

// Enqueue implements storage.Store.
func (g *gate) Enqueue(e *storage.Enqueue, w storage.Waiter) (pending bool, err error) {
	needsRoom := len(e.To) > 0 || e.Received != nil || e.Retain && len(e.Message.Payload) > 0 || puts(e.Changes)
	return g.pass(needsRoom, write{func() (bool, error) { return g.Store.Enqueue(e, w) }, w})
}

// Update implements storage.Store.
func (g *gate) Update(changes []storage.Change, w storage.Waiter) (pending bool, err error) {
	return g.pass(puts(changes), write{func() (bool, error) { return g.Store.Update(changes, w) }, w})
}

// Ack implements storage.Store.
func (g *gate) Ack(a storage.Ack, w storage.Waiter) (pending bool, err error) {
	return g.pass(false, write{func() (bool, error) { return g.Store.Ack(a, w) }, w})
}

// puts reports whether the changes need room.
func puts(changes []storage.Change) bool {
	for _, c := range changes {
		switch c.(type) {
		case storage.PutSession, storage.PutSubscription, storage.PutRetained, storage.PutReceived, storage.PutHookRecord:
			return true
		}
	}
	return false
}

func (g *gate) pass(needsRoom bool, w write) (pending bool, err error) {
	g.mu.Lock()
	switch {
	case g.dead:
		g.mu.Unlock()
		return false, storage.ErrClosed
	case g.full && needsRoom:
		g.mu.Unlock()
		return false, storage.ErrFull
	case g.holds:
		g.held = append(g.held, w)
		g.mu.Unlock()
		return true, nil
	}
	g.mu.Unlock()
	return w.call()
}

func (g *gate) set(change func(*gate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

// release lets the held writes through, in order, as one group.
func (g *gate) release() {
	g.releasing.Go(func() {
		for w, ok := g.first(); ok; w, ok = g.first() {
			pending, err := w.call()
			if !pending && w.waiter != nil {
				w.waiter.Stored(err)
			}
		}
		g.mu.Lock()
		notify := g.notify
		g.mu.Unlock()
		if notify != nil {
			notify()
		}
	})
	g.releasing.Wait()
}

// first takes the write that waits longest; when there is none, writes need not wait any more.
func (g *gate) first() (write, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.held) == 0 {
		g.holds = false
		return write{}, false
	}
	w := g.held[0]
	g.held = g.held[1:]
	return w, true
}

// die loses the writes that wait and refuses all that follow.
func (g *gate) die() {
	g.set(func(g *gate) {
		g.dead = true
		g.holds = false
		g.held = nil
	})
}
