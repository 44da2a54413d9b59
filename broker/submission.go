package broker

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A submission is what one turn of a publisher hands to the store together: one call, one Waiter. As soon as the store has numbered
// the messages those who are online get them; the publisher is told when they are on disk, or their receivers have them.
//
// Two finish it, in whatever order: the turn, when it has sent what can be sent, and the store, when it has the messages. Who
// comes second completes it.
//
// Thousands wait at a time, so what is kept of a message is little and lies side by side.
type submission struct {
	b         *Broker
	publisher *liveSession
	messages  []submitted
	answers   []answer        // in their order
	entries   []storage.Entry // in their order, those of each message together
	receivers []earlyReceiver // in the order of entries
	err       error           // of the store
	finished  atomic.Int32
}

// A submitted message.
type submitted struct {
	message  *packet.Message
	lent     *lent // the message, held until the store and the receivers have it; nil if it is not lent
	entries  int
	received bool // its packet identifier is to be stored with it
}

// An earlyReceiver may have a message before the store has it.
type earlyReceiver struct {
	session *liveSession
	early   bool // it has
}

var submissions = sync.Pool{New: func() any { return new(submission) }}

// submissionKeep is the number of entries up to which the memory of a submission is used again.
const submissionKeep = 1 << 12

// putOff puts off a routing's store call to the end of what its publisher sent in one piece. The routing must not be used any more.
func (t *turn) putOff(r *routing) {
	a := t.later
	if a == nil {
		a = submissions.Get().(*submission)
		a.b, a.publisher = t.b, r.publisher
		t.later = a
	}
	a.messages = append(a.messages, submitted{r.message, r.lent, len(r.entries), r.enqueue.Received != nil})
	a.answers = append(a.answers, r.answer)
	a.entries = append(a.entries, r.entries...)
	for i := range r.stored {
		a.receivers = append(a.receivers, earlyReceiver{session: r.stored[i].session})
	}
	clear(r.entries)
	clear(r.stored)
	r.message, r.lent, r.publisher, r.enqueue.Received = nil, nil, nil, nil
	r.matched, r.rejected, r.entries, r.stored = 0, 0, r.entries[:0], r.stored[:0]
	t.idle = r
}

// routing is newRouting, quicker for a message after one that was put off.
func (t *turn) routing(m *packet.Message) *routing {
	r := t.idle
	if r == nil {
		return newRouting(t.b, m)
	}
	t.idle = nil
	r.message = m
	return r
}

// freeIdle frees what routing would have used.
func (t *turn) freeIdle() {
	if r := t.idle; r != nil {
		t.idle = nil
		r.free()
	}
}

// mayPutOff reports whether nothing but sessions and the publisher wait for the store.
func (r *routing) mayPutOff() bool {
	return r.b.batcher != nil && len(r.entries) > 0 && !r.enqueue.Retain && len(r.enqueue.Changes)+len(r.admitted) == 0 &&
		!r.ordered && r.stalled == nil
}

// submit hands what was put off to the store. Nothing else that this turn has for the store may come before it.
func (t *turn) submit() {
	a := t.later
	if a == nil {
		return
	}
	t.later = nil
	t.freeIdle()
	t.b.counters.pending.Add(int64(len(a.messages)))
	pending, err := t.b.batcher.EnqueueAll(t.batchOf(a), a)
	clear(t.batch)
	if !pending {
		a.err = err
		a.complete(t)
		return
	}
	a.deliverEarly(t)
	if a.finished.Add(1) == 2 {
		a.complete(t)
	}
}

// Stored implements storage.Waiter. It runs on the store's goroutine, in the turn of the group commit.
func (a *submission) Stored(err error) {
	a.err = err
	if a.finished.Add(1) == 2 {
		a.complete(a.b.storeTurn())
	}
}

// settled is Stored(nil) in the turn of a receiver.
func (a *submission) settled(t *turn) {
	if a.finished.Add(1) == 2 {
		a.complete(t)
	}
}

