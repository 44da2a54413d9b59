package clients

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// Each QoS both ways: everything arrives, once, in order, with the QoS it was sent with.
func TestRoundTrip(t *testing.T) {
	everyFlavour(t, 3, "trip", func(s *stage) {
		sender, receiver := s.clean("s"), s.clean("r")
		for qos := range byte(3) {
			topic := s.topic(string('0' + rune(qos)))
			s.must(receiver.subscribe(subscription{Filter: topic, QoS: qos}))
			sent := numbered(topic, 20, qos)
			for _, m := range sent {
				s.must(sender.publish(m))
			}
			s.expect(receiver, sent...)
		}
	})
}

// A message is delivered with the lower of the QoS it was published and subscribed with [MQTT5-3.8.4-8].
func TestLowerQoSWins(t *testing.T) {
	everyFlavour(t, 3, "low", func(s *stage) {
		c := s.clean("c")
		s.must(c.subscribe(subscription{Filter: s.topic("one/+"), QoS: 1}))
		for qos := range byte(3) {
			s.must(c.publish(text(s.topic("one/x"), "m", qos)))
			s.expect(c, text(s.topic("one/x"), "m", min(qos, 1)))
		}
	})
}

// Bytes are bytes: every value, and more than fits a read.
func TestPayloads(t *testing.T) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	everyFlavour(t, 3, "pay", func(s *stage) {
		c := s.clean("c")
		s.must(c.subscribe(subscription{Filter: s.topic("#"), QoS: 1}))
		for _, payload := range [][]byte{{}, every, bytes.Repeat(every, 1000)} {
			m := message{Topic: s.topic("päyload/日本"), Payload: payload, QoS: 1}
			s.must(c.publish(m))
			s.expect(c, m)
		}
	})
}

// A retained message greets new subscribers with the retain flag, reaches present ones without it, and is
// deleted by an empty one [MQTT5-3.3.1-5, -6, -8].
func TestRetained(t *testing.T) {
	everyFlavour(t, 3, "keep", func(s *stage) {
		present := s.clean("p")
		s.must(present.subscribe(subscription{Filter: s.topic("#"), QoS: 1}))
		kept := message{Topic: s.topic("temp"), Payload: []byte("21"), QoS: 1, Retain: true}
		s.must(present.publish(kept))
		s.expect(present, text(kept.Topic, "21", 1))

		late := s.clean("l")
		s.must(late.subscribe(subscription{Filter: s.topic("+"), QoS: 1}))
		s.expect(late, kept)

		s.must(present.publish(message{Topic: kept.Topic, QoS: 1, Retain: true}))
		later := s.clean("m")
		s.must(later.subscribe(subscription{Filter: s.topic("+"), QoS: 1}))
		s.expectNothing(later, present, s.topic("marker"))
	})
}

// A will is published when the connection is lost, and not when it is ended [MQTT5-3.1.2-8, -10].
func TestWill(t *testing.T) {
	everyFlavour(t, 3, "will", func(s *stage) {
		witness := s.clean("w")
		s.must(witness.subscribe(subscription{Filter: s.topic("#"), QoS: 2}))
		will := text(s.topic("will"), "gone", 2)
		victim, _ := s.join(options{ID: "v", Clean: true, Will: &will})
		victim.abort()
		s.expect(witness, will)

		polite, _ := s.join(options{ID: "q", Clean: true, Will: &will})
		s.must(polite.disconnect())
		s.expectNothing(witness, witness, s.topic("marker"))
	})
}

