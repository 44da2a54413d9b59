package broker

import (
	"fmt"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A batch is a turn as hooks see it.
type batch struct{ t *turn }

// Batch implements hooks.Broker.
func (b *Broker) Batch() hooks.Batch { return batch{b.begin()} }

// Deliver implements hooks.Batch.
func (b batch) Deliver(clientID string, d hooks.Delivery) error { return b.t.deliver(clientID, d) }

// Done implements hooks.Batch.
func (b batch) Done(q hooks.Queue, number uint64) {
	b.t.acks = append(b.t.acks, storage.Ack{Session: q.(*hookQueue).key, Seq: number, Progress: storage.Done})
}

// End implements hooks.Batch.
func (b batch) End() { b.t.end() }

// deliver hands a hook's delivery to a client's connection.
func (t *turn) deliver(clientID string, d hooks.Delivery) error {
	s := t.b.sessions.find(clientID)
	if s == nil {
		return hooks.ErrOffline
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.conn.Load()
	if c == nil {
		return hooks.ErrOffline
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.opened || c.closing {
		return hooks.ErrOffline
	}
	if c.outbox.size >= t.b.limits.MaxOutboxBytes {
		c.wantPump, s.wantsRoom = true, true
		return hooks.ErrBusy
	}
	return s.deliverExtraLocked(t, c, d)
}

// deliverExtraLocked sends a delivery that is in no queue. Both locks are held.
func (s *liveSession) deliverExtraLocked(t *turn, c *conn, d hooks.Delivery) error {
	p := sending{message: d.Message, ids: d.SubscriptionIDs, qos: min(d.QoS, 2), retain: d.Retain}
	if p.qos > 0 {
		extra := session.Delivery{Message: d.Message, SubscriptionIDs: d.SubscriptionIDs, QoS: p.qos, Retain: d.Retain, Tag: d.Done}
		id, ok := s.out.PushExtra(extra)
		if !ok {
			s.wantsRoom = true
			return hooks.ErrBusy
		}
		p.id = id
	}
	if !c.publishLocked(t, p) {
		if p.qos > 0 {
			s.out.DropExtra(p.id)
		}
		refused := packet.Refuse(packet.PacketTooLarge, "larger than the client's maximum packet size")
		return fmt.Errorf("deliver to %s: %w", s.id, refused)
	}
	if p.qos > 0 {
		t.tally.inflight++
	} else if d.Done != nil {
		t.observe(event{kind: acked, clientID: s.id, message: d.Message, done: d.Done})
	}
	return nil
}

// doneOf reports whether a hook made a delivery, outside of the queue, and what it gave along.
func doneOf(d session.Delivery) (done func(hooks.Batch, hooks.Answer), extra bool) {
	done, extra = d.Tag.(func(hooks.Batch, hooks.Answer))
	return done, extra
}

// roomLocked has the hooks told, once, that a client can take something again to which they could not deliver.
func (s *liveSession) roomLocked(t *turn) {
	if s.wantsRoom {
		s.wantsRoom = false
		t.events = append(t.events, event{kind: roomy, clientID: s.id})
	}
}
