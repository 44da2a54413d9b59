package broker

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/test/setting"
)

// eachVersion runs a test in a synctest bubble of its own for MQTT 3.1.1 and 5.
func eachVersion(t *testing.T, f func(t *testing.T, v packet.Version)) {
	t.Helper()
	for _, v := range bothVersions {
		t.Run(v.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, v) }) })
	}
}

// firstAnswer is what the receiver of a PUBLISH answers with first.
func firstAnswer(qos byte) packet.Type {
	if qos == 2 {
		return packet.PUBREC
	}
	return packet.PUBACK
}

// PUBACK and PUBREC leave, and the receiver gets the message, only when the store has it.
func TestPublishWaitsForTheStore(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v packet.Version) {
				h := hold(t, setup{})
				to := h.subscriber(v, "to", qos, "a")
				from := connected(t, h.Broker, v, hello{id: "from"})
				from.ask(qos, 7, "a", "x")
				h.wantWaiting(1)
				from.wantNothing()
				to.wantNothing()
				if got := settled(h.Broker).PendingStores; got != 1 {
					t.Errorf("PendingStores is %d, want 1", got)
				}
				h.held.Release(1)
				from.wantAck(firstAnswer(qos), 7, packet.Success)
				to.wantMessage("a", "x")
				if got := settled(h.Broker).PendingStores; got != 0 {
					t.Errorf("PendingStores is %d, want 0", got)
				}
			})
		})
	}
}

// A message that no durable receiver wants is acknowledged at once.
func TestNothingWaitsWithoutADurableReceiver(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		to := connected(t, h.Broker, v, hello{id: "to"})
		to.subscribe(2, "a")
		from := connected(t, h.Broker, v, hello{id: "from"})
		from.ask(1, 1, "a", "x")
		from.wantAck(packet.PUBACK, 1, packet.Success)
		from.ask(2, 2, "a", "y")
		from.wantAck(packet.PUBREC, 2, packet.Success)
		from.ack(packet.PUBREL, 2)
		from.wantAck(packet.PUBCOMP, 2, packet.Success)
		to.wantMessage("a", "x")
		to.wantMessage("a", "y")
		h.wantWaiting(0)
	})
}

// The retained store is a durable receiver.
func TestRetainedWaitsForTheStore(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		from := connected(t, h.Broker, v, hello{id: "from"})
		from.publish(packet.Outgoing{Topic: "a", Payload: []byte("x"), QoS: 1, ID: 1, Retain: true})
		h.wantWaiting(1)
		from.wantNothing()
		h.held.Release(1)
		if got := from.want(packet.PUBACK).PacketID; got != 1 {
			t.Fatalf("PUBACK %d, want 1", got)
		}
	})
}

// PUBREC and PUBCOMP of a durable publisher leave when the store has, and has forgotten, the packet identifier.
func TestQoS2OfADurablePublisherWaits(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		from := h.durable(v, "from")
		from.ask(2, 9, "nobody", "x")
		h.wantWaiting(1)
		from.wantNothing()
		h.held.Release(1)
		if got := from.want(packet.PUBREC).PacketID; got != 9 {
			t.Fatalf("PUBREC %d, want 9", got)
		}
		from.ack(packet.PUBREL, 9)
		h.wantWaiting(1)
		from.wantNothing()
		h.held.Release(1)
		from.wantAck(packet.PUBCOMP, 9, packet.Success)
	})
}

// PUBREL to a durable receiver leaves when the store knows of its PUBREC.
func TestPubrelWaitsForTheStore(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		to := h.subscriber(v, "to", 2, "a")
		from := connected(t, h.Broker, v, hello{id: "from"})
		from.ask(2, 1, "a", "x")
		h.release()
		id := to.wantMessage("a", "x").PacketID
		to.ack(packet.PUBREC, id)
		h.wantWaiting(1)
		to.wantNothing()
		h.held.Release(1)
		to.wantAck(packet.PUBREL, id, packet.Success)
		to.ack(packet.PUBCOMP, id)
		to.wantNothing()
		if s := settled(h.Broker); s.QueuedMessages != 0 || s.InflightMessages != 0 {
			t.Errorf("queued %d, inflight %d, want 0", s.QueuedMessages, s.InflightMessages)
		}
	})
}

