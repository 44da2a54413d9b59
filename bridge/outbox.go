package bridge

import (
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// Bounds of what an outbox keeps in memory.
const (
	tailMessagesMax    = 8192
	tailBytesMax       = 4 << 20
	volatileMessageMax = 4096
	volatileBytesMax   = 1 << 20
	overshootMax       = 1000 // messages beyond the limit while the oldest are being dropped
)

// A policy is what an outbox is told by the configuration. It is replaced as a whole.
type policy struct {
	rules       rules
	messagesMax int64
	bytesMax    int64
	onFull      string
}

// An outbox is the queue of one bridge: its Intake on one side, what the link reads on the other. It outlives the link when the
// configuration changes.
type outbox struct {
	// Fixed when openOutbox returns.
	name      string
	publisher string // of what the bridge itself publishes here
	broker    hooks.Broker
	queue     hooks.Queue
	wake      chan struct{} // holds one when there may be something to do
	counts    *counts

	policy  atomic.Pointer[policy]
	online  atomic.Bool  // the link is up: QoS 0 has somewhere to go
	len     atomic.Int64 // messages taken and not done
	bytes   atomic.Int64
	holding atomic.Bool // publishers may wait for Relieve

	mu            sync.Mutex // guards what follows
	last          uint64     // the newest number
	tail          []hooks.Queued
	tailBytes     int64
	volatile      []*packet.Message // of QoS 0
	volatileBytes int64
	releases      []func() // of the feeds
}

func openOutbox(b hooks.Broker, name string, c *counts) (*outbox, error) {
	o := &outbox{name: name, publisher: publisherOf(name), broker: b, wake: make(chan struct{}, 1), counts: c}
	o.policy.Store(&policy{})
	q, err := b.OpenQueue(hookName, name, o, nil)
	if err != nil {
		return nil, err
	}
	o.queue = q
	found := q.Extent()
	o.last = found.Next - 1
	o.len.Store(int64(found.Len))
	o.bytes.Store(found.Bytes)
	return o, nil
}

// publisherOf is the client identifier of what a bridge publishes here. No client can have it: $ keeps it apart from
// theirs in logs, and what is sent back to the same bridge is told by it.
func publisherOf(name string) string { return ownPublisher + name }

const ownPublisher = "$bridge/"

// follow puts a policy in force.
func (o *outbox) follow(p *policy) error {
	o.policy.Store(p)
	fed := make(map[string]bool)
	var releases []func()
	for i := range p.rules.out {
		filter := p.rules.out[i].local
		if fed[filter] {
			continue
		}
		fed[filter] = true
		release, err := o.queue.Feed(filter)
		if err != nil {
			return err
		}
		releases = append(releases, release)
	}
	o.feedBy(releases)
	return nil
}

// feedBy keeps what ends the feeding of the queue, and ends what fed it before.
func (o *outbox) feedBy(releases []func()) {
	o.mu.Lock()
	old := o.releases
	o.releases = releases
	o.mu.Unlock()
	for _, release := range old {
		release()
	}
}

// Admit implements hooks.Intake.
func (o *outbox) Admit(m *packet.Message) hooks.Admission {
	p := o.policy.Load()
	if m.Publisher == o.publisher {
		return hooks.Admission{Verdict: hooks.Skip}
	}
	rule := p.rules.sending(m.Topic)
	if rule == nil {
		return hooks.Admission{Verdict: hooks.Skip}
	}
	if min(m.QoS, rule.qos) == 0 {
		o.pass(m)
		return hooks.Admission{Verdict: hooks.Skip}
	}
	size := int64(m.Size())
	n, b := o.len.Add(1), o.bytes.Add(size)
	if n <= p.messagesMax && b <= p.bytesMax {
		return hooks.Admission{Verdict: hooks.Take}
	}
	switch {
	case p.onFull == configs.FullBlock:
		o.holding.Store(true)
		return hooks.Admission{Verdict: hooks.Take, Hold: true}
	case p.onFull == configs.FullDropOldest && n <= p.messagesMax+overshootMax && b <= p.bytesMax+p.bytesMax/8+size:
		return hooks.Admission{Verdict: hooks.Take}
	}
	o.subtract(1, size)
	o.counts.drop(dropFull, 1)
	return hooks.Admission{Verdict: hooks.Refuse, Reason: "the queue of bridge " + o.name + " is full"}
}

// pass keeps a message of QoS 0 until the link takes it, if it is up.
func (o *outbox) pass(m *packet.Message) {
	if !o.online.Load() {
		o.counts.drop(dropOffline, 1)
		return
	}
	o.mu.Lock()
	size := int64(m.Size())
	full := len(o.volatile) >= volatileMessageMax || o.volatileBytes+size > volatileBytesMax
	if !full {
		o.volatile = append(o.volatile, m)
		o.volatileBytes += size
	}
	o.mu.Unlock()
	if full {
		o.counts.drop(dropSlow, 1)
		return
	}
	o.poke()
}

// Queued implements hooks.Intake.
func (o *outbox) Queued(number uint64, m *packet.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = number
	o.tail = append(o.tail, hooks.Queued{Number: number, Message: m})
	o.tailBytes += int64(m.Size())
	for len(o.tail) > tailMessagesMax || o.tailBytes > tailBytesMax {
		o.tailBytes -= int64(o.tail[0].Message.Size())
		o.tail[0].Message = nil
		o.tail = o.tail[1:]
	}
}

// Settled implements hooks.Intake.
func (o *outbox) Settled(hooks.Batch) { o.poke() }

// Withdrawn implements hooks.Intake.
func (o *outbox) Withdrawn(m *packet.Message) { o.subtract(1, int64(m.Size())) }

// Expired implements hooks.Intake.
func (o *outbox) Expired(messages int, bytes int64) {
	o.counts.drop(dropExpired, uint64(messages))
	o.subtract(int64(messages), bytes)
}

// poke wakes the link.
func (o *outbox) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// subtract notes that messages are gone, and lets publishers go when there is room.
func (o *outbox) subtract(messages, bytes int64) {
	n, b := o.len.Add(-messages), o.bytes.Add(-bytes)
	p := o.policy.Load()
	if n < p.messagesMax && b < p.bytesMax && o.holding.CompareAndSwap(true, false) {
		o.queue.Relieve()
	}
}

// read appends messages from a number on: those that are not done, in order, at most as many as asked. The first number that was
// not looked at is returned. fresh says that none from there on was sent: what is in memory may be done.
func (o *outbox) read(dst []hooks.Queued, from uint64, fresh bool, entries int, bytes int64) ([]hooks.Queued, uint64, error) {
	o.mu.Lock()
	last := o.last
	if fresh && len(o.tail) > 0 && from >= o.tail[0].Number {
		defer o.mu.Unlock()
		at := int(from - o.tail[0].Number) // the tail has no gaps
		for at < len(o.tail) && entries > 0 && bytes > 0 {
			q := o.tail[at]
			dst, from = append(dst, q), q.Number+1
			entries, bytes, at = entries-1, bytes-int64(q.Message.Size()), at+1
		}
		return dst, from, nil
	}
	o.mu.Unlock()
	if from > last {
		return dst, from, nil
	}
	begin := len(dst)
	err := o.queue.Read(from, entries, bytes, func(q hooks.Queued) bool {
		if q.Number > last { // Queued has not told of it yet
			return false
		}
		dst, from = append(dst, q), q.Number+1
		return true
	})
	if err == nil && len(dst) == begin { // what was left there expired
		from = last + 1
	}
	return dst, from, err
}

// pending reports whether there is anything from a number on.
func (o *outbox) pending(from uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return from <= o.last || len(o.volatile) > 0
}

// expire drops a message that was found to be too old, unless the store did and told so.
func (o *outbox) expire(number uint64) error {
	return o.queue.Read(number, 1, 1, func(q hooks.Queued) bool {
		if q.Number == number {
			o.counts.drop(dropExpired, 1)
			o.finish([]finished{{number, int64(q.Message.Size())}})
		}
		return false
	})
}

// oldest is when the message at the head of the queue was taken, Unix nanoseconds; 0 if there is none.
func (o *outbox) oldest() (at int64) {
	if o.len.Load() == 0 {
		return 0
	}
	// If it cannot be read, the store has said so.
	_ = o.queue.Read(0, 1, 1, func(q hooks.Queued) bool {
		at = q.Message.Received
		return false
	})
	return at
}

// takeVolatile takes the messages of QoS 0.
func (o *outbox) takeVolatile() []*packet.Message {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.volatile
	o.volatile, o.volatileBytes = nil, 0
	return taken
}

// A finished message is out of the queue.
type finished struct {
	number uint64
	size   int64
}

// finish forgets messages.
func (o *outbox) finish(all []finished) {
	if len(all) == 0 {
		return
	}
	batch := o.broker.Batch()
	bytes := int64(0)
	for _, f := range all {
		batch.Done(o.queue, f.number)
		bytes += f.size
	}
	batch.End()
	o.subtract(int64(len(all)), bytes)
}

// excess reports whether the oldest messages are to be dropped.
func (o *outbox) excess() bool {
	p := o.policy.Load()
	return p.onFull == configs.FullDropOldest && (o.len.Load() > p.messagesMax || o.bytes.Load() > p.bytesMax)
}

// close stops feeding the queue.
func (o *outbox) close() { o.feedBy(nil) }
