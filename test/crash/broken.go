package crash

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// ackFirst says that a message is stored before it is. It needs a store that numbers entries at once.
type ackFirst struct{ storage.Store }

// Enqueue implements storage.Store.
func (s ackFirst) Enqueue(e *storage.Enqueue, _ storage.Waiter) (bool, error) {
	_, err := s.Store.Enqueue(e, nil)
	return false, err
}

// changesFirst says that some changes are stored before they are.
type changesFirst struct {
	storage.Store
	hurries func(storage.Change) bool
}

// Update implements storage.Store.
func (s changesFirst) Update(changes []storage.Change, w storage.Waiter) (bool, error) {
	if !slices.ContainsFunc(changes, s.hurries) {
		return s.Store.Update(changes, w)
	}
	_, err := s.Store.Update(changes, nil)
	return false, err
}

// isA reports whether a change is of a kind.
func isA[T storage.Change](c storage.Change) bool {
	_, is := c.(T)
	return is
}

// swapping stores some messages after the one that follows, whoever published that.
type swapping struct {
	storage.Store

	mu     sync.Mutex // guards what follows; held around every write
	count  int
	kept   *storage.Enqueue
	waiter storage.Waiter
}

const (
	swapEvery = 20                    // how many messages there are between two that are swapped
	swapMax   = 20 * time.Millisecond // how long one is kept back if no other comes
)

// Enqueue implements storage.Store.
func (s *swapping) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count++; s.count%swapEvery == 0 && s.kept == nil && w != nil {
		s.kept, s.waiter = e, w
		time.AfterFunc(swapMax, s.letGo)
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

func (s *swapping) letGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGoLocked()
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

// unacknowledged does not store that messages were acknowledged.
type unacknowledged struct{ storage.Store }

// Ack implements storage.Store.
func (s unacknowledged) Ack(a storage.Ack, w storage.Waiter) (bool, error) {
	if a.Progress == storage.Done && w == nil {
		return false, nil
	}
	return s.Store.Ack(a, w)
}

// unsent forgets what was sent.
type unsent struct{ storage.Store }

// Read implements storage.Store.
func (s unsent) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(storage.Entry, storage.Progress, *packet.Message) bool,
) error {
	return s.Store.Read(session, from, limit, func(e storage.Entry, p storage.Progress, m *packet.Message) bool {
		if p == storage.Sent {
			p = storage.Queued
		}
		return visit(e, p, m)
	})
}

// renumbered counts queues from another number on at each start. It needs a store that numbers entries at once.
type renumbered struct {
	storage.Store
	shift uint64
}

// shiftMax is less than there are packet identifiers, so that two starts seldom agree on one.
const shiftMax = 60_000

func newRenumbered(s storage.Store) storage.Store { return renumbered{s, 1 + rand.Uint64N(shiftMax)} }

// Load implements storage.Store.
func (s renumbered) Load(v storage.Visitor) error { return s.Store.Load(shifting{v, s.shift}) }

// shifting tells a Visitor of queues that are counted from another number on.
type shifting struct {
	storage.Visitor
	shift uint64
}

// Queue implements storage.Visitor.
func (v shifting) Queue(q storage.Queue) error {
	q.Head += v.shift
	q.Next += v.shift
	return v.Visitor.Queue(q)
}

// Enqueue implements storage.Store.
func (s renumbered) Enqueue(e *storage.Enqueue, w storage.Waiter) (bool, error) {
	told := make(chan struct{})
	stored := *e // which belongs to the store from now on
	stored.To = slices.Clone(e.To)
	pending, err := s.Store.Enqueue(&stored, shiftFirst{w, told})
	for i, to := range stored.To {
		if e.To[i].Seq = to.Seq; to.Seq != 0 {
			e.To[i].Seq += s.shift
		}
	}
	close(told)
	return pending, err
}

// shiftFirst is told once the numbers are those that it is to see.
type shiftFirst struct {
	storage.Waiter
	ready <-chan struct{}
}

// Stored implements storage.Waiter.
func (w shiftFirst) Stored(err error) {
	<-w.ready
	w.Waiter.Stored(err)
}

// Ack implements storage.Store.
func (s renumbered) Ack(a storage.Ack, w storage.Waiter) (bool, error) {
	a.Seq -= s.shift
	return s.Store.Ack(a, w)
}

// Read implements storage.Store.
func (s renumbered) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(storage.Entry, storage.Progress, *packet.Message) bool,
) error {
	return s.Store.Read(session, max(from, s.shift)-s.shift, limit, func(e storage.Entry, p storage.Progress, m *packet.Message) bool {
		e.Seq += s.shift
		return visit(e, p, m)
	})
}

// intestate does not store wills.
type intestate struct{ storage.Store }

// Update implements storage.Store.
func (s intestate) Update(changes []storage.Change, w storage.Waiter) (bool, error) {
	changes = slices.Clone(changes)
	for i, c := range changes {
		if p, is := c.(storage.PutSession); is {
			p.Session.Will = nil
			changes[i] = p
		}
	}
	return s.Store.Update(changes, w)
}
