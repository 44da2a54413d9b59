package broker

import (
	"errors"
	"fmt"
	"sync"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A routing is one message on its way from its publisher to its receivers. Receivers whose queue is not
// stored have it when route returns; for the others the store is asked, and they get it, as the publisher
// gets its acknowledgement, once the store has it.
type routing struct {
	b        *Broker
	message  *packet.Message
	borrowed bool  // the message's bytes are a read buffer's: they must not be kept
	lent     *lent // the message, held until the routing is free; nil if it is not lent
	matched  int   // receivers that it is for
	rejected int   // of these, whose queue was full

	enqueue  storage.Enqueue
	replaced *packet.Message // the topic's retained message before, put back if the store refuses this one
	entries  []storage.Entry
	received storage.Received
	stored   []storedReceiver // in the order of entries
	admitted []admission      // queues of hooks that take it
	passed   int              // of these, that do not hold the publisher back
	ordered  bool             // acknowledged after what was asked of the store before, even with nothing to store
	stalled  *conn            // not read from until this is settled

	publisher *liveSession // that waits for its answer, if any
	answer
	done func(error) // a hook that waits, if any
}

// An answer is the acknowledgement that a publisher waits for.
type answer struct {
	ticket uint64 // its place among those of the session
	id     uint16
	qos    byte
	code   packet.Code
}

// A storedReceiver waits for the store to number its delivery: a session, or a hook's queue.
type storedReceiver struct {
	session  *liveSession
	queue    *hookQueue
	delivery session.Delivery
}

var routings = sync.Pool{New: func() any { return new(routing) }}

func newRouting(b *Broker, m *packet.Message) *routing {
	r := routings.Get().(*routing)
	r.b, r.message = b, m
	return r
}

func (r *routing) free() {
	r.lent.giveBack()
	clear(r.entries)
	clear(r.stored)
	clear(r.enqueue.Changes)
	clear(r.admitted)
	*r = routing{
		entries: r.entries[:0], stored: r.stored[:0], admitted: r.admitted[:0],
		enqueue: storage.Enqueue{Changes: r.enqueue.Changes[:0]},
	}
	routings.Put(r)
}

// retain makes the message the retained one of its topic if it says so; else what is retained
// stays [MQTT5-3.3.1-8].
func (r *routing) retain(t *turn) {
	if r.message.Retain {
		r.replaced, r.enqueue.Retain = r.b.retain(t, r.message)
		r.enqueue.Retain = r.enqueue.Retain && !isSys(r.message.Topic)
	}
}

// route hands the message to everybody in a plan [MQTT5-4.5.0-1].
func (r *routing) route(t *turn, p *plan) {
	m := r.message
	t.frames.reset(m, r.lent)
	t.frames.byRef = !r.borrowed && len(m.Payload) >= payloadByReference
	for i := range p.direct {
		if to := p.direct[i].forPublisher(m); to != nil {
			r.toReceiver(t, to, "")
		}
	}
	for _, g := range p.groups {
		r.toGroup(t, g)
	}
	for _, o := range p.owners {
		r.toOwner(t, o)
	}
	r.toQueues()
}

// toReceiver sends or queues the message for one session. group is the key of the shared subscription it
// goes through, if any.
func (r *routing) toReceiver(t *turn, to *receiver, group string) {
	m := r.message
	qos := min(m.QoS, to.qos)       // [MQTT5-3.8.4-8]
	retain := to.retain && m.Retain // [MQTT5-3.3.1-12] [MQTT5-3.3.1-13] [MQTT311-3.3.1-9]
	r.matched++
	if qos == 0 {
		if c := to.session.conn.Load(); c != nil {
			c.publishNow(t, sending{message: m, lent: r.lent, ids: to.ids, retain: retain})
		} else {
			t.drop(to.session.id, m, hooks.DropOffline)
		}
		return
	}
	d := session.Delivery{Message: m, SubscriptionIDs: to.ids, QoS: qos, Retain: retain, Group: group, Tag: r.lent.tag()}
	switch reason := r.hand(t, to.session, d); reason {
	case "":
	case hooks.DropQueueFull:
		r.rejected++
		fallthrough
	default:
		t.drop(to.session.id, m, reason)
	}
}

// hand gives a delivery to a session, or to the store for it. It returns why not.
func (r *routing) hand(t *turn, s *liveSession, d session.Delivery) hooks.DropReason {
	if !s.durable {
		return s.deliver(t, d)
	}
	if !s.admit(d.Message) {
		return hooks.DropQueueFull
	}
	r.toStore(s, d)
	return ""
}

// toGroup gives the message to one member of a shared subscription, with the QoS granted to it
// [MQTT5-4.8.2-3] and the identifier of this subscription alone [MQTT5-3.3.4-5]. From then on it is that
// session's, which finishes it [MQTT5-4.8.2-4].
func (r *routing) toGroup(t *turn, g *group) {
	s := g.choose(r.b, r.message)
	if s == nil {
		t.drop("", r.message, hooks.DropNoMember)
		return
	}
	to := receiver{session: s.session, qos: s.asked.QoS, retain: s.asked.RetainAsPublished}
	if s.asked.ID != 0 {
		to.ids = []uint32{s.asked.ID}
	}
	r.toReceiver(t, &to, g.key)
}

// toOwner hands the message to a hook. A panic there must not keep it from the other receivers.
func (r *routing) toOwner(t *turn, s *subscriber) {
	r.matched++
	var err error
	if !r.b.calm(func() { err = s.owner.Receive(s.filter, r.message) }) {
		err = errHookPanic
	}
	if err != nil {
		t.drop("", r.message, hooks.DropReceiverFailed)
	}
}

// toStore notes a receiver for the store.
func (r *routing) toStore(s *liveSession, d session.Delivery) {
	r.stored = append(r.stored, storedReceiver{session: s, delivery: d})
	r.entries = append(r.entries, storage.Entry{
		Session: s.key, QoS: d.QoS, Retain: d.Retain, SubscriptionIDs: d.SubscriptionIDs, Group: d.Group,
		Live: s.b.batcher != nil && s.mayBeEarly(d.QoS),
	})
}

// finish asks the store for what has to be stored, and completes the routing, now or when the store has
// answered. The routing must not be used any more.
func (r *routing) finish(t *turn) {
	if len(r.entries) == 0 && r.enqueue.Received == nil && !r.enqueue.Retain && len(r.enqueue.Changes) == 0 && !r.ordered {
		r.complete(t, nil)
		return
	}
	t.submit()
	r.lent = nil // never given back: a store that is no Batcher keeps what it has
	r.enqueue.Message, r.enqueue.To = r.message, r.entries
	r.b.counters.pending.Add(1)
	pending, err := r.b.store.Enqueue(&r.enqueue, r)
	if !pending {
		r.b.counters.pending.Add(-1)
		r.complete(t, err)
	}
}

// Stored implements storage.Waiter. It runs on the store's goroutine, in the turn of the group commit.
func (r *routing) Stored(err error) {
	r.b.counters.pending.Add(-1)
	r.complete(r.b.storeTurn(), err)
}

// complete delivers what the store has numbered. Who waits is told at once, unless a hook holds him back.
func (r *routing) complete(t *turn, err error) {
	r.deliver(t, err)
	if !r.held() {
		r.settle(t, err)
	}
}

// deliver gives receivers what the store has numbered, unless it failed.
func (r *routing) deliver(t *turn, err error) {
	if err != nil {
		r.code = r.failed(t, err)
		r.withdraw()
		return
	}
	for i := range r.stored {
		switch to := &r.stored[i]; {
		case to.queue != nil:
			to.queue.stored(t, r.entries[i].Seq, r.message)
		default:
			to.session.deliverStored(t, r.entries[i].Seq, to.delivery)
		}
	}
}

// settle tells who waits what became of the message. The routing must not be used any more.
func (r *routing) settle(t *turn, err error) {
	if r.publisher != nil {
		r.publisher.acknowledge(t, r.answer)
	}
	if r.done != nil {
		r.b.calm(func() { r.done(err) })
	}
	if c := r.stalled; c != nil {
		c.post(func(*turn) error { c.waits--; return nil })
	}
	r.free()
}

// failed notes that the store refused the message: nothing was acknowledged, nothing is delivered.
func (r *routing) failed(t *turn, err error) packet.Code {
	r.b.storeResult(false, err)
	if r.enqueue.Retain {
		r.b.retained.putBack(r.b, r.message, r.replaced)
	}
	for i := range r.stored {
		if s := r.stored[i].session; s != nil {
			t.drop(s.id, r.message, hooks.DropStorage)
		} else {
			t.drop("", r.message, hooks.DropStorage)
		}
	}
	return storeCode(err)
}

// storeCode is the reason code for an error of the store.
func storeCode(err error) packet.Code {
	if errors.Is(err, storage.ErrFull) {
		return packet.QuotaExceeded
	}
	return packet.ImplementationError
}

// publish routes a message that no connection waits for: a will, a hook's, the broker's own. client is whose
// it is, if anybody's.
// changes are made in the same atomic step as it is stored.
func (b *Broker) publish(t *turn, client *hooks.Client, m *packet.Message, changes []storage.Change, done func(error)) {
	if b.hooks.Intercepts(m) {
		defer t.routed(client)
		changed, d := b.hooks.OnPublish(client, m)
		switch d.Verdict {
		case hooks.Deny:
			t.drop("", m, hooks.DropIntercepted)
			tellRefused(done, refusalOf(d, packet.NotAuthorized))
			return
		case hooks.Handled:
			b.change(done, changes...)
			return
		}
		m = changed
	}
	r := newRouting(b, m)
	r.done = done
	p := b.index.Lookup(stringAsBytes(m.Topic)).Value
	if refused := r.admit(t, p); refused != nil {
		tellRefused(done, refused)
		r.free()
		return
	}
	r.enqueue.Changes = append(r.enqueue.Changes, changes...)
	r.retain(t)
	r.route(t, p)
	r.finish(t)
}

// routed tells the hooks that follow messages that one of c has its place in every queue, also if another hook panicked.
func (t *turn) routed(c *hooks.Client) {
	if t.b.hooks.HasFollowers(c) {
		t.submit()
		t.b.hooks.Routed(c)
	}
}

// tellRefused tells who published that the message went nowhere.
func tellRefused(done func(error), why *packet.Refusal) {
	if done != nil {
		done(fmt.Errorf("publish: %w", why))
	}
}
