package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A member of a shared subscription that said goodbye gets nothing more, though its socket is still open: the
// others do.
func TestAMemberThatSaidGoodbyeIsPassedOver(t *testing.T) {
	for _, v := range bothVersions {
		t.Run(v.String(), func(t *testing.T) {
			b := start(t, setup{})
			stays, goes, from := dial(t, b, v, 0), dial(t, b, v, 0), dial(t, b, v, 0)
			for id, c := range map[string]*testClient{"stays": stays, "goes": goes, "from": from} {
				c.connect(hello{id: id})
			}
			stays.subscribe(1, "$share/g/a")
			goes.subscribe(1, "$share/g/a")
			leaving := connOf(t, b, "goes")
			goes.disconnect()
			until(t, "DISCONNECT was read", leaving.stopped)
			for i := range 6 {
				payload := fmt.Sprint(i)
				from.ask(byte(i%2), uint16(i+1), "a", payload)
				p := stays.wantMessage("a", payload)
				if i%2 == 1 {
					from.wantAck(packet.PUBACK, uint16(i+1), packet.Success)
					stays.ack(packet.PUBACK, p.PacketID)
				}
			}
		})
	}
}

// A retained message that the store refused is not there for the next subscriber, and what it would have
// replaced is.
func TestARefusedRetainedMessageIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold(t, setup{})
		from := connected(t, h.Broker, packet.V5, hello{id: "from"})
		put := func(topic, payload string, id uint16) {
			from.publish(packet.Outgoing{Topic: topic, Payload: []byte(payload), QoS: 1, ID: id, Retain: true})
			h.wantWaiting(1)
		}
		put("old", "first", 1)
		stored := h.held.Release(1)
		from.want(packet.PUBACK)
		for i, topic := range []string{"old", "new"} {
			put(topic, "refused", uint16(i+2))
			h.held.Fail(storage.ErrFull)
			from.wantAck(packet.PUBACK, uint16(i+2), packet.QuotaExceeded)
		}
		put("old", "", 4) // deleting it fails too
		h.held.Fail(storage.ErrFull)
		from.wantAck(packet.PUBACK, 4, packet.QuotaExceeded)
		to := connected(t, h.Broker, packet.V5, hello{id: "to"})
		to.subscribe(0, "+")
		to.wantMessage("old", "first")
		to.wantNothing()
		if got := settled(h.Broker); stored != 1 || got.RetainedMessages != 1 || got.RetainedBytes != int64(len("oldfirst")) {
			t.Errorf("%d retained messages, %d bytes; want 1 of 8 bytes", got.RetainedMessages, got.RetainedBytes)
		}
	})
}

// A message larger than limits.max_outbox_bytes reaches a client whose outbox is empty, with any QoS.
func TestAnEmptyOutboxTakesAnyMessage(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{limits: func(l *configs.Limits) { l.MaxPacketSize, l.MaxOutboxBytes = 1<<20, 64<<10 }})
		to := connected(t, b, v, hello{id: "to"})
		to.subscribe(2, "a")
		from := connected(t, b, v, hello{id: "from"})
		payload := strings.Repeat("x", 500_000)
		for qos := range byte(3) {
			from.ask(qos, uint16(qos), "a", payload)
			to.wantMessage("a", payload)
		}
	})
}

// Hooks may call the broker from wherever they are asked, the client they are asked about included.
func TestHooksMayCallTheBroker(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		var b *Broker
		act := func(c *hooks.Client) {
			b.Publish(&packet.Message{Topic: "echo", Payload: []byte("published"), QoS: 1}, func(error) {})
			if c != nil {
				_ = b.Deliver(c.ID, hooks.Delivery{Message: &packet.Message{Topic: "echo", Payload: []byte("delivered")}})
			}
			release, err := b.Own("own/#", ownerFunc(func(string, *packet.Message) error { return nil }))
			if err != nil {
				t.Error(err)
			}
			release()
			b.Recheck()
		}
		b = start(t, setup{hooks: []hooks.Hook{
			authorizePublish{"acl", func(c *hooks.Client, topic string) hooks.Decision {
				if topic == "from the authorizer" {
					act(c)
				}
				return pass
			}},
			authorizeSubscribe{"subscribe acl", func(c *hooks.Client, filter string) hooks.Decision {
				if filter == "from the subscribe authorizer" {
					act(c)
				}
				return pass
			}},
			intercept{"interceptor", func(c *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
				switch m.Topic {
				case "from the interceptor":
					act(c)
				case "goodbye":
					b.Disconnect(c.ID, packet.AdministrativeAction, "from a hook")
				}
				return m, pass
			}},
		}})
		if _, err := b.Own("from an owner", ownerFunc(func(string, *packet.Message) error { act(nil); return nil })); err != nil {
			t.Fatal(err)
		}
		c := connected(t, b, v, hello{id: "c"})
		c.subscribe(0, "echo")
		for _, topic := range []string{"from the authorizer", "from the interceptor", "from an owner"} {
			c.say(topic, "x")
			c.wantMessage("echo", "published")
			if topic != "from an owner" {
				c.wantMessage("echo", "delivered")
			}
		}
		c.write(subscribePacket(v, 2, 0, "from the subscribe authorizer"))
		c.wantMessage("echo", "published")
		c.wantMessage("echo", "delivered")
		c.want(packet.SUBACK)
		c.ask(1, 1, "goodbye", "x")
		if last := c.wantClosed(); v == packet.V5 && packet.Code(last.ReasonCode) != packet.AdministrativeAction {
			t.Errorf("the last packet is %s", summary(last))
		}
	})
}