// CONNACK, SUBACK and UNSUBACK of a durable session wait for the store.
func TestSessionPacketsWaitForTheStore(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		c := pipe(t, h.Broker, v)
		// What follows CONNECT at once waits with it.
		c.write(append(hello{id: "c", resume: true, expiry: 100}.packet(v), subscribePacket(v, 1, 1, "a")...))
		h.wantWaiting(1)
		h.held.Release(1)
		c.want(packet.CONNACK)
		h.wantWaiting(1)
		c.wantNothing()
		h.held.Release(1)
		c.want(packet.SUBACK)
		c.write(unsubscribePacket(v, 2, "a"))
		h.wantWaiting(1)
		c.wantNothing()
		h.held.Release(1)
		c.want(packet.UNSUBACK)
	})
}

// Acknowledgements keep the order of their PUBLISH packets, also when a later message needs no store.
func TestAcknowledgementsKeepTheirOrder(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		h.subscriber(v, "to", 1, "a")
		passing := connected(t, h.Broker, v, hello{id: "passing"})
		passing.subscribe(2, "b")
		from := connected(t, h.Broker, v, hello{id: "from"})
		from.ask(1, 1, "a", "stored")
		from.ask(1, 2, "b", "not stored")
		from.ask(2, 3, "b", "not stored")
		from.ask(1, 4, "a", "stored")
		h.wantWaiting(2)
		from.wantNothing()
		h.held.Release(1)
		from.wantAck(packet.PUBACK, 1, packet.Success)
		from.wantAck(packet.PUBACK, 2, packet.Success)
		from.wantAck(packet.PUBREC, 3, packet.Success)
		from.wantNothing()
		h.held.Release(1)
		from.wantAck(packet.PUBACK, 4, packet.Success)
	})
}

// A message that the store refuses is not acknowledged and not delivered: MQTT 5 hears a code, 3.1.1 is closed.
func TestARefusedMessageIsNotAcknowledged(t *testing.T) {
	full := fmt.Errorf("enqueue: %w", storage.ErrFull)
	for _, k := range []struct {
		name string
		err  error
		code packet.Code
	}{
		{"full", storage.ErrFull, packet.QuotaExceeded},
		{"full, wrapped", full, packet.QuotaExceeded},
		{"broken", errors.New("disk on fire"), packet.ImplementationError},
	} {
		for _, qos := range []byte{1, 2} {
			t.Run(fmt.Sprintf("%s/qos %d", k.name, qos), func(t *testing.T) {
				eachVersion(t, func(t *testing.T, v packet.Version) {
					h := hold(t, setup{})
					to := h.subscriber(v, "to", qos, "a")
					from := connected(t, h.Broker, v, hello{id: "from"})
					from.ask(qos, 3, "a", "x")
					h.wantWaiting(1)
					h.held.Fail(k.err)
					if v == packet.V5 {
						from.wantAck(firstAnswer(qos), 3, k.code)
					} else if last := from.wantClosed(); last.FixedHeader.Type != 0 {
						t.Errorf("got %s before the close", packet.Type(last.FixedHeader.Type))
					}
					to.wantNothing()
					if s := settled(h.Broker); s.QueuedMessages != 0 || s.PendingStores != 0 {
						t.Errorf("queued %d, pending %d, want 0", s.QueuedMessages, s.PendingStores)
					}
				})
			})
		}
	}
}

