package storagetest

import (
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// read lists what one Read visits.
func (s *subject) read(session string, from uint64, limit storage.ReadLimit) []queued {
	s.Helper()
	var list []queued
	err := s.store.Read(session, from, limit, func(e storage.Entry, p storage.Progress, m *packet.Message) bool {
		if len(e.SubscriptionIDs) == 0 {
			e.SubscriptionIDs = nil
		}
		list = append(list, queued{Entry: e, Progress: p, Message: plain(m)})
		return true
	})
	if err != nil {
		s.Fatalf("Read: %v", err)
	}
	return list
}

// numbers lists the numbers of what one Read visits.
func (s *subject) numbers(session string, from uint64, limit storage.ReadLimit) []uint64 {
	s.Helper()
	var seqs []uint64
	for _, q := range s.read(session, from, limit) {
		seqs = append(seqs, q.Entry.Seq)
	}
	return seqs
}

func testRead(s *subject) {
	s.sessions("a", "b")
	for i := range 6 {
		s.send(fmt.Sprint("1234567", i), "a", "b") // 9 bytes with the topic
	}
	s.ack("a", 2, storage.Done)
	s.ack("a", 3, storage.Sent)
	for range 2 { // while the store is as it was written, and after reopening
		for _, c := range []struct {
			from  uint64
			limit storage.ReadLimit
			want  []uint64
		}{
			{0, storage.ReadLimit{Entries: 100, Bytes: 1000}, []uint64{1, 3, 4, 5, 6}},
			{1, storage.ReadLimit{Entries: 2, Bytes: 1000}, []uint64{1, 3}},
			{2, storage.ReadLimit{Entries: 1, Bytes: 1000}, []uint64{3}},
			{4, storage.ReadLimit{Entries: 100, Bytes: 1000}, []uint64{4, 5, 6}},
			{1, storage.ReadLimit{Entries: 100, Bytes: 27}, []uint64{1, 3, 4}},
			{1, storage.ReadLimit{Entries: 100, Bytes: 26}, []uint64{1, 3}},
			{1, storage.ReadLimit{Entries: 100, Bytes: 1}, []uint64{1}},
			{7, storage.ReadLimit{Entries: 100, Bytes: 1000}, nil},
			{math.MaxUint64, storage.ReadLimit{Entries: 100, Bytes: 1000}, nil},
		} {
			equal(s.T, fmt.Sprintf("read from %d, %+v", c.from, c.limit), s.numbers("a", c.from, c.limit), c.want)
		}
		first := s.read("a", 3, storage.ReadLimit{Entries: 1, Bytes: 1})
		want := queued{Entry: storage.Entry{Session: "a", Seq: 3, QoS: 1}, Progress: storage.Sent, Message: *message("t", "12345672")}
		equal(s.T, "what is read", first, []queued{want})
		equal(s.T, "queue of nobody", s.numbers("nobody", 1, storage.ReadLimit{Entries: 9, Bytes: 9}), []uint64(nil))
		s.reopen()
	}
}

func testReadStops(s *subject) {
	s.sessions("a")
	for range 5 {
		s.send("x", "a")
	}
	calls := 0
	err := s.store.Read("a", 1, storage.ReadLimit{Entries: 100, Bytes: 1000}, func(storage.Entry, storage.Progress, *packet.Message) bool {
		calls++
		return calls < 2
	})
	equal(s.T, "error", err, error(nil))
	equal(s.T, "calls", calls, 2)
}

// A queue is longer than anything a store may read ahead, and each number is read at once after it was told.
func testReadFollowsWrites(s *subject) {
	s.sessions("a")
	const count = 300
	one := storage.ReadLimit{Entries: 10, Bytes: 1000}
	for i := range uint64(count) {
		s.send(fmt.Sprint(i+1), "a")
		equal(s.T, "read", s.numbers("a", i+1, one), []uint64{i + 1})
	}
	for i := range uint64(count) {
		s.ack("a", i+1, storage.Done)
		got := s.numbers("a", 1, storage.ReadLimit{Entries: 1, Bytes: 1000})
		if i+1 < count {
			equal(s.T, "head", got, []uint64{i + 2})
		} else {
			equal(s.T, "head", got, []uint64(nil))
		}
	}
	s.update(storage.DeleteSession{ID: "a"})
	equal(s.T, "queue of a deleted session", s.numbers("a", 1, one), []uint64(nil))
}

// Readers see a queue in order and never too little while writers add to it and acknowledge.
func testConcurrentRead(s *subject) {
	s.sessions("a")
	const count = 500
	failed := make(chan error, 1)
	go func() { failed <- s.readAlong(count) }()
	for range count {
		s.send("x", "a")
	}
	if err := <-failed; err != nil {
		s.Fatal(err)
	}
}

func (s *subject) readAlong(count uint64) error {
	limit := storage.ReadLimit{Entries: 7, Bytes: 1000}
	for next := uint64(1); next <= count; {
		before := next
		var wrong error
		err := s.store.Read("a", next, limit, func(e storage.Entry, _ storage.Progress, _ *packet.Message) bool {
			if e.Seq != next {
				wrong = fmt.Errorf("read number %d when %d is next", e.Seq, next)
				return false
			}
			next++
			return true
		})
		if err := errors.Join(err, wrong); err != nil {
			return err
		}
		if next == before {
			runtime.Gosched()
			continue
		}
		if _, err := s.store.Ack(storage.Ack{Session: "a", Seq: next - 1, Progress: storage.Done}, nil); err != nil {
			return err
		}
	}
	return nil
}
