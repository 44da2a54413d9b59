package broker

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

type intercept struct {
	hookName
	f func(c *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision)
}

// OnPublish implements hooks.PublishInterceptor.
func (h intercept) OnPublish(c *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
	return h.f(c, m)
}

type interceptSubscribe struct {
	hookName
	f func(c *hooks.Client, s *hooks.Subscription) hooks.Decision
}

// OnSubscribe implements hooks.SubscribeInterceptor.
func (h interceptSubscribe) OnSubscribe(c *hooks.Client, s *hooks.Subscription) hooks.Decision {
	return h.f(c, s)
}

// changing is an interceptor that changes a copy of each message.
func changing(name hookName, change func(m *packet.Message)) intercept {
	return intercept{name, func(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
		changed := *m
		change(&changed)
		return &changed, pass
	}}
}

// Interceptors change topic and payload one after the other, in their order; Allow spares the message the rest.
func TestInterceptorsChangeMessages(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{hooks: []hooks.Hook{
			changing("first", func(m *packet.Message) { m.Topic, m.Payload = "b/"+m.Topic, []byte(string(m.Payload)+"1") }),
			intercept{"second", func(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
				if m.Topic == "b/last" {
					return m, allow
				}
				return m, pass
			}},
			changing("third", func(m *packet.Message) { m.Payload = []byte(string(m.Payload) + "3") }),
		}})
		to := connected(t, b, v, hello{id: "to"})
		to.subscribe(2, "b/#")
		from := connected(t, b, v, hello{id: "from"})
		for _, qos := range []byte{0, 1, 2} {
			from.ask(qos, 1, "a", "x")
			if got := to.wantMessage("b/a", "x13").FixedHeader.Qos; got != qos {
				t.Errorf("delivered with QoS %d, want %d", got, qos)
			}
			from.ask(qos, 2, "last", "x")
			to.wantMessage("b/last", "x1")
			for range 2 * min(qos, 1) {
				readAck(from)
			}
		}
	})
}

// A denying interceptor's code is the acknowledgement; 3.1.1 is closed for 0x97 and otherwise acknowledged.
func TestInterceptorDenies(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{hooks: []hooks.Hook{intercept{"no", func(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
			switch m.Topic {
			case "quota":
				return nil, hooks.Decision{Verdict: hooks.Deny, Code: packet.QuotaExceeded}
			case "no":
				return nil, deny
			}
			return m, pass
		}}}})
		to := connected(t, b, v, hello{id: "to"})
		to.subscribe(0, "#")
		from := connected(t, b, v, hello{id: "from"})
		from.say("no", "x")
		from.ask(1, 1, "no", "x")
		if v == packet.V5 {
			from.wantAck(packet.PUBACK, 1, packet.NotAuthorized)
			from.ask(1, 2, "quota", "x")
			from.wantAck(packet.PUBACK, 2, packet.QuotaExceeded)
		} else {
			from.wantAck(packet.PUBACK, 1, packet.Success)
			from.ask(1, 2, "quota", "x")
			from.wantClosed()
		}
		to.wantNothing()
		if got := settled(b).Dropped[hooks.DropIntercepted]; got != 3 && v == packet.V5 {
			t.Errorf("%d dropped as intercepted, want 3", got)
		}
	})
}

// Interceptors see wills, with the client whose will it is, and what hooks publish, with none.
func TestInterceptorsSeeEveryMessage(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		var mu sync.Mutex
		var seen []string
		b := start(t, setup{hooks: []hooks.Hook{intercept{"sees", func(c *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
			mu.Lock()
			defer mu.Unlock()
			who := "nobody"
			if c != nil {
				who = c.ID
			}
			seen = append(seen, who+":"+m.Topic)
			return m, pass
		}}}})
		watch := connected(t, b, v, hello{id: "watch"})
		watch.subscribe(0, "#")
		connected(t, b, v, hello{id: "dies", will: &testWill{topic: "will", payload: "x"}}).nc.Close()
		watch.wantMessage("will", "x")
		b.Publish(&packet.Message{Topic: "hook", Payload: []byte("y")}, nil)
		watch.wantMessage("hook", "y")
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(seen, " "); got != "dies:will nobody:hook" {
			t.Errorf("seen %q", got)
		}
	})
}