// A full disk refuses; any other failure of the store is the end, whoever waited for the write.
func TestAFailedStoreIsFatal(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, act := range map[string]func(h *holding, c *testClient){
		"publish":     func(h *holding, c *testClient) { c.ask(1, 1, "a", "x") },
		"qos 2":       func(h *holding, c *testClient) { c.ask(2, 1, "b", "x") },
		"subscribe":   func(h *holding, c *testClient) { c.write(subscribePacket(c.v, 2, 1, "b")) },
		"unsubscribe": func(h *holding, c *testClient) { c.write(unsubscribePacket(c.v, 2, "a")) },
		"connect": func(h *holding, c *testClient) {
			pipe(h.t, h.Broker, c.v).write(hello{id: "other", resume: true, expiry: 9}.packet(c.v))
		},
		"pubrel": func(h *holding, c *testClient) {
			c.ask(2, 1, "b", "x")
			h.release()
			c.want(packet.PUBREC)
			c.ack(packet.PUBREL, 1)
		},
		"pubrec": func(h *holding, c *testClient) {
			connected(h.t, h.Broker, c.v, hello{id: "from"}).ask(2, 1, "a", "x")
			h.release()
			c.ack(packet.PUBREC, c.want(packet.PUBLISH).PacketID)
		},
	} {
		for _, err := range []error{broken, storage.ErrFull} {
			t.Run(name+"/"+err.Error(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := hold(t, setup{})
					c := h.subscriber(packet.V5, "c", 2, "a")
					act(h, c)
					h.wantWaiting(1)
					h.held.Fail(err)
					select {
					case got := <-h.Fatal():
						if err == storage.ErrFull {
							t.Errorf("a full store was taken for a broken one: %v", got)
						}
					default:
						if err != storage.ErrFull {
							t.Error("the broker goes on with a broken store")
						}
					}
				})
			})
		}
	}
}

// The client of a message that was refused, QoS 2 and its packet identifier included, may send it again.
func TestARefusedMessageCanBeSentAgain(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v packet.Version) {
				h := hold(t, setup{})
				to := h.subscriber(v, "to", qos, "a")
				from := h.durable(v, "from")
				from.ask(qos, 3, "a", "x")
				h.wantWaiting(1)
				h.held.Fail(storage.ErrFull)
				if v == packet.V5 {
					from.wantAck(firstAnswer(qos), 3, packet.QuotaExceeded)
				} else {
					from.wantClosed()
					from = h.durable(v, "from")
				}
				from.publish(packet.Outgoing{Topic: "a", Payload: []byte("x"), QoS: qos, ID: 3, Dup: v != packet.V5})
				h.wantWaiting(1)
				h.release()
				from.wantAck(firstAnswer(qos), 3, packet.Success)
				to.wantMessage("a", "x")
				to.wantNothing()
			})
		})
	}
}

// A client that reconnects while its QoS 2 message is being stored sends it again; it is answered once it is
// stored, and delivered once.
func TestReconnectWhileThePublishIsPending(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		to := h.subscriber(v, "to", 2, "a")
		from := h.durable(v, "from")
		from.ask(2, 5, "a", "x")
		h.wantWaiting(1)
		from.nc.Close()
		synctest.Wait()

		again := pipe(t, h.Broker, v)
		again.write(packet.AppendPublish(hello{id: "from", resume: true, expiry: 1000}.packet(v), v,
			&packet.Outgoing{Topic: "a", Payload: []byte("x"), QoS: 2, ID: 5, Dup: true}))
		h.release() // the message, and the session of the new connection
		if ack := again.want(packet.CONNACK); !ack.SessionPresent {
			t.Error("no session present")
		}
		again.wantAck(packet.PUBREC, 5, packet.Success)
		again.ack(packet.PUBREL, 5)
		h.release()
		again.wantAck(packet.PUBCOMP, 5, packet.Success)
		to.wantMessage("a", "x")
		to.wantNothing()
	})
}

// The same when the new connection is there before the store has anything.
func TestResendOvertakesTheStore(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		inner := memory.New()
		h := hold(t, setup{store: inner})
		to := h.subscriber(v, "to", 2, "a")
		from := h.durable(v, "from")
		from.ask(2, 5, "a", "x")
		h.wantWaiting(1)
		again := pipe(t, h.Broker, v) // takes over
		again.write(hello{id: "from", resume: true, expiry: 1000}.packet(v))
		h.wantWaiting(2)
		h.held.Release(1)
		to.wantMessage("a", "x")
		h.held.Release(1)
		again.want(packet.CONNACK)
		again.publish(packet.Outgoing{Topic: "a", Payload: []byte("x"), QoS: 2, ID: 5, Dup: true})
		again.wantAck(packet.PUBREC, 5, packet.Success)
		h.wantWaiting(0)
		to.wantNothing()
	})
}

