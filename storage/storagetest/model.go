package storagetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// seedVariable names the environment variable that repeats a random test.
const seedVariable = "PENSTOCK_SEED"

func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	t.Logf("repeat with %s=%d", seedVariable, n)
	return n
}

// farFuture is when messages of the model expire: a store may forget what expired.
const farFuture = 4_000_000_000_000_000_000

// A model does what a Store does in the plainest way, with random writes.
type model struct {
	*subject
	random *rand.Rand
	want   *state
	// unawaited is set when an Ack was made that a Read need not see yet.
	unawaited bool
}

func testModel(s *subject) {
	n := seed(s.T)
	m := &model{subject: s, random: rand.New(rand.NewPCG(n, n)), want: newState()}
	const rounds, writes = 8, 250
	for round := range rounds {
		for range writes {
			m.step()
		}
		s.reopen().same(s.T, m.want)
		if s.Failed() {
			s.Fatalf("after round %d", round)
		}
	}
}

// step makes one random write, to few names so that they meet.
func (m *model) step() {
	switch m.random.IntN(16) {
	case 0, 1, 2, 3:
		m.randomEnqueue()
	case 4, 5, 6:
		m.randomAck()
	case 7, 8:
		m.write(m.randomSession())
	case 9, 10:
		m.write(m.randomRetained())
	case 11:
		m.write(m.randomSession(), m.randomRetained(), m.randomSession())
	case 12:
		m.write(storage.PutCounters{Values: map[string]uint64{m.topic(): m.random.Uint64()}})
	case 13:
		m.randomRead()
	case 14:
		m.write(m.randomHook())
	case 15:
		m.write(m.randomMix()...)
	}
}

// randomRead compares one Read with the model, which knows every write that was told.
func (m *model) randomRead() {
	if m.unawaited { // writes are in the order of the calls, so after this one it sees them all
		m.write(storage.PutCounters{Values: map[string]uint64{"read": m.random.Uint64()}})
		m.unawaited = false
	}
	id, from := m.session(), m.random.Uint64N(20)
	limit := storage.ReadLimit{Entries: 1 + m.random.IntN(5), Bytes: m.random.Int64N(300)}
	if q := m.want.queues[id]; len(q) > 0 {
		from += q[0].Entry.Seq
	}
	want, bytes := []queued(nil), int64(0)
	for _, q := range m.want.queues[id] {
		if q.Entry.Seq < from {
			continue
		}
		bytes += int64(q.Message.Size())
		if len(want) == limit.Entries || len(want) > 0 && bytes > limit.Bytes {
			break
		}
		want = append(want, q)
	}
	equal(m.T, fmt.Sprintf("read of %q from %d, %+v", id, from, limit), m.read(id, from, limit), want)
}

func (m *model) session() string { return string(rune('a' + m.random.IntN(5))) }
func (m *model) topic() string   { return "topic/" + strconv.Itoa(m.random.IntN(6)) }
func (m *model) flip() bool      { return m.random.IntN(2) == 0 }

func (m *model) message() *packet.Message {
	payload := make([]byte, m.random.IntN(3)*m.random.IntN(100))
	for i := range payload {
		payload[i] = byte(m.random.Uint32())
	}
	return &packet.Message{
		Topic: m.topic(), Payload: payload, Publisher: m.session(), QoS: byte(1 + m.random.IntN(2)),
		Received: m.random.Int64(), Expires: m.random.Int64N(2) * farFuture, Retain: m.flip(),
	}
}

func (m *model) received() storage.Received {
	return storage.Received{Session: m.session(), ID: uint16(1 + m.random.IntN(4))}
}

func (m *model) randomEnqueue() {
	e := &storage.Enqueue{Message: m.message(), Retain: m.random.IntN(4) == 0}
	for range m.random.IntN(4) {
		entry := storage.Entry{Session: m.session(), QoS: byte(1 + m.random.IntN(2)), Retain: m.flip()}
		if m.flip() {
			entry.SubscriptionIDs, entry.Group = []uint32{m.random.Uint32()}, m.topic()
		}
		e.To = append(e.To, entry)
	}
	if m.random.IntN(4) == 0 {
		r := m.received()
		e.Received = &r
	}
	if m.flip() {
		e.Changes = m.randomMix()
	}
	want := slices.Clone(e.To)
	for i := range want {
		m.want.enqueue(&want[i], e.Message)
	}
	if e.Received != nil {
		m.want.apply(storage.PutReceived{Received: *e.Received})
	}
	if e.Retain {
		m.want.retain(e.Message)
	}
	for _, c := range e.Changes {
		m.want.apply(c)
	}
	m.enqueue(e)
	for i := range want {
		if want[i].Seq != e.To[i].Seq {
			m.Fatalf("queue of %s: got number %d, want %d", want[i].Session, e.To[i].Seq, want[i].Seq)
		}
	}
}

func (m *model) randomAck() {
	a := m.anyAck()
	m.want.ack(a)
	if m.flip() {
		m.ack(a.Session, a.Seq, a.Progress)
		return
	}
	if _, err := m.store.Ack(a, nil); err != nil {
		m.Fatalf("Ack: %v", err)
	}
	m.unawaited = true
}

