package storagetest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// patience is how long a store may take to answer a write before the test gives up on it.
const patience = 30 * time.Second

// A subject is the store under test with the words a test is written in: each writes, waits for the store's
// answer and fails the test when it is not nil.
type subject struct {
	*testing.T
	fixture Fixture
	store   storage.Store
	// notified counts the calls of the function given to Notify.
	notified atomic.Int64
}

func start(t *testing.T, f Fixture) *subject {
	s := &subject{T: t, fixture: f, store: f.Store}
	t.Cleanup(func() { s.store.Close() })
	if found := s.load(); !found.empty() {
		t.Fatalf("a new store is not empty: %+v", found)
	}
	s.store.Notify(func() { s.notified.Add(1) })
	return s
}

// reopen closes the store, opens it again and returns what it then loads.
func (s *subject) reopen() *state {
	s.Helper()
	if err := s.store.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	s.store = s.fixture.Reopen(s.T)
	found := s.load()
	s.store.Notify(func() { s.notified.Add(1) })
	return found
}

func (s *subject) load() *state {
	s.Helper()
	found := newState()
	if err := s.store.Load(found); err != nil {
		s.Fatalf("Load: %v", err)
	}
	if err := found.read(s.store); err != nil {
		s.Fatal(err)
	}
	return found
}

// A waiter takes the store's answer to one write.
type waiter struct {
	answer chan error // buffered: Stored must not block
	calls  atomic.Int32
	told   func() // called by Stored, may be nil
}

func newWaiter() *waiter { return &waiter{answer: make(chan error, 1)} }

// Stored implements storage.Waiter.
func (w *waiter) Stored(err error) {
	if w.told != nil {
		w.told()
	}
	if w.calls.Add(1) == 1 {
		w.answer <- err
	}
}

// result is what became of a write whose call returned pending and err.
func (s *subject) result(w *waiter, pending bool, err error) error {
	s.Helper()
	if !pending {
		return err
	}
	if err != nil {
		s.Fatalf("pending, and an error: %v", err)
	}
	select {
	case err := <-w.answer:
		return err
	case <-time.After(patience):
		s.Fatalf("no answer to a pending write for %v", patience)
		return nil
	}
}

func (s *subject) update(changes ...storage.Change) {
	s.Helper()
	w := newWaiter()
	pending, err := s.store.Update(changes, w)
	if err := s.result(w, pending, err); err != nil {
		s.Fatalf("Update: %v", err)
	}
}

func (s *subject) enqueue(e *storage.Enqueue) {
	s.Helper()
	w := newWaiter()
	pending, err := s.store.Enqueue(e, w)
	if err := s.result(w, pending, err); err != nil {
		s.Fatalf("Enqueue: %v", err)
	}
}

func (s *subject) ack(session string, seq uint64, p storage.Progress) {
	s.Helper()
	w := newWaiter()
	pending, err := s.store.Ack(storage.Ack{Session: session, Seq: seq, Progress: p}, w)
	if err := s.result(w, pending, err); err != nil {
		s.Fatalf("Ack: %v", err)
	}
}

func (s *subject) sessions(ids ...string) {
	s.Helper()
	for _, id := range ids {
		s.update(storage.PutSession{Session: storage.Session{ID: id, Version: 5, ExpiryInterval: 60}})
	}
}

// send enqueues a message with a payload for sessions and returns its numbers.
func (s *subject) send(payload string, sessions ...string) []uint64 {
	s.Helper()
	e := &storage.Enqueue{Message: message("t", payload)}
	for _, id := range sessions {
		e.To = append(e.To, storage.Entry{Session: id, QoS: 1})
	}
	s.enqueue(e)
	var seqs []uint64
	for _, to := range e.To {
		seqs = append(seqs, to.Seq)
	}
	return seqs
}

func message(topic, payload string) *packet.Message {
	return &packet.Message{Topic: topic, Payload: []byte(payload), QoS: 1}
}

// An eventLog notes what happened in which order, from any goroutine.
type eventLog struct {
	mu     sync.Mutex
	events []int
}

func (l *eventLog) add(event int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, event)
}

func (l *eventLog) list() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int(nil), l.events...)
}
