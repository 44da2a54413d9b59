package broker

import (
	"sync"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A turn is one piece of work: the packets of one read, the messages of one group commit, one timer.
// Everything that is worth doing once for many packets is gathered in it and done when it ends: each
// connection touched is flushed once, shared counters are added to once, hooks hear of deliveries with no
// lock held.
//
// A turn belongs to one goroutine.
type turn struct {
	b      *Broker
	now    int64   // Unix nanoseconds at its beginning
	dirty  []*conn // connections with something to flush, each once
	frames frames  // encodings of the message being routed
	tally  tally
	events []event
	acks   []storage.Ack // for the store; nobody waits for them
	spare  []storage.Ack // the memory of the last acks
	queues []*hookQueue  // with messages that their hooks were told of
	later  *submission   // messages for the store, or nil
	idle   *routing      // for the next message, or nil

	batch    []storage.Enqueue  // a submission while the store is called
	received []storage.Received // of batch

	incoming packet.Publish // being handled
	message  packet.Message // of the PUBLISH being routed, where its bytes are borrowed
}

// An event is something a DeliveryObserver is told when the turn ends.
type event struct {
	kind     eventKind
	clientID string
	message  *packet.Message
	code     packet.Code
	reason   hooks.DropReason
	user     []packet.UserProperty // of the answer
	done     func(hooks.Batch, hooks.Answer)
}

type eventKind byte

const (
	delivered eventKind = iota
	acked
	dropped
	undone // a delivery outside of the queue that the client did not take: only done is called
	roomy  // a client that was busy can take something again
)

var turns = sync.Pool{New: func() any { return new(turn) }}

// begin starts a turn; end must follow.
func (b *Broker) begin() *turn {
	t := turns.Get().(*turn)
	t.b, t.now = b, time.Now().UnixNano()
	return t
}

// end does what was put off. The turn must not be used afterwards.
func (t *turn) end() {
	t.settle()
	turns.Put(t)
}

// settle does what was put off and leaves the turn ready for more.
func (t *turn) settle() {
	t.submit()
	t.storeAcks()
	for i := 0; i < len(t.events); i++ { // before the flush: a client cannot answer what it has not got
		e := t.events[i]
		t.events[i] = event{}
		t.tell(e)
	}
	t.events = t.events[:0]
	t.settleQueues()
	for i := 0; i < len(t.dirty); i++ { // flushing may touch more
		c := t.dirty[i]
		t.dirty[i] = nil
		c.driver.flush(t)
	}
	t.dirty = t.dirty[:0]
	t.frames.reset(nil, nil)
	t.b.counters.add(&t.tally)
	if len(t.events) > 0 || len(t.acks) > 0 || len(t.queues) > 0 { // room for more was made
		t.settle()
	}
}

// storeAcks tells the store of the acknowledgements so far.
func (t *turn) storeAcks() {
	if len(t.acks) == 0 {
		return
	}
	acks := t.acks
	t.acks = t.spare[:0]
	if t.b.batcher != nil {
		t.b.storeResult(false, t.b.batcher.AckAll(acks, t))
	} else {
		for _, a := range acks {
			t.b.storeResult(t.b.store.Ack(a, nil))
		}
	}
	t.spare = acks
}

// Tell implements storage.Teller: who waited for receivers alone is answered in the turn that has their acknowledgements.
func (t *turn) Tell(w storage.Waiter) { w.(*submission).settled(t) }

func (t *turn) tell(e event) {
	switch e.kind {
	case delivered:
		t.b.hooks.OnDelivered(e.clientID, e.message)
	case acked:
		t.b.hooks.OnAcked(e.clientID, e.message, e.code)
	case dropped:
		t.b.hooks.OnDropped(e.clientID, e.message, e.reason)
	case roomy:
		t.tellRoom(e.clientID)
	}
	if e.done != nil {
		t.b.calm(func() { e.done(batch{t}, hooks.Answer{Acked: e.kind != undone, Code: e.code, User: e.user}) })
	}
}

// observe notes an event for the hooks, if any listens.
func (t *turn) observe(e event) {
	if e.done == nil && !t.b.observed {
		return
	}
	t.events = append(t.events, e)
}

// undone tells who delivered outside of the queue that the client did not take it.
func (t *turn) undone(deliveries []session.Delivery) {
	for _, d := range deliveries {
		done, _ := doneOf(d)
		t.observe(event{kind: undone, done: done})
	}
}

// drop counts a delivery that will not happen.
func (t *turn) drop(clientID string, m *packet.Message, reason hooks.DropReason) {
	t.b.counters.drop(reason, 1)
	t.observe(event{kind: dropped, clientID: clientID, message: m, reason: reason})
}

// touch has c flushed when the turn ends. c.mu is held.
func (t *turn) touchLocked(c *conn) {
	if !c.dirty {
		c.dirty = true
		t.dirty = append(t.dirty, c)
	}
}
