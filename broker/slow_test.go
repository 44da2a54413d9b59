package broker

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// smallOutbox makes an outbox overflow after a few messages.
func smallOutbox(l *configs.Limits) { l.MaxOutboxBytes = 32 << 10 }

// A link attaches a client: over a net.Pipe, or over TCP with small socket buffers.
var links = map[string]func(t testing.TB, b *Broker, v packet.Version) *testClient{
	"pipe": pipe,
	"tcp":  func(t testing.TB, b *Broker, v packet.Version) *testClient { return dial(t, b, v, 32<<10) },
}

// connOf is the connection of a client, as the broker has it.
func connOf(t testing.TB, b *Broker, id string) *conn {
	t.Helper()
	s := b.sessions.find(id)
	if s == nil || s.conn.Load() == nil {
		t.Fatalf("%s is not connected", id)
	}
	return s.conn.Load()
}

func outboxSize(c *conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outbox.size
}

// A receiver that does not read loses QoS 0 messages, counted, and holds no more than its outbox; one that
// reads gets every one. What was written before it began to read again arrives whole.
func TestASlowReceiverLosesQoS0Only(t *testing.T) {
	const messages = 3000
	for name, link := range links {
		t.Run(name, func(t *testing.T) {
			b := start(t, setup{limits: smallOutbox})
			slow, fast, from := link(t, b, packet.V5), link(t, b, packet.V5), link(t, b, packet.V5)
			for id, c := range map[string]*testClient{"slow": slow, "fast": fast, "from": from} {
				c.connect(hello{id: id})
			}
			slow.subscribe(0, "a")
			fast.subscribe(0, "a")
			filler := strings.Repeat("x", 4000)
			for i := range messages {
				payload := fmt.Sprint(i, filler)
				from.say("a", payload)
				fast.wantMessage("a", payload)
				if size := outboxSize(connOf(t, b, "slow")); size > b.limits.MaxOutboxBytes+len(payload)+100 {
					t.Fatalf("outbox of %d bytes, limit %d", size, b.limits.MaxOutboxBytes)
				}
			}
			dropped := int(b.Stats().Dropped[hooks.DropOutboxFull])
			if dropped == 0 || dropped >= messages {
				t.Fatalf("%d of %d dropped", dropped, messages)
			}
			for i, last := 0, -1; i < messages-dropped; i++ {
				var n int
				p := slow.want(packet.PUBLISH)
				if _, err := fmt.Sscanf(string(p.Payload), "%dx", &n); err != nil || n <= last || !strings.HasSuffix(string(p.Payload), filler) {
					t.Fatalf("message %d is %.20q after %d", i, p.Payload, last)
				}
				last = n
			}
			slow.wantNothing()
		})
	}
}

// QoS 1 messages wait in the queue, not in the outbox, and arrive in order when the receiver reads.
func TestASlowReceiverGetsEveryQoS1(t *testing.T) {
	const messages = 500
	for name, link := range links {
		t.Run(name, func(t *testing.T) {
			b := start(t, setup{limits: func(l *configs.Limits) { smallOutbox(l); l.MaxInflight = 1000 }})
			slow, from := link(t, b, packet.V311), link(t, b, packet.V311)
			slow.connect(hello{id: "slow"})
			slow.subscribe(1, "a")
			from.connect(hello{id: "from"})
			payload := strings.Repeat("x", 2000)
			for i := range messages {
				from.ask(1, uint16(i+1), "a", fmt.Sprint(i, payload))
				from.wantAck(packet.PUBACK, uint16(i+1), packet.Success)
				if size := outboxSize(connOf(t, b, "slow")); size > b.limits.MaxOutboxBytes+4096 {
					t.Fatalf("outbox of %d bytes, limit %d", size, b.limits.MaxOutboxBytes)
				}
			}
			until(t, "all are queued", func() bool { return b.Stats().QueuedMessages == messages })
			for i := range messages {
				p := slow.wantMessage("a", fmt.Sprint(i, payload))
				slow.ack(packet.PUBACK, p.PacketID)
			}
			slow.wantNothing()
			until(t, "nothing is queued", func() bool { s := b.Stats(); return s.QueuedMessages == 0 && s.InflightMessages == 0 })
		})
	}
}

