package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// An outcome collects what Done of a Delivery is told.
type outcome []string

func (o *outcome) done(_ hooks.Batch, a hooks.Answer) {
	*o = append(*o, fmt.Sprintf("%s %v", a.Code, a.Acked))
}

// want compares once the bubble is idle.
func (o *outcome) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(*o, want) {
		t.Errorf("Done was told %q, want %q", *o, want)
	}
}

func delivery(qos byte, payload string, o *outcome) hooks.Delivery {
	return hooks.Delivery{Message: &packet.Message{Topic: "job", Payload: []byte(payload), QoS: qos}, QoS: qos, Done: o.done}
}

// Deliver reaches a client without a subscription; Done is told of the acknowledgement.
func TestDeliver(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{})
		c := connected(t, b, v, hello{id: "c"})
		var told [3]outcome
		for qos := range byte(3) {
			if err := b.Deliver("c", delivery(qos, "x", &told[qos])); err != nil {
				t.Fatal(err)
			}
			p := c.wantMessage("job", "x")
			if p.FixedHeader.Qos != qos {
				t.Errorf("delivered with QoS %d, want %d", p.FixedHeader.Qos, qos)
			}
			switch qos {
			case 1:
				told[1].want(t)
				c.ack(packet.PUBACK, p.PacketID)
			case 2:
				c.ack(packet.PUBREC, p.PacketID)
				c.wantAck(packet.PUBREL, p.PacketID, packet.Success)
				c.ack(packet.PUBCOMP, p.PacketID)
			}
			told[qos].want(t, "success true")
		}
		c.wantNothing()
		if s := settled(b); s.InflightMessages != 0 || s.QueuedMessages != 0 {
			t.Errorf("inflight %d, queued %d, want 0", s.InflightMessages, s.QueuedMessages)
		}
	})
}

// A client that refuses a delivery, or vanishes before it answers, is told to Done.
func TestDeliverIsRefusedOrLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{})
		var refused, lost outcome
		c := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 100})
		if err := errors.Join(b.Deliver("c", delivery(1, "1", &refused)), b.Deliver("c", delivery(1, "2", &lost))); err != nil {
			t.Fatal(err)
		}
		id := c.wantMessage("job", "1").PacketID
		c.write(packet.AppendAck(nil, packet.PUBACK, packet.V5, packet.Ack{ID: id, Code: packet.QuotaExceeded}))
		refused.want(t, "quota exceeded true")
		c.wantMessage("job", "2")
		lost.want(t)
		c.nc.Close()
		lost.want(t, "success false")
		// Deliveries do not outlive the connection.
		again := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 100})
		again.wantNothing()
		if s := settled(b); s.InflightMessages != 0 || s.QueuedMessages != 0 {
			t.Errorf("inflight %d, queued %d, want 0", s.InflightMessages, s.QueuedMessages)
		}
	})
}

// Done is told once, also when the session ends between PUBREC and PUBCOMP, and nothing is counted below zero.
func TestDoneIsToldOnce(t *testing.T) {
	for _, expiry := range []uint32{0, 100} {
		t.Run(fmt.Sprintf("expiry %d", expiry), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, setup{})
				c := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: expiry})
				var told outcome
				if err := b.Deliver("c", delivery(2, "x", &told)); err != nil {
					t.Fatal(err)
				}
				if err := b.Deliver("c", hooks.Delivery{Message: &packet.Message{Topic: "job", QoS: 2}, QoS: 2}); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					c.ack(packet.PUBREC, c.want(packet.PUBLISH).PacketID)
				}
				c.want(packet.PUBREL)
				c.want(packet.PUBREL)
				told.want(t, "success true")
				c.nc.Close()
				synctest.Wait()
				if expiry > 0 { // the exchange goes on
					c = connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: expiry})
					for range 2 {
						c.ack(packet.PUBCOMP, c.want(packet.PUBREL).PacketID)
					}
					c.wantNothing()
				}
				told.want(t, "success true")
				if s := settled(b); s.InflightMessages != 0 || s.QueuedMessages != 0 || s.QueuedBytes != 0 {
					t.Errorf("inflight %d, queued %d (%d bytes), want 0", s.InflightMessages, s.QueuedMessages, s.QueuedBytes)
				}
			})
		})
	}
}

// A queued QoS 2 message whose PUBREL is sent again on the next connection is counted as in flight once.
func TestInflightCountsAResentPubrel(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{})
		to := connected(t, b, v, hello{id: "to", resume: true, expiry: 100})
		to.subscribe(2, "a")
		connected(t, b, v, hello{id: "from"}).ask(2, 1, "a", "x")
		id := to.wantMessage("a", "x").PacketID
		to.ack(packet.PUBREC, id)
		to.wantAck(packet.PUBREL, id, packet.Success)
		to.nc.Close()
		synctest.Wait()
		to = connected(t, b, v, hello{id: "to", resume: true, expiry: 100})
		to.wantAck(packet.PUBREL, id, packet.Success)
		if got := settled(b).InflightMessages; got != 1 {
			t.Errorf("inflight %d, want 1", got)
		}
		to.ack(packet.PUBCOMP, id)
		to.wantNothing()
		if s := settled(b); s.InflightMessages != 0 || s.QueuedMessages != 0 {
			t.Errorf("inflight %d, queued %d, want 0", s.InflightMessages, s.QueuedMessages)
		}
	})
}

