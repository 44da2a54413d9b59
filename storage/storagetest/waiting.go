package storagetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// notifyEvent stands in an eventLog for a call of the function given to Notify.
const notifyEvent = -1

// writeMany makes writes of every kind without waiting, notes in log when the waiter of each is told, and
// returns the waiters of those that are pending.
func (s *subject) writeMany(count int, log *eventLog) []*waiter {
	s.Helper()
	var pendingOnes []*waiter
	for i := range count {
		w := newWaiter()
		w.told = func() { log.add(i) }
		pending, err := s.writeOne(i, w)
		if err != nil {
			s.Fatalf("write %d: %v", i, err)
		}
		if pending {
			pendingOnes = append(pendingOnes, w)
		}
	}
	return pendingOnes
}

func (s *subject) writeOne(i int, w storage.Waiter) (pending bool, err error) {
	switch i % 3 {
	case 0:
		e := &storage.Enqueue{Message: message("t", fmt.Sprint(i)), To: []storage.Entry{{Session: "a", QoS: 1}}}
		return s.store.Enqueue(e, w)
	case 1:
		return s.store.Update([]storage.Change{storage.PutRetained{Message: message("t", fmt.Sprint(i))}}, w)
	}
	return s.store.Ack(storage.Ack{Session: "a", Seq: uint64(i/3 + 1), Progress: storage.Sent}, w)
}

func testWaiters(s *subject) {
	s.sessions("a")
	var log eventLog
	waiters := s.writeMany(300, &log)
	for _, w := range waiters {
		if err := s.result(w, true, nil); err != nil {
			s.Fatal(err)
		}
	}
	s.reopen() // whatever would be told twice has been told by now
	told := log.list()
	if len(told) != len(waiters) {
		s.Fatalf("%d writes were pending, and waiters were told %d times", len(waiters), len(told))
	}
	for i := 1; i < len(told); i++ {
		if told[i] <= told[i-1] {
			s.Fatalf("the waiter of write %d was told after that of write %d", told[i], told[i-1])
		}
	}
}

func testNotify(s *subject) {
	// A function given to Notify is fixed, so this test needs a store of its own.
	s.store.Close()
	s.store = s.fixture.Reopen(s.T)
	s.load()
	var log eventLog
	notified := make(chan struct{}, 1)
	s.store.Notify(func() {
		log.add(notifyEvent)
		select {
		case notified <- struct{}{}:
		default:
		}
	})
	s.sessions("a")
	waiters := s.writeMany(300, &log)
	for _, w := range waiters {
		if err := s.result(w, true, nil); err != nil {
			s.Fatal(err)
		}
	}
	deadline := time.After(patience)
	for events := log.list(); len(waiters) > 0 && events[len(events)-1] != notifyEvent; events = log.list() {
		select {
		case <-notified:
		case <-deadline:
			s.Fatalf("no call of Notify's function after the last waiter for %v", patience)
		}
	}
}

func testCloseTellsWaiters(s *subject) {
	s.sessions("a")
	var log eventLog
	waiters := s.writeMany(300, &log)
	if err := s.store.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	if told := len(log.list()); told != len(waiters) {
		s.Errorf("Close returned when %d of %d waiters were told", told, len(waiters))
	}
	s.store = s.fixture.Reopen(s.T)
	equal(s.T, "queue length", len(s.load().queues["a"]), 100)
}

func testClosed(s *subject) {
	s.sessions("a")
	for range 2 {
		if err := s.store.Close(); err != nil {
			s.Errorf("Close: %v", err)
		}
	}
	for name, write := range map[string]func(storage.Waiter) (bool, error){
		"Enqueue": func(w storage.Waiter) (bool, error) {
			return s.store.Enqueue(&storage.Enqueue{Message: message("t", "x"), To: []storage.Entry{{Session: "a"}}}, w)
		},
		"Update": func(w storage.Waiter) (bool, error) {
			return s.store.Update([]storage.Change{storage.DeleteSession{ID: "a"}}, w)
		},
		"Enqueue of nothing": func(w storage.Waiter) (bool, error) {
			return s.store.Enqueue(&storage.Enqueue{Message: message("t", "x")}, w)
		},
		"Ack": func(w storage.Waiter) (bool, error) {
			return s.store.Ack(storage.Ack{Session: "a", Seq: 1, Progress: storage.Done}, w)
		},
	} {
		w := newWaiter()
		pending, err := write(w)
		if pending || !errors.Is(err, storage.ErrClosed) || w.calls.Load() != 0 {
			s.Errorf("%s after Close: pending %v, error %v, waiter told %d times", name, pending, err, w.calls.Load())
		}
	}
	if err := s.store.Load(newState()); !errors.Is(err, storage.ErrClosed) {
		s.Errorf("Load after Close: %v", err)
	}
	one := storage.ReadLimit{Entries: 1, Bytes: 1}
	err := s.store.Read("a", 1, one, func(storage.Entry, storage.Progress, *packet.Message) bool { return true })
	if !errors.Is(err, storage.ErrClosed) {
		s.Errorf("Read after Close: %v", err)
	}
	s.store = s.fixture.Reopen(s.T)
	found := s.load()
	equal(s.T, "sessions", len(found.sessions), 1)
	equal(s.T, "queue length", len(found.queues["a"]), 0)
}

// Each writer sends to a queue of its own and to one that all share, and acknowledges half of its own.
func testConcurrent(s *subject) {
	const writers, each = 8, 200
	s.sessions("shared")
	for i := range writers {
		s.sessions(fmt.Sprint(i))
	}
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() { s.writeAlone(fmt.Sprint(i), each) })
	}
	group.Wait()
	found := s.reopen()
	seen := make(map[string]int) // by writer: how many of its messages came
	for i, q := range found.queues["shared"] {
		if q.Entry.Seq != uint64(i+1) {
			s.Fatalf("shared queue: number %d stands at place %d", q.Entry.Seq, i+1)
		}
		writer := q.Message.Topic
		if want := fmt.Sprint(seen[writer]); string(q.Message.Payload) != want {
			s.Fatalf("writer %s: message %s comes when %s should", writer, q.Message.Payload, want)
		}
		seen[writer]++
	}
	for i := range writers {
		id := fmt.Sprint(i)
		equal(s.T, "messages of writer "+id+" in the shared queue", seen[id], each)
		equal(s.T, "messages left in its own", len(found.queues[id]), each/2)
	}
}

func (s *subject) writeAlone(id string, count int) {
	for i := range count {
		e := &storage.Enqueue{
			Message: message(id, fmt.Sprint(i)),
			To:      []storage.Entry{{Session: id, QoS: 1}, {Session: "shared", QoS: 1}},
		}
		w := newWaiter()
		pending, err := s.store.Enqueue(e, w)
		if err != nil {
			s.Errorf("Enqueue: %v", err)
			return
		}
		if i%2 == 0 {
			continue
		}
		if pending {
			err = <-w.answer
		}
		if err != nil || e.To[0].Seq != uint64(i+1) {
			s.Errorf("writer %s: message %d got number %d, error %v", id, i, e.To[0].Seq, err)
			return
		}
		if _, err := s.store.Ack(storage.Ack{Session: id, Seq: e.To[0].Seq, Progress: storage.Done}, nil); err != nil {
			s.Errorf("Ack: %v", err)
			return
		}
	}
}
