package badger

import (
	"fmt"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// Enqueue implements storage.Store.
func (s *Store) Enqueue(e *storage.Enqueue, w storage.Waiter) (pending bool, err error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseLocked(s.enqueueNeedsRoomLocked(e)); err != nil {
		return false, err
	}
	g := s.takeMessageLocked(e, w != nil, now)
	if w != nil {
		s.waitLocked(g, w, true)
	}
	return true, nil
}

// EnqueueAll implements storage.Batcher.
func (s *Store) EnqueueAll(batch []storage.Enqueue, w storage.Waiter) (pending bool, err error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	needsRoom := false
	for i := range batch {
		needsRoom = needsRoom || s.enqueueNeedsRoomLocked(&batch[i])
	}
	if err := s.refuseLocked(needsRoom); err != nil {
		return false, err
	}
	var g *group
	for i := range batch {
		g = s.takeMessageLocked(&batch[i], w != nil, now)
	}
	if w != nil && g != nil {
		s.waitLocked(g, w, false)
	}
	return g != nil, nil
}

// takeMessageLocked adds a message to the group that is filled.
func (s *Store) takeMessageLocked(e *storage.Enqueue, awaited bool, now time.Time) *group {
	g := s.fillLocked(now)
	before := g.bytes
	urgent := s.enqueueLocked(g, e)
	s.waiting += g.bytes - before
	if awaited {
		s.awaitLocked(g, urgent, now)
	}
	return g
}

// waitLocked notes who is to be told of a group; formal, if only by Stored.
func (s *Store) waitLocked(g *group, w storage.Waiter, formal bool) {
	g.waiters = append(g.waiters, w)
	g.formal = g.formal || formal
	s.stats.Writes++
}

// awaitLocked notes that somebody waits for a write to g: for the disk, if it is urgent, else for receivers.
func (s *Store) awaitLocked(g *group, urgent bool, now time.Time) {
	fresh := !g.awaited
	g.awaited, g.urgent = true, g.urgent || urgent
	g.writes++
	if fresh {
		g.begun = now
	}
	if fresh || g.urgent || g.live == 0 {
		s.wakeLocked()
	}
}

// enqueueNeedsRoomLocked reports whether an Enqueue adds something.
func (s *Store) enqueueNeedsRoomLocked(e *storage.Enqueue) bool {
	return len(e.To) > 0 || e.Received != nil || e.Retain && len(e.Message.Payload) > 0 || s.needsRoomLocked(e.Changes)
}

// enqueueLocked adds a message to a group. It reports whether it needs the disk, whatever its receivers do.
func (s *Store) enqueueLocked(g *group, e *storage.Enqueue) (urgent bool) {
	if e.Received != nil {
		s.receiveLocked(g, *e.Received, true)
	}
	if e.Retain {
		s.retainLocked(g, e.Message)
	}
	urgent = e.Received != nil || e.Retain || len(e.Changes) > 0
	var a *gathering
	before, alone := 0, 0
	for i := range e.To {
		to := &e.To[i]
		to.Seq = 0
		q := s.queueLocked(to.Session)
		if q == nil {
			continue
		}
		if a != nil && a.bytes-alone >= headMax { // a head cannot list them all: the rest gets the message from another chunk
			g.bytes += a.bytes - before
			a = nil
		}
		if a == nil {
			a = s.gatherLocked(g)
			before = a.bytes
			a.addMessage(e.Message)
			alone = a.bytes
		}
		to.Seq = q.append(a.chunk)
		s.queued++
		g.live++
		s.gathered++
		a.addEntry(q, to)
		s.dirtyLocked(g, q)
		urgent = urgent || !to.Live || !q.brisk
	}
	if a != nil {
		g.bytes += a.bytes - before
	}
	for _, c := range e.Changes {
		s.applyLocked(g, c)
	}
	return urgent
}

// Ack implements storage.Store. Progress never goes back; what is unknown is ignored.
func (s *Store) Ack(a storage.Ack, w storage.Waiter) (pending bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseLocked(false); err != nil {
		return false, err
	}
	q := s.movesLocked(a)
	if w == nil {
		if q != nil {
			s.noteLocked(q, a)
		}
		return false, nil
	}
	g := s.openLocked() // a Waiter hears after those before it, even if there is nothing to write
	before := g.bytes
	if q != nil {
		s.ackLocked(g, q, a.Seq, a.Progress)
	}
	s.addedLocked(g, before, w)
	return true, nil
}

// AckAll implements storage.Batcher.
func (s *Store) AckAll(acks []storage.Ack, w storage.Teller) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseLocked(false); err != nil {
		return err
	}
	s.prompt = true
	for _, a := range acks {
		if q := s.movesLocked(a); q != nil {
			s.noteLocked(q, a)
		}
	}
	s.prompt = false
	s.tellDoneLocked(w)
	return nil
}

