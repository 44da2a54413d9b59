package broker

import (
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
)

// A grenade observes everything and panics when it is told of a client or topic called "boom".
type grenade struct{ hookName }

func explode(at string) {
	if at == "boom" {
		panic("boom")
	}
}

// OnConnect implements hooks.SessionObserver.
func (grenade) OnConnect(c *hooks.Client, _ bool) { explode(c.ID) }

// OnDisconnect implements hooks.SessionObserver.
func (grenade) OnDisconnect(c *hooks.Client, _ string) { explode(c.Username) }

// OnSessionEnd implements hooks.SessionObserver.
func (grenade) OnSessionEnd(id, _ string) { explode(id) }

// OnUnsubscribe implements hooks.SessionObserver.
func (grenade) OnUnsubscribe(_ *hooks.Client, filter string) { explode(filter) }

// OnDelivered implements hooks.DeliveryObserver.
func (grenade) OnDelivered(_ string, m *packet.Message) { explode(m.Topic) }

// OnAcked implements hooks.DeliveryObserver.
func (grenade) OnAcked(_ string, m *packet.Message, _ packet.Code) { explode(m.Topic) }

// OnDropped implements hooks.DeliveryObserver.
func (grenade) OnDropped(_ string, m *packet.Message, _ hooks.DropReason) { explode(m.Topic) }

// A hook that panics costs at most the connection it was asked about, wherever it stands; every panic is
// counted, and others go on.
func TestAPanickingHookCostsOneConnection(t *testing.T) {
	closed := func(c *testClient) { c.wantClosed() }
	lives := func(c *testClient) { c.wantNothing() }
	for name, k := range map[string]struct {
		hook hooks.Hook
		act  func(c *testClient) // as a client called victim, connected
		then func(c *testClient)
	}{
		"authorize publish": {authorizePublish{"x", func(_ *hooks.Client, topic string) hooks.Decision { explode(topic); return pass }},
			func(c *testClient) { c.say("boom", "x") }, closed},
		"authorize subscribe": {authorizeSubscribe{"x", func(_ *hooks.Client, f string) hooks.Decision { explode(f); return pass }},
			func(c *testClient) { c.write(subscribePacket(c.v, 1, 0, "boom")) }, closed},
		"authorize receive": {authorizeReceive{"x", func(_ *hooks.Client, topic string) hooks.Decision { explode(topic); return pass }},
			func(c *testClient) { c.subscribe(0, "+"); c.say("boom", "x") }, lives},
		"intercept": {intercept{"x", func(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
			explode(m.Topic)
			return m, pass
		}}, func(c *testClient) { c.ask(1, 1, "boom", "x") }, closed},
		"intercept subscribe": {interceptSubscribe{"x", func(_ *hooks.Client, s *hooks.Subscription) hooks.Decision { explode(s.Filter); return pass }},
			func(c *testClient) { c.write(subscribePacket(c.v, 1, 0, "boom")) }, closed},
		"unsubscribe": {grenade{"x"}, func(c *testClient) {
			c.subscribe(0, "boom")
			c.write(unsubscribePacket(c.v, 2, "boom"))
		}, closed},
		"delivered": {grenade{"x"}, func(c *testClient) { c.subscribe(0, "+"); c.say("boom", "x"); c.wantMessage("boom", "x") }, lives},
		"acked": {grenade{"x"}, func(c *testClient) {
			c.subscribe(1, "+")
			c.ask(1, 1, "boom", "x")
			c.ack(packet.PUBACK, c.want(packet.PUBLISH).PacketID)
			c.want(packet.PUBACK)
		}, lives},
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v packet.Version) {
				b := start(t, setup{hooks: []hooks.Hook{k.hook}})
				witness := connected(t, b, v, hello{id: "witness"})
				victim := connected(t, b, v, hello{id: "victim"})
				k.act(victim)
				synctest.Wait()
				k.then(victim)
				witness.subscribe(0, "fine")
				witness.say("fine", "x")
				witness.wantMessage("fine", "x")
				if settled(b).HookPanics == 0 {
					t.Error("no panic was counted")
				}
			})
		})
	}
}

