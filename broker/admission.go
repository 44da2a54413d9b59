package broker

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// An admission is a queue of a hook that takes the message of a routing.
type admission struct {
	queue  *hookQueue
	hold   bool
	relief uint64 // hookQueue.relief when the hook decided to hold
}

// admit asks the hooks whose queues are in the plan, before anybody gets the message. If one refuses, nobody does.
func (r *routing) admit(t *turn, p *plan) (refused *packet.Refusal) {
	for _, q := range p.queues {
		relief := q.relief.Load()
		a := hooks.Admission{Verdict: hooks.Refuse, Reason: "a hook failed"}
		r.b.calm(func() { a = q.intake.Admit(r.message) })
		switch a.Verdict {
		case hooks.Take:
			r.admitted = append(r.admitted, admission{q, a.Hold, relief})
			r.enqueue.Changes = append(r.enqueue.Changes, changesOf(q.hook, a.Records)...)
		case hooks.Duplicate:
			r.ordered = true
		case hooks.Refuse:
			r.withdraw()
			why := hooks.DropQueueFull
			if a.Code.Failed() && a.Code != packet.QuotaExceeded {
				why = hooks.DropIntercepted
			}
			t.drop("", r.message, why)
			return refusalOf(hooks.Decision{Code: a.Code, Reason: a.Reason}, packet.QuotaExceeded)
		}
		r.matched++
	}
	return nil
}

// withdraw tells the hooks that took the message that they will not have it.
func (r *routing) withdraw() {
	for _, a := range r.admitted {
		r.b.calm(func() { a.queue.intake.Withdrawn(r.message) })
	}
	r.admitted = r.admitted[:0]
}

// toQueues notes the queues of hooks for the store.
func (r *routing) toQueues() {
	for _, a := range r.admitted {
		r.stored = append(r.stored, storedReceiver{queue: a.queue})
		r.entries = append(r.entries, storage.Entry{Session: a.queue.key, QoS: max(1, r.message.QoS)})
	}
}

// stall stops reading from a publisher of QoS 0, who waits for no acknowledgement, until the queues that hold
// him back are relieved.
func (r *routing) stall(c *conn) {
	for _, a := range r.admitted {
		if a.hold {
			r.stalled = c
			c.waits++
			return
		}
	}
}

// held reports whether a queue holds the publisher back; it goes on with settle then.
func (r *routing) held() bool {
	for r.passed < len(r.admitted) {
		a := r.admitted[r.passed]
		r.passed++
		if a.hold && a.queue.hold(r, a.relief) {
			return true
		}
	}
	return false
}

// hold keeps a routing until Relieve, unless that was called since the hook decided.
func (q *hookQueue) hold(r *routing, relief uint64) bool {
	q.heldMu.Lock()
	defer q.heldMu.Unlock()
	if q.gone.Load() || q.relief.Load() != relief {
		return false
	}
	q.held = append(q.held, r)
	return true
}

// Relieve implements hooks.Queue.
func (q *hookQueue) Relieve() {
	q.heldMu.Lock()
	q.relief.Add(1)
	held := q.held
	q.held = nil
	q.heldMu.Unlock()
	if len(held) == 0 {
		return
	}
	t := q.b.begin()
	defer t.end()
	for _, r := range held {
		if !r.held() {
			r.settle(t, nil)
		}
	}
}

// changesOf makes the changes that write a hook's records.
func changesOf(hook string, records []hooks.Record) []storage.Change {
	changes := make([]storage.Change, len(records))
	for i, r := range records {
		changes[i] = changeOf(hook, r)
	}
	return changes
}

func changeOf(hook string, r hooks.Record) storage.Change {
	if r.Value == nil {
		return storage.DeleteHookRecord{Hook: hook, Key: r.Key}
	}
	return storage.PutHookRecord{Hook: hook, Key: r.Key, Value: r.Value}
}

// Save implements hooks.Broker.
func (b *Broker) Save(hook string, records []hooks.Record, done func(error)) {
	b.change(done, changesOf(hook, records)...)
}

// A savedRecord is a hook's record as Load found it.
type savedRecord struct {
	hook, key string
	value     []byte
}

// Saved implements hooks.Broker.
func (b *Broker) Saved(hook string, visit func(key string, value []byte)) {
	for _, r := range b.saved {
		if r.hook == hook {
			visit(r.key, r.value)
		}
	}
}

// HookRecord implements storage.Visitor.
func (l *loader) HookRecord(hook, key string, value []byte) error {
	l.b.saved = append(l.b.saved, savedRecord{hook, key, value})
	return nil
}
