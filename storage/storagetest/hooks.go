package storagetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/penstockmq/penstock/storage"
)

// The largest key and value that a hook may have.
const (
	hookKeyMax   = 1 << 10
	hookValueMax = 1 << 20
)

func testHookRecords(s *subject) {
	long := strings.Repeat("k", hookKeyMax)
	large := slices.Repeat([]byte{0, 255}, hookValueMax/2)
	buffer := []byte("first")
	s.update(storage.PutHookRecord{Hook: "h", Key: "k", Value: buffer})
	copy(buffer, "xxxxx") // it is the hook's own
	equal(s.T, "records", s.reopen().hooks, map[hookKey]string{{"h", "k"}: "first"})
	s.update(
		storage.PutHookRecord{Hook: "h", Key: "k", Value: []byte("second")},
		storage.PutHookRecord{Hook: "h", Key: long + "1", Value: large}, storage.PutHookRecord{Hook: "h", Key: long + "2"},
		storage.PutHookRecord{Hook: "hk", Value: []byte("no key")}, storage.PutHookRecord{Key: "hk", Value: []byte("no hook")},
		storage.PutHookRecord{Hook: "h", Key: "gone", Value: []byte("x")}, storage.PutHookRecord{Hook: "other", Key: "gone", Value: []byte("y")},
	)
	s.update(
		storage.DeleteHookRecord{Hook: "h", Key: "gone"}, storage.DeleteHookRecord{Hook: "h", Key: long + "2"},
		storage.DeleteHookRecord{Hook: "nobody", Key: "k"}, storage.DeleteHookRecord{Hook: "h", Key: long},
	)
	for range 2 { // the second time from what the first reopening may have rewritten
		equal(s.T, "records", s.reopen().hooks, map[hookKey]string{
			{"h", "k"}: "second", {"h", long + "1"}: string(large), {"hk", ""}: "no key", {"", "hk"}: "no hook", {"other", "gone"}: "y",
		})
	}
}

func testHookQueue(s *subject) {
	record := storage.Session{ID: "q", Hook: "channel", ClientID: "orders"}
	s.sessions("a")
	s.update(storage.PutSession{Session: record})
	equal(s.T, "numbers", s.send("one", "q", "a"), []uint64{1, 1})
	s.send("two", "q", "a")
	s.ack("q", 1, storage.Done)
	found := s.reopen()
	equal(s.T, "record", found.sessions["q"], record)
	equal(s.T, "hook of a session", found.sessions["a"].Hook, "")
	equal(s.T, "queue", found.payloads("q"), []string{"two"})
	s.update(storage.DeleteSession{ID: "q"})
	found = s.reopen()
	equal(s.T, "queue of the session", found.payloads("a"), []string{"one", "two"})
	equal(s.T, "sessions", len(found.sessions), 1)
}

func testAckInUpdate(s *subject) {
	s.sessions("a", "b")
	for i := range 4 {
		s.send(fmt.Sprint(i+1), "a", "b")
	}
	s.update(
		storage.Ack{Session: "a", Seq: 3, Progress: storage.Done}, storage.PutHookRecord{Hook: "h", Key: "k", Value: []byte("v")},
		storage.Ack{Session: "b", Seq: 1, Progress: storage.Done}, storage.Ack{Session: "a", Seq: 1, Progress: storage.Sent},
		storage.Ack{Session: "nobody", Seq: 1, Progress: storage.Done}, storage.Ack{Session: "a", Progress: storage.Done},
		storage.Ack{Session: "a", Seq: 5, Progress: storage.Done},
	)
	s.update(storage.Ack{Session: "a", Seq: 3, Progress: storage.Sent}) // never back
	found := s.reopen()
	equal(s.T, "queue of a", found.payloads("a"), []string{"1", "2", "4"})
	equal(s.T, "progress", found.queues["a"][0].Progress, storage.Sent)
	equal(s.T, "queue of b", found.payloads("b"), []string{"2", "3", "4"})
	equal(s.T, "records", found.hooks, map[hookKey]string{{"h", "k"}: "v"})
	equal(s.T, "numbers", s.send("5", "a"), []uint64{5})
}

