package storagetest_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
)

// The suite holds for a store that is pending, too.
func TestRunOverAsyncHeld(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Fixture {
		inner := memory.New()
		return storagetest.Fixture{
			Store: storagetest.HoldAsync(inner),
			Reopen: func(*testing.T) storage.Store {
				inner = inner.Reopen()
				return storagetest.HoldAsync(inner)
			},
		}
	})
}

// A record of what waiters heard: the write's name, and its error if there was one.
type heard struct{ list []string }

func (h *heard) waiter(name string) storage.Waiter { return named{name, h} }

type named struct {
	name string
	all  *heard
}

func (n named) Stored(err error) {
	text := n.name
	if err != nil {
		text += ": " + err.Error()
	}
	n.all.list = append(n.all.list, text)
}

// held is a Held with session a, and what its waiters and Notify's function tell.
func held(t *testing.T) (*storagetest.Held, *memory.Store, *heard) {
	t.Helper()
	inner := memory.New()
	h := storagetest.Hold(inner)
	t.Cleanup(func() { h.Close() })
	var told heard
	h.Notify(func() { told.list = append(told.list, "notify") })
	h.Update([]storage.Change{storage.PutSession{Session: storage.Session{ID: "a"}}}, nil)
	h.ReleaseAll()
	return h, inner, &told
}

func enqueue(t *testing.T, h *storagetest.Held, payload string, w storage.Waiter) *storage.Enqueue {
	t.Helper()
	e := &storage.Enqueue{
		Message: &packet.Message{Topic: "t", Payload: []byte(payload)}, To: []storage.Entry{{Session: "a", QoS: 1}},
	}
	if pending, err := h.Enqueue(e, w); !pending || err != nil {
		t.Fatalf("Enqueue: pending %v, error %v", pending, err)
	}
	return e
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// queue lists the payloads stored for session a.
func queue(t *testing.T, s storage.Store) []string {
	t.Helper()
	var list []string
	all := storage.ReadLimit{Entries: math.MaxInt, Bytes: math.MaxInt64}
	err := s.Read("a", 1, all, func(_ storage.Entry, _ storage.Progress, m *packet.Message) bool {
		list = append(list, string(m.Payload))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Nothing is stored, numbered or told before its release, and a release takes the oldest.
func TestHeldReleasesInOrder(t *testing.T) {
	h, inner, told := held(t)
	first := enqueue(t, h, "one", told.waiter("one"))
	enqueue(t, h, "unwaited", nil)
	enqueue(t, h, "two", told.waiter("two"))
	enqueue(t, h, "three", told.waiter("three"))
	if h.Waiting() != 3 || len(told.list) != 0 || first.To[0].Seq != 0 {
		t.Fatalf("before: waiting %d, told %q, number %d", h.Waiting(), told.list, first.To[0].Seq)
	}
	same(t, "stored before", queue(t, inner), nil)

	h.Release(1)
	same(t, "told", told.list, []string{"one", "notify"})
	same(t, "stored", queue(t, inner), []string{"one", "unwaited"})
	if h.Waiting() != 2 || first.To[0].Seq != 1 {
		t.Errorf("after one: waiting %d, number %d", h.Waiting(), first.To[0].Seq)
	}
	h.ReleaseAll()
	same(t, "told", told.list, []string{"one", "notify", "two", "three", "notify"})
	same(t, "stored", queue(t, inner), []string{"one", "unwaited", "two", "three"})
}

// A failed write leaves nothing behind and the next can succeed.
func TestHeldFails(t *testing.T) {
	h, inner, told := held(t)
	enqueue(t, h, "one", told.waiter("one"))
	enqueue(t, h, "two", told.waiter("two"))
	h.Fail(errors.New("full"))
	enqueue(t, h, "three", told.waiter("three"))
	h.ReleaseAll()
	same(t, "told", told.list, []string{"one: full", "two: full", "notify", "three", "notify"})
	same(t, "stored", queue(t, inner), []string{"three"})
}

// A crash loses what was held and tells nobody; an orderly Close loses nothing.
func TestHeldLosesOrCloses(t *testing.T) {
	h, inner, told := held(t)
	enqueue(t, h, "lost", told.waiter("lost"))
	if lost := h.Lose(); lost != 1 {
		t.Errorf("lost %d", lost)
	}
	enqueue(t, h, "kept", told.waiter("kept"))
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, "told", told.list, []string{"kept", "notify"})
	same(t, "stored", queue(t, inner.Reopen()), []string{"kept"})
}
