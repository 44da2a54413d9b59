package broker

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
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
func (b *Broker) Publish(m *packet.Message, done func(error)) { b.publishWith(m, nil, done) }

// PublishSaving implements hooks.Broker.
func (b *Broker) PublishSaving(hook string, m *packet.Message, records []hooks.Record, done func(error)) {
	b.publishWith(m, changesOf(hook, records), done)
}

// publishWith publishes a hook's message and makes changes in the same atomic step.
func (b *Broker) publishWith(m *packet.Message, changes []storage.Change, done func(error)) {
	if err := topic.CheckName(m.Topic, b.topicLimits()); err != nil {
		if done != nil {
			done(fmt.Errorf("publish: %w", err))
		}
		return
	}
	t := b.begin()
	defer t.end()
	if m.Received == 0 {
		dated := *m
		dated.Received = t.now
		m = &dated
	}
	b.publish(t, nil, m, changes, done)
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
	t := b.begin()
	defer t.end()
	return t.deliver(clientID, d)
}

// MayPublish implements hooks.Broker.
func (b *Broker) MayPublish(c *hooks.Client, name string, qos byte, retain bool) hooks.Decision {
	d := hooks.Decision{Verdict: hooks.Deny}
	b.calm(func() { d = b.hooks.AuthorizePublish(c, name, qos, retain) })
	return d
}

// MayReceive implements hooks.Broker.
func (b *Broker) MayReceive(c *hooks.Client, name string) hooks.Decision {
	d := hooks.Decision{Verdict: hooks.Deny}
	b.calm(func() { d = b.hooks.AuthorizeReceive(c, name) })
	return d
}

// Drop implements hooks.Broker.
func (b *Broker) Drop(clientID string, m *packet.Message, reason hooks.DropReason) {
	t := b.begin()
	defer t.end()
	t.drop(clientID, m, reason)
}

// MaySubscribe implements hooks.Broker.
func (b *Broker) MaySubscribe(c *hooks.Client, filter string, qos byte) hooks.Decision {
	return b.askSubscribe(c, filter, qos)
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
