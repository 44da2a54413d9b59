package broker

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
)

// pattern is a payload in which every stretch differs.
func pattern(size int, salt byte) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*7 ^ salt
	}
	return b
}

// Payloads around and above the size from which they are referred to arrive whole at several receivers of
// every version and QoS, over sockets that take them in parts.
func TestLargePayloads(t *testing.T) {
	sizes := []int{payloadByReference - 1, payloadByReference, 40_000, 1 << 20}
	for name, link := range links {
		t.Run(name, func(t *testing.T) {
			b := start(t, setup{limits: func(l *configs.Limits) { l.MaxPacketSize, l.MaxOutboxBytes = 4<<20, 8<<20 }})
			from := link(t, b, packet.V5)
			from.connect(hello{id: "from"})
			var to []*testClient
			for i, v := range []packet.Version{packet.V31, packet.V311, packet.V5, packet.V5} {
				c := link(t, b, v)
				c.connect(hello{id: fmt.Sprint("to", i), aliasMax: uint16(i)}) // the last two encode each their own
				c.subscribe(byte(i%3), "a")
				to = append(to, c)
			}
			for i, size := range sizes {
				for qos := range byte(3) {
					payload := pattern(size, byte(i)*3+qos)
					from.publish(packet.Outgoing{Topic: "a", Payload: payload, QoS: qos, ID: uint16(3*i) + uint16(qos)})
					if qos > 0 {
						from.want(firstAnswer(qos))
					}
					for _, c := range to {
						if p := c.want(packet.PUBLISH); !bytes.Equal(p.Payload, payload) {
							t.Fatalf("%d bytes with QoS %d to %s arrive as %d other ones", size, qos, c.v, len(p.Payload))
						}
					}
				}
			}
		})
	}
}

// A large message with QoS 1 to one receiver with QoS 0 is not left in the read buffer, which belongs to
// others when a slow receiver takes it.
func TestALargeMessageLeavesTheReadBuffer(t *testing.T) {
	for qos := range byte(3) {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, setup{})
				slow := connected(t, b, packet.V5, hello{id: "slow"})
				slow.subscribe(0, "a")
				from := connected(t, b, packet.V5, hello{id: "from"})
				const sent = 20
				go func() {
					for i := range sent {
						o := packet.Outgoing{Topic: "a", Payload: pattern(20_000, byte(i)), QoS: qos, ID: uint16(i + 1)}
						if _, err := from.nc.Write(packet.AppendPublish(nil, packet.V5, &o)); err != nil {
							t.Error(err)
						}
					}
				}()
				for range sent * int(min(qos, 1)) {
					from.want(firstAnswer(qos))
				}
				synctest.Wait()
				for i := range sent {
					if p := slow.want(packet.PUBLISH); !bytes.Equal(p.Payload, pattern(20_000, byte(i))) {
						t.Fatalf("message %d arrives with another payload", i)
					}
				}
			})
		})
	}
}

// However many receivers a large payload has, whatever their QoS, it is in memory once.
func TestALargePayloadIsShared(t *testing.T) {
	for qos := range byte(3) {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			b := start(t, setup{limits: func(l *configs.Limits) { l.MaxPacketSize = 4 << 20 }})
			var to []*conn
			for i := range 5 {
				d := fake(t, b, packet.V5, hello{id: fmt.Sprint("to", i)})
				d.feed(subscribePacket(packet.V5, 1, qos, "a"))
				to = append(to, d.c)
			}
			from := fake(t, b, packet.V5, hello{id: "from"})
			turn := b.begin()
			from.c.feed(turn, packet.AppendPublish(nil, packet.V5, &packet.Outgoing{Topic: "a", Payload: pattern(1<<19, 0), QoS: qos, ID: 1}))
			payloads := map[*byte]bool{}
			for _, c := range to {
				if len(c.outbox.refs) != 1 || len(*c.outbox.box) > 100 {
					t.Fatalf("%d bytes are copied, %d payloads referred to", len(*c.outbox.box), len(c.outbox.refs))
				}
				payloads[&c.outbox.refs[0].b[0]] = true
			}
			if len(payloads) != 1 {
				t.Errorf("the payload is there %d times", len(payloads))
			}
			turn.end()
		})
	}
}