// batchOf is a submission as the store takes it.
func (t *turn) batchOf(a *submission) []storage.Enqueue {
	t.batch, t.received = t.batch[:0], slices.Grow(t.received[:0], len(a.messages))
	rest := a.entries
	for i := range a.messages {
		m := &a.messages[i]
		e := storage.Enqueue{Message: m.message, To: rest[:m.entries:m.entries]}
		rest = rest[m.entries:]
		if m.received {
			t.received = append(t.received, receivedID(a.publisher.key, a.answers[i].id))
			e.Received = &t.received[len(t.received)-1]
		}
		t.batch = append(t.batch, e)
	}
	return t.batch
}

// complete tells the publisher.
func (a *submission) complete(t *turn) {
	a.b.counters.pending.Add(-int64(len(a.messages)))
	if a.err != nil {
		a.fail(t)
	} else {
		a.deliver(t)
	}
	a.publisher.acknowledge(t, a.answers...)
	a.free()
}

func (a *submission) free() {
	for i := range a.messages {
		a.messages[i].lent.giveBack()
	}
	if cap(a.entries) > submissionKeep {
		return
	}
	clear(a.messages)
	clear(a.entries)
	clear(a.receivers)
	a.b, a.publisher, a.err = nil, nil, nil
	a.messages, a.answers, a.entries, a.receivers = a.messages[:0], a.answers[:0], a.entries[:0], a.receivers[:0]
	a.finished.Store(0)
	submissions.Put(a)
}

// fail notes that the store refused the messages: nothing was acknowledged.
func (a *submission) fail(t *turn) {
	a.b.storeResult(false, a.err)
	code := storeCode(a.err)
	for i := range a.answers {
		a.answers[i].code = code
	}
	for m, i := range a.all() {
		t.drop(a.receivers[i].session.id, m.message, hooks.DropStorage)
	}
}

// deliver gives receivers what they do not have yet.
func (a *submission) deliver(t *turn) {
	for m, i := range a.all() {
		if to := &a.receivers[i]; !to.early {
			to.session.deliverStored(t, a.entries[i].Seq, a.delivery(m, i))
		}
	}
}

// all visits the entries by their index, each with its message.
func (a *submission) all() iter.Seq2[*submitted, int] {
	return func(yield func(*submitted, int) bool) {
		at := 0
		for i := range a.messages {
			m := &a.messages[i]
			for range m.entries {
				if !yield(m, at) {
					return
				}
				at++
			}
		}
	}
}

// delivery is what the receiver of entry i gets.
func (a *submission) delivery(m *submitted, i int) session.Delivery {
	e := &a.entries[i]
	return session.Delivery{
		Message: m.message, SubscriptionIDs: e.SubscriptionIDs, QoS: e.QoS, Retain: e.Retain, Group: e.Group, Tag: m.lent.tag(),
	}
}

// deliverEarly gives messages to receivers that are online and may have them before they are on disk.
func (a *submission) deliverEarly(t *turn) {
	var s *liveSession // whose lock is held
	for m, i := range a.all() {
		if !a.entries[i].Live {
			continue
		}
		to := &a.receivers[i]
		if to.session != s {
			s.endEarly(t)
			s = to.session
			s.mu.Lock()
		}
		to.early = s.takeEarlyLocked(t, a.entries[i].Seq, a.delivery(m, i))
	}
	s.endEarly(t)
}

// takeEarlyLocked takes a message that the store has numbered and not yet written. It reports false if it has to wait until it is.
func (s *liveSession) takeEarlyLocked(t *turn, number uint64, d session.Delivery) bool {
	if s.ended || number == 0 || !s.residentLocked(number) {
		return false
	}
	s.takeLocked(t, number, d)
	s.retrimLocked()
	return true
}

// endEarly sends what takeEarlyLocked took, and releases the lock. s may be nil.
func (s *liveSession) endEarly(t *turn) {
	if s == nil {
		return
	}
	s.pumpLocked(t)
	s.noteLoadLocked()
	s.mu.Unlock()
}

// mayBeEarly reports whether a delivery may be made before the message is on disk. After a crash its number, and so
// its packet identifier, may be another message's. With QoS 1 that is harmless; with QoS 2 the client would take that one for
// a repeat [MQTT5-4.3.3-10].
func (s *liveSession) mayBeEarly(qos byte) bool {
	return qos == 1 && s.conn.Load() != nil && s.load.Load() < s.window.Load()
}
