package storagetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

func testNumbers(s *subject) {
	s.sessions("a", "b")
	equal(s.T, "numbers", s.send("1", "a"), []uint64{1})
	equal(s.T, "numbers", s.send("2", "a", "b"), []uint64{2, 1})
	s.ack("a", 1, storage.Done)
	s.ack("a", 2, storage.Done)
	equal(s.T, "numbers", s.send("3", "b", "a"), []uint64{2, 3})
	// One client can get a message twice: by a subscription of its own and as a member of a group.
	equal(s.T, "numbers", s.send("4", "a", "a"), []uint64{4, 5})
	found := s.reopen()
	equal(s.T, "queue of a", found.payloads("a"), []string{"3", "4", "4"})
	equal(s.T, "queue of b", found.payloads("b"), []string{"2", "3"})
}

func testNextSeq(s *subject) {
	s.sessions("empty", "one", "unused")
	const count = 70_000 // more than there are packet identifiers
	var last *waiter
	var pending bool
	for range count {
		var err error
		last = newWaiter()
		e := &storage.Enqueue{Message: message("t", "x"), To: []storage.Entry{{Session: "empty", QoS: 1}, {Session: "one", QoS: 1}}}
		if pending, err = s.store.Enqueue(e, last); err != nil {
			s.Fatal(err)
		}
	}
	if err := s.result(last, pending, nil); err != nil {
		s.Fatal(err)
	}
	for seq := range uint64(count) {
		s.forget("empty", seq+1)
		if seq+1 != 65536 {
			s.forget("one", seq+1)
		}
	}
	found := s.reopen()
	equal(s.T, "next numbers", found.next, map[string]uint64{"empty": count + 1, "one": count + 1})
	equal(s.T, "queue lengths", []int{len(found.queues["empty"]), len(found.queues["one"])}, []int{0, 1})
	equal(s.T, "numbers", s.send("x", "empty", "one", "unused"), []uint64{count + 1, count + 1, 1})
	found = s.reopen()
	equal(s.T, "next numbers", found.next, map[string]uint64{"empty": count + 2, "one": count + 2, "unused": 2})
}

// forget acknowledges without waiting.
func (s *subject) forget(session string, seq uint64) {
	s.Helper()
	if _, err := s.store.Ack(storage.Ack{Session: session, Seq: seq, Progress: storage.Done}, nil); err != nil {
		s.Fatalf("Ack: %v", err)
	}
}

func testContent(s *subject) {
	s.sessions("a", "ü/#")
	m := &packet.Message{
		Topic: "a/ü/$x", Payload: []byte{0, 1, 255}, Properties: []byte{38, 0, 1, 'k', 0, 1, 'v'},
		Publisher: "p", Received: 1_700_000_000_000_000_000, Expires: 4_000_000_000_000_000_000, QoS: 2, Retain: true,
	}
	large := &packet.Message{Topic: "large", Payload: slices.Repeat([]byte{7}, 1<<20), QoS: 1}
	empty := &packet.Message{Topic: "empty", QoS: 1}
	full := storage.Entry{Session: "a", QoS: 2, Retain: true, SubscriptionIDs: []uint32{1, 268_435_455}, Group: "g/t/#"}
	s.enqueue(&storage.Enqueue{Message: m, To: []storage.Entry{full, {Session: "ü/#", QoS: 1}}})
	s.enqueue(&storage.Enqueue{Message: large, To: []storage.Entry{{Session: "a", QoS: 1}}})
	s.enqueue(&storage.Enqueue{Message: empty, To: []storage.Entry{{Session: "a", QoS: 1}}})

	full.Seq = 1
	equal(s.T, "queues", s.reopen().queues, map[string][]queued{
		"a": {
			{Entry: full, Message: *m},
			{Entry: storage.Entry{Session: "a", Seq: 2, QoS: 1}, Message: *large},
			{Entry: storage.Entry{Session: "a", Seq: 3, QoS: 1}, Message: *empty},
		},
		"ü/#": {{Entry: storage.Entry{Session: "ü/#", Seq: 1, QoS: 1}, Message: *m}},
	})
}

func testProgress(s *subject) {
	s.sessions("a")
	for _, p := range []string{"queued", "sent", "released", "back"} {
		s.send(p, "a")
	}
	s.ack("a", 2, storage.Sent)
	s.ack("a", 3, storage.Sent)
	s.ack("a", 3, storage.Released)
	s.ack("a", 4, storage.Released)
	s.ack("a", 4, storage.Sent)
	for range 2 { // the second time from what the first reopening may have rewritten
		var steps []storage.Progress
		for _, q := range s.reopen().queues["a"] {
			steps = append(steps, q.Progress)
		}
		equal(s.T, "progress", steps, []storage.Progress{storage.Queued, storage.Sent, storage.Released, storage.Released})
	}
}

