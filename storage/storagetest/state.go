package storagetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// A state is what a store holds. As a storage.Visitor it takes what Load finds, and by read what the queues hold; the
// model test keeps one itself and compares. Empty slices are nil in it, so that equal records are equal.
type state struct {
	sessions      map[string]storage.Session
	subscriptions map[filterKey]storage.Subscription
	received      map[storage.Received]bool
	queues        map[string][]queued
	next          map[string]uint64 // by session, where it is not 1
	retained      map[string]packet.Message
	counters      map[string]uint64
	hooks         map[hookKey]string
	told          map[string]storage.Queue // what Load told of queues; not part of what is compared
}

// A filterKey names a subscription.
type filterKey struct{ session, filter string }

// A hookKey names a record of a hook.
type hookKey struct{ hook, key string }

// A queued message is an entry of a queue with its message.
type queued struct {
	Entry    storage.Entry
	Progress storage.Progress
	Message  packet.Message
}

func newState() *state {
	return &state{
		sessions:      make(map[string]storage.Session),
		subscriptions: make(map[filterKey]storage.Subscription),
		received:      make(map[storage.Received]bool),
		queues:        make(map[string][]queued),
		next:          make(map[string]uint64),
		retained:      make(map[string]packet.Message),
		counters:      make(map[string]uint64),
		hooks:         make(map[hookKey]string),
		told:          make(map[string]storage.Queue),
	}
}

func (s *state) empty() bool {
	return len(s.sessions)+len(s.subscriptions)+len(s.received)+len(s.queues)+len(s.next)+len(s.retained)+len(s.counters)+len(s.hooks) == 0
}

// Session implements storage.Visitor.
func (s *state) Session(r storage.Session) error {
	if _, twice := s.sessions[r.ID]; twice {
		return fmt.Errorf("session %q comes twice", r.ID)
	}
	if len(r.Groups) == 0 {
		r.Groups = nil
	}
	if r.Will != nil {
		w := *r.Will
		m := plain(w.Message)
		w.Message = &m
		r.Will = &w
	}
	s.sessions[r.ID] = r
	return nil
}

// Subscription implements storage.Visitor.
func (s *state) Subscription(r storage.Subscription) error {
	k := filterKey{r.Session, r.Filter}
	if _, twice := s.subscriptions[k]; twice {
		return fmt.Errorf("subscription %v comes twice", k)
	}
	s.subscriptions[k] = r
	return s.known(r.Session)
}

// Received implements storage.Visitor.
func (s *state) Received(r storage.Received) error {
	if s.received[r] {
		return fmt.Errorf("received %v comes twice", r)
	}
	s.received[r] = true
	return s.known(r.Session)
}

// queued takes an entry that Read found.
func (s *state) queued(e storage.Entry, p storage.Progress, m *packet.Message) error {
	q := s.queues[e.Session]
	if len(q) > 0 && q[len(q)-1].Entry.Seq >= e.Seq {
		return fmt.Errorf("queue of %q: %d comes after %d", e.Session, e.Seq, q[len(q)-1].Entry.Seq)
	}
	if len(e.SubscriptionIDs) == 0 {
		e.SubscriptionIDs = nil
	}
	s.queues[e.Session] = append(q, queued{Entry: e, Progress: p, Message: plain(m)})
	return s.known(e.Session)
}

// read takes every queue from the store that Load filled s from, and checks what Load told of it.
func (s *state) read(store storage.Store) error {
	all := storage.ReadLimit{Entries: math.MaxInt, Bytes: math.MaxInt64}
	for id := range s.sessions {
		var failure error
		err := store.Read(id, 1, all, func(e storage.Entry, p storage.Progress, m *packet.Message) bool {
			failure = s.queued(e, p, m)
			return failure == nil
		})
		if err := errors.Join(err, failure); err != nil {
			return fmt.Errorf("read queue of %q: %w", id, err)
		}
		if err := s.checkTold(id); err != nil {
			return err
		}
	}
	return nil
}

// checkTold compares what Load told of a queue with what Read found in it.
func (s *state) checkTold(id string) error {
	next := max(s.next[id], 1)
	want := storage.Queue{Session: id, Head: next, Next: next, Len: len(s.queues[id])}
	for i, q := range s.queues[id] {
		if i == 0 {
			want.Head = q.Entry.Seq
		}
		want.Bytes += int64(q.Message.Size())
	}
	told, ok := s.told[id]
	if !ok && next == 1 {
		return nil // a queue never used may be left out
	}
	if told != want {
		return fmt.Errorf("Load told %+v, and the queue is %+v", told, want)
	}
	return nil
}

// Queue implements storage.Visitor.
func (s *state) Queue(q storage.Queue) error {
	if _, twice := s.told[q.Session]; twice {
		return fmt.Errorf("queue of %q comes twice", q.Session)
	}
	s.told[q.Session] = q
	if q.Next != 1 {
		s.next[q.Session] = q.Next
	}
	return s.known(q.Session)
}

// Counters implements storage.Visitor.
func (s *state) Counters(values map[string]uint64) error {
	for name, value := range values {
		if _, twice := s.counters[name]; twice {
			return fmt.Errorf("counter %q comes twice", name)
		}
		s.counters[name] = value
	}
	return nil
}

// HookRecord implements storage.Visitor.
func (s *state) HookRecord(hook, key string, value []byte) error {
	k := hookKey{hook, key}
	if _, twice := s.hooks[k]; twice {
		return fmt.Errorf("record %v of a hook comes twice", k)
	}
	s.hooks[k] = string(value)
	clear(value) // it is the Visitor's
	return nil
}

// Retained implements storage.Visitor.
func (s *state) Retained(m *packet.Message) error {
	if _, twice := s.retained[m.Topic]; twice {
		return fmt.Errorf("retained message of %q comes twice", m.Topic)
	}
	s.retained[m.Topic] = plain(m)
	return nil
}

func (s *state) known(session string) error {
	if _, ok := s.sessions[session]; !ok {
		return fmt.Errorf("a record of session %q comes before its session", session)
	}
	return nil
}

// plain is a copy of m in which empty slices are nil.
func plain(m *packet.Message) packet.Message {
	c := *m
	if len(c.Payload) == 0 {
		c.Payload = nil
	}
	if len(c.Properties) == 0 {
		c.Properties = nil
	}
	return c
}

// payloads lists what waits in the queue of a session.
func (s *state) payloads(session string) []string {
	var list []string
	for _, q := range s.queues[session] {
		list = append(list, string(q.Message.Payload))
	}
	return list
}

// same fails the test unless got is want, and says which part differs.
func (s *state) same(t *testing.T, want *state) {
	t.Helper()
	for _, part := range []struct {
		name      string
		got, want any
	}{
		{"sessions", s.sessions, want.sessions},
		{"subscriptions", s.subscriptions, want.subscriptions},
		{"received identifiers", s.received, want.received},
		{"queues", s.queues, want.queues},
		{"next numbers", s.next, want.next},
		{"retained messages", s.retained, want.retained},
		{"counters", s.counters, want.counters},
		{"hook records", s.hooks, want.hooks},
	} {
		equal(t, part.name, part.got, part.want)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}
