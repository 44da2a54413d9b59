package badger

import (
	"encoding/binary"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

const (
	// A group waits for the acknowledgements of receivers that are online for patienceLeast, and the longer the more there is
	// that need not be written then: patienceEach for each entry, up to patienceMost.
	patienceLeast = 2 * time.Millisecond
	patienceEach  = 20 * time.Microsecond
	patienceMost  = 25 * time.Millisecond
	// gatherTime is how long a group that waits takes new messages: what comes later would keep it waiting longer.
	gatherTime = time.Millisecond
)

// A gathering is what will be a chunk: messages that wait for the disk as they were handed over. What every receiver has
// acknowledged when its turn comes is never written. Store.mu guards it until settleLocked; then it is the committer's.
type gathering struct {
	chunk    *chunk
	messages []gatheredMessage
	entries  []gatheredEntry // in the order of the messages
	queues   []gatheredQueue
	bytes    int // about what it will take on disk
}

type gatheredMessage struct {
	message *packet.Message
	entries int
}

type gatheredEntry struct {
	entry *storage.Entry // nil once it need not be written
	queue int32          // index in gathering.queues
}

// A gatheredQueue is a queue that has entries in a gathering.
type gatheredQueue struct {
	queue       *queue
	first, last uint64
	slot        int // in builder.queues, plus one
}

// What things take on disk beside the bytes of a message, about.
const (
	messageBytes = 20
	entryBytes   = 2
	queueBytes   = 16
)

func (a *gathering) addMessage(m *packet.Message) {
	a.messages = append(a.messages, gatheredMessage{message: m})
	a.bytes += m.Size() + len(m.Publisher) + messageBytes
}

// addEntry gives the last message to a queue, whose number e has.
func (a *gathering) addEntry(q *queue, e *storage.Entry) {
	if q.slot >= len(a.queues) || a.queues[q.slot].queue != q {
		q.slot = len(a.queues)
		a.queues = append(a.queues, gatheredQueue{queue: q, first: e.Seq})
		a.bytes += queueBytes
	}
	a.queues[q.slot].last = e.Seq
	a.entries = append(a.entries, gatheredEntry{entry: e, queue: int32(q.slot)})
	a.messages[len(a.messages)-1].entries++
	a.bytes += entryBytes + len(e.Group) + len(e.SubscriptionIDs)*binary.MaxVarintLen32
}

// patienceLocked is how long it is worth while to wait for acknowledgements now.
func (s *Store) patienceLocked() time.Duration {
	return min(patienceMost, patienceLeast+time.Duration(s.gathered)*patienceEach)
}

// gatherLocked is the gathering that takes the next message.
func (s *Store) gatherLocked(g *group) *gathering {
	t := &s.options.tuning
	if n := len(g.gatherings); n > 0 && g.gatherings[n-1].bytes < t.chunkBytes && len(g.gatherings[n-1].entries) < t.chunkEntries {
		return g.gatherings[n-1]
	}
	a := &gathering{}
	if n := len(s.spareGatherings); n > 0 {
		a, s.spareGatherings = s.spareGatherings[n-1], s.spareGatherings[:n-1]
	}
	a.chunk = &chunk{id: s.takeIDLocked(), group: g, born: time.Now().UnixNano()}
	g.gatherings = append(g.gatherings, a)
	g.bytes += recordCost
	return a
}

// doneEarlyLocked takes the acknowledgement of a message that is not written yet. It reports false if it is.
func (s *Store) doneEarlyLocked(q *queue, seq uint64) bool {
	c := q.runs[q.find(seq)].chunk
	if c.state != chunkNew {
		return false
	}
	q.marks.set(seq, storage.Done)
	s.finishedLocked(q, c, seq)
	return true
}

// finishedLocked takes a number that has become Done off the books.
func (s *Store) finishedLocked(q *queue, c *chunk, seq uint64) {
	q.live--
	s.queued--
	if !q.brisk && c.born != 0 {
		q.brisk = time.Now().UnixNano()-c.born < int64(s.patienceLocked())
	}
	if seq == q.marks.floor {
		q.trim()
	}
	s.lessLocked(c, 1)
}

// lessLocked notes that so many entries of a chunk are not wanted any more.
func (s *Store) lessLocked(c *chunk, n int) {
	c.live -= n
	if g := c.group; g != nil {
		s.gathered -= n
		if g.live -= n; g.live == 0 && !s.prompt && len(s.groups) > 0 && g == s.groups[0] {
			s.wakeLocked()
		}
	}
	s.reviewLocked(c)
}

// settleLocked decides what of a gathering is written: what is not Done by now. Of the rest the group says that it is, so
// that no number is missing.
func (s *Store) settleLocked(g *group, a *gathering) {
	c := a.chunk
	s.gathered -= c.live
	c.group = nil
	if c.live == 0 && !c.pinned {
		c.state = chunkDead
		for i := range a.queues {
			q := &a.queues[i]
			g.settled = append(g.settled, ackItem{handle: q.queue.handle, first: q.first, count: q.last - q.first + 1, progress: storage.Done})
		}
		s.spareGatheringLocked(a)
		return
	}
	c.state = chunkWriting
	c.total = 0
	for i := range a.entries {
		e := &a.entries[i]
		q := a.queues[e.queue].queue
		if !c.pinned && q.marks.get(e.entry.Seq) == storage.Done {
			g.settle(q, e.entry.Seq)
			e.entry = nil
			continue
		}
		c.total++
		if e.entry.Live && q.marks.get(e.entry.Seq) != storage.Done {
			q.brisk = false // waiting for it was in vain
		}
	}
	g.builders = append(g.builders, &builder{chunk: c, gathering: a, body: s.takeSpareLocked()})
}

// settle says of one number that it is Done.
func (g *group) settle(q *queue, seq uint64) {
	if at := q.settled - 1; at >= 0 && at < len(g.settled) {
		if item := &g.settled[at]; item.handle == q.handle && item.first+item.count == seq {
			item.count++
			return
		}
	}
	g.settled = append(g.settled, ackItem{handle: q.handle, first: seq, count: 1, progress: storage.Done})
	q.settled = len(g.settled)
}

// prepareLocked decides what of a group is written. It reports false if that is nothing but acknowledgements for which nobody
// waits: they are carried to the next group.
func (s *Store) prepareLocked(g *group, now time.Time) bool {
	for _, a := range g.gatherings {
		s.settleLocked(g, a)
	}
	g.gatherings = nil
	if g.spared() && s.mayCarryLocked(now) {
		s.carryLocked(g, now)
		return false
	}
	g.acks = append(append(g.acks, g.settled...), s.carried...)
	g.settled, s.carried, s.carriedDue = nil, nil, time.Time{}
	return !g.empty()
}

// mayCarryLocked reports whether what there is to say of numbers can wait for a group that is written.
func (s *Store) mayCarryLocked(now time.Time) bool {
	return !s.closed && len(s.carried) < carriedMax && (s.carriedDue.IsZero() || s.carriedDue.After(now))
}

// carriedMax bounds what is carried, and carriedNumbers what is carried of one queue: after a crash these numbers are given again, but
// for those that are skipped (storage.SkipAfterCrash).
const (
	carriedMax     = 1 << 14
	carriedNumbers = 1 << 10
)

// carryLocked leaves what a group says of numbers to the next one. What was never written can wait for ever; else a crash would
// lose more acknowledgements the longer it waits.
func (s *Store) carryLocked(g *group, now time.Time) {
	if len(g.acks) > 0 && s.carriedDue.IsZero() {
		s.carriedDue = now.Add(unawaitedDelay)
	}
	s.carried = append(s.carried, g.acks...)
	for _, a := range g.settled {
		q := s.handles[a.handle]
		if q == nil {
			continue
		}
		if at := q.carried - 1; at >= 0 && at < len(s.carried) {
			if last := &s.carried[at]; last.handle == a.handle && last.progress == a.progress && last.first+last.count == a.first {
				if last.count += a.count; last.count >= carriedNumbers {
					s.carriedDue = now
				}
				continue
			}
		}
		s.carried = append(s.carried, a)
		q.carried = len(s.carried)
	}
}

// spareGatheringLocked keeps the slices of a gathering for another.
func (s *Store) spareGatheringLocked(a *gathering) {
	const spareMax, messagesMax = 4, 8 << 10
	if len(s.spareGatherings) == spareMax || cap(a.entries) > messagesMax {
		return
	}
	clear(a.messages)
	clear(a.entries)
	clear(a.queues)
	*a = gathering{messages: a.messages[:0], entries: a.entries[:0], queues: a.queues[:0]}
	s.spareGatherings = append(s.spareGatherings, a)
}

// gather encodes what is left of the builder's gathering.
func (b *builder) gather() {
	a := b.gathering
	next := 0
	for _, m := range a.messages {
		entries := a.entries[next : next+m.entries]
		next += m.entries
		count := 0
		for i := range entries {
			if entries[i].entry != nil {
				count++
			}
		}
		if count == 0 {
			continue
		}
		b.addMessage(m.message, count)
		for i := range entries {
			e := entries[i].entry
			if e == nil {
				continue
			}
			q := &a.queues[entries[i].queue]
			if q.slot == 0 {
				q.slot = b.addQueue(q.queue.handle, e.Seq) + 1
			}
			b.addEntry(q.slot-1, e.Seq, e)
		}
	}
}
