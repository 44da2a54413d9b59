package crash

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage"
)

// A channelFault breaks one promise of channels on purpose, in the store below them or in how they are declared.
type channelFault struct {
	fault
	declare func([]configs.Channel)
}

// channelFaults are all there are.
func channelFaults() []channelFault {
	wrapped := func(name, says string, wrap func(storage.Store) storage.Store, finds ...kind) channelFault {
		return channelFault{fault: fault{name: name, says: says, wrap: wrap, finds: finds}}
	}
	first := wrapped("ack-first", "PUBACK and PUBREC do not wait for the store", func(s storage.Store) storage.Store { return ackFirst{s} }, kindLost)
	first.slow = true
	unordered := wrapped("unordered", "no channel keeps an order", none().wrap, kindOrder)
	unordered.declare = func(channels []configs.Channel) {
		for i := range channels {
			channels[i].Order = configs.OrderNone
		}
	}
	return []channelFault{
		first, unordered,
		wrapped("swapped", "every 20th message is stored after the one that follows it",
			func(s storage.Store) storage.Store { return &swapping{Store: s} }, kindOrder),
		wrapped("unread", "every 50th message is left out when a queue is read",
			func(s storage.Store) storage.Store { return &skipping{Store: s} }, kindStalled, kindOrder, kindLost),
		wrapped("undone", "it is not stored that a message was dealt with",
			func(s storage.Store) storage.Store { return undone{s} }, kindTwice, kindOrder),
		wrapped("copied", "a message stays where it was when it is moved to the dead letter",
			func(s storage.Store) storage.Store { return copied{s} }, kindTwice),
		wrapped("forgiving", "failures are not stored",
			func(s storage.Store) storage.Store { return altered{s, forget("attempt/")} }, kindFailures),
		wrapped("unseen", "message-ids are not stored",
			func(s storage.Store) storage.Store { return altered{s, forget("seen/")} }, kindTwice),
		wrapped("resumed", "it is not stored that a channel is paused",
			func(s storage.Store) storage.Store { return altered{s, resumeChannels} }, kindPaused),
		wrapped("old", "messages read from the store are an hour older", func(s storage.Store) storage.Store { return old{s} }, kindEarly),
		wrapped("missing", "every 100th message for a queue is not stored",
			func(s storage.Store) storage.Store { return &missing{Store: s} }, kindLost),
	}
}

// undone does not store acknowledgements.
type undone struct{ storage.Store }

// Ack implements storage.Store.
func (s undone) Ack(a storage.Ack, w storage.Waiter) (bool, error) {
	if w == nil && a.Progress == storage.Done {
		return false, nil
	}
	return s.Store.Ack(a, w)
}

// copied moves messages without taking them away.
type copied struct{ storage.Store }

// Enqueue implements storage.Store.
func (s copied) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	e.Changes = slices.DeleteFunc(e.Changes, isA[storage.Ack])
	return s.Store.Enqueue(e, w)
}

// altered changes the records of hooks on their way into the store, or leaves them out.
type altered struct {
	storage.Store
	alter func(storage.PutHookRecord) (storage.PutHookRecord, bool)
}

// Enqueue implements storage.Store.
func (s altered) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	e.Changes = s.all(e.Changes)
	return s.Store.Enqueue(e, w)
}

// Update implements storage.Store.
func (s altered) Update(changes []storage.Change, w storage.Waiter) (bool, error) {
	return s.Store.Update(s.all(changes), w)
}

func (s altered) all(changes []storage.Change) (kept []storage.Change) {
	for _, c := range changes {
		if r, is := c.(storage.PutHookRecord); is {
			var keep bool
			if r, keep = s.alter(r); !keep {
				continue
			}
			c = r
		}
		kept = append(kept, c)
	}
	return kept
}

func forget(prefix string) func(storage.PutHookRecord) (storage.PutHookRecord, bool) {
	return func(r storage.PutHookRecord) (storage.PutHookRecord, bool) {
		return r, !strings.HasPrefix(r.Key, prefix)
	}
}

func resumeChannels(r storage.PutHookRecord) (storage.PutHookRecord, bool) {
	r.Value = bytes.Replace(r.Value, []byte(`"paused":true`), []byte(`"paused":false`), 1)
	return r, true
}

// old makes messages older than they are.
type old struct{ storage.Store }

// Read implements storage.Store.
func (s old) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(storage.Entry, storage.Progress, *packet.Message) bool,
) error {
	return s.Store.Read(session, from, limit, func(e storage.Entry, p storage.Progress, m *packet.Message) bool {
		older := *m
		older.Received -= int64(time.Hour)
		return visit(e, p, &older)
	})
}

// missing leaves out some messages for one of several queues.
type missing struct {
	storage.Store
	count atomic.Int64
}

// Enqueue implements storage.Store.
func (s *missing) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	if len(e.To) < 2 || s.count.Add(1)%100 != 0 {
		return s.Store.Enqueue(e, w)
	}
	all := e.To
	e.To = all[:len(all)-1]
	pending, err := s.Store.Enqueue(e, w)
	e.To = all
	return pending, err
}
