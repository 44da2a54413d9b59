package memory

import (
	"slices"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// A queue is a ring of what a session still has to get. The zero queue is empty and numbers from 1.
//
// Inside, messages are counted from 0: number 1 is n == 0. Message n is in slots[n % len(slots)], for first <= n < next; a slot whose message
// is nil is done. The ring keeps its first slot waiting: first == next when nothing waits.
type queue struct {
	slots   []slot // empty, or a power of two long
	first   uint64 // number of the oldest message that waits, less one
	next    uint64 // number the next message gets, less one: both count from 0
	waiting int    // messages that are not done
	bytes   int64  // their size
}

// A slot is one waiting message.
type slot struct {
	message  *packet.Message
	extra    *extra // nil for most
	qos      byte
	retain   bool
	progress storage.Progress
}

// extra is what few entries carry, kept apart so that a slot stays small.
type extra struct {
	ids   []uint32
	group string
}

// slotsMin is the length of a ring that was used at all, and what an emptied one may keep.
const slotsMin = 8

// push appends an entry and returns its number.
func (q *queue) push(e *storage.Entry, m *packet.Message) uint64 {
	if q.next-q.first == uint64(len(q.slots)) {
		q.resize(max(slotsMin, 2*len(q.slots)))
	}
	at := q.at(q.next)
	*at = slot{message: m, qos: e.QoS, retain: e.Retain}
	if len(e.SubscriptionIDs) > 0 || e.Group != "" {
		at.extra = &extra{ids: slices.Clone(e.SubscriptionIDs), group: e.Group}
	}
	q.next++
	q.waiting++
	q.bytes += int64(m.Size())
	return q.next
}

// ack moves the message with a number on and lets go of it when it is done.
func (q *queue) ack(seq uint64, p storage.Progress) {
	n := seq - 1 // of number 0 the largest, which is no message's
	if n < q.first || n >= q.next {
		return
	}
	at := q.at(n)
	if at.message == nil || p < at.progress {
		return
	}
	at.progress = p
	if p == storage.Done {
		q.waiting--
		q.bytes -= int64(at.message.Size())
		*at = slot{}
		q.trim()
	}
}

// trim passes over what is done at the front, and gives back a ring that has become far too large.
func (q *queue) trim() {
	for q.first < q.next && q.at(q.first).message == nil {
		q.first++
	}
	// A quarter, so that a queue going up and down around one length is not copied each time.
	if span := int(q.next - q.first); len(q.slots) > slotsMin && span <= len(q.slots)/4 {
		q.resize(len(q.slots) / 2)
	}
}

func (q *queue) at(n uint64) *slot { return &q.slots[n&uint64(len(q.slots)-1)] }

// resize moves what waits to a ring of another length, which must hold it.
func (q *queue) resize(length int) {
	was := *q
	q.slots = make([]slot, length)
	for n := q.first; n < q.next; n++ {
		*q.at(n) = *was.at(n)
	}
}

// A queued message is what Read tells of a slot.
type queued struct {
	entry    storage.Entry
	progress storage.Progress
	message  *packet.Message
}

// from lists at most limit of what is not done, in order, from a number on.
func (q *queue) from(session string, seq uint64, limit int) []queued {
	var list []queued
	for n := max(q.first, max(seq, 1)-1); n < q.next && len(list) < limit; n++ {
		at := q.at(n)
		if at.message == nil {
			continue
		}
		e := storage.Entry{Session: session, Seq: n + 1, QoS: at.qos, Retain: at.retain}
		if at.extra != nil {
			e.SubscriptionIDs, e.Group = at.extra.ids, at.extra.group
		}
		list = append(list, queued{entry: e, progress: at.progress, message: at.message})
	}
	return list
}
