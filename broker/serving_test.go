package broker

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage/memory"
)

// A host is a hook that serves subscriptions from its start on and writes down what it is told.
type host struct {
	hookName
	filters  []string
	b        hooks.Broker
	releases []func()
	deny     string // client identifier
	notes
}

func newHost(filters ...string) *host { return &host{hookName: "host", filters: filters} }

// Start implements hooks.Starter.
func (h *host) Start(b hooks.Broker) error {
	h.b = b
	for _, filter := range h.filters {
		release, err := b.Serve(filter, h)
		if err != nil {
			return err
		}
		h.releases = append(h.releases, release)
	}
	return nil
}

// Join implements hooks.Members.
func (h *host) Join(c *hooks.Client, s *hooks.Subscription) hooks.Decision {
	h.note("join %s %s %d", c.ID, s.Filter, s.QoS)
	s.QoS = min(s.QoS, 1)
	if c.ID == h.deny {
		return hooks.Decision{Verdict: hooks.Deny, Code: packet.QuotaExceeded}
	}
	return hooks.Decision{}
}

// Leave implements hooks.Members.
func (h *host) Leave(id, filter string) { h.note("leave %s %s", id, filter) }

// Online implements hooks.Members.
func (h *host) Online(_ hooks.Batch, id string, maximum uint16) { h.note("online %s %d", id, maximum) }

// Offline implements hooks.Members.
func (h *host) Offline(_ hooks.Batch, id string) { h.note("offline %s", id) }

// Room implements hooks.Members.
func (h *host) Room(_ hooks.Batch, id string) { h.note("room %s", id) }

// A hook that serves a prefix hears of joining, coming, going and leaving, and the broker routes nothing there.
func TestServePrefix(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		disk, h := memory.New(), newHost("$channel/")
		b := startOnly(t, setup{store: disk, hooks: []hooks.Hook{h}})
		c := connected(t, b, v, hello{id: "c", resume: true, expiry: 100, receiveMax: 5})
		c.write(subscribePacket(v, 1, 2, "$channel/x"))
		if got := c.want(packet.SUBACK).ReasonCodes; got[0] != 1 {
			t.Errorf("SUBACK % x, want the QoS that the hook granted", got)
		}
		maximum := map[packet.Version]string{packet.V5: "5", packet.V311: "1000"}[v]
		h.want(t, "join c $channel/x 2", "online c "+maximum)
		c.say("$channel/x", "nobody")
		c.wantNothing()
		c.disconnect()
		h.want(t, "offline c")
		again := connected(t, b, v, hello{id: "c", resume: true, expiry: 100})
		h.want(t, "online c 1000")
		connected(t, b, v, hello{id: "c", resume: true, expiry: 100})
		h.want(t, "offline c", "online c 1000")
		again.wantClosed()
		stop(t, b)

		after := newHost("$channel/")
		b = start(t, setup{store: disk.Reopen(), hooks: []hooks.Hook{after}})
		over := connected(t, b, v, hello{id: "c", resume: true, expiry: 100})
		after.want(t, "join c $channel/x 1", "online c 1000")
		over.write(unsubscribePacket(v, 2, "$channel/x"))
		over.want(packet.UNSUBACK)
		after.want(t, "leave c $channel/x")
	})
}

// A clean start ends the subscription, and a refused one is never made.
func TestServeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost("$channel/")
		h.deny = "bad"
		b := start(t, setup{hooks: []hooks.Hook{h}})
		bad := connected(t, b, packet.V5, hello{id: "bad"})
		bad.write(subscribePacket(packet.V5, 1, 0, "$channel/x"))
		if got := bad.want(packet.SUBACK).ReasonCodes; packet.Code(got[0]) != packet.QuotaExceeded {
			t.Errorf("SUBACK % x", got)
		}
		h.want(t, "join bad $channel/x 0")
		c := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 100})
		c.subscribe(1, "$channel/x")
		h.want(t, "join c $channel/x 1", "online c 1000")
		connected(t, b, packet.V5, hello{id: "c"})
		h.want(t, "leave c $channel/x")
	})
}

// A shared subscription goes over to a hook that begins to serve it, and comes back.
func TestServeShare(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := newHost()
		b := start(t, setup{hooks: []hooks.Hook{h}})
		c := connected(t, b, v, hello{id: "c"})
		c.subscribe(1, "$share/g/a/+")
		c.say("a/b", "before")
		c.wantMessage("a/b", "before")
		release, err := b.Serve("$share/g/a/+", h)
		if err != nil {
			t.Fatal(err)
		}
		h.want(t, "join c $share/g/a/+ 1", "online c 1000")
		c.say("a/b", "served")
		c.wantNothing()
		if _, err := b.Serve("$share/g/a/+", h); err == nil {
			t.Error("served twice")
		}
		release()
		h.want(t, "leave c $share/g/a/+")
		c.say("a/b", "after")
		c.wantMessage("a/b", "after")
		if n := b.Stats().SharedSubscriptions; n != 1 {
			t.Errorf("%d shared subscriptions, want 1", n)
		}
	})
}

// What cannot be served is refused.
func TestServeRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{hooks: []hooks.Hook{newHost("$channel/")}})
		for _, filter := range []string{"", "a/", "$", "$/", "$x", "$share/g", "$share/g/a/#/b", "$channel/"} {
			if _, err := b.Serve(filter, newHost()); err == nil {
				t.Errorf("%q is served", filter)
			}
		}
	})
}

// A client that was busy is told of as soon as it answers.
func TestRoom(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := newHost("$channel/")
		b := start(t, setup{hooks: []hooks.Hook{h}, limits: func(l *configs.Limits) { l.MaxInflight = 2 }})
		c := connected(t, b, v, hello{id: "c"})
		c.subscribe(1, "$channel/x")
		batch := b.Batch()
		d := hooks.Delivery{Message: &packet.Message{Topic: "job", QoS: 1}, QoS: 1}
		for range 2 {
			if err := batch.Deliver("c", d); err != nil {
				t.Fatal(err)
			}
		}
		if err := batch.Deliver("c", d); !errors.Is(err, hooks.ErrBusy) {
			t.Errorf("third delivery: %v, want busy", err)
		}
		batch.End()
		h.want(t, "join c $channel/x 1", "online c 2")
		first := c.want(packet.PUBLISH)
		c.want(packet.PUBLISH)
		c.ack(packet.PUBACK, first.PacketID)
		h.want(t, "room c")
		if err := b.Deliver("c", d); err != nil {
			t.Errorf("with room: %v", err)
		}
		c.want(packet.PUBLISH)
	})
}
