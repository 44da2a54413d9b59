package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A journal is a DeliveryObserver and SessionObserver that writes down what it is told.
type journal struct {
	hookName
	notes
}

// OnDelivered implements hooks.DeliveryObserver.
func (j *journal) OnDelivered(id string, m *packet.Message) {
	j.note("delivered %s %s %s", id, m.Topic, m.Payload)
}

// OnAcked implements hooks.DeliveryObserver.
func (j *journal) OnAcked(id string, m *packet.Message, code packet.Code) {
	j.note("acked %s %s %s %s", id, m.Topic, m.Payload, code)
}

// OnDropped implements hooks.DeliveryObserver.
func (j *journal) OnDropped(id string, m *packet.Message, reason hooks.DropReason) {
	j.note("dropped %s %s %s %s", id, m.Topic, m.Payload, reason)
}

// A register is a SessionObserver that writes into a journal.
type register struct {
	hookName
	*journal
}

// Name implements hooks.Hook.
func (r register) Name() string { return r.hookName.Name() }

// OnConnect implements hooks.SessionObserver.
func (r register) OnConnect(c *hooks.Client, present bool) { r.note("connect %s %v", c.ID, present) }

// OnDisconnect implements hooks.SessionObserver.
func (r register) OnDisconnect(c *hooks.Client, reason string) {
	r.note("disconnect %s %s", c.ID, reason)
}

// OnSessionEnd implements hooks.SessionObserver.
func (r register) OnSessionEnd(id, reason string) { r.note("end %s %s", id, reason) }

// OnUnsubscribe implements hooks.SessionObserver.
func (r register) OnUnsubscribe(c *hooks.Client, filter string) {
	r.note("unsubscribe %s %s", c.ID, filter)
}

// Observers learn of each delivery and each acknowledgement, refusals included.
func TestObserversSeeDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{hookName: "journal"}
		b := start(t, setup{hooks: []hooks.Hook{j}})
		to := connected(t, b, packet.V5, hello{id: "to"})
		to.subscribe(2, "a")
		from := connected(t, b, packet.V5, hello{id: "from"})
		from.say("a", "0")
		to.wantMessage("a", "0")
		j.want(t, "delivered to a 0")
		from.ask(1, 1, "a", "1")
		id := to.wantMessage("a", "1").PacketID
		from.want(packet.PUBACK)
		j.want(t, "delivered to a 1")
		to.ack(packet.PUBACK, id)
		j.want(t, "acked to a 1 success")
		from.ask(2, 1, "a", "2")
		from.want(packet.PUBREC)
		id = to.wantMessage("a", "2").PacketID
		j.want(t, "delivered to a 2")
		to.ack(packet.PUBREC, id)
		to.wantAck(packet.PUBREL, id, packet.Success)
		j.want(t, "acked to a 2 success")
		to.ack(packet.PUBCOMP, id)
		j.want(t)
		from.ask(1, 2, "a", "no")
		id = to.wantMessage("a", "no").PacketID
		j.want(t, "delivered to a no")
		to.write(packet.AppendAck(nil, packet.PUBACK, packet.V5, packet.Ack{ID: id, Code: packet.QuotaExceeded}))
		j.want(t, "acked to a no quota exceeded", "dropped to a no refused")
	})
}

// Each of several messages of one read is told with its own bytes, whatever QoS it has on either side.
func TestObserversSeeEachMessageOfABatch(t *testing.T) {
	for _, granted := range []byte{0, 1} {
		for _, qos := range []byte{0, 1} {
			t.Run(fmt.Sprintf("published %d granted %d", qos, granted), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					j := &journal{hookName: "journal"}
					b := start(t, setup{hooks: []hooks.Hook{j, authorizePublish{"acl", func(_ *hooks.Client, topic string) hooks.Decision {
						if topic == "no" {
							return deny
						}
						return pass
					}}}})
					to := connected(t, b, packet.V5, hello{id: "to"})
					to.subscribe(granted, "#")
					d := fake(t, b, packet.V5, hello{id: "from"})
					var batch []byte
					for i, topic := range []string{"a", "no", "b", "no"} {
						o := packet.Outgoing{Topic: topic, Payload: []byte(fmt.Sprint("payload ", i)), QoS: qos, ID: uint16(i + 1)}
						batch = packet.AppendPublish(batch, packet.V5, &o)
					}
					next := framed(packet.PINGREQ, 0, nil)
					d.feed(batch[:len(batch)-3]) // the rest is kept and moved
					d.feed(append(batch[len(batch)-3:], next[0]))
					d.feed(next[1:])
					j.want(t, "delivered to a payload 0", "dropped  no payload 1 not_authorized",
						"delivered to b payload 2", "dropped  no payload 3 not_authorized")
				})
			})
		}
	}
}

