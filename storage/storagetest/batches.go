package storagetest

import (
	"fmt"

	"github.com/penstockmq/penstock/storage"
)

// enqueueAll hands over messages with payloads for receivers that are online, and returns their numbers without waiting.
func (s *subject) enqueueAll(b storage.Batcher, w storage.Waiter, session string, payloads ...string) (numbers []uint64, pending bool) {
	s.Helper()
	var batch []storage.Enqueue
	for _, payload := range payloads {
		batch = append(batch, storage.Enqueue{Message: message("t", payload), To: []storage.Entry{{Session: session, QoS: 1, Live: true}}})
	}
	pending, err := b.EnqueueAll(batch, w)
	if err != nil {
		s.Fatalf("EnqueueAll: %v", err)
	}
	for _, e := range batch {
		numbers = append(numbers, e.To[0].Seq)
	}
	return numbers, pending
}

// telling tells Waiters as the store itself would.
type telling struct{}

func (telling) Tell(w storage.Waiter) { w.Stored(nil) }

// testBatch: a batch is numbered at once and in order, and what nobody acknowledged is there once the waiter is told.
func testBatch(s *subject) {
	b, ok := s.store.(storage.Batcher)
	if !ok {
		s.Skip("no Batcher")
	}
	s.sessions("a")
	w := newWaiter()
	numbers, pending := s.enqueueAll(b, w, "a", "1", "2", "3")
	equal(s.T, "numbers", numbers, []uint64{1, 2, 3})
	if err := s.result(w, pending, nil); err != nil {
		s.Fatal(err)
	}
	equal(s.T, "numbers", s.send("4", "a"), []uint64{4})
	if err := b.AckAll([]storage.Ack{{Session: "a", Seq: 2, Progress: storage.Done}, {Session: "b", Seq: 1, Progress: storage.Done}}, telling{}); err != nil {
		s.Fatal(err)
	}
	equal(s.T, "queue", s.reopen().payloads("a"), []string{"1", "3", "4"})
}

// testBatchDoneEarly: what is acknowledged before the waiter is told never comes back, whether it was written or not; the rest is
// there, and numbers go on.
func testBatchDoneEarly(s *subject) {
	b, ok := s.store.(storage.Batcher)
	if !ok {
		s.Skip("no Batcher")
	}
	s.sessions("a")
	const count = 100
	var want []string
	for i := range uint64(count) {
		w := newWaiter()
		payload := fmt.Sprint(3*i + 2)
		_, pending := s.enqueueAll(b, w, "a", fmt.Sprint(3*i+1), payload, fmt.Sprint(3*i+3))
		acks := []storage.Ack{{Session: "a", Seq: 3*i + 3, Progress: storage.Done}, {Session: "a", Seq: 3*i + 1, Progress: storage.Done}}
		if i%2 == 0 {
			acks = append(acks, storage.Ack{Session: "a", Seq: 3*i + 2, Progress: storage.Done})
		} else {
			want = append(want, payload)
		}
		if err := b.AckAll(acks, telling{}); err != nil {
			s.Fatal(err)
		}
		if err := s.result(w, pending, nil); err != nil {
			s.Fatal(err)
		}
	}
	found := s.reopen()
	equal(s.T, "queue", found.payloads("a"), want)
	equal(s.T, "next number", found.next["a"], uint64(3*count+1))
}

// testSkip: a queue goes on behind the numbers that were skipped, whether something was in it or not, and nothing is missing
// after that.
func testSkip(s *subject) {
	b, ok := s.store.(storage.Batcher)
	if !ok {
		s.Skip("no Batcher")
	}
	s.sessions("a", "b", "c")
	s.send("1", "a")
	w := newWaiter()
	pending, err := b.Skip([]string{"a", "b", "unknown"}, storage.SkipAfterCrash, w)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.result(w, pending, nil); err != nil {
		s.Fatal(err)
	}
	equal(s.T, "numbers", s.send("2", "a", "b", "c"), []uint64{2 + storage.SkipAfterCrash, 1 + storage.SkipAfterCrash, 1})
	found := s.reopen()
	equal(s.T, "queue", found.payloads("a"), []string{"1", "2"})
	equal(s.T, "queue", found.payloads("b"), []string{"2"})
	equal(s.T, "next number", found.next["a"], uint64(3+storage.SkipAfterCrash))
}