// Skip implements storage.Batcher. It writes a checkpoint of each queue.
func (s *Store) Skip(sessions []string, n int, w storage.Waiter) (pending bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseLocked(false); err != nil {
		return false, err
	}
	g := s.openLocked()
	before := g.bytes
	for _, id := range sessions {
		q := s.sessions[id]
		if q == nil {
			continue
		}
		q.skip(uint64(n))
		g.put(idKey(keyQueue, q.handle), q.encodeState(g.id))
	}
	s.addedLocked(g, before, w)
	return true, nil
}

// noteLocked takes an acknowledgement that nobody waits for.
func (s *Store) noteLocked(q *queue, a storage.Ack) {
	if a.Progress == storage.Done && s.doneEarlyLocked(q, a.Seq) {
		return
	}
	g := s.openLocked()
	before := g.bytes
	s.ackLocked(g, q, a.Seq, a.Progress)
	s.addedLocked(g, before, nil)
	if before == 0 || g.bytes >= unawaitedBytes {
		s.wakeLocked()
	}
}

// queueLocked is a session's queue, or nil. Messages and acknowledgements of one session come many at a time.
func (s *Store) queueLocked(session string) *queue {
	if q := s.latest; q != nil && q.id == session {
		return q
	}
	s.latest = s.sessions[session]
	return s.latest
}

// movesLocked is the queue of which an acknowledgement says something new, or nil.
func (s *Store) movesLocked(a storage.Ack) *queue {
	q := s.queueLocked(a.Session)
	if q == nil || a.Seq == 0 || a.Seq >= q.next || a.Progress > storage.Done || q.marks.get(a.Seq) >= a.Progress {
		return nil
	}
	return q
}

func (s *Store) ackLocked(g *group, q *queue, seq uint64, p storage.Progress) {
	q.marks.set(seq, p)
	g.ack(q, seq, p)
	s.dirtyLocked(g, q)
	if p == storage.Done {
		c := q.runs[q.find(seq)].chunk
		c.pinned = true
		s.finishedLocked(q, c, seq)
	}
}