// Every delivery that does not happen is told with its reason and, where there is one, its receiver.
func TestObserversSeeDrops(t *testing.T) {
	for name, k := range map[string]struct {
		act  func(t *testing.T, h *holding)
		want string
	}{
		"offline": {func(t *testing.T, h *holding) {
			h.subscriber(packet.V5, "to", 0, "a").nc.Close()
			synctest.Wait()
			connected(t, h.Broker, packet.V5, hello{id: "from"}).say("a", "x")
		}, "dropped to a x offline"},
		"no member": {func(t *testing.T, h *holding) {
			h.subscriber(packet.V5, "to", 0, "$share/g/a").nc.Close()
			synctest.Wait()
			connected(t, h.Broker, packet.V5, hello{id: "from"}).say("a", "x")
		}, "dropped  a x no_member"},
		"too large": {func(t *testing.T, h *holding) {
			connected(t, h.Broker, packet.V5, hello{id: "to", maxPacket: 40}).subscribe(1, "a")
			connected(t, h.Broker, packet.V5, hello{id: "from"}).ask(1, 1, "a", strings.Repeat("x", 40))
		}, "dropped to a " + strings.Repeat("x", 40) + " packet_too_large"},
		"queue full": {func(t *testing.T, h *holding) {
			to := connected(t, h.Broker, packet.V5, hello{id: "to", receiveMax: 1})
			to.subscribe(1, "a")
			from := connected(t, h.Broker, packet.V5, hello{id: "from"})
			for i := range h.limits.MaxQueueMessages {
				from.ask(1, uint16(i+1), "a", "y")
			}
			to.want(packet.PUBLISH)
			from.ask(1, 9, "a", "x")
		}, "dropped to a x queue_full"},
		"expired": {func(t *testing.T, h *holding) {
			to := connected(t, h.Broker, packet.V5, hello{id: "to", receiveMax: 1})
			to.subscribe(1, "a")
			from := connected(t, h.Broker, packet.V5, hello{id: "from"})
			from.ask(1, 1, "a", "first")
			first := to.wantMessage("a", "first").PacketID
			from.publish(packet.Outgoing{Topic: "a", Payload: []byte("x"), QoS: 1, ID: 2, Expiry: 2, HasExpiry: true})
			elapse(3 * time.Second)
			to.ack(packet.PUBACK, first)
		}, "dropped to a x expired"},
		"session ended": {func(t *testing.T, h *holding) {
			to := connected(t, h.Broker, packet.V5, hello{id: "to"})
			to.subscribe(1, "a")
			connected(t, h.Broker, packet.V5, hello{id: "from"}).ask(1, 1, "a", "x")
			to.want(packet.PUBLISH)
			to.nc.Close()
		}, "dropped to a x session_ended"},
		"storage": {func(t *testing.T, h *holding) {
			h.subscriber(packet.V5, "to", 1, "a")
			connected(t, h.Broker, packet.V5, hello{id: "from"}).ask(1, 1, "a", "x")
			h.wantWaiting(1)
			h.held.Fail(storage.ErrFull)
		}, "dropped to a x storage"},
		"payload format": {func(t *testing.T, h *holding) {
			connected(t, h.Broker, packet.V5, hello{id: "from"}).publish(packet.Outgoing{
				Topic: "a", Payload: []byte("\xff"), Properties: []byte{1, 1}})
		}, "dropped  a \xff payload_format"},
		"retained full": {func(t *testing.T, h *holding) {
			connected(t, h.Broker, packet.V5, hello{id: "from"}).publish(packet.Outgoing{
				Topic: "a", Payload: []byte(strings.Repeat("x", 200)), Retain: true})
		}, "dropped  a " + strings.Repeat("x", 200) + " retained_full"},
		"receiver failed": {func(t *testing.T, h *holding) {
			if _, err := h.Own("a", ownerFunc(func(string, *packet.Message) error { return errors.New("no") })); err != nil {
				t.Fatal(err)
			}
			connected(t, h.Broker, packet.V5, hello{id: "from"}).say("a", "x")
		}, "dropped  a x receiver_failed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := &journal{hookName: "journal"}
				h := hold(t, setup{hooks: []hooks.Hook{j}, limits: func(l *configs.Limits) {
					l.MaxQueueMessages, l.MaxRetainedBytes = 3, 100
				}})
				k.act(t, h)
				lines := slices.DeleteFunc(j.take(), func(l string) bool { return !strings.HasPrefix(l, "dropped") })
				if !slices.Equal(lines, []string{k.want}) {
					t.Errorf("told %q, want %q", lines, k.want)
				}
				reason := hooks.DropReason(k.want[strings.LastIndex(k.want, " ")+1:])
				if got := settled(h.Broker).Dropped[reason]; got != 1 {
					t.Errorf("%d counted as %s, want 1", got, reason)
				}
			})
		})
	}
}

// Observers learn of the life of connections and sessions, in its order.
func TestObserversSeeSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		b := start(t, setup{hooks: []hooks.Hook{register{"register", j}}})
		c := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 60})
		c.subscribe(1, "a")
		c.write(unsubscribePacket(packet.V5, 2, "a"))
		c.want(packet.UNSUBACK)
		c.disconnect()
		c.nc.Close()
		j.want(t, "connect c false", "unsubscribe c a", "disconnect c disconnected by client")
		c = connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 60})
		other := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 60})
		c.wantDisconnect(packet.SessionTakenOver)
		got := j.take()
		slices.Sort(got) // the old connection ends on its own goroutine
		if want := []string{"connect c true", "connect c true", "disconnect c session taken over"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		other.nc.Close()
		j.want(t, "disconnect c connection closed by client")
		elapse(61 * time.Second)
		j.want(t, "end c expired")
		connected(t, b, packet.V5, hello{id: "d", resume: true, expiry: 60}).nc.Close()
		synctest.Wait()
		connected(t, b, packet.V5, hello{id: "d"}).nc.Close()
		j.want(t, "connect d false", "disconnect d connection closed by client", "end d replaced by a clean start",
			"connect d false", "end d connection ended", "disconnect d connection closed by client")
	})
}

// OnDisconnect is told of connections that OnConnect was told of, and of no others.
func TestObserversHearOfAcceptedConnectionsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		h := hold(t, setup{hooks: []hooks.Hook{register{"register", j}}})
		c := pipe(t, h.Broker, packet.V5)
		c.write(hello{id: "c", resume: true, expiry: 60}.packet(packet.V5))
		h.wantWaiting(1)
		h.held.Fail(storage.ErrFull)
		c.want(packet.CONNACK)
		c.wantClosed()
		for _, line := range j.take() {
			if strings.HasPrefix(line, "disconnect") {
				t.Errorf("told %q of a client that was never connected", line)
			}
		}
	})
}
