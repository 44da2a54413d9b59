package broker

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

const (
	// residentMax is how many messages of a durable session's queue are kept in memory while its client is
	// online. While it is offline, only those in flight are.
	residentMax = 2048
	pageEntries = 1024 // read from the store at once
	pageBytes   = 4 << 20
)

// A backlog is the part of a durable session's queue that only the store has: from the end of what is in
// memory up to next. The session's lock guards it.
//
// The store numbers a message before the session hears of it, and publishers may overtake each other in
// between: so a message may be read from the store before it was told of, and be told of after a later one.
// Each is counted once.
type backlog struct {
	next       uint64 // number after the last that was told of, or read
	deliveries int    // that wait there
	bytes      int64
	reading    bool // a page is being read
	// missing are numbers below next that were neither told of nor read.
	missing map[uint64]struct{}
	// maybeSent is the number up to which messages may have been sent before a crash. A resend may set DUP on
	// what was never sent, but must set it on what was [MQTT5-3.3.1-1].
	maybeSent uint64
}

// tell notes that the store has numbered a message. It reports false if the message was read before.
func (b *backlog) tell(number uint64) (fresh bool) {
	if number < b.next {
		_, fresh = b.missing[number]
		delete(b.missing, number)
		return fresh
	}
	for n := b.next; n < number; n++ {
		if b.missing == nil {
			b.missing = make(map[uint64]struct{})
		}
		b.missing[n] = struct{}{}
	}
	b.next = number + 1
	return true
}

// takeBack leaves what was never sent to the store.
func (b *backlog) takeBack(out *session.Outbound) {
	deliveries, bytes := out.Evict()
	b.deliveries += deliveries
	b.bytes += bytes
}

// passed notes that a delivery of the backlog was read. It reports whether nobody had told of it.
func (b *backlog) passed(d storedDelivery) (fresh bool) {
	if d.number >= b.next { // what lies between was done with before
		b.next = d.number + 1
		return true
	}
	if _, fresh = b.missing[d.number]; fresh {
		delete(b.missing, d.number)
		return true
	}
	b.deliveries--
	b.bytes -= int64(d.delivery.Message.Size())
	return false
}

// waitingLocked is the number of deliveries that are not done.
func (s *liveSession) waitingLocked() int { return s.out.Len() + s.backlog.deliveries }

// behindLocked reports whether the store has deliveries that are not in memory.
func (s *liveSession) behindLocked() bool { return s.out.Tail() < s.backlog.next }

// takeLocked keeps a delivery that the store has just numbered in memory, where pumpLocked finds it, or leaves it to be
// read when its turn comes.
func (s *liveSession) takeLocked(t *turn, number uint64, d session.Delivery) {
	resident := s.residentLocked(number)
	if !s.backlog.tell(number) {
		return
	}
	s.queuedLocked(t, d.Message)
	if !resident {
		s.backlog.deliveries++
		s.backlog.bytes += int64(d.Message.Size())
		return
	}
	lentOf(d.Tag).hold()
	s.out.Put(number, d)
}

// residentLocked reports whether a delivery is kept in memory when the store has just numbered it.
func (s *liveSession) residentLocked(number uint64) bool {
	return s.conn.Load() != nil && !s.behindLocked() && s.out.Len() < residentMax || s.out.Awaits(number)
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

// A storedDelivery is one read from the store.
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
		s.restoreLocked(t, read, upTo)
	}
	s.pumpLocked(t)
	s.noteLoadLocked()
}

// restoreLocked puts a page behind what is in memory. upTo is where the backlog ended when it was read.
func (s *liveSession) restoreLocked(t *turn, page []storedDelivery, upTo uint64) {
	b := &s.backlog
	for _, d := range page {
		sent := d.progress == storage.Sent || d.number < b.maybeSent
		s.out.Restore(d.number, d.delivery, sent, d.progress == storage.Released)
		if b.passed(d) {
			s.queuedLocked(t, d.delivery.Message)
		}
	}
	if len(page) == 0 { // what was there has expired in the store
		s.out.Skip(upTo)
		if b.next == upTo {
			s.expiredLocked(b.deliveries, b.bytes)
			b.missing = nil
		}
	}
}

// expiredLocked takes messages off the books that the store dropped.
func (s *liveSession) expiredLocked(messages int, bytes int64) {
	c := s.b.counters
	messages, bytes = min(messages, s.backlog.deliveries), min(bytes, s.backlog.bytes)
	s.backlog.deliveries -= messages
	s.backlog.bytes -= bytes
	c.queued.Add(-int64(messages))
	c.queuedBytes.Add(-bytes)
	if messages > 0 {
		c.drop(hooks.DropExpired, uint64(messages))
	}
	s.noteLoadLocked()
}

// expired is told by the store of messages that it dropped because they expired. Those of a client that is
// online are noticed when they are read.
func (b *Broker) expired(key string, messages int, bytes int64) {
	s := b.sessions.findKey(key)
	if s == nil {
		b.queues.expired(key, messages, bytes)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.Load() == nil && !s.ended {
		s.expiredLocked(messages, bytes)
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

// leaveLocked takes what the store has for a session that ended off the books, and returns how many messages
// that are.
func (s *liveSession) leaveLocked() (deliveries int) {
	deliveries = s.backlog.deliveries
	s.b.counters.queued.Add(-int64(deliveries))
	s.b.counters.queuedBytes.Add(-s.backlog.bytes)
	s.backlog = backlog{next: s.backlog.next}
	return deliveries
}

// discard makes the change that deletes the record of a session that ended. If the store still has messages
// of shared subscriptions for it, these go to other members first, and if hooks observe deliveries they hear
// of each of the others: then it is deleted later, and there is no change.
func (b *Broker) discard(s *liveSession) (changes []storage.Change) {
	if !s.durable {
		return nil
	}
	s.mu.Lock()
	deliveries, shared, from := s.leaveLocked(), s.shared, s.out.Tail()
	s.mu.Unlock()
	change := storage.DeleteSession{ID: s.key}
	if deliveries > 0 && (shared || b.observed) {
		b.handOverLater(s, from, change)
		return nil
	}
	if deliveries > 0 {
		b.counters.drop(hooks.DropSessionEnded, uint64(deliveries))
	}
	return []storage.Change{change}
}

// handOverLater hands the messages over and then makes the change, once all that was given to the store before now is written
// and can be read. If the broker is shutting down it is left to its next start.
func (b *Broker) handOverLater(s *liveSession, from uint64, change storage.Change) {
	begin := func(error) {
		if !b.startTask() {
			return
		}
		go func() {
			defer b.tasks.Done()
			b.handOver(s, from)
			b.update(nil, change)
		}()
	}
	if pending, err := b.store.Update(nil, waiter(begin)); !pending {
		begin(err)
	}
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
