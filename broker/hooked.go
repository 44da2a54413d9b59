package broker

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
)

var errHookPanic = errors.New("a hook panicked")

// guard runs f, which serves c. A hook that panics ends the connection, not the broker; any other
// panic is a broken invariant and goes on.
func (b *Broker) guard(t *turn, c *conn, f func()) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		p, ok := v.(*hooks.PanicError)
		if !ok {
			panic(v)
		}
		b.hookPanicked(p.Hook, p.Value, p.Stack)
		c.fail(t, packet.Refuse(packet.ImplementationError, "a hook failed"))
	}()
	f()
}

// calm runs f, which calls hooks on behalf of no connection, and reports whether it came to its end.
func (b *Broker) calm(f func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			p, known := v.(*hooks.PanicError)
			if !known {
				p = &hooks.PanicError{Hook: "owner", Value: v, Stack: debug.Stack()}
			}
			b.hookPanicked(p.Hook, p.Value, p.Stack)
		}
	}()
	f()
	return true
}

func (b *Broker) hookPanicked(hook string, value any, stack []byte) {
	b.counters.hookPanics.Add(1)
	b.log.Error("hook panicked", "hook", hook, "err", fmt.Sprint(value), "stack", string(stack))
}

// askSubscribe asks whether a live subscription may go on. A panic there refuses it.
func (b *Broker) askSubscribe(c *hooks.Client, filter string, qos byte) hooks.Decision {
	d := hooks.Decision{Verdict: hooks.Deny}
	b.calm(func() { d = b.hooks.AuthorizeSubscribe(c, filter, qos) })
	return d
}

// Publish implements hooks.Broker.
func (b *Broker) Publish(m *packet.Message, done func(error)) {
	if err := topic.CheckName(m.Topic, b.topicLimits()); err != nil {
		if done != nil {
			done(fmt.Errorf("publish: %w", err))
		}
		return
	}
	t := b.begin()
	defer t.end()
	b.publish(t, nil, m, done)
}

// Own implements hooks.Broker.
func (b *Broker) Own(filter string, o hooks.Owner) (release func(), err error) {
	if err := topic.CheckFilter(filter, b.topicLimits()); err != nil {
		return nil, fmt.Errorf("own %q: %w", filter, err)
	}
	s := &subscriber{filter: filter, owner: o}
	b.index.Add(filter, s)
	return func() { b.index.Remove(filter, s) }, nil
}

// Deliver implements hooks.Broker.
func (b *Broker) Deliver(clientID string, d hooks.Delivery) error {
	s := b.sessions.find(clientID)
	if s == nil {
		return hooks.ErrOffline
	}
	t := b.begin()
	defer t.end()
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
	if c.outbox.size >= b.limits.MaxOutboxBytes {
		return hooks.ErrBusy
	}
	return s.deliverExtraLocked(t, c, d)
}

// deliverExtraLocked sends a delivery that is in no queue. Both locks are held.
func (s *liveSession) deliverExtraLocked(t *turn, c *conn, d hooks.Delivery) error {
	p := sending{message: d.Message, ids: d.SubscriptionIDs, qos: min(d.QoS, 2), retain: d.Retain}
	if p.qos > 0 {
		extra := session.Delivery{Message: d.Message, SubscriptionIDs: d.SubscriptionIDs, QoS: p.qos, Retain: d.Retain, Done: d.Done}
		id, ok := s.out.PushExtra(extra)
		if !ok {
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

// Disconnect implements hooks.Broker.
func (b *Broker) Disconnect(clientID string, code packet.Code, reason string) bool {
	s := b.sessions.find(clientID)
	if s == nil {
		return false
	}
	c := s.conn.Load()
	if c == nil {
		return false
	}
	t := b.begin()
	defer t.end()
	c.end(t, code, reason, code.String())
	return true
}

// Recheck implements hooks.Broker.
func (b *Broker) Recheck() {
	b.checks.Add(1)
	b.index.InvalidateAll()
}
