package storagetest

import (
	"slices"
	"sync"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// Held makes any Store one whose word is awaited. By Hold it keeps every write back, in order, until the test
// says what becomes of it; by HoldAsync it makes them in groups on a goroutine of its own, as a store with
// group commit would. It proves that an acknowledgement waits for the store.
//
// The entries' numbers are set when the write is made, not when it is called, and an
// Enqueue belongs to the store until then. A write nobody waits for is made in its turn, and not counted.
type Held struct {
	// Fixed when it is made.
	inner storage.Store
	async bool

	// making is held by whoever makes writes, so that they stay in order and Waiters hear on
	// one goroutine at a time. It is taken before mu.
	making sync.Mutex

	mu      sync.Mutex // guards what follows
	changed *sync.Cond // with async: something waits, or closed
	queue   []heldWrite
	notify  func()
	closed  bool
	worker  sync.WaitGroup
}

// A heldWrite is one call that was not made yet.
type heldWrite struct {
	waiter storage.Waiter // nil if nobody waits
	make   func() error
}

// Hold wraps a Store whose writes are never pending. Nothing is written until Release, ReleaseAll, Fail or Close.
func Hold(inner storage.Store) *Held {
	h := &Held{inner: inner, notify: func() {}}
	h.changed = sync.NewCond(&h.mu)
	return h
}

// HoldAsync wraps a Store whose writes are never pending. Each group of writes is made on a goroutine that ends with Close.
func HoldAsync(inner storage.Store) *Held {
	h := Hold(inner)
	h.async = true
	h.worker.Go(h.work)
	return h
}

// Waiting is how many writes somebody waits for.
func (h *Held) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, w := range h.queue {
		if w.waiter != nil {
			n++
		}
	}
	return n
}

// Release makes the oldest n writes that somebody waits for (and those between that nobody waits for), tells
// their Waiters and then notifies, as one group. It returns how many there were.
func (h *Held) Release(n int) int {
	return h.settle(n, nil)
}

// ReleaseAll makes every write and returns how many somebody waited for.
func (h *Held) ReleaseAll() int { return h.settle(-1, nil) }

// Fail tells everyone who waits that the write failed with err and makes none of them. It returns how many there were.
func (h *Held) Fail(err error) int { return h.settle(-1, err) }

// Lose forgets every write without a word to anyone, as a power cut does. It returns how many somebody waited for.
func (h *Held) Lose() int {
	h.making.Lock()
	defer h.making.Unlock()
	lost := 0
	for _, w := range h.take(-1) {
		if w.waiter != nil {
			lost++
		}
	}
	return lost
}

// settle makes up to n awaited writes (all, if n < 0), or fails them with err.
func (h *Held) settle(n int, err error) int {
	h.making.Lock()
	defer h.making.Unlock()
	told := 0
	for _, w := range h.take(n) {
		answer := err
		if err == nil || w.waiter == nil {
			answer = w.make()
		}
		if w.waiter != nil {
			w.waiter.Stored(answer)
			told++
		}
	}
	h.mu.Lock()
	notify := h.notify
	h.mu.Unlock()
	if told > 0 {
		notify()
	}
	return told
}

// take removes the oldest n awaited writes (all, if n < 0) and the unawaited ones up to the next.
func (h *Held) take(n int) []heldWrite {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := 0
	for ; end < len(h.queue); end++ {
		if h.queue[end].waiter == nil {
			continue
		}
		if n == 0 {
			break
		}
		n--
	}
	taken := h.queue[:end:end]
	h.queue = h.queue[end:]
	return taken
}

// work makes groups of writes until the store is closed and nothing is left.
func (h *Held) work() {
	for {
		h.mu.Lock()
		for len(h.queue) == 0 && !h.closed {
			h.changed.Wait()
		}
		done := len(h.queue) == 0
		h.mu.Unlock()
		if done {
			return
		}
		h.settle(-1, nil)
	}
}

// add queues a write behind those before it, whether somebody waits for it or not.
func (h *Held) add(w storage.Waiter, write func() error) (pending bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false, storage.ErrClosed
	}
	h.queue = append(h.queue, heldWrite{waiter: w, make: write})
	h.changed.Signal()
	return true, nil
}

// Load implements storage.Store.
func (h *Held) Load(v storage.Visitor) error { return h.inner.Load(v) }

// Read implements storage.Store. It sees what was made, not what is held.
func (h *Held) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(e storage.Entry, p storage.Progress, m *packet.Message) bool,
) error {
	return h.inner.Read(session, from, limit, visit)
}

// Notify implements storage.Store.
func (h *Held) Notify(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notify = f
}

// Enqueue implements storage.Store.
func (h *Held) Enqueue(e *storage.Enqueue, w storage.Waiter) (pending bool, err error) {
	return h.add(w, func() error {
		_, err := h.inner.Enqueue(e, nil)
		return err
	})
}

// Update implements storage.Store.
func (h *Held) Update(changes []storage.Change, w storage.Waiter) (pending bool, err error) {
	changes = slices.Clone(changes) // the caller may use its slice again
	return h.add(w, func() error {
		_, err := h.inner.Update(changes, nil)
		return err
	})
}

// Ack implements storage.Store.
func (h *Held) Ack(a storage.Ack, w storage.Waiter) (pending bool, err error) {
	return h.add(w, func() error {
		_, err := h.inner.Ack(a, nil)
		return err
	})
}

// Close makes every write that is held, as Close of any Store does, and closes the Store inside. For a
// crash call Lose before.
func (h *Held) Close() error {
	h.mu.Lock()
	h.closed = true
	h.changed.Broadcast()
	h.mu.Unlock()
	h.worker.Wait()
	h.ReleaseAll()
	return h.inner.Close()
}
