package broker

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// fullLocked reports whether the session's queue, or all queues together, have no room for m.
func (s *liveSession) fullLocked(m *packet.Message) bool {
	return s.overLocked(1, int64(m.Size())) || s.b.full(m)
}

// overLocked reports whether the session's queue is beyond its limits with so much more in it.
func (s *liveSession) overLocked(messages int, bytes int64) bool {
	l := &s.b.limits
	return s.waitingLocked()+messages > l.MaxQueueMessages || s.out.Bytes()+s.backlog.bytes+bytes > l.MaxQueueBytes
}

// full reports whether all queues together have no room for m.
func (b *Broker) full(m *packet.Message) bool {
	l, c := &b.limits, b.counters
	return (l.MaxTotalMessages > 0 && c.queued.Load() >= l.MaxTotalMessages) ||
		(l.MaxTotalBytes > 0 && c.queuedBytes.Load()+int64(m.Size()) > l.MaxTotalBytes)
}

// admit reports whether a durable session's queue takes m. Where the oldest message makes room for the
// newest, what is oldest may be on disk: the queue takes m at once and is trimmed behind it, and refuses only
// beyond twice its limits.
func (s *liveSession) admit(m *packet.Message) bool {
	if l := &s.b.limits; s.load.Load() < int64(l.MaxQueueMessages) && s.loadBytes.Load()+int64(m.Size()) <= l.MaxQueueBytes && !s.b.full(m) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fullLocked(m) {
		return true
	}
	l := &s.b.limits
	if l.QueueFull != configs.DropOldest || s.b.full(m) ||
		s.waitingLocked() >= 2*l.MaxQueueMessages || s.out.Bytes()+s.backlog.bytes >= 2*l.MaxQueueBytes {
		return false
	}
	s.trimLocked()
	return true
}

// dropOldestLocked makes room for m in a queue that is not stored, if that is the policy.
func (s *liveSession) dropOldestLocked(t *turn, m *packet.Message) bool {
	if s.b.limits.QueueFull != configs.DropOldest || int64(m.Size()) > s.b.limits.MaxQueueBytes {
		return false
	}
	for s.overLocked(1, int64(m.Size())) {
		if !s.dropResidentLocked(t) {
			return false
		}
	}
	return !s.b.full(m)
}

// dropResidentLocked drops the oldest message in memory that was never sent. It reports false if there is none.
func (s *liveSession) dropResidentLocked(t *turn) bool {
	number, d, ok := s.out.DropOldest()
	if ok {
		s.doneLocked(t, number, d.Message)
		t.drop(s.id, d.Message, hooks.DropQueueFull)
		lentOf(d.Tag).giveBack()
	}
	return ok
}

// trimLocked has the oldest messages dropped until the queue is within its limits.
func (s *liveSession) trimLocked() {
	if s.backlog.reading || !s.b.startTask() {
		return
	}
	s.backlog.reading = true
	go func() {
		defer s.b.tasks.Done()
		for s.trim() {
		}
	}()
}

// retrimLocked looks again when a message is in the queue: the trimming that made room for it may have looked before it was.
func (s *liveSession) retrimLocked() {
	if s.b.limits.QueueFull == configs.DropOldest && s.overLocked(0, 0) {
		s.trimLocked()
	}
}

// trim drops one page of the oldest messages and reports whether there is more to drop.
func (s *liveSession) trim() (more bool) {
	t := s.b.begin()
	defer t.end()
	s.mu.Lock()
	for s.overLocked(0, 0) && s.dropResidentLocked(t) {
	}
	from, over := s.out.Tail(), s.overLocked(0, 0) && s.behindLocked()
	if !over {
		s.backlog.reading = false
		s.pumpLocked(t)
	}
	s.mu.Unlock()
	if !over {
		return false
	}
	read, err := s.b.readQueue(s, from, storage.ReadLimit{Entries: pageEntries, Bytes: pageBytes})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || len(read) == 0 || s.ended {
		s.b.storeResult(false, err)
		s.backlog.reading = false
		return false
	}
	for _, d := range read {
		if !s.overLocked(0, 0) || s.out.Tail() > d.number {
			break
		}
		s.out.Skip(d.number + 1)
		if s.backlog.passed(d) {
			s.queuedLocked(t, d.delivery.Message)
		}
		s.doneLocked(t, d.number, d.delivery.Message)
		t.drop(s.id, d.delivery.Message, hooks.DropQueueFull)
	}
	return true
}