// Update implements storage.Store. A change that belongs to a session without a record is ignored.
func (s *Store) Update(changes []storage.Change, w storage.Waiter) (pending bool, err error) {
	if err := checkSizes(changes); err != nil {
		return false, err
	}
	if w != nil {
		s.noteRoom()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseLocked(s.needsRoomLocked(changes)); err != nil {
		return false, err
	}
	g := s.openLocked()
	before := g.bytes
	for _, c := range changes {
		s.applyLocked(g, c)
	}
	s.addedLocked(g, before, w)
	s.wakeLocked()
	return true, nil
}

// needsRoomLocked reports whether changes add something. The record of a session that is known replaces another.
func (s *Store) needsRoomLocked(changes []storage.Change) bool {
	for _, c := range changes {
		switch c := c.(type) {
		case storage.PutSession:
			if s.sessions[c.Session.ID] == nil {
				return true
			}
		case storage.PutSubscription, storage.PutReceived, storage.PutHookRecord:
			return true
		case storage.PutRetained:
			if len(c.Message.Payload) > 0 {
				return true
			}
		}
	}
	return false
}

func (s *Store) applyLocked(g *group, c storage.Change) {
	switch c := c.(type) {
	case storage.Ack:
		if q := s.movesLocked(c); q != nil {
			s.ackLocked(g, q, c.Seq, c.Progress)
		}
	case storage.PutSession:
		s.putSessionLocked(g, &c.Session)
	case storage.DeleteSession:
		s.deleteSessionLocked(g, c.ID)
	case storage.PutSubscription:
		if q := s.sessions[c.Subscription.Session]; q != nil {
			g.put(subscriptionKey(q.handle, c.Subscription.Filter), encodeSubscription(&c.Subscription))
		}
	case storage.DeleteSubscription:
		if q := s.sessions[c.Session]; q != nil {
			g.put(subscriptionKey(q.handle, c.Filter), nil)
		}
	case storage.PutRetained:
		s.retainLocked(g, c.Message)
	case storage.DeleteRetained:
		s.deleteRetainedLocked(g, c.Topic)
	case storage.PutReceived:
		s.receiveLocked(g, c.Received, true)
	case storage.DeleteReceived:
		s.receiveLocked(g, c.Received, false)
	case storage.PutCounters:
		for name, value := range c.Values {
			g.put(nameKey([]byte{keyCounter}, name), encodeCounter(name, value))
		}
	case storage.PutHookRecord:
		g.put(hookKey(c.Hook, c.Key), encodeHookRecord(&c))
	case storage.DeleteHookRecord:
		g.put(hookKey(c.Hook, c.Key), nil)
	default:
		panic(fmt.Sprintf("badger: unknown change %T", c))
	}
}

func (s *Store) putSessionLocked(g *group, record *storage.Session) {
	q := s.sessions[record.ID]
	if q == nil {
		q = newQueue(record.ID, s.takeIDLocked())
		s.sessions[q.id], s.handles[q.handle] = q, q
	}
	s.hookedLocked(q, record.Hook != "")
	g.put(idKey(keySession, q.handle), encodeSession(record))
}

// hookedLocked notes whether a queue is a hook's.
func (s *Store) hookedLocked(q *queue, hooked bool) {
	if hooked && !q.hooked {
		s.hooked++
	}
	if !hooked && q.hooked {
		s.hooked--
	}
	q.hooked = hooked
}

func newQueue(id string, handle uint64) *queue {
	return &queue{id: id, handle: handle, next: 1, marks: marks{floor: 1}, brisk: true}
}

// deleteSessionLocked deletes the one record that makes the others of a session count. They follow later.
func (s *Store) deleteSessionLocked(g *group, id string) {
	q := s.sessions[id]
	if q == nil {
		return
	}
	delete(s.sessions, id)
	s.latest = nil
	delete(s.handles, q.handle)
	s.hookedLocked(q, false)
	g.put(idKey(keySession, q.handle), nil)
	s.garbage = append(s.garbage, gone{q.handle, g.id})
	for _, r := range q.runs {
		r.chunk.pinned = true
		s.lessLocked(r.chunk, q.marks.count(r.first, r.last))
	}
	s.queued -= q.live
	q.runs, q.live = nil, 0
}

func (s *Store) receiveLocked(g *group, r storage.Received, put bool) {
	q := s.sessions[r.Session]
	if q == nil {
		return
	}
	if _, have := q.received[r.ID]; have == put {
		return
	}
	q.receive(r.ID, put)
	g.receive(q, r.ID, put)
	s.dirtyLocked(g, q)
}

// retainLocked makes m the retained message of its topic. One without a payload deletes it [MQTT5-3.3.1-6].
func (s *Store) retainLocked(g *group, m *packet.Message) {
	s.deletePartsLocked(g, m.Topic)
	if len(m.Payload) == 0 {
		g.put(retainedKey(m.Topic), nil)
		return
	}
	if m.Size() <= partBytes/2 {
		g.put(retainedKey(m.Topic), encodeRetained(m))
		s.freedBytes += int64(m.Size()) // the next one replaces it
		return
	}
	data := appendRetained(nil, m)
	p := place{id: s.takeIDLocked(), length: uint64(len(data)), sum: checksum(data)}
	s.retained[m.Topic] = p
	g.blobs = append(g.blobs, blob{p.id, data})
	g.bytes += len(data)
	g.put(retainedKey(m.Topic), encodePlace(p))
}

func (s *Store) deleteRetainedLocked(g *group, topic string) {
	s.deletePartsLocked(g, topic)
	g.put(retainedKey(topic), nil)
}

// deletePartsLocked deletes what a large retained message left.
func (s *Store) deletePartsLocked(g *group, topic string) {
	p, large := s.retained[topic]
	if !large {
		return
	}
	delete(s.retained, topic)
	for part := range partCount(int(p.length)) {
		g.put(bodyKey(p.id, part), nil)
	}
	s.freedBytes += int64(p.length)
}

// dirtyLocked notes that the log says more of a queue than its last checkpoint.
func (s *Store) dirtyLocked(g *group, q *queue) {
	if q.dirtySince == 0 {
		q.dirtySince = g.id
		s.dirty = append(s.dirty, q)
	}
}
