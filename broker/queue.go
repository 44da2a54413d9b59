package broker

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A hookQueue is a durable queue of a hook, which decides what enters it. It implements hooks.Queue.
type hookQueue struct {
	// Fixed when it is open.
	b      *Broker
	hook   string
	name   string
	key    string // storage.Session.ID
	intake hooks.Intake
	found  hooks.Extent

	gone   atomic.Bool   // deleted
	relief atomic.Uint64 // counts calls of Relieve

	mu    sync.Mutex // guards what follows. The intake's Queued is called with it: it keeps the order
	next  uint64     // number that the hook is told of next
	early map[uint64]*packet.Message
	// touched is the turn whose end tells the hook that these were all, the last of them if there are several.
	touched *turn

	heldMu sync.Mutex // guards held; a leaf in the lock order
	held   []*routing // whose publishers wait for Relieve

	feedMu sync.Mutex // guards feeds; only the index's own locks are taken after it
	feeds  map[*subscriber]struct{}
}

// hookQueues are the queues of all hooks.
type hookQueues struct {
	mu     sync.Mutex // guards what follows; a leaf in the lock order
	byName map[[2]string]*hookQueue
	byKey  map[string]*hookQueue
}

func newHookQueues() *hookQueues {
	return &hookQueues{byName: make(map[[2]string]*hookQueue), byKey: make(map[string]*hookQueue)}
}

func (qs *hookQueues) add(q *hookQueue) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	qs.byName[[2]string{q.hook, q.name}] = q
	qs.byKey[q.key] = q
}

func (qs *hookQueues) remove(q *hookQueue) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if name := [2]string{q.hook, q.name}; qs.byName[name] == q {
		delete(qs.byName, name)
	}
	delete(qs.byKey, q.key)
}

// find returns nil if there is no queue with this key.
func (qs *hookQueues) find(key string) *hookQueue {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.byKey[key]
}

// newHookQueue makes a queue that is not open yet.
func newHookQueue(b *Broker, hook, name, key string) *hookQueue {
	return &hookQueue{
		b: b, hook: hook, name: name, key: key, next: 1, found: hooks.Extent{Head: 1, Next: 1}, feeds: make(map[*subscriber]struct{}),
	}
}

// OpenQueue implements hooks.Broker.
func (b *Broker) OpenQueue(hook, name string, in hooks.Intake, made func(error)) (hooks.Queue, error) {
	q, fresh, err := b.queues.open(b, hook, name, in)
	switch {
	case err != nil:
		return nil, err
	case !fresh:
		if made != nil {
			made(nil)
		}
		return q, nil
	}
	record := storage.Session{ID: q.key, ClientID: name, Hook: hook, ExpiryInterval: never}
	b.change(made, storage.PutSession{Session: record})
	return q, nil
}

// open finds a queue or makes it.
func (qs *hookQueues) open(b *Broker, hook, name string, in hooks.Intake) (q *hookQueue, fresh bool, err error) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	at := [2]string{hook, name}
	q = qs.byName[at]
	if q == nil {
		fresh = true
		q = newHookQueue(b, hook, name, b.newSessionKey())
		qs.byName[at], qs.byKey[q.key] = q, q
	}
	if q.intake != nil {
		return nil, false, fmt.Errorf("queue %q of %s is open", name, hook)
	}
	q.intake = in
	return q, fresh, nil
}

// Queues implements hooks.Broker.
func (b *Broker) Queues(hook string) (names []string) {
	b.queues.mu.Lock()
	defer b.queues.mu.Unlock()
	for at := range b.queues.byName {
		if at[0] == hook {
			names = append(names, at[1])
		}
	}
	slices.Sort(names)
	return names
}

// change writes changes and tells done, if there is one, what became of that.
func (b *Broker) change(done func(error), changes ...storage.Change) {
	tell := func(err error) {
		b.storeResult(false, err)
		if done != nil {
			b.calm(func() { done(err) })
		}
	}
	if pending, err := b.store.Update(changes, waiter(tell)); !pending {
		tell(err)
	}
}

// Extent implements hooks.Queue.
func (q *hookQueue) Extent() hooks.Extent { return q.found }

// Feed implements hooks.Queue.
func (q *hookQueue) Feed(filter string) (release func(), err error) {
	if err := topic.CheckFilter(filter, q.b.topicLimits()); err != nil {
		return nil, fmt.Errorf("feed %s from %q: %w", q.name, filter, err)
	}
	s := &subscriber{filter: filter, queue: q}
	q.feedMu.Lock()
	defer q.feedMu.Unlock()
	if q.gone.Load() {
		return nil, errDeleted
	}
	q.feeds[s] = struct{}{}
	q.b.index.Add(filter, s)
	return func() { q.unfeed(s) }, nil
}