// The members of a shared subscription get each message once between them, and all of them some.
func TestSharedSubscription(t *testing.T) {
	everyFlavour(t, 3, "share", func(s *stage) {
		const n = 40
		first, second, sender := s.clean("1"), s.clean("2"), s.clean("s")
		for _, member := range []client{first, second} {
			s.must(member.subscribe(subscription{Filter: "$share/" + s.prefix + "/" + s.topic("#"), QoS: 1}))
		}
		missing := make(map[string]bool, n)
		for _, m := range numbered(s.topic("job"), n, 1) {
			missing[string(m.Payload)] = true
			s.must(sender.publish(m))
		}
		took := make(map[client]int, 2)
		for len(missing) > 0 {
			var m message
			var by client
			select {
			case m = <-first.messages():
				by = first
			case m = <-second.messages():
				by = second
			case <-time.After(patience):
				s.Fatalf("%d of %d jobs did not arrive", len(missing), n)
			}
			if !missing[string(m.Payload)] {
				s.Fatalf("received twice: %s", m)
			}
			delete(missing, string(m.Payload))
			took[by]++
		}
		if took[first] == 0 || took[second] == 0 {
			s.Errorf("the members took %d and %d of %d", took[first], took[second], n)
		}
	})
}

// A session outlives its connection with its subscriptions and collects messages; it is gone after a clean
// start [MQTT5-3.1.2-5, -4].
func TestPersistentSession(t *testing.T) {
	everyFlavour(t, 3, "stay", func(s *stage) {
		durable := options{ID: "d", Expiry: 3600}
		c, present := s.join(durable)
		if present {
			s.Error("a session was present before the first connection")
		}
		s.must(c.subscribe(subscription{Filter: s.topic("#"), QoS: 2}))
		s.must(c.disconnect())

		sender := s.clean("s")
		waiting := append(numbered(s.topic("a"), 10, 1), numbered(s.topic("b"), 10, 2)...)
		for _, m := range waiting {
			s.must(sender.publish(m))
		}
		c, present = s.join(durable)
		// MQTT 3.1 has no session present flag.
		if s.version > 3 && !present {
			s.Error("the session was not present at the second connection")
		}
		s.expect(c, waiting...)
		c.abort()

		c, _ = s.join(options{ID: "d", Clean: true})
		s.must(c.subscribe(subscription{Filter: s.topic("marker")}))
		s.must(sender.publish(text(s.topic("a"), "unwanted", 1)))
		s.expectNothing(c, sender, s.topic("marker"))
	})
}

func TestUnsubscribe(t *testing.T) {
	everyFlavour(t, 3, "unsub", func(s *stage) {
		c := s.clean("c")
		s.must(c.subscribe(subscription{Filter: s.topic("a"), QoS: 1}))
		s.must(c.subscribe(subscription{Filter: s.topic("b"), QoS: 1}))
		s.must(c.unsubscribe(s.topic("a")))
		s.must(c.publish(text(s.topic("a"), "unwanted", 1)))
		s.expectNothing(c, c, s.topic("b"))
	})
}

// The properties of a PUBLISH are forwarded unaltered, user properties in order [MQTT5-3.3.2-4, -15, -16, -17, -18], with
// the subscription identifier [MQTT5-3.3.4-3] and the expiry counted down [MQTT5-3.3.2-6].
func TestProperties(t *testing.T) {
	everyFlavour(t, 5, "prop", func(s *stage) {
		c := s.clean("c")
		s.must(c.subscribe(subscription{Filter: s.topic("#"), QoS: 1, ID: 4711}))
		m := text(s.topic("a"), `{"t":21}`, 1)
		m.Properties = &properties{
			ContentType: "application/json", ResponseTopic: s.topic("answer"), CorrelationData: []byte{0, 1, 0xff},
			PayloadFormat: 1, Expiry: 3600, User: [][2]string{{"a", "1"}, {"a", "2"}, {"b", "ü"}},
		}
		s.must(c.publish(m))
		got := s.next(c, m.String())
		want := *m.Properties
		want.SubscriptionID = 4711
		if got.Properties == nil || got.Properties.Expiry > 3600 || got.Properties.Expiry < 3500 {
			s.Fatalf("received %s, want an expiry a little below 3600", got)
		}
		got.Properties.Expiry = want.Expiry
		if !reflect.DeepEqual(*got.Properties, want) {
			s.Errorf("received %+v\nwant     %+v", *got.Properties, want)
		}
	})
}
