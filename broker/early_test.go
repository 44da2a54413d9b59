package broker

import (
	"fmt"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
)

// holdNumbered is hold with a store that numbers messages before it writes them.
func holdNumbered(t *testing.T) *holding {
	t.Helper()
	n := storagetest.HoldNumbered(memory.New())
	h := &holding{t: t, held: n.Held}
	h.Broker = start(t, setup{store: n})
	return h
}

// A subscriber that is online has a QoS 1 message before the store has written it; PUBACK waits all the same.
func TestEarlyDelivery(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := holdNumbered(t)
		to, other := h.subscriber(v, "to", 1, "a"), h.subscriber(v, "other", 1, "a")
		other.disconnect()
		h.release()
		from := connected(t, h.Broker, v, hello{id: "from"})
		for id := range uint16(3) {
			from.ask(1, id+1, "a", fmt.Sprint(id))
			got := to.wantMessage("a", fmt.Sprint(id))
			if got.PacketID != id+1 || got.FixedHeader.Dup {
				t.Errorf("packet identifier %d, DUP %v", got.PacketID, got.FixedHeader.Dup)
			}
		}
		h.wantWaiting(3)
		from.wantNothing()
		h.release()
		for id := range uint16(3) {
			from.wantAck(packet.PUBACK, id+1, packet.Success)
		}
		to.wantNothing()
		again := h.connect(v, hello{id: "other", resume: true, expiry: 1000})
		for id := range uint16(3) {
			again.wantMessage("a", fmt.Sprint(id))
		}
	})
}

// With QoS 2 nothing is sent before it is on disk: a crash could give its packet identifier to another message, which the
// client would take for a repeat [MQTT5-4.3.3-10]. What follows it waits for it [MQTT5-4.6.0-6].
func TestQoS2IsNeverEarly(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := holdNumbered(t)
		to := h.subscriber(v, "to", 2, "a")
		from := connected(t, h.Broker, v, hello{id: "from"})
		from.ask(1, 1, "a", "first")
		to.wantMessage("a", "first")
		from.ask(2, 2, "a", "second")
		from.ask(1, 3, "a", "third")
		h.wantWaiting(3)
		to.wantNothing()
		h.release()
		to.wantMessage("a", "second")
		to.wantMessage("a", "third")
	})
}

// What was sent early and not acknowledged is sent again to the next connection, in order, with its packet identifier and DUP
// [MQTT5-4.4.0-1].
func TestEarlyIsSentAgain(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := holdNumbered(t)
		to := h.subscriber(v, "to", 1, "a")
		from := connected(t, h.Broker, v, hello{id: "from"})
		from.ask(1, 1, "a", "x")
		from.ask(1, 2, "a", "y")
		to.wantMessage("a", "x")
		to.wantMessage("a", "y")
		to.nc.Close()
		again := h.connect(v, hello{id: "to", resume: true, expiry: 1000})
		for i, payload := range []string{"x", "y"} {
			if got := again.wantMessage("a", payload); got.PacketID != uint16(i+1) || !got.FixedHeader.Dup {
				t.Errorf("%s: packet identifier %d, DUP %v", payload, got.PacketID, got.FixedHeader.Dup)
			}
		}
	})
}

// A store that fails leaves what was sent early with who has it: the publisher is told, and counts on nothing.
func TestEarlyAndRefused(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := holdNumbered(t)
		to := h.subscriber(v, "to", 1, "a")
		from := connected(t, h.Broker, packet.V5, hello{id: "from"})
		from.ask(1, 1, "a", "x")
		id := to.wantMessage("a", "x").PacketID
		h.held.Fail(storage.ErrFull)
		from.wantAck(packet.PUBACK, 1, packet.QuotaExceeded)
		to.ack(packet.PUBACK, id)
		to.wantNothing()
		if s := settled(h.Broker); s.QueuedMessages != 0 || s.InflightMessages != 0 || s.PendingStores != 0 {
			t.Errorf("queued %d, inflight %d, pending %d", s.QueuedMessages, s.InflightMessages, s.PendingStores)
		}
	})
}

// A skipper is a storage.Batcher whose numbers are skipped by messages that nobody gets.
type skipper struct {
	*memory.Store
	left chan string // clients of whom is stored that their connection ended; nil if nobody waits for that
}

// Update implements storage.Store.
func (s skipper) Update(changes []storage.Change, w storage.Waiter) (pending bool, err error) {
	pending, err = s.Store.Update(changes, w)
	for _, c := range changes {
		if put, ok := c.(storage.PutSession); ok && put.Session.Disconnected > 0 && s.left != nil {
			s.left <- put.Session.ClientID
		}
	}
	return pending, err
}

// EnqueueAll implements storage.Batcher.
func (s skipper) EnqueueAll(batch []storage.Enqueue, _ storage.Waiter) (pending bool, err error) {
	for i := range batch {
		if _, err := s.Enqueue(&batch[i], nil); err != nil {
			return false, err
		}
	}
	return false, nil
}

// AckAll implements storage.Batcher.
func (s skipper) AckAll(acks []storage.Ack, _ storage.Teller) error {
	for _, a := range acks {
		if _, err := s.Ack(a, nil); err != nil {
			return err
		}
	}
	return nil
}

// Skip implements storage.Batcher.
func (s skipper) Skip(sessions []string, n int, _ storage.Waiter) (pending bool, err error) {
	for range n {
		e := &storage.Enqueue{Message: new(packet.Message)}
		for _, id := range sessions {
			e.To = append(e.To, storage.Entry{Session: id, QoS: 1})
		}
		if _, err := s.Enqueue(e, nil); err != nil {
			return false, err
		}
		for _, to := range e.To {
			if _, err := s.Ack(storage.Ack{Session: to.Session, Seq: to.Seq, Progress: storage.Done}, nil); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// After a crash a client that was connected may acknowledge what it had early and the broker no longer knows: that must not
// be taken for the acknowledgement of another message. Who was away had nothing early.
func TestLateAckAfterCrash(t *testing.T) {
	for name, queued := range map[string]bool{"empty": false, "with a message": true} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v packet.Version) {
				disk := memory.New()
				left := make(chan string, 10)
				crashed := start(t, setup{store: skipper{disk, left}})
				to := connected(t, crashed, v, hello{id: "to", resume: true, expiry: 1000})
				to.subscribe(1, "a")
				away := connected(t, crashed, v, hello{id: "away", resume: true, expiry: 1000})
				away.subscribe(1, "a")
				away.disconnect()
				if got := <-left; got != "away" {
					t.Fatalf("%s left", got)
				}
				first := uint16(1)
				if queued {
					connected(t, crashed, v, hello{id: "from"}).ask(1, 1, "a", "old")
					to.wantMessage("a", "old")
					first++
				}
				b := start(t, setup{store: skipper{Store: disk.Reopen()}})
				again := connected(t, b, v, hello{id: "to", resume: true, expiry: 1000})
				if queued {
					again.wantMessage("a", "old")
					again.ack(packet.PUBACK, 1)
				}
				connected(t, b, v, hello{id: "from"}).ask(1, 1, "a", "new")
				if got := again.wantMessage("a", "new"); got.PacketID != first+storage.SkipAfterCrash {
					t.Errorf("packet identifier %d of a client that was connected", got.PacketID)
				}
				away = connected(t, b, v, hello{id: "away", resume: true, expiry: 1000})
				if queued {
					away.wantMessage("a", "old")
				}
				if got := away.wantMessage("a", "new"); got.PacketID != first {
					t.Errorf("packet identifier %d of a client that was away", got.PacketID)
				}
			})
		})
	}
}
