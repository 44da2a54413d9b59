package crash

import (
	"slices"
	"sync"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// A fault breaks one promise of a store on purpose, to show that a run finds it.
type fault struct {
	name  string
	says  string // what is wrong with such a store
	finds []kind // any of these is the right finding
	kills int    // 0: six, and the run ends with the first violation
	slow  bool   // commits take a while, as on a slow disk, so that what was not waited for is often lost
	wrap  func(storage.Store) storage.Store
}

// none is no fault: the same broker as it should be.
func none() fault {
	return fault{name: "none", says: "nothing is wrong", wrap: func(s storage.Store) storage.Store { return s }}
}

// faults are all there are. The one that is not a wrapper, storage.sync: never under power cuts, is in its test.
func faults() []fault {
	return []fault{
		{
			name: "ack-first", says: "PUBACK and PUBREC do not wait for the store", slow: true, kills: 1,
			finds: []kind{kindLost}, wrap: func(s storage.Store) storage.Store { return ackFirst{s} },
		},
		{
			name: "suback-first", says: "SUBACK does not wait for the store", slow: true,
			finds: []kind{kindLost, kindSubscription}, wrap: func(s storage.Store) storage.Store { return subackFirst{s} },
		},
		{
			name: "order", says: "every 20th message is stored after the one that follows it",
			finds: []kind{kindOrder}, wrap: func(s storage.Store) storage.Store { return &swapping{Store: s} },
		},
		{
			name: "unread", says: "every 50th message is left out when a queue is read",
			finds: []kind{kindLost, kindResend}, wrap: func(s storage.Store) storage.Store { return &skipping{Store: s} },
		},
		{
			name: "received", says: "the identifiers of received QoS 2 messages are not stored",
			finds: []kind{kindTwice}, wrap: func(s storage.Store) storage.Store { return unreceived{s} },
		},
		{
			name: "released", says: "it is not stored that PUBREC came",
			finds: []kind{kindTwice}, wrap: func(s storage.Store) storage.Store { return unreleased{s} }, slow: true,
		},
		{
			name: "undead-retained", says: "retained messages are not deleted",
			finds: []kind{kindRetained}, wrap: func(s storage.Store) storage.Store { return undying{s} },
		},
		{
			name: "undead-session", says: "sessions are not deleted", finds: []kind{kindSessionBack},
			wrap: func(s storage.Store) storage.Store {
				return forgetting{s, func(c storage.Change) bool { _, is := c.(storage.DeleteSession); return is }}
			},
		},
		{
			name: "unsubscribe", says: "subscriptions are not deleted", finds: []kind{kindUncalled, kindQoS},
			wrap: func(s storage.Store) storage.Store {
				return forgetting{s, func(c storage.Change) bool { _, is := c.(storage.DeleteSubscription); return is }}
			},
		},
		{
			name: "subscribe", says: "subscriptions are not stored", finds: []kind{kindLost, kindSubscription},
			wrap: func(s storage.Store) storage.Store {
				return forgetting{s, func(c storage.Change) bool { _, is := c.(storage.PutSubscription); return is }}
			},
		},
	}
}

// ackFirst says that a message is stored before it is. It needs a store that numbers entries at once.
type ackFirst struct{ storage.Store }

// Enqueue implements storage.Store.
func (s ackFirst) Enqueue(e *storage.Enqueue, _ storage.Waiter) (bool, error) {
	_, err := s.Store.Enqueue(e, nil)
	return false, err
}

// subackFirst says that a subscription is stored before it is.
type subackFirst struct{ storage.Store }

// Update implements storage.Store.
func (s subackFirst) Update(changes []storage.Change, w storage.Waiter) (bool, error) {
	if !slices.ContainsFunc(changes, func(c storage.Change) bool { _, is := c.(storage.PutSubscription); return is }) {
		return s.Store.Update(changes, w)
	}
	_, err := s.Store.Update(changes, nil)
	return false, err
}

// swapping stores some messages after the one that follows, whoever published that.
type swapping struct {
	storage.Store

	mu     sync.Mutex // guards what follows; held around every write
	count  int
	kept   *storage.Enqueue
	waiter storage.Waiter
}

// swapEvery is how many messages there are between two that are swapped.
const swapEvery = 20

// Enqueue implements storage.Store.
func (s *swapping) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count++; s.count%swapEvery == 0 && s.kept == nil && w != nil {
		s.kept, s.waiter = e, w
		return true, nil
	}
	pending, err := s.Store.Enqueue(e, w)
	s.letGoLocked()
	return pending, err
}

// Update implements storage.Store.
func (s *swapping) Update(changes []storage.Change, w storage.Waiter) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGoLocked()
	return s.Store.Update(changes, w)
}

// Ack implements storage.Store.
func (s *swapping) Ack(a storage.Ack, w storage.Waiter) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGoLocked()
	return s.Store.Ack(a, w)
}

// letGoLocked stores what was kept back.
func (s *swapping) letGoLocked() {
	e, w := s.kept, s.waiter
	if s.kept, s.waiter = nil, nil; e == nil {
		return
	}
	if pending, err := s.Store.Enqueue(e, w); !pending {
		w.Stored(err)
	}
}

// skipping leaves out messages when a queue is read.
type skipping struct {
	storage.Store

	mu    sync.Mutex // guards what follows
	count int
}

// skipEvery is how many messages there are between two that are left out.
const skipEvery = 50

// Read implements storage.Store.
func (s *skipping) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(storage.Entry, storage.Progress, *packet.Message) bool,
) error {
	return s.Store.Read(session, from, limit, func(e storage.Entry, p storage.Progress, m *packet.Message) bool {
		s.mu.Lock()
		s.count++
		skip := s.count%skipEvery == 0
		s.mu.Unlock()
		return skip || visit(e, p, m)
	})
}

// unreceived does not store the identifiers of QoS 2 messages that clients sent.
type unreceived struct{ storage.Store }

// Enqueue implements storage.Store.
func (s unreceived) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	e.Received = nil
	return s.Store.Enqueue(e, w)
}

// unreleased does not store that PUBREC came.
type unreleased struct{ storage.Store }

// Ack implements storage.Store.
func (s unreleased) Ack(a storage.Ack, w storage.Waiter) (bool, error) {
	if a.Progress == storage.Released {
		return false, nil
	}
	return s.Store.Ack(a, w)
}

// undying does not delete retained messages.
type undying struct{ storage.Store }

// Enqueue implements storage.Store.
func (s undying) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	e.Retain = e.Retain && len(e.Message.Payload) > 0
	return s.Store.Enqueue(e, w)
}

// forgetting leaves out some changes.
type forgetting struct {
	storage.Store
	forgets func(storage.Change) bool
}

// Update implements storage.Store.
func (s forgetting) Update(changes []storage.Change, w storage.Waiter) (bool, error) {
	return s.Store.Update(slices.DeleteFunc(slices.Clone(changes), s.forgets), w)
}
