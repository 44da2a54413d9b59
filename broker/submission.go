package broker

import (
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/storage"
)

// A submission is what one turn of a publisher hands to the store together: one call, one Waiter. As soon as the store has numbered
// the messages those who are online get them; the publisher is told when they are on disk, or their receivers have them.
//
// Two finish it, in whatever order: the turn, when it has sent what can be sent, and the store, when it has the messages. Who
// comes second completes the routings.
type submission struct {
	b        *Broker
	routings []*routing
	messages []*storage.Enqueue
	err      error // of the store
	finished atomic.Int32
}

var submissions = sync.Pool{New: func() any { return new(submission) }}

// putOff puts off a routing's store call to the end of what its publisher sent in one piece.
func (t *turn) putOff(r *routing) {
	if t.later == nil {
		t.later = submissions.Get().(*submission)
		t.later.b = t.b
	}
	r.enqueue.Message, r.enqueue.To = r.message, r.entries
	t.later.routings = append(t.later.routings, r)
	t.later.messages = append(t.later.messages, &r.enqueue)
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
	t.b.counters.pending.Add(int64(len(a.routings)))
	pending, err := t.b.batcher.EnqueueAll(a.messages, a)
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

// complete finishes the routings.
func (a *submission) complete(t *turn) {
	a.b.counters.pending.Add(-int64(len(a.routings)))
	for _, r := range a.routings {
		r.deliver(t, a.err)
	}
	a.routings[0].publisher.acknowledge(t, a.routings...)
	for _, r := range a.routings {
		r.free()
	}
	clear(a.routings)
	clear(a.messages)
	a.routings, a.messages, a.err = a.routings[:0], a.messages[:0], nil
	a.finished.Store(0)
	submissions.Put(a)
}

// deliverEarly gives messages to receivers that are online and may have them before they are on disk.
func (a *submission) deliverEarly(t *turn) {
	var s *liveSession // whose lock is held
	for _, r := range a.routings {
		for i := range r.stored {
			to := &r.stored[i]
			if !r.entries[i].Live {
				continue
			}
			if to.session != s {
				s.endEarly(t)
				s = to.session
				s.mu.Lock()
			}
			to.early = s.takeEarlyLocked(t, r.entries[i].Seq, to.delivery)
		}
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
