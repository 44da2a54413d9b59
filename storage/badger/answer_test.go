package badger

import (
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// An answer is what became of a write; it has room for one.
type answer chan error

// Stored implements storage.Waiter.
func (a answer) Stored(err error) { a <- err }

// mustWrite begins a write and waits until it is on disk.
func mustWrite(t *testing.T, begin func(w storage.Waiter) (pending bool, err error)) {
	t.Helper()
	w := make(answer, 1)
	if _, err := begin(w); err != nil {
		t.Fatal(err)
	}
	if err := <-w; err != nil {
		t.Fatal(err)
	}
}

func mustUpdate(t *testing.T, s *Store, changes ...storage.Change) {
	t.Helper()
	mustWrite(t, func(w storage.Waiter) (bool, error) { return s.Update(changes, w) })
}

func mustEnqueue(t *testing.T, s *Store, e *storage.Enqueue) {
	t.Helper()
	mustWrite(t, func(w storage.Waiter) (bool, error) { return s.Enqueue(e, w) })
}

// mustSend enqueues a message with QoS 1.
func mustSend(t *testing.T, s *Store, payload string, sessions ...string) {
	t.Helper()
	e := &storage.Enqueue{Message: &packet.Message{Topic: "t", Payload: []byte(payload)}}
	for _, id := range sessions {
		e.To = append(e.To, storage.Entry{Session: id, QoS: 1})
	}
	mustEnqueue(t, s, e)
}