// The same at the beginning and the end of a connection, where there is nobody to blame or nothing to close.
func TestAHookMayPanicAtAnyTime(t *testing.T) {
	for name, k := range map[string]struct {
		hook hooks.Hook
		act  func(b *Broker, c *testClient)
	}{
		"authenticate": {authenticate{"x", func(c *hooks.Client, _ hooks.Credentials) hooks.Decision { explode(c.ID); return pass }},
			func(_ *Broker, c *testClient) { c.write(hello{id: "boom"}.packet(c.v)); c.wantClosed() }},
		"exchange": {exchanges{"x", func(*hooks.Client, []byte) ([]byte, hooks.Decision) { panic("boom") }},
			func(_ *Broker, c *testClient) {
				c.write(hello{id: "c", authMethod: "x"}.packet(packet.V5))
				c.wantClosed()
			}},
		"connect": {grenade{"x"}, func(_ *Broker, c *testClient) { c.write(hello{id: "boom"}.packet(c.v)); c.wantClosed() }},
		"disconnect": {grenade{"x"}, func(_ *Broker, c *testClient) {
			c.connect(hello{id: "c", username: "boom"})
			c.nc.Close()
		}},
		"session end": {grenade{"x"}, func(_ *Broker, c *testClient) {
			c.write(hello{id: "boom"}.packet(c.v))
			c.wantClosed()
		}},
		"will": {intercept{"x", func(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
			explode(m.Topic)
			return m, pass
		}},
			func(_ *Broker, c *testClient) {
				c.connect(hello{id: "c", will: &testWill{topic: "boom", payload: "x"}})
				c.nc.Close()
			}},
		"publish of a hook": {intercept{"x", func(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
			explode(m.Topic)
			return m, pass
		}},
			func(b *Broker, _ *testClient) { b.Publish(&packet.Message{Topic: "boom"}, nil) }},
		"owner": {grenade{"x"}, func(b *Broker, c *testClient) {
			if _, err := b.Own("bang", ownerFunc(func(string, *packet.Message) error { panic("boom") })); err != nil {
				c.t.Fatal(err)
			}
			c.connect(hello{id: "c"})
			c.ask(1, 1, "bang", "x")
			c.wantAck(packet.PUBACK, 1, packet.Success)
		}},
		"recheck": {authorizeSubscribe{"x", func(c *hooks.Client, f string) hooks.Decision {
			if c.ID == "c" && f == "a" && c.Username == "" {
				c.Username = "asked" // before it is accepted for good, in this test only
				return pass
			}
			explode("boom")
			return pass
		}}, func(b *Broker, c *testClient) {
			c.connect(hello{id: "c"})
			c.subscribe(0, "a")
			b.Recheck()
			b.Publish(&packet.Message{Topic: "a"}, nil)
			c.wantNothing()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, setup{hooks: []hooks.Hook{k.hook}})
				witness := connected(t, b, packet.V5, hello{id: "witness"})
				k.act(b, pipe(t, b, packet.V5))
				synctest.Wait()
				witness.wantNothing()
				if settled(b).HookPanics == 0 {
					t.Error("no panic was counted")
				}
			})
		})
	}
}

// calmly runs what may panic and reports whether it did: there is no goroutine of the broker between the test
// and the panic.
func calmly(f func()) (panicked any) {
	defer func() { panicked = recover() }()
	f()
	return nil
}

// What a hook wants to be told at the end, Done of Deliver and done of Publish, is a hook's code too.
func TestDoneMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := storagetest.Hold(memory.New())
		h := &holding{t: t, held: held, Broker: start(t, setup{store: held})}
		h.subscriber(packet.V5, "to", 1, "a")
		h.Publish(&packet.Message{Topic: "a", QoS: 1}, func(error) { panic("boom") })
		h.wantWaiting(1)
		if v := calmly(func() { held.ReleaseAll() }); v != nil {
			t.Errorf("done of Publish took the store's goroutine with it: %v", v)
		}
		c := fake(t, h.Broker, packet.V5, hello{id: "c"})
		bang := func(hooks.Batch, hooks.Answer) { panic("boom") }
		if v := calmly(func() {
			if err := h.Deliver("c", hooks.Delivery{Message: &packet.Message{Topic: "b"}, Done: bang}); err != nil {
				t.Error(err)
			}
		}); v != nil {
			t.Errorf("Done with QoS 0 took the caller with it: %v", v)
		}
		if err := h.Deliver("c", hooks.Delivery{Message: &packet.Message{Topic: "b", QoS: 1}, QoS: 1, Done: bang}); err != nil {
			t.Fatal(err)
		}
		id := packet.Ack{}
		for n := range uint16(65535) {
			if c.c.session.out.Inflight() == 0 {
				break
			}
			id.ID = n + 1
			if v := calmly(func() { c.feed(packet.AppendAck(nil, packet.PUBACK, packet.V5, id)) }); v != nil {
				t.Fatalf("Done with QoS 1 took the connection's goroutine with it: %v", v)
			}
		}
		if got := settled(h.Broker).HookPanics; got != 3 {
			t.Errorf("%d panics counted, want 3", got)
		}
	})
}

// A hook that panics over a QoS 2 message leaves nothing behind that keeps the client from sending it again.
func TestAPanicLeavesNoHalfReceivedMessage(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		calls := 0
		b := start(t, setup{hooks: []hooks.Hook{intercept{"once", func(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
			if calls++; calls == 1 {
				panic("boom")
			}
			return m, pass
		}}}})
		to := connected(t, b, v, hello{id: "to"})
		to.subscribe(2, "a")
		from := connected(t, b, v, hello{id: "from", resume: true, expiry: 100})
		from.ask(2, 6, "a", "x")
		from.wantClosed()
		synctest.Wait()
		from = connected(t, b, v, hello{id: "from", resume: true, expiry: 100})
		from.publish(packet.Outgoing{Topic: "a", Payload: []byte("x"), QoS: 2, ID: 6, Dup: true})
		from.wantAck(packet.PUBREC, 6, packet.Success)
		to.wantMessage("a", "x")
	})
}
