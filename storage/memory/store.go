// Package memory is the Store that keeps every record in the process.
//
// A write is done when its call returns: nothing is ever pending, no Waiter is called,
// and everything is gone when the process ends. It serves brokers without a
// storage.path and tests.
//
// Its nouns are the Store, which is a handle that can be closed and reopened, the shard, which
// holds the sessions and retained messages whose names hash to it under one lock, and the
// queue of a session. Two publishers meet in a lock only when their receivers share a
// shard. Messages are kept by pointer, once for all their queues. It is tested by the suite in
// storage/storagetest, and its cost by benchmarks.
package memory

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// A Store implements storage.Store. Calls under way when Close is called still take effect.
type Store struct {
	records *records
	closed  atomic.Bool
}

// shardCount makes it unlikely that two busy receivers share a lock, for 24 KB of empty shards.
const shardCount = 256

// records are what a Store and those reopened from it share.
type records struct {
	seed   maphash.Seed
	shards [shardCount]shard

	countersMu sync.Mutex // guards what follows
	counters   map[string]uint64

	hooksMu sync.Mutex // guards what follows
	hooks   map[hookKey][]byte
}

// A shard holds the records of the names that hash to it.
type shard struct {
	mu       sync.Mutex // guards what follows; a holder takes no other shard's
	sessions map[string]*session
	retained map[string]*packet.Message // by topic
	_        [40]byte                   // keeps the locks of neighbours off one cache line
}

// New makes an empty Store.
func New() *Store {
	r := &records{seed: maphash.MakeSeed(), counters: make(map[string]uint64), hooks: make(map[hookKey][]byte)}
	for i := range r.shards {
		r.shards[i].sessions = make(map[string]*session)
		r.shards[i].retained = make(map[string]*packet.Message)
	}
	return &Store{records: r}
}

// Reopen returns a Store with the same records, as opening a closed store on disk again would.
func (s *Store) Reopen() *Store { return &Store{records: s.records} }

// Close makes every later write fail with ErrClosed. The records stay for Reopen.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// Notify has nothing to do, since no Waiter is ever called.
func (s *Store) Notify(func()) {}

func (r *records) shard(name string) *shard {
	return &r.shards[maphash.String(r.seed, name)%shardCount]
}

// Enqueue implements storage.Store. An entry for a session without a record is not
// kept and its Seq is 0.
func (s *Store) Enqueue(e *storage.Enqueue, _ storage.Waiter) (pending bool, err error) {
	if s.closed.Load() {
		return false, storage.ErrClosed
	}
	if e.Received != nil {
		s.records.putReceived(*e.Received)
	}
	for i := range e.To {
		s.records.enqueue(&e.To[i], e.Message)
	}
	if e.Retain {
		s.records.retain(e.Message)
	}
	s.records.applyAll(e.Changes)
	return false, nil
}

// Ack implements storage.Store. Progress never goes back; what is unknown is ignored.
func (s *Store) Ack(a storage.Ack, _ storage.Waiter) (pending bool, err error) {
	if s.closed.Load() {
		return false, storage.ErrClosed
	}
	h := s.records.shard(a.Session)
	h.mu.Lock()
	if n := h.sessions[a.Session]; n != nil {
		n.queue.ack(a.Seq, a.Progress)
	}
	h.mu.Unlock()
	return false, nil
}

func (r *records) enqueue(e *storage.Entry, m *packet.Message) {
	e.Seq = 0
	h := r.shard(e.Session)
	h.mu.Lock()
	if n := h.sessions[e.Session]; n != nil {
		e.Seq = n.queue.push(e, m)
	}
	h.mu.Unlock()
}

// retain makes m the retained message of its topic. One without a payload deletes it [MQTT5-3.3.1-6].
func (r *records) retain(m *packet.Message) {
	h := r.shard(m.Topic)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(m.Payload) == 0 {
		delete(h.retained, m.Topic)
		return
	}
	h.retained[m.Topic] = m
}
