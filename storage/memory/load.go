package memory

import (
	"maps"
	"slices"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// A snapshot is one session as it was when Load looked at it.
type snapshot struct {
	record        storage.Session
	subscriptions []storage.Subscription
	received      []uint16
	queue         storage.Queue
}

// Load implements storage.Store. It copies each shard before it calls v, so no lock is held meanwhile.
func (s *Store) Load(v storage.Visitor) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	sessions, retained := s.records.snapshot()
	for _, n := range sessions {
		if err := v.Session(n.record); err != nil {
			return err
		}
	}
	for _, n := range sessions {
		if err := n.visitSubscriptions(v); err != nil {
			return err
		}
	}
	for _, n := range sessions {
		if err := v.Queue(n.queue); err != nil {
			return err
		}
	}
	for _, m := range retained {
		if err := v.Retained(m); err != nil {
			return err
		}
	}
	if err := v.Counters(s.records.countersCopy()); err != nil {
		return err
	}
	return s.records.visitHooks(v)
}

func (r *records) snapshot() (sessions []snapshot, retained []*packet.Message) {
	for i := range r.shards {
		h := &r.shards[i]
		h.mu.Lock()
		for _, n := range h.sessions {
			sessions = append(sessions, n.snapshot())
		}
		retained = slices.AppendSeq(retained, maps.Values(h.retained))
		h.mu.Unlock()
	}
	return sessions, retained
}

func (n *session) snapshot() snapshot {
	return snapshot{
		record:        n.record,
		subscriptions: slices.Collect(maps.Values(n.subscriptions)),
		received:      slices.Collect(maps.Keys(n.received)),
		queue: storage.Queue{
			Session: n.record.ID, Head: n.queue.first + 1, Next: n.queue.next + 1, Len: n.queue.waiting, Bytes: n.queue.bytes,
		},
	}
}

func (n *snapshot) visitSubscriptions(v storage.Visitor) error {
	for _, sub := range n.subscriptions {
		if err := v.Subscription(sub); err != nil {
			return err
		}
	}
	for _, id := range n.received {
		if err := v.Received(storage.Received{Session: n.record.ID, ID: id}); err != nil {
			return err
		}
	}
	return nil
}