func (m *model) anyAck() storage.Ack {
	a := storage.Ack{Session: m.session(), Progress: storage.Progress(m.random.IntN(4))}
	if q := m.want.queues[a.Session]; len(q) > 0 && m.random.IntN(10) > 0 {
		a.Seq = q[m.random.IntN(min(len(q), 3))].Entry.Seq
	} else {
		a.Seq = m.random.Uint64N(100)
	}
	return a
}

// randomMix is changes of several kinds.
func (m *model) randomMix() []storage.Change {
	changes := []storage.Change{m.anyAck(), m.randomHook(), m.anyAck(), m.randomSession(), m.anyAck()}
	return changes[:m.random.IntN(len(changes)+1)]
}

func (m *model) randomHook() storage.Change {
	hook, key := m.session(), m.topic()
	if m.flip() {
		hook, key = hook+key, "" // the same letters, shared out differently
	}
	if m.random.IntN(4) == 0 {
		key += strings.Repeat("/long", 60)
	}
	if m.random.IntN(3) == 0 {
		return storage.DeleteHookRecord{Hook: hook, Key: key}
	}
	return storage.PutHookRecord{Hook: hook, Key: key, Value: m.message().Payload}
}

func (m *model) randomSession() storage.Change {
	filter := m.topic()
	switch m.random.IntN(12) {
	case 0, 1, 2, 3:
		record := storage.Session{ID: m.session(), Version: 5, ExpiryInterval: m.random.Uint32()}
		if m.flip() {
			record.Hook = m.topic()
		}
		return storage.PutSession{Session: record}
	case 4:
		return storage.DeleteSession{ID: m.session()}
	case 5, 6, 7:
		return storage.PutSubscription{Subscription: storage.Subscription{Session: m.session(), Filter: filter, ID: m.random.Uint32()}}
	case 8:
		return storage.DeleteSubscription{Session: m.session(), Filter: filter}
	case 9:
		return storage.PutReceived{Received: m.received()}
	}
	return storage.DeleteReceived{Received: m.received()}
}

func (m *model) randomRetained() storage.Change {
	if m.flip() {
		return storage.DeleteRetained{Topic: m.topic()}
	}
	msg := m.message()
	msg.Payload = append(msg.Payload, 'x') // never empty: that is no retained message
	return storage.PutRetained{Message: msg}
}

func (m *model) write(changes ...storage.Change) {
	for _, c := range changes {
		m.want.apply(c)
	}
	m.update(changes...)
}

// What a state does as a model of a store.

func (s *state) enqueue(e *storage.Entry, m *packet.Message) {
	e.Seq = 0
	if s.known(e.Session) != nil {
		return
	}
	e.Seq = max(s.next[e.Session], 1)
	s.next[e.Session] = e.Seq + 1
	s.queues[e.Session] = append(s.queues[e.Session], queued{Entry: *e, Message: plain(m)})
}

func (s *state) ack(a storage.Ack) {
	q := s.queues[a.Session]
	i := slices.IndexFunc(q, func(x queued) bool { return x.Entry.Seq == a.Seq })
	switch {
	case i < 0:
	case a.Progress != storage.Done:
		q[i].Progress = max(q[i].Progress, a.Progress)
	case len(q) == 1:
		delete(s.queues, a.Session)
	default:
		s.queues[a.Session] = slices.Delete(q, i, i+1)
	}
}

func (s *state) retain(m *packet.Message) {
	s.retained[m.Topic] = plain(m)
	if len(m.Payload) == 0 {
		delete(s.retained, m.Topic)
	}
}

func (s *state) apply(c storage.Change) {
	switch c := c.(type) {
	case storage.Ack:
		s.ack(c)
	case storage.PutSession:
		s.sessions[c.Session.ID] = c.Session
	case storage.DeleteSession:
		s.deleteSession(c.ID)
	case storage.PutSubscription:
		if s.known(c.Subscription.Session) == nil {
			s.subscriptions[filterKey{c.Subscription.Session, c.Subscription.Filter}] = c.Subscription
		}
	case storage.DeleteSubscription:
		delete(s.subscriptions, filterKey{c.Session, c.Filter})
	case storage.PutRetained:
		s.retain(c.Message)
	case storage.DeleteRetained:
		delete(s.retained, c.Topic)
	case storage.PutReceived:
		if s.known(c.Received.Session) == nil {
			s.received[c.Received] = true
		}
	case storage.DeleteReceived:
		delete(s.received, c.Received)
	case storage.PutCounters:
		maps.Copy(s.counters, c.Values)
	case storage.PutHookRecord:
		s.hooks[hookKey{c.Hook, c.Key}] = string(c.Value)
	case storage.DeleteHookRecord:
		delete(s.hooks, hookKey{c.Hook, c.Key})
	default:
		panic(fmt.Sprintf("storagetest: unknown change %T", c))
	}
}

func (s *state) deleteSession(id string) {
	delete(s.sessions, id)
	delete(s.queues, id)
	delete(s.next, id)
	for k := range s.subscriptions {
		if k.session == id {
			delete(s.subscriptions, k)
		}
	}
	for r := range s.received {
		if r.Session == id {
			delete(s.received, r)
		}
	}
}