// The acknowledgement waits for the store also when it is a hook that sends the message to a durable
// receiver, or retains it.
func TestAHooksChangeWaitsForTheStore(t *testing.T) {
	for name, change := range map[string]func(m *packet.Message){
		"topic":  func(m *packet.Message) { m.Topic = "stored" },
		"retain": func(m *packet.Message) { m.Retain = true },
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v packet.Version) {
				h := hold(t, setup{hooks: []hooks.Hook{changing("changes", change)}})
				h.subscriber(v, "to", 1, "stored")
				from := connected(t, h.Broker, v, hello{id: "from"})
				from.ask(1, 4, "unheard", "x")
				h.wantWaiting(1)
				from.wantNothing()
				h.held.Release(1)
				if got := from.want(packet.PUBACK).PacketID; got != 4 {
					t.Errorf("PUBACK %d, want 4", got)
				}
			})
		})
	}
}

// A hook that changes the QoS changes the delivery, not the exchange with the publisher.
func TestAHookMayChangeTheQoS(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{hooks: []hooks.Hook{changing("lowers", func(m *packet.Message) { m.QoS = 1 })}})
		to := connected(t, b, v, hello{id: "to", resume: true, expiry: 100})
		to.subscribe(2, "a")
		from := connected(t, b, v, hello{id: "from", resume: true, expiry: 100})
		for range 2 { // with the same identifier: the first exchange must be over
			from.ask(2, 8, "a", "x")
			from.wantAck(packet.PUBREC, 8, packet.Success)
			from.ack(packet.PUBREL, 8)
			from.wantAck(packet.PUBCOMP, 8, packet.Success)
			p := to.wantMessage("a", "x")
			if p.FixedHeader.Qos != 1 {
				t.Errorf("delivered with QoS %d, want 1", p.FixedHeader.Qos)
			}
			to.ack(packet.PUBACK, p.PacketID)
		}
	})
}

// A subscription's QoS can be lowered by a hook, and refused with a code.
func TestSubscribeInterceptor(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{hooks: []hooks.Hook{interceptSubscribe{"lowers", func(_ *hooks.Client, s *hooks.Subscription) hooks.Decision {
			s.QoS = 1
			if s.Filter == "full" {
				return hooks.Decision{Verdict: hooks.Deny, Code: packet.QuotaExceeded}
			}
			return pass
		}}}})
		c := connected(t, b, v, hello{id: "c"})
		c.write(subscribePacket(v, 1, 2, "a", "full"))
		want := []byte{1, 0x80}
		if v == packet.V5 {
			want[1] = byte(packet.QuotaExceeded)
		}
		if got := c.want(packet.SUBACK).ReasonCodes; string(got) != string(want) {
			t.Errorf("SUBACK % x, want % x", got, want)
		}
		c.ask(2, 1, "a", "x")
		if got := c.wantMessage("a", "x").FixedHeader.Qos; got != 1 {
			t.Errorf("delivered with QoS %d, want 1", got)
		}
	})
}

// An owner receives every message that matches its filter until it lets go. What it refuses is counted.
func TestOwnerReceives(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{})
		var got []string
		o := ownerFunc(func(filter string, m *packet.Message) error {
			got = append(got, filter+"="+m.Topic+":"+string(m.Payload))
			if m.Topic == "jobs/bad" {
				return errors.New("no")
			}
			return nil
		})
		release, err := b.Own("jobs/#", o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Own("jobs/#/x", o); err == nil {
			t.Error("an owner was taken for an invalid filter")
		}
		from := connected(t, b, v, hello{id: "from"})
		from.say("jobs/1", "a")
		from.ask(1, 1, "jobs/bad", "b")
		from.wantAck(packet.PUBACK, 1, packet.Success) // somebody matched
		from.say("other", "c")
		from.wantNothing()
		release()
		release()
		from.say("jobs/2", "d")
		from.wantNothing()
		if want := "jobs/#=jobs/1:a jobs/#=jobs/bad:b"; strings.Join(got, " ") != want {
			t.Errorf("received %q, want %q", got, want)
		}
		if got := settled(b).Dropped[hooks.DropReceiverFailed]; got != 1 {
			t.Errorf("%d counted as receiver_failed, want 1", got)
		}
	})
}

// An ownerFunc is an owner made of a function.
type ownerFunc func(filter string, m *packet.Message) error

// Receive implements hooks.Owner.
func (f ownerFunc) Receive(filter string, m *packet.Message) error { return f(filter, m) }
