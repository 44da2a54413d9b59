package memory

import (
	"fmt"
	"maps"

	"github.com/penstockmq/penstock/storage"
)

// A session is the record of a session with all that belongs to it. Its shard's lock guards it.
type session struct {
	record        storage.Session
	subscriptions map[string]storage.Subscription // by filter; nil until the first
	received      map[uint16]struct{}             // QoS 2 identifiers; nil until the first
	queue         queue
}

// Update implements storage.Store. A change that belongs to a session without a record is ignored.
func (s *Store) Update(changes []storage.Change, _ storage.Waiter) (pending bool, err error) {
	if s.closed.Load() {
		return false, storage.ErrClosed
	}
	s.records.applyAll(changes)
	return false, nil
}

func (r *records) applyAll(changes []storage.Change) {
	for _, c := range changes {
		r.apply(c)
	}
}

func (r *records) apply(c storage.Change) {
	switch c := c.(type) {
	case storage.Ack:
		r.withSession(c.Session, func(n *session) { n.queue.ack(c.Seq, c.Progress) })
	case storage.PutSession:
		r.putSession(c.Session)
	case storage.DeleteSession:
		r.deleteSession(c.ID)
	case storage.PutSubscription:
		r.putSubscription(c.Subscription)
	case storage.DeleteSubscription:
		r.withSession(c.Session, func(n *session) { delete(n.subscriptions, c.Filter) })
	case storage.PutRetained:
		r.retain(c.Message)
	case storage.DeleteRetained:
		r.deleteRetained(c.Topic)
	case storage.PutReceived:
		r.putReceived(c.Received)
	case storage.PutCounters:
		r.putCounters(c.Values)
	case storage.DeleteReceived:
		r.withSession(c.Received.Session, func(n *session) { delete(n.received, c.Received.ID) })
	case storage.PutHookRecord:
		r.putHookRecord(c)
	case storage.DeleteHookRecord:
		r.deleteHookRecord(c)
	default:
		panic(fmt.Sprintf("memory: unknown change %T", c))
	}
}

func (r *records) putSession(record storage.Session) {
	h := r.shard(record.ID)
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.sessions[record.ID]; n != nil {
		n.record = record
		return
	}
	h.sessions[record.ID] = &session{record: record}
}

func (r *records) deleteSession(id string) {
	h := r.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.sessions, id)
}

func (r *records) putSubscription(sub storage.Subscription) {
	r.withSession(sub.Session, func(n *session) {
		if n.subscriptions == nil {
			n.subscriptions = make(map[string]storage.Subscription)
		}
		n.subscriptions[sub.Filter] = sub
	})
}

func (r *records) putReceived(rec storage.Received) {
	r.withSession(rec.Session, func(n *session) {
		if n.received == nil {
			n.received = make(map[uint16]struct{})
		}
		n.received[rec.ID] = struct{}{}
	})
}

func (r *records) deleteRetained(topic string) {
	h := r.shard(topic)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.retained, topic)
}

func (r *records) putCounters(values map[string]uint64) {
	r.countersMu.Lock()
	defer r.countersMu.Unlock()
	maps.Copy(r.counters, values)
}

func (r *records) countersCopy() map[string]uint64 {
	r.countersMu.Lock()
	defer r.countersMu.Unlock()
	return maps.Clone(r.counters)
}

// withSession calls f with the session and its lock held, if there is one.
func (r *records) withSession(id string, f func(n *session)) {
	h := r.shard(id)
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := h.sessions[id]; n != nil {
		f(n)
	}
}
