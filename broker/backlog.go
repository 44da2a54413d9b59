package broker

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

const (
	// residentMax is how many messages of a durable session's queue are kept in memory while its client is online.
	// While it is offline, only those in flight are.
	residentMax = 2048
	pageEntries = 1024 // read from the store at once
	pageBytes   = 4 << 20
)

// A backlog is the part of a durable session's queue that only the store has: from the end of what is in
// memory up to next. The session's lock guards it.
type backlog struct {
	next       uint64 // number after the last that the store told of; 0 if it told of none
	deliveries int    // that wait there
	bytes      int64
	reading    bool // a page is being read
	// maybeSent is the number up to which messages may have been sent before a crash. A resend may set DUP on what was never sent, but
	// must set it on what was [MQTT5-3.3.1-1].
	maybeSent uint64
}

// takeBack leaves what was never sent to the store.
func (b *backlog) takeBack(out *session.Outbound) {
	deliveries, bytes := out.Evict()
	b.deliveries += deliveries
	b.bytes += bytes
}

// waitingLocked is the number of deliveries that are not done.
func (s *liveSession) waitingLocked() int { return s.out.Len() + s.backlog.deliveries }

// behindLocked reports whether the store has deliveries that are not in memory.
func (s *liveSession) behindLocked() bool { return s.out.Tail() < s.backlog.next }

// takesLocked decides whether a delivery that the store has just numbered is kept in memory. If not, it is read from the store when its turn comes.
func (s *liveSession) takesLocked(number uint64, d session.Delivery) bool {
	switch {
	case s.out.Awaits(number):
		return true
	case s.out.Has(number): // read before the store told
		return false
	case s.conn.Load() == nil || s.behindLocked() || s.out.Len() >= residentMax:
		s.backlog.next = max(s.backlog.next, number+1)
		s.backlog.deliveries++
		s.backlog.bytes += int64(d.Message.Size())
		return false
	}
	s.backlog.next = max(s.backlog.next, number+1)
	return true
}

// pageLocked has the next page read when everything in memory was sent and there is room for more.
func (s *liveSession) pageLocked() {
	if !s.durable || s.backlog.reading || !s.out.Room() || !s.behindLocked() {
		return
	}
	if !s.b.startTask() {
		return
	}
	s.backlog.reading = true
	from, upTo := s.out.Tail(), s.backlog.next
	go func() {
		defer s.b.tasks.Done()
		s.page(from, upTo)
	}()
}

// A stored delivery is one read from the store.
type storedDelivery struct {
	number   uint64
	progress storage.Progress
	delivery session.Delivery
}

// page reads a page from the store and goes on sending.
func (s *liveSession) page(from, upTo uint64) {
	limit := storage.ReadLimit{Entries: pageEntries, Bytes: pageBytes}
	read, err := s.b.readQueue(s, from, limit)
	t := s.b.begin()
	defer t.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backlog.reading = false
	if err != nil {
		s.b.storeResult(false, err)
		return
	}
	if s.ended || s.conn.Load() == nil {
		return
	}
	if s.out.Tail() == from { // else another connection came meanwhile, and reads again
		s.restoreLocked(read, upTo)
	}
	s.pumpLocked(t)
	s.load.Store(int64(s.waitingLocked()))
}

// restoreLocked puts a page behind what is in memory. upTo is where the backlog ended when it was read.
func (s *liveSession) restoreLocked(page []storedDelivery, upTo uint64) {
	b := &s.backlog
	for _, d := range page {
		sent := d.progress == storage.Sent || d.number < b.maybeSent
		s.out.Restore(d.number, d.delivery, sent, d.progress == storage.Released)
		b.next = max(b.next, d.number+1)
		b.deliveries = max(0, b.deliveries-1)
		b.bytes = max(0, b.bytes-int64(d.delivery.Message.Size()))
	}
	if len(page) == 0 { // what was there has expired in the store
		s.out.Skip(upTo)
		if b.next == upTo {
			b.deliveries, b.bytes = 0, 0
		}
	}
}

// readQueue reads from a session's queue in the store. It may block.
func (b *Broker) readQueue(s *liveSession, from uint64, limit storage.ReadLimit) (read []storedDelivery, err error) {
	err = b.store.Read(s.key, from, limit, func(e storage.Entry, p storage.Progress, m *packet.Message) bool {
		read = append(read, storedDelivery{number: e.Seq, progress: p, delivery: session.Delivery{
			Message: m, SubscriptionIDs: e.SubscriptionIDs, Group: e.Group, QoS: e.QoS, Retain: e.Retain,
		}})
		return true
	})
	return read, err
}

// sharesBacklog reports whether the session ended with messages of shared subscriptions that only the store has.
func (s *liveSession) sharesBacklog() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shared && s.backlog.deliveries > 0
}

// discard deletes the record of a session that ended. If the store still has messages of shared subscriptions for it, they
// go to other members first, and hooks that observe deliveries hear of each of the others.
func (b *Broker) discard(s *liveSession) {
	if !s.durable {
		return
	}
	s.mu.Lock()
	left, shared, from := s.backlog, s.shared, s.out.Tail()
	s.backlog = backlog{}
	s.mu.Unlock()
	b.counters.queued.Add(-int64(left.deliveries))
	b.counters.queuedBytes.Add(-left.bytes)
	if left.deliveries > 0 && (shared || b.observed) && b.startTask() {
		go func() {
			defer b.tasks.Done()
			b.handOver(s, from)
			b.update(nil, storage.DeleteSession{ID: s.key})
		}()
		return
	}
	if left.deliveries > 0 {
		b.counters.drop(hooks.DropSessionEnded, uint64(left.deliveries))
	}
	b.update(nil, storage.DeleteSession{ID: s.key})
}

// handOver gives the messages of shared subscriptions that the store has for a session to other members.
func (b *Broker) handOver(s *liveSession, from uint64) {
	for {
		read, err := b.readQueue(s, from, storage.ReadLimit{Entries: pageEntries, Bytes: pageBytes})
		if err != nil || len(read) == 0 {
			b.storeResult(false, err)
			return
		}
		t := b.begin()
		for _, d := range read {
			if d.delivery.Group != "" && (d.delivery.QoS == 1 || d.progress == storage.Queued) {
				b.regroup(t, d.delivery)
			} else {
				t.drop(s.id, d.delivery.Message, hooks.DropSessionEnded)
			}
			from = d.number + 1
		}
		t.end()
	}
}
