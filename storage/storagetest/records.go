package storagetest

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

func testEmpty(s *subject) {
	if found := s.reopen(); !found.empty() {
		s.Errorf("found %+v", found)
	}
}

func testPutSession(s *subject) {
	s.sessions("a")
	s.update(storage.PutSubscription{Subscription: storage.Subscription{Session: "a", Filter: "t", QoS: 1}})
	s.send("one", "a")
	will := &packet.Message{
		Topic: "will/a", Payload: []byte{0, 255}, Properties: []byte{1, 1}, Publisher: "a", QoS: 2, Retain: true,
	}
	record := storage.Session{
		ID: "a", ClientID: "client", Username: "user", Groups: []string{"g", "h"}, CommonName: "cn", Version: 4,
		ExpiryInterval: 0xFFFFFFFF, Disconnected: 1 << 60,
		Will: &storage.Will{Message: will, DelayInterval: 5, Expiry: 6, HasExpiry: true},
	}
	s.update(storage.PutSession{Session: record})

	found := s.reopen()
	equal(s.T, "record", found.sessions, map[string]storage.Session{"a": record})
	equal(s.T, "subscriptions", len(found.subscriptions), 1)
	equal(s.T, "queue", found.payloads("a"), []string{"one"})
}

func testDeleteSession(s *subject) {
	s.sessions("a", "b")
	for _, id := range []string{"a", "b"} {
		s.update(
			storage.PutSubscription{Subscription: storage.Subscription{Session: id, Filter: "t"}},
			storage.PutReceived{Received: storage.Received{Session: id, ID: 7}},
		)
	}
	s.send("one", "a", "b")
	s.send("two", "a", "b")
	s.update(storage.DeleteSession{ID: "a"})
	s.sessions("a")
	equal(s.T, "first number of the new session", s.send("three", "a"), []uint64{1})

	found := s.reopen()
	equal(s.T, "queue of the new session", found.payloads("a"), []string{"three"})
	equal(s.T, "queue of the other", found.payloads("b"), []string{"one", "two"})
	equal(s.T, "next numbers", found.next, map[string]uint64{"a": 2, "b": 3})
	equal(s.T, "received", found.received, map[storage.Received]bool{{Session: "b", ID: 7}: true})
	equal(s.T, "subscriptions", found.subscriptions,
		map[filterKey]storage.Subscription{{"b", "t"}: {Session: "b", Filter: "t"}})
}

func testUnknown(s *subject) {
	s.sessions("a")
	s.send("one", "a")
	before := s.reopen()
	s.update(
		storage.DeleteSession{ID: "nobody"},
		storage.DeleteSubscription{Session: "nobody", Filter: "t"},
		storage.DeleteSubscription{Session: "a", Filter: "t"},
		storage.DeleteRetained{Topic: "t"},
		storage.DeleteReceived{Received: storage.Received{Session: "nobody", ID: 1}},
		storage.DeleteReceived{Received: storage.Received{Session: "a", ID: 1}},
	)
	for _, seq := range []uint64{0, 2, 1 << 63} {
		s.ack("a", seq, storage.Done)
	}
	s.ack("nobody", 1, storage.Done)
	s.reopen().same(s.T, before)
}

func testSubscriptions(s *subject) {
	s.sessions("a", "b")
	full := storage.Subscription{
		Session: "a", Filter: "$share/g/+/x/#", QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: 2, ID: 268_435_455,
	}
	first := storage.Subscription{Session: "a", Filter: "t", QoS: 0, ID: 3}
	second := storage.Subscription{Session: "a", Filter: "t", QoS: 2, ID: 4}
	other := storage.Subscription{Session: "b", Filter: "t", QoS: 1}
	gone := storage.Subscription{Session: "b", Filter: "u", QoS: 1}
	for _, sub := range []storage.Subscription{full, first, second, other, gone} {
		s.update(storage.PutSubscription{Subscription: sub})
	}
	s.update(storage.DeleteSubscription{Session: "b", Filter: "u"})
	equal(s.T, "subscriptions", s.reopen().subscriptions, map[filterKey]storage.Subscription{
		{"a", full.Filter}: full, {"a", "t"}: second, {"b", "t"}: other,
	})
}

func testReceived(s *subject) {
	s.sessions("a", "b")
	for _, id := range []uint16{1, 2, 65535} {
		s.update(storage.PutReceived{Received: storage.Received{Session: "a", ID: id}})
	}
	s.update(storage.PutReceived{Received: storage.Received{Session: "b", ID: 2}})
	s.update(storage.PutReceived{Received: storage.Received{Session: "a", ID: 2}}) // again: harmless
	s.update(storage.DeleteReceived{Received: storage.Received{Session: "a", ID: 2}})
	equal(s.T, "received", s.reopen().received, map[storage.Received]bool{
		{Session: "a", ID: 1}: true, {Session: "a", ID: 65535}: true, {Session: "b", ID: 2}: true,
	})
}

func testRetained(s *subject) {
	full := &packet.Message{
		Topic: "t", Payload: []byte("new"), Properties: []byte{1, 0}, Publisher: "p", Received: 1, Expires: 4_000_000_000_000_000_000, QoS: 2, Retain: true,
	}
	s.update(storage.PutRetained{Message: message("t", "old")})
	s.update(storage.PutRetained{Message: full}, storage.PutRetained{Message: message("gone", "x")})
	s.update(storage.DeleteRetained{Topic: "gone"})
	s.enqueue(&storage.Enqueue{Message: message("cleared", "x"), Retain: true})
	s.enqueue(&storage.Enqueue{Message: message("cleared", ""), Retain: true}) // [MQTT5-3.3.1-6]
	s.enqueue(&storage.Enqueue{Message: message("not retained", "x")})
	equal(s.T, "retained", s.reopen().retained, map[string]packet.Message{"t": *full})
}

func testCounters(s *subject) {
	s.update(storage.PutCounters{Values: map[string]uint64{"a": 1, "b": 1<<64 - 1}})
	s.update(storage.PutCounters{Values: map[string]uint64{"a": 2, "c": 3}})
	want := map[string]uint64{"a": 2, "b": 1<<64 - 1, "c": 3}
	for range 2 { // the second time from what the first reopening may have rewritten
		equal(s.T, "counters", s.reopen().counters, want)
	}
}

func testNoSession(s *subject) {
	s.sessions("a")
	s.enqueue(&storage.Enqueue{
		Message:  message("t", "one"),
		To:       []storage.Entry{{Session: "nobody", QoS: 1}, {Session: "a", QoS: 1}},
		Received: &storage.Received{Session: "nobody", ID: 1},
	})
	s.update(
		storage.PutSubscription{Subscription: storage.Subscription{Session: "nobody", Filter: "t"}},
		storage.PutReceived{Received: storage.Received{Session: "nobody", ID: 2}},
	)
	s.sessions("nobody") // must not find what was written before it
	found := s.reopen()
	equal(s.T, "queue of the other", found.payloads("a"), []string{"one"})
	equal(s.T, "queue", found.payloads("nobody"), []string(nil))
	equal(s.T, "received", len(found.received), 0)
	equal(s.T, "subscriptions", len(found.subscriptions), 0)
}