// A client that never reads what it asks for is not read from: what it makes the broker hold has a bound.
// When it reads, it gets every answer.
func TestAClientThatDoesNotReadIsThrottled(t *testing.T) {
	const asked = 20_000
	answers := map[string]struct {
		question func(id uint16) []byte
		kind     packet.Type
	}{
		"PINGRESP": {func(uint16) []byte { return framed(packet.PINGREQ, 0, nil) }, packet.PINGRESP},
		"PUBACK": {func(id uint16) []byte {
			return packet.AppendPublish(nil, packet.V311, &packet.Outgoing{Topic: "a", QoS: 1, ID: id%65535 + 1})
		}, packet.PUBACK},
	}
	for name, k := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, setup{limits: func(l *configs.Limits) { l.MaxOutboxBytes = 4 << 10 }})
				c := connected(t, b, packet.V311, hello{id: "c"})
				witness := connected(t, b, packet.V311, hello{id: "witness"})
				c.nc.SetWriteDeadline(time.Time{})
				wrote := make(chan error, 1)
				go func() {
					var all []byte
					for i := range asked {
						all = append(all, k.question(uint16(i%65535))...)
					}
					_, err := c.nc.Write(all)
					wrote <- err
				}()
				synctest.Wait()
				victim := connOf(t, b, "c")
				if size := outboxSize(victim); size > 2*b.limits.MaxOutboxBytes+100 {
					t.Errorf("outbox of %d bytes, limit %d", size, b.limits.MaxOutboxBytes)
				}
				select {
				case <-wrote:
					t.Fatal("the broker reads on")
				default:
				}
				witness.wantNothing()
				for range asked {
					c.want(k.kind)
				}
				if err := <-wrote; err != nil {
					t.Error(err)
				}
				c.wantNothing()
			})
		})
	}
}

// A client that takes none of its bytes for limits.write_timeout is disconnected, and nobody else is.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{limits: func(l *configs.Limits) { l.WriteTimeout = 7 * time.Second }})
		stuck := connected(t, b, packet.V5, hello{id: "stuck"})
		stuck.subscribe(0, "a")
		from := connected(t, b, packet.V5, hello{id: "from"})
		begun := time.Now()
		from.say("a", "x")
		for b.sessions.find("stuck") != nil && time.Since(begun) < time.Minute {
			elapse(time.Second / 2)
		}
		if took := time.Since(begun); took < 7*time.Second || took > 9*time.Second {
			t.Errorf("disconnected after %s, want 7 s", took)
		}
		from.wantNothing()
		if got := settled(b).Connections; got != 1 {
			t.Errorf("%d connections, want 1", got)
		}
	})
}

// A client that reads slowly, but reads, is not disconnected, however long it takes for all.
func TestASlowReaderIsNotTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{limits: func(l *configs.Limits) { l.WriteTimeout = 7 * time.Second }})
		slow := connected(t, b, packet.V5, hello{id: "slow"})
		slow.subscribe(0, "a")
		from := connected(t, b, packet.V5, hello{id: "from"})
		payload := strings.Repeat("x", 50_000)
		from.say("a", payload)
		slow.nc.SetReadDeadline(time.Time{})
		var got []byte
		for part := make([]byte, 1000); len(got) < len(payload); {
			elapse(2 * time.Second)
			n, err := slow.nc.Read(part)
			if err != nil {
				t.Fatalf("after %d bytes: %v", len(got), err)
			}
			got = append(got, part[:n]...)
		}
		if !strings.Contains(string(got), payload[:40_000]) {
			t.Error("the payload did not arrive")
		}
	})
}

// A connection whose socket was full once, so that it was written to with a deadline, goes on after that
// deadline.
func TestAStallLeavesNoDeadlineBehind(t *testing.T) {
	b := start(t, setup{limits: func(l *configs.Limits) { l.WriteTimeout = time.Second }})
	c := dial(t, b, packet.V5, 64<<10)
	c.connect(hello{id: "c", maxPacket: 8 << 20})
	c.subscribe(1, "a")
	payload := strings.Repeat("x", 1<<19)
	for i := range 8 {
		c.ask(1, uint16(i+1), "a", payload)
	}
	for acks, messages := 0, 0; acks < 8 || messages < 8; {
		p, err := c.read()
		switch {
		case err != nil:
			t.Fatal(err)
		case packet.Type(p.FixedHeader.Type) == packet.PUBLISH:
			messages++
			c.ack(packet.PUBACK, p.PacketID)
		default:
			acks++
		}
	}
	for end := time.Now().Add(b.limits.WriteTimeout * 3 / 2); time.Now().Before(end); {
		c.wantNothing()
	}
}

// What was sent is counted byte by byte, also when the socket took it in parts.
func TestBytesSentAreCounted(t *testing.T) {
	for name, link := range links {
		t.Run(name, func(t *testing.T) {
			b := start(t, setup{})
			c, from := link(t, b, packet.V5), link(t, b, packet.V5)
			counted := new(atomic.Uint64)
			c.nc, from.nc = countedConn{c.nc, counted}, countedConn{from.nc, counted}
			c.connect(hello{id: "c"})
			c.subscribe(1, "a")
			from.connect(hello{id: "from"})
			const sent = 5
			for i := range sent {
				from.ask(1, uint16(i+1), "a", strings.Repeat("x", 1<<19))
			}
			for i := range sent {
				c.want(packet.PUBLISH)
				from.wantAck(packet.PUBACK, uint16(i+1), packet.Success)
			}
			until(t, "what was read is counted as sent", func() bool { return b.Stats().BytesSent == counted.Load() })
		})
	}
}

// A countedConn counts what was read from it.
type countedConn struct {
	net.Conn
	n *atomic.Uint64
}

// Read implements net.Conn.
func (c countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(uint64(n))
	return n, err
}
