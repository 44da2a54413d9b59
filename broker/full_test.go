package broker

import (
	"slices"
	"sync/atomic"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
)

// A narrow store has no room for sessions while it is full, and none for anything while it is stalled.
type narrow struct {
	*memory.Store
	full, stalled atomic.Bool
}

// Update implements storage.Store.
func (n *narrow) Update(changes []storage.Change, w storage.Waiter) (pending bool, err error) {
	if n.full.Load() && slices.ContainsFunc(changes, func(c storage.Change) bool { _, is := c.(storage.PutSession); return is }) {
		return false, storage.ErrFull
	}
	return n.Store.Update(changes, w)
}

// Stalled implements storage.Staller.
func (n *narrow) Stalled() bool { return n.stalled.Load() }

// refuseFull wants CONNECT to be refused for want of room, in the words of the version.
func refuseFull(t *testing.T, b *Broker, v packet.Version, h hello) {
	t.Helper()
	c := pipe(t, b, v)
	c.write(h.packet(v))
	want := byte(3) // Connection Refused, Server unavailable (MQTT 3.1.1, table 3.1)
	if v == packet.V5 {
		want = byte(packet.QuotaExceeded)
	}
	if ack := c.want(packet.CONNACK); ack.ReasonCode != want {
		t.Errorf("CONNACK 0x%02x, want 0x%02x", ack.ReasonCode, want)
	}
	c.wantClosed()
}

// While the store can write nothing, whoever has to wait for it is refused at once, before anything is changed: who holds the session
// keeps it. Who needs no store is let in. When there is room again all is as before.
func TestConnectIsRefusedWhileTheStoreIsStalled(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		store := &narrow{Store: memory.New()}
		b := start(t, setup{store: store})
		known := hello{id: "known", resume: true, expiry: 1000}
		there := connected(t, b, v, known)
		there.subscribe(0, "a")
		store.stalled.Store(true)
		refuseFull(t, b, v, hello{id: "new", resume: true, expiry: 1000})
		refuseFull(t, b, v, known)
		refuseFull(t, b, v, hello{id: "known"}) // it would end the session
		passing := connected(t, b, v, hello{id: "passing"})
		passing.say("a", "x")
		there.wantMessage("a", "x")
		store.stalled.Store(false)
		there.nc.Close()
		again := pipe(t, b, v)
		again.write(known.packet(v))
		if ack := again.want(packet.CONNACK); ack.ReasonCode != 0 || !ack.SessionPresent {
			t.Errorf("CONNACK 0x%02x, session present %v", ack.ReasonCode, ack.SessionPresent)
		}
	})
}

// A clean start ends the session that was there, also if there is no room for the new one: no later start of the broker brings it back.
func TestARefusedCleanStartEndsTheSessionThatWasThere(t *testing.T) {
	store := &narrow{Store: memory.New()}
	b := startOnly(t, setup{store: store})
	c := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 1000})
	c.subscribe(1, "a")
	c.nc.Close()
	store.full.Store(true)
	refuseFull(t, b, packet.V5, hello{id: "c", expiry: 1000})
	stop(t, b)
	b = start(t, setup{store: store.Reopen()})
	again := pipe(t, b, packet.V5)
	again.write(hello{id: "c", resume: true, expiry: 1000}.packet(packet.V5))
	if ack := again.want(packet.CONNACK); ack.ReasonCode != 0 || ack.SessionPresent {
		t.Errorf("CONNACK 0x%02x, session present %v", ack.ReasonCode, ack.SessionPresent)
	}
}