func testOutOfOrder(s *subject) {
	s.sessions("a", "b")
	for i := range 6 {
		s.send(fmt.Sprint(i+1), "a", "b")
	}
	for _, seq := range []uint64{5, 2, 1, 5} {
		s.ack("a", seq, storage.Done)
	}
	found := s.reopen()
	equal(s.T, "queue of a", found.payloads("a"), []string{"3", "4", "6"})
	equal(s.T, "queue of b", found.payloads("b"), []string{"1", "2", "3", "4", "5", "6"})
	s.ack("a", 4, storage.Done)
	equal(s.T, "queue of a", s.reopen().payloads("a"), []string{"3", "6"})
}

func testAtomicEnqueue(s *subject) {
	s.sessions("publisher", "a")
	received := storage.Received{Session: "publisher", ID: 9}
	s.enqueue(&storage.Enqueue{
		Message: message("t", "x"), To: []storage.Entry{{Session: "a", QoS: 2}}, Received: &received, Retain: true,
	})
	found := s.reopen()
	equal(s.T, "queue", found.payloads("a"), []string{"x"})
	equal(s.T, "received", found.received, map[storage.Received]bool{received: true})
	equal(s.T, "retained", found.retained, map[string]packet.Message{"t": *message("t", "x")})

	// Nobody durable subscribes: the identifier is recorded all the same.
	second := storage.Received{Session: "publisher", ID: 10}
	s.enqueue(&storage.Enqueue{Message: message("u", "x"), Received: &second})
	equal(s.T, "received", s.reopen().received, map[storage.Received]bool{received: true, second: true})
}

// A stopper is a Visitor that fails after some calls.
type stopper struct {
	state
	left int
	err  error
}

func (v *stopper) count(err error) error {
	if v.left--; v.left < 0 {
		return v.err
	}
	return err
}

func (v *stopper) Session(r storage.Session) error           { return v.count(v.state.Session(r)) }
func (v *stopper) Subscription(r storage.Subscription) error { return v.count(v.state.Subscription(r)) }
func (v *stopper) Received(r storage.Received) error         { return v.count(v.state.Received(r)) }
func (v *stopper) Retained(m *packet.Message) error          { return v.count(v.state.Retained(m)) }
func (v *stopper) Queue(q storage.Queue) error               { return v.count(v.state.Queue(q)) }
func (v *stopper) Counters(values map[string]uint64) error   { return v.count(v.state.Counters(values)) }
func (v *stopper) HookRecord(hook, key string, value []byte) error {
	return v.count(v.state.HookRecord(hook, key, value))
}

func testVisitorError(s *subject) {
	s.fillEveryKind()
	want := errors.New("enough")
	for left := range 7 { // one record of each kind is there
		if err := s.store.Close(); err != nil {
			s.Fatalf("Close: %v", err)
		}
		s.store = s.fixture.Reopen(s.T)
		if err := s.store.Load(&stopper{state: *newState(), left: left, err: want}); !errors.Is(err, want) {
			s.Errorf("Load with a visitor that fails after %d records: %v", left, err)
		}
	}
}

// fillEveryKind writes a record of each kind for a session.
func (s *subject) fillEveryKind() {
	s.sessions("a")
	s.update(storage.PutSubscription{Subscription: storage.Subscription{Session: "a", Filter: "t"}})
	s.enqueue(&storage.Enqueue{
		Message: message("t", "x"), Retain: true,
		To:       []storage.Entry{{Session: "a", QoS: 1}},
		Received: &storage.Received{Session: "a", ID: 1},
	})
	s.update(storage.PutCounters{Values: map[string]uint64{"n": 1}}, storage.PutHookRecord{Hook: "h", Key: "k"})
}

// A sequence is a Visitor that notes the kinds of records in their order.
type sequence struct{ kinds []string }

func (v *sequence) note(kind string) error {
	v.kinds = append(v.kinds, kind)
	return nil
}

func (v *sequence) Session(storage.Session) error           { return v.note("session") }
func (v *sequence) Subscription(storage.Subscription) error { return v.note("subscription") }
func (v *sequence) Received(storage.Received) error         { return nil } // anywhere after its session
func (v *sequence) Queue(storage.Queue) error               { return v.note("queue") }
func (v *sequence) Retained(*packet.Message) error          { return v.note("retained") }
func (v *sequence) Counters(map[string]uint64) error        { return nil } // anywhere
func (v *sequence) HookRecord(_, _ string, _ []byte) error  { return nil } // anywhere

func testLoadOrder(s *subject) {
	var want []string
	const count = 20
	for i := range count {
		id := fmt.Sprint("session ", i)
		s.sessions(id)
		s.update(storage.PutSubscription{Subscription: storage.Subscription{Session: id, Filter: "t"}})
		s.enqueue(&storage.Enqueue{Message: message(id, "x"), Retain: true, To: []storage.Entry{{Session: id, QoS: 1}}})
	}
	for _, kind := range []string{"session", "subscription", "queue", "retained"} {
		want = append(want, slices.Repeat([]string{kind}, count)...)
	}
	if err := s.store.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	s.store = s.fixture.Reopen(s.T)
	var found sequence
	if err := s.store.Load(&found); err != nil {
		s.Fatalf("Load: %v", err)
	}
	equal(s.T, "kinds", found.kinds, want)
}