// Packets may be cut anywhere: what arrives byte by byte is what arrives at once.
func TestPacketsCutAtEveryByte(t *testing.T) {
	for _, v := range bothVersions {
		t.Run(v.String(), func(t *testing.T) {
			script := subscribePacket(v, 1, 2, "a/#")
			for qos := range byte(3) {
				o := packet.Outgoing{Topic: "a/b", Payload: []byte("payload"), QoS: qos, ID: 10 + uint16(qos)}
				script = packet.AppendPublish(script, v, &o)
			}
			script = packet.AppendAck(script, packet.PUBREL, v, packet.Ack{ID: 12})
			script = append(script, framed(packet.PINGREQ, 0, nil)...)
			script = append(script, unsubscribePacket(v, 2, "a/#")...)
			want := answerTo(t, v, [][]byte{script})
			if len(want) < 60 {
				t.Fatalf("the script is answered with %d bytes only", len(want))
			}
			var single [][]byte
			for i := range script {
				single = append(single, script[i:i+1])
			}
			if got := answerTo(t, v, single); !bytes.Equal(got, want) {
				t.Errorf("byte by byte\n% x\nwant\n% x", got, want)
			}
			for cut := range script {
				if got := answerTo(t, v, [][]byte{script[:cut], script[cut:]}); !bytes.Equal(got, want) {
					t.Errorf("cut at %d\n% x\nwant\n% x", cut, got, want)
				}
			}
		})
	}
}

// answerTo feeds pieces to a new broker and returns everything it sends.
func answerTo(t *testing.T, v packet.Version, pieces [][]byte) []byte {
	t.Helper()
	b := startOnly(t, setup{})
	defer stop(t, b)
	d := fake(t, b, v, hello{id: "c"})
	d.keep = true
	for _, p := range pieces {
		d.feed(bytes.Clone(p))
	}
	d.end()
	return d.sent
}

// A CONNECT cut anywhere is answered like a whole one.
func TestConnectCutAtEveryByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{})
		script := append(hello{id: "c", expiry: 5, will: &testWill{topic: "w", payload: "x"}}.packet(packet.V5), framed(packet.PINGREQ, 0, nil)...)
		for cut := range script {
			c := pipe(t, b, packet.V5)
			if cut > 0 {
				c.write(script[:cut])
			}
			synctest.Wait()
			c.write(script[cut:])
			c.want(packet.CONNACK)
			c.want(packet.PINGRESP)
			c.nc.Close()
			synctest.Wait()
		}
	})
}

// Thousands of packets in one read are all handled, in order, and answered in order.
func TestManyPacketsInOneRead(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		const many = 5000
		b := start(t, setup{limits: func(l *configs.Limits) { l.MaxOutboxBytes = 4 << 20 }})
		to := connected(t, b, v, hello{id: "to"})
		to.subscribe(1, "a")
		from := connected(t, b, v, hello{id: "from"})
		var batch []byte
		for i := range many {
			o := packet.Outgoing{Topic: "a", Payload: fmt.Append(nil, i), QoS: byte(i % 2), ID: uint16(i + 1)}
			batch = packet.AppendPublish(batch, v, &o)
		}
		go from.nc.Write(batch)
		for i := 1; i < many; i += 2 {
			from.wantAck(packet.PUBACK, uint16(i+1), packet.Success)
		}
		last := [2]int{-2, -1}
		for range many { // a full window holds QoS 1 back, not QoS 0: each keeps its own order
			p := to.want(packet.PUBLISH)
			qos := p.FixedHeader.Qos
			if qos == 1 {
				to.ack(packet.PUBACK, p.PacketID)
			}
			if got := string(p.Payload); got != fmt.Sprint(last[qos]+2) {
				t.Fatalf("QoS %d: %s after %d", qos, got, last[qos])
			}
			last[qos] += 2
		}
		to.wantNothing()
	})
}
