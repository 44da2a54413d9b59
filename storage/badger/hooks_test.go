package badger_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
)

// moving is an Enqueue that moves number 1 of queue a to queue b, and notes it in a record.
func moving() *storage.Enqueue {
	return &storage.Enqueue{
		Message: &packet.Message{Topic: "t", Payload: []byte("moved"), QoS: 1},
		To:      []storage.Entry{{Session: "b", QoS: 1}},
		Changes: []storage.Change{
			storage.Ack{Session: "a", Seq: 1, Progress: storage.Done}, storage.PutHookRecord{Hook: "h", Key: "k", Value: []byte("v")},
		},
	}
}

// moved reports whether a move happened. It fails the test if a part of one did.
func moved(t *testing.T, s *badger.Store) bool {
	t.Helper()
	v := &found{hooks: make(map[string]string)}
	if err := s.Load(v); err != nil {
		t.Fatal(err)
	}
	gone, came, noted := len(payloads(t, s, "a")) == 0, slices.Equal(payloads(t, s, "b"), []string{"moved"}), v.hooks["k"] == "v"
	if gone != came || came != noted {
		t.Errorf("gone %v, came %v, noted %v", gone, came, noted)
	}
	return gone
}

// After an error of writing a move did not happen; after one of fsync it happened or it did not.
func TestFailedMove(t *testing.T) {
	broken := errors.New("input/output error")
	var fail atomic.Bool
	for name, faults := range map[string]badger.Faults{
		"write": {BeforeCommit: failing(&fail, broken)}, "fsync": {AfterCommit: failing(&fail, broken)},
	} {
		t.Run(name, func(t *testing.T) {
			fail.Store(false)
			options := badger.Options{Path: t.TempDir(), Faults: faults}
			s := open(t, options)
			put(t, s, "a", "b")
			mustSend(t, s, "kept", "a")
			fail.Store(true)
			w := newWaiter()
			if _, err := s.Enqueue(moving(), w); err != nil {
				t.Fatal(err)
			}
			if err := w.wait(t); !errors.Is(err, broken) {
				t.Errorf("the write that failed: %v", err)
			}
			s.Close()
			if moved(t, open(t, badger.Options{Path: options.Path})) && name == "write" {
				t.Error("the move happened")
			}
		})
	}
}

// On a full disk a move is refused whole, and so are records; what only forgets, and a write of nothing, pass.
func TestFullForHooks(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	s := open(t, badger.Options{Path: t.TempDir(), Reserve: 1 << 20, Faults: badger.Faults{
		Free: func() (int64, error) { return free.Load(), nil },
	}})
	put(t, s, "a", "b")
	mustSend(t, s, "kept", "a")
	update(t, s, storage.PutHookRecord{Hook: "h", Key: "old"})
	free.Store(900 << 10)
	record := storage.PutHookRecord{Hook: "h", Key: "new"}
	until(t, func() bool {
		_, err := s.Update([]storage.Change{record}, nil)
		return errors.Is(err, storage.ErrFull)
	})
	if _, err := s.Enqueue(moving(), newWaiter()); !errors.Is(err, storage.ErrFull) {
		t.Errorf("a move: %v", err)
	}
	if _, err := s.Enqueue(&storage.Enqueue{Message: message(1), Changes: []storage.Change{record}}, nil); !errors.Is(err, storage.ErrFull) {
		t.Errorf("a record with a message for nobody: %v", err)
	}
	if moved(t, s) {
		t.Error("the move happened")
	}
	update(t, s, storage.DeleteHookRecord{Hook: "h", Key: "old"}, storage.Ack{Session: "a", Seq: 1, Progress: storage.Done})
	w := newWaiter()
	if _, err := s.Enqueue(&storage.Enqueue{Message: message(1)}, w); err != nil {
		t.Errorf("nothing: %v", err)
	} else if err := w.wait(t); err != nil {
		t.Errorf("nothing: %v", err)
	}
	if left := payloads(t, s, "a"); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}