var errDeleted = errors.New("the queue was deleted")

func (q *hookQueue) unfeed(s *subscriber) {
	q.feedMu.Lock()
	defer q.feedMu.Unlock()
	if _, fed := q.feeds[s]; fed {
		delete(q.feeds, s)
		q.b.index.Remove(s.filter, s)
	}
}

// Read implements hooks.Queue.
func (q *hookQueue) Read(number uint64, entries int, bytes int64, visit func(hooks.Queued) bool) error {
	limit := storage.ReadLimit{Entries: entries, Bytes: bytes}
	return q.b.store.Read(q.key, number, limit, func(e storage.Entry, p storage.Progress, m *packet.Message) bool {
		return visit(hooks.Queued{Number: e.Seq, Message: m, Sent: p >= storage.Sent})
	})
}

// Sent implements hooks.Queue.
func (q *hookQueue) Sent(number uint64) { q.ack(number, storage.Sent, nil) }

// Done implements hooks.Queue.
func (q *hookQueue) Done(number uint64, stored func(error)) { q.ack(number, storage.Done, stored) }

func (q *hookQueue) ack(number uint64, p storage.Progress, stored func(error)) {
	a := storage.Ack{Session: q.key, Seq: number, Progress: p}
	if stored == nil {
		q.b.storeResult(q.b.store.Ack(a, nil))
		return
	}
	tell := func(err error) {
		q.b.storeResult(false, err)
		q.b.calm(func() { stored(err) })
	}
	if pending, err := q.b.store.Ack(a, waiter(tell)); !pending {
		tell(err)
	}
}

// Move implements hooks.Queue.
func (q *hookQueue) Move(number uint64, m *packet.Message, done func(error)) {
	q.b.publishWith(m, []storage.Change{storage.Ack{Session: q.key, Seq: number, Progress: storage.Done}}, done)
}

// Delete implements hooks.Queue.
func (q *hookQueue) Delete(stored func(error)) {
	q.feedMu.Lock()
	q.gone.Store(true)
	for s := range q.feeds {
		q.b.index.Remove(s.filter, s)
	}
	clear(q.feeds)
	q.feedMu.Unlock()
	q.b.queues.remove(q)
	q.b.change(stored, storage.DeleteSession{ID: q.key})
	q.Relieve()
}

// stored tells the hook of a message that the store has numbered, in the order of the numbers: publishers may overtake
// each other between the store and here. Number 0 is that of a message for a queue that was deleted.
func (q *hookQueue) stored(t *turn, number uint64, m *packet.Message) {
	if number == 0 {
		q.b.calm(func() { q.intake.Withdrawn(m) })
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	t.touchQueueLocked(q)
	if number != q.next {
		if q.early == nil {
			q.early = make(map[uint64]*packet.Message)
		}
		q.early[number] = m
		return
	}
	for ok := true; ok; m, ok = q.early[q.next] {
		delete(q.early, q.next)
		q.next++
		q.b.calm(func() { q.intake.Queued(q.next-1, m) })
	}
}

// touchQueueLocked has the hook told, when the turn ends, that these were all. Once is enough, twice is harmless: a message
// may be in a thousand queues, so nothing is searched.
func (t *turn) touchQueueLocked(q *hookQueue) {
	if q.touched != t {
		q.touched = t
		t.queues = append(t.queues, q)
	}
}

func (t *turn) settleQueues() {
	for i := 0; i < len(t.queues); i++ {
		q := t.queues[i]
		t.queues[i] = nil
		q.mu.Lock()
		if q.touched == t {
			q.touched = nil
		}
		q.mu.Unlock()
		t.b.calm(func() { q.intake.Settled(batch{t}) })
	}
	t.queues = t.queues[:0]
}

// expired tells a hook of messages that the store dropped because they expired. One that is not open yet finds less.
func (qs *hookQueues) expired(key string, messages int, bytes int64) {
	qs.mu.Lock()
	q := qs.byKey[key]
	if q != nil && q.intake == nil {
		q.found.Len -= messages
		q.found.Bytes -= bytes
		q = nil
	}
	qs.mu.Unlock()
	if q != nil {
		q.b.counters.drop(hooks.DropExpired, uint64(messages))
		q.b.calm(func() { q.intake.Expired(messages, bytes) })
	}
}