func testEnqueueChanges(s *subject) {
	s.sessions("a", "b")
	s.send("one", "a", "b")
	e := &storage.Enqueue{
		Message: message("t", "two"),
		To:      []storage.Entry{{Session: "b", QoS: 1}, {Session: "late", QoS: 1}},
		Changes: []storage.Change{
			storage.PutSession{Session: storage.Session{ID: "late", Version: 5}}, // comes after the message
			storage.Ack{Session: "a", Seq: 1, Progress: storage.Done},
			storage.Ack{Session: "b", Seq: 2, Progress: storage.Sent}, // of the message itself
			storage.Ack{Session: "nobody", Seq: 1, Progress: storage.Done},
			storage.PutSubscription{Subscription: storage.Subscription{Session: "nobody", Filter: "t"}},
			storage.PutHookRecord{Hook: "h", Key: "id", Value: []byte("v")},
		},
	}
	s.enqueue(e)
	equal(s.T, "numbers", []uint64{e.To[0].Seq, e.To[1].Seq}, []uint64{2, 0})
	found := s.reopen()
	equal(s.T, "queue of a", found.payloads("a"), []string(nil))
	equal(s.T, "queue of b", found.payloads("b"), []string{"one", "two"})
	equal(s.T, "progress", found.queues["b"][1].Progress, storage.Sent)
	equal(s.T, "queue of late", found.payloads("late"), []string(nil))
	equal(s.T, "records", found.hooks, map[hookKey]string{{"h", "id"}: "v"})
	equal(s.T, "subscriptions", len(found.subscriptions), 0)
	equal(s.T, "sessions", len(found.sessions), 3)
}

func testEnqueueChangesForNobody(s *subject) {
	s.sessions("a")
	s.send("one", "a")
	s.enqueue(&storage.Enqueue{
		Message: message("t", "x"), To: []storage.Entry{{Session: "nobody", QoS: 1}},
		Changes: []storage.Change{
			storage.Ack{Session: "a", Seq: 1, Progress: storage.Done}, storage.PutHookRecord{Hook: "h", Key: "k", Value: []byte("v")},
		},
	})
	found := s.reopen()
	equal(s.T, "queue", found.payloads("a"), []string(nil))
	equal(s.T, "records", found.hooks, map[hookKey]string{{"h", "k"}: "v"})
}

func testLargeWrite(s *subject) {
	const count, acks = 24, 3000
	s.sessions("a")
	want := make(map[hookKey]string)
	var changes []storage.Change
	for i := range count {
		p := storage.PutHookRecord{Hook: "h", Key: fmt.Sprint(i), Value: slices.Repeat([]byte{byte(i)}, hookValueMax)}
		want[hookKey{p.Hook, p.Key}] = string(p.Value)
		changes = append(changes, p)
	}
	for i := range acks {
		if i > 0 { // the last one is not acknowledged
			changes = append(changes, storage.Ack{Session: "a", Seq: uint64(i), Progress: storage.Done})
		}
		s.writeUnawaited(fmt.Sprint(i + 1))
	}
	s.enqueue(&storage.Enqueue{Message: message("t", "last"), To: []storage.Entry{{Session: "a", QoS: 1}}, Changes: changes})
	found := s.reopen()
	equal(s.T, "records are right", maps.Equal(found.hooks, want), true)
	equal(s.T, "queue", found.payloads("a"), []string{fmt.Sprint(acks), "last"})
	s.send("after", "a")
	equal(s.T, "queue", s.reopen().payloads("a"), []string{fmt.Sprint(acks), "last", "after"})
}

// writeUnawaited sends to session a and does not wait.
func (s *subject) writeUnawaited(payload string) {
	s.Helper()
	e := &storage.Enqueue{Message: message("t", payload), To: []storage.Entry{{Session: "a", QoS: 1}}}
	if _, err := s.store.Enqueue(e, nil); err != nil {
		s.Fatalf("Enqueue: %v", err)
	}
}

func testEnqueueNothing(s *subject) {
	s.sessions("a")
	var log eventLog
	var pendingOnes []*waiter
	const count = 50
	for i := range count {
		w := newWaiter()
		w.told = func() { log.add(i) }
		e := &storage.Enqueue{Message: message("t", "x")}
		if i%2 == 0 {
			e.To = []storage.Entry{{Session: "a", QoS: 1}}
		}
		pending, err := s.store.Enqueue(e, w)
		if err != nil {
			s.Fatalf("Enqueue: %v", err)
		}
		if pending {
			pendingOnes = append(pendingOnes, w)
		}
	}
	for _, w := range pendingOnes {
		if err := s.result(w, true, nil); err != nil {
			s.Fatal(err)
		}
	}
	found := s.reopen() // whatever would be told twice has been told by now
	told := log.list()
	if !slices.IsSorted(told) || len(told) != len(pendingOnes) || len(told) != 0 && len(told) != count {
		s.Errorf("of %d pending waiters %d were told, in this order: %v", len(pendingOnes), len(told), told)
	}
	equal(s.T, "messages", len(found.queues["a"]), count/2)
}