// A SUBACK that reports a failure leaves no subscription behind.
func TestARefusedSubscriptionDoesNotHold(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		c := h.durable(v, "c")
		c.write(subscribePacket(v, 1, 1, "a"))
		h.wantWaiting(1)
		h.held.Fail(storage.ErrFull)
		if got := c.want(packet.SUBACK).ReasonCodes; len(got) != 1 || got[0] < 0x80 {
			t.Fatalf("SUBACK % x, want a failure", got)
		}
		from := connected(t, h.Broker, v, hello{id: "from"})
		from.say("a", "x")
		from.wantNothing()
		c.wantNothing()
		if got := settled(h.Broker).Subscriptions; got != 0 {
			t.Errorf("%d subscriptions, want 0", got)
		}
	})
}

// A client whose session could not be stored is refused, and meets no session when it comes back [MQTT5-3.2.2-3].
func TestARefusedSessionIsNotPresentLater(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		h := hold(t, setup{})
		c := pipe(t, h.Broker, v)
		c.write(hello{id: "c", resume: true, expiry: 1000}.packet(v))
		h.wantWaiting(1)
		h.held.Fail(storage.ErrFull)
		if ack := c.want(packet.CONNACK); ack.ReasonCode == 0 {
			t.Fatal("CONNACK of success though nothing was stored")
		}
		c.wantClosed()
		again := pipe(t, h.Broker, v)
		again.write(hello{id: "c", resume: true, expiry: 1000}.packet(v))
		h.release()
		if again.want(packet.CONNACK).SessionPresent {
			t.Error("session present, though the client was never told of one")
		}
	})
}

// What waits for the store has a bound, the receive maximum, for clients of 3.1.1 too, which know none: they
// are not read from.
func TestWhatWaitsForTheStoreIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, sent = 10, 100
		h := hold(t, setup{limits: func(l *configs.Limits) { l.ReceiveMaximum = most }})
		h.subscriber(packet.V311, "to", 1, "a")
		from := connected(t, h.Broker, packet.V311, hello{id: "from"})
		var all []byte
		for id := range uint16(sent) {
			all = packet.AppendPublish(all, packet.V311, &packet.Outgoing{Topic: "a", Payload: []byte("x"), QoS: 1, ID: id + 1})
		}
		go from.nc.Write(all)
		synctest.Wait()
		if got := h.held.Waiting(); got > most {
			t.Errorf("%d messages of one client wait for the store, want at most %d", got, most)
		}
		for id := uint16(1); id <= sent; {
			synctest.Wait()
			for range h.held.Release(1) {
				from.wantAck(packet.PUBACK, id, packet.Success)
				id++
			}
		}
	})
}

// After a power cut everything acknowledged is there, in order, and nothing twice.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		random := setting.Random(t)
		inner := memory.New()
		h := hold(t, setup{store: inner})
		h.subscriber(v, "to", 2, "a").nc.Close()
		from := h.durable(v, "from")
		acknowledged := 0
		for i := range 30 {
			from.ask(1+byte(i%2), uint16(i+1), "a", fmt.Sprint(i))
			synctest.Wait()
			for range h.held.Release(random.IntN(3)) {
				if got := int(readAck(from).PacketID); got != acknowledged+1 {
					t.Fatalf("acknowledgement of %d, want %d", got, acknowledged+1)
				}
				acknowledged++
			}
		}
		h.held.Lose()
		again := start(t, setup{store: inner.Reopen()})
		to := connected(t, again, v, hello{id: "to", resume: true, expiry: 1000})
		for i := range acknowledged {
			if p := to.want(packet.PUBLISH); string(p.Payload) != fmt.Sprint(i) {
				t.Fatalf("message %d of %d is %q", i, acknowledged, p.Payload)
			}
		}
		to.wantNothing()
	})
}

func readAck(c *testClient) (ack struct{ PacketID uint16 }) {
	c.t.Helper()
	p, err := c.read()
	if kind := packet.Type(p.FixedHeader.Type); err != nil || (kind != packet.PUBACK && kind != packet.PUBREC) {
		c.t.Fatalf("got %s, %v; want PUBACK or PUBREC", kind, err)
	}
	ack.PacketID = p.PacketID
	return ack
}