// Deliver fails at once for a client that is away, has no room in its window or its outbox, or takes no
// packet that large.
func TestDeliverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{limits: func(l *configs.Limits) { l.MaxOutboxBytes = 1000 }})
		var told outcome
		if err := b.Deliver("nobody", delivery(0, "x", &told)); !errors.Is(err, hooks.ErrOffline) {
			t.Errorf("nobody: %v", err)
		}
		away := connected(t, b, packet.V5, hello{id: "away", resume: true, expiry: 100})
		away.nc.Close()
		synctest.Wait()
		if err := b.Deliver("away", delivery(1, "x", &told)); !errors.Is(err, hooks.ErrOffline) {
			t.Errorf("away: %v", err)
		}
		busy := connected(t, b, packet.V5, hello{id: "busy", receiveMax: 1, maxPacket: 200})
		if err := b.Deliver("busy", delivery(1, strings.Repeat("x", 200), &told)); err == nil || errors.Is(err, hooks.ErrBusy) {
			t.Errorf("too large: %v", err)
		}
		if err := b.Deliver("busy", delivery(1, "x", &outcome{})); err != nil {
			t.Errorf("first: %v", err)
		}
		if err := b.Deliver("busy", delivery(1, "x", &told)); !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("window full: %v", err)
		}
		connected(t, b, packet.V5, hello{id: "stuck"})
		var err error
		for range 40 {
			err = errors.Join(err, b.Deliver("stuck", delivery(0, strings.Repeat("x", 100), &outcome{})))
		}
		if !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("outbox full: %v", err)
		}
		busy.wantMessage("job", "x")
		told.want(t)
	})
}

// Deliveries and the session's own messages share packet identifiers without meeting.
func TestDeliverBesideTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{})
		c := connected(t, b, packet.V5, hello{id: "c"})
		c.subscribe(1, "a")
		from := connected(t, b, packet.V5, hello{id: "from"})
		seen := map[uint16]bool{}
		for i := range 50 {
			from.ask(1, uint16(i+1), "a", "queue")
			from.want(packet.PUBACK)
			if err := b.Deliver("c", delivery(1, "extra", &outcome{})); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				p := c.want(packet.PUBLISH)
				if seen[p.PacketID] {
					t.Fatalf("packet identifier %d is used twice", p.PacketID)
				}
				seen[p.PacketID] = true
			}
		}
		for id := range seen {
			c.ack(packet.PUBACK, id)
		}
		c.wantNothing()
		if s := settled(b); s.InflightMessages != 0 || s.QueuedMessages != 0 {
			t.Errorf("inflight %d, queued %d, want 0", s.InflightMessages, s.QueuedMessages)
		}
	})
}

// Disconnect ends a connection with its code, and reports whether there was one.
func TestDisconnect(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{})
		c := connected(t, b, v, hello{id: "c"})
		if b.Disconnect("other", packet.AdministrativeAction, "") {
			t.Error("there is no other")
		}
		if !b.Disconnect("c", packet.AdministrativeAction, "go away") {
			t.Error("c was connected")
		}
		if v == packet.V5 {
			p := c.want(packet.DISCONNECT)
			if packet.Code(p.ReasonCode) != packet.AdministrativeAction || p.Properties.ReasonString != "go away" {
				t.Errorf("DISCONNECT %s", summary(p))
			}
		}
		c.wantClosed()
		synctest.Wait()
		if b.Disconnect("c", packet.AdministrativeAction, "") {
			t.Error("c is gone")
		}
		if got := settled(b).Disconnected["administrative_action"]; got != 1 {
			t.Errorf("disconnected %v", settled(b).Disconnected)
		}
	})
}

// Publish tells done once: when every durable receiver's copy is stored, or why not.
func TestPublishTellsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, setup{hooks: []hooks.Hook{intercept{"no", func(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
			if m.Topic == "denied" {
				return nil, deny
			}
			return m, pass
		}}}})
		to := h.subscriber(packet.V5, "to", 1, "a")
		var told []error
		publish := func(topic string, qos byte) {
			h.Publish(&packet.Message{Topic: topic, Payload: []byte("x"), QoS: qos}, func(err error) { told = append(told, err) })
		}
		publish("a", 0)
		publish("nobody", 1)
		publish("a", 1)
		if len(told) != 2 || told[0] != nil || told[1] != nil {
			t.Fatalf("told %v, want success for the two that need no store", told)
		}
		h.wantWaiting(1)
		h.held.Release(1)
		publish("a", 1)
		h.wantWaiting(1)
		h.held.Fail(storage.ErrFull)
		publish("a/+", 1)
		publish("denied", 1)
		if len(told) != 6 || told[2] != nil || !errors.Is(told[3], storage.ErrFull) || told[4] == nil || told[5] == nil {
			t.Errorf("told %v", told)
		}
		to.wantMessage("a", "x")
		to.wantMessage("a", "x")
		to.wantNothing()
	})
}
