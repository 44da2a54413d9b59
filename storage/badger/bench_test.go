package badger_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
)

// put makes sessions with the identifiers given.
func put(t testing.TB, s storage.Store, ids ...string) {
	t.Helper()
	for _, id := range ids {
		update(t, s, storage.PutSession{Session: storage.Session{ID: id, ClientID: id, Version: 5, ExpiryInterval: 3600}})
	}
}

func update(t testing.TB, s storage.Store, changes ...storage.Change) {
	t.Helper()
	w := newWaiter()
	if _, err := s.Update(changes, w); err != nil {
		t.Fatal(err)
	}
	if err := w.wait(t); err != nil {
		t.Fatal(err)
	}
}

// A waiter takes the store's answer.
type waiter chan error

func newWaiter() waiter { return make(waiter, 1) }

// Stored implements storage.Waiter.
func (w waiter) Stored(err error) { w <- err }

func (w waiter) wait(t testing.TB) error {
	t.Helper()
	select {
	case err := <-w:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("no answer from the store")
		return nil
	}
}

func message(size int) *packet.Message {
	return &packet.Message{Topic: "bench/topic", Payload: slices.Repeat([]byte{'x'}, size), Publisher: "publisher", QoS: 1, Received: 1}
}

// A window lets a writer have so many writes unanswered, and notes how long each took.
type window struct {
	slots chan struct{}
	mu    sync.Mutex
	took  []time.Duration
	err   error
}

type slot struct {
	*window
	begun time.Time
}

// Stored implements storage.Waiter.
func (s slot) Stored(err error) {
	s.mu.Lock()
	s.took = append(s.took, time.Since(s.begun))
	if err != nil {
		s.err = err
	}
	s.mu.Unlock()
	<-s.slots
}

func (w *window) enqueue(t testing.TB, s storage.Store, m *packet.Message, sessions ...string) {
	e := &storage.Enqueue{Message: m}
	for _, id := range sessions {
		e.To = append(e.To, storage.Entry{Session: id, QoS: 1})
	}
	w.slots <- struct{}{}
	if _, err := s.Enqueue(e, slot{w, time.Now()}); err != nil {
		<-w.slots
		t.Error(err)
	}
}

// drain waits until everything was answered.
func (w *window) drain() {
	for range cap(w.slots) {
		w.slots <- struct{}{}
	}
}

// Ten publishers with a window of 100 each write 64 bytes to ten offline sessions, fsynced.
func BenchmarkGroupCommit(b *testing.B) {
	s := open(b, badger.Options{Path: b.TempDir()})
	const publishers = 10
	windows := make([]*window, publishers)
	for i := range windows {
		put(b, s, fmt.Sprint(i))
		windows[i] = &window{slots: make(chan struct{}, 100)}
	}
	m := message(64)
	b.ResetTimer()
	var group sync.WaitGroup
	for i, w := range windows {
		group.Go(func() {
			for range b.N/publishers + 1 {
				w.enqueue(b, s, m, fmt.Sprint(i))
			}
			w.drain()
		})
	}
	group.Wait()
	b.StopTimer()
	var took []time.Duration
	for _, w := range windows {
		took = append(took, w.took...)
	}
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	st := s.Stats()
	b.ReportMetric(float64(len(took))/float64(st.Commits), "msg/commit")
}

// One publisher with a window of one, against the same bytes appended to a plain file with fdatasync, in turns.
func BenchmarkLoneWriter(b *testing.B) {
	folder := b.TempDir()
	s := open(b, badger.Options{Path: filepath.Join(folder, "store")})
	put(b, s, "a")
	f, err := os.Create(filepath.Join(folder, "plain"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	m, plain := message(64), make([]byte, 64+24)
	var store, file time.Duration
	for b.Loop() {
		begun := time.Now()
		w := newWaiter()
		if _, err := s.Enqueue(&storage.Enqueue{Message: m, To: []storage.Entry{{Session: "a", QoS: 1}}}, w); err != nil {
			b.Fatal(err)
		}
		if err := w.wait(b); err != nil {
			b.Fatal(err)
		}
		store += time.Since(begun)
		begun = time.Now()
		if _, err := f.Write(plain); err != nil {
			b.Fatal(err)
		}
		if err := dataSync(f); err != nil {
			b.Fatal(err)
		}
		file += time.Since(begun)
	}
	b.ReportMetric(float64(store.Microseconds())/float64(b.N), "store-µs")
	b.ReportMetric(float64(file.Microseconds())/float64(b.N), "file-µs")
	b.ReportMetric(float64(store)/float64(file), "ratio")
}
