package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
)

// FuzzConn feeds anything to a connection after a valid CONNECT. The broker does not panic, whatever it sends
// is a packet, another client is served meanwhile, and when the connection has ended nothing of it is left
// but what its session may keep.
//
// flags choose the version, the session, the hooks and where the bytes are cut.
func FuzzConn(f *testing.F) {
	for _, v := range bothVersions {
		for _, script := range fuzzScripts(v) {
			f.Add(byte(v)&1|2, uint16(0), script)
			f.Add(byte(v)&1|12, uint16(7), script)
		}
	}
	f.Fuzz(func(t *testing.T, flags byte, cut uint16, raw []byte) {
		synctest.Test(t, func(t *testing.T) { fuzzConn(t, flags, cut, raw) })
	})
}

// fuzzScripts are conversations that touch every packet a client may send, and some that it may not.
func fuzzScripts(v packet.Version) [][]byte {
	publish := func(qos byte, id uint16, topic string) []byte {
		return packet.AppendPublish(nil, v, &packet.Outgoing{Topic: topic, Payload: []byte("x"), QoS: qos, ID: id, Retain: id%2 == 0})
	}
	ack := func(kind packet.Type, id uint16) []byte { return packet.AppendAck(nil, kind, v, packet.Ack{ID: id}) }
	alias := packet.AppendPublish(nil, packet.V5, &packet.Outgoing{Topic: "a", Alias: 1, Payload: []byte("x"), Expiry: 3, HasExpiry: true})
	alias = packet.AppendPublish(alias, packet.V5, &packet.Outgoing{Topic: "a", Alias: 1, OmitTopic: true, QoS: 1, ID: 9})
	return [][]byte{
		bytes.Join([][]byte{subscribePacket(v, 1, 2, "a", "b/#", "$share/g/+"), publish(2, 1, "a"), ack(packet.PUBREL, 1),
			ack(packet.PUBREC, 1), ack(packet.PUBCOMP, 1), publish(1, 2, "b/c"), ack(packet.PUBACK, 2), unsubscribePacket(v, 3, "a")}, nil),
		bytes.Join([][]byte{publish(0, 0, "a"), framed(packet.PINGREQ, 0, nil), publish(1, 1, "witness"), framed(packet.DISCONNECT, 0, nil)}, nil),
		bytes.Join([][]byte{publish(2, 4, "a"), publish(2, 4, "a"), ack(packet.PUBREL, 5), ack(packet.PUBACK, 6)}, nil),
		alias,
		packet.AppendAuth(nil, packet.ReAuthenticate, "m", []byte("x"), ""),
		hello{id: "again"}.packet(v),
		framed(packet.DISCONNECT, 0, append([]byte{4}, block(nil, binary.BigEndian.AppendUint32([]byte{0x11}, 7))...)),
		{0x30, 0xff, 0xff, 0xff, 0xff, 0x01},
		{0x82, 0x02, 0x00},
	}
}

func fuzzConn(t *testing.T, flags byte, cut uint16, raw []byte) {
	v := packet.V311
	h := hello{id: "fuzzed", receiveMax: uint16(flags>>4) + 1}
	if flags&1 != 0 {
		v = packet.V5
	}
	if flags&2 != 0 {
		h.resume, h.expiry = true, 50
	}
	if flags&4 != 0 {
		h.will, h.aliasMax = &testWill{topic: "a", payload: "will", qos: 1}, 3
	}
	s := setup{limits: func(l *configs.Limits) {
		l.MaxPacketSize, l.ReceiveMaximum, l.MaxOutboxBytes, l.MaxSessionExpiry = 4096, 20, 8192, 50
	}}
	if flags&8 != 0 {
		s.store = storagetest.HoldAsync(memory.New())
		s.hooks = []hooks.Hook{changing("shifts", func(m *packet.Message) { m.Topic += "/x"; m.QoS ^= 1 })}
	}
	b := start(t, s)
	witness := connected(t, b, packet.V5, hello{id: "witness"})
	witness.subscribe(1, "witness/#")
	near, far := net.Pipe()
	defer near.Close()
	b.Attach(far, listener.Peer{Listener: "test"})
	sent := make(chan error, 1)
	go func() { sent <- readPackets(near, v) }()
	writePieces(near, h.packet(v), raw, int(cut))
	synctest.Wait()
	witness.ask(1, 5, "witness/x", "fine")
	for acked := false; !acked; {
		p, err := witness.read()
		if err != nil {
			t.Fatalf("the witness: %v", err)
		}
		acked = packet.Type(p.FixedHeader.Type) == packet.PUBACK
	}
	near.Close()
	if err := <-sent; err != nil {
		t.Error(err)
	}
	synctest.Wait()
	wantOnlyTheSession(t, b)
}

// writePieces writes all of it, cut once, until the broker closes the connection or reads no more.
func writePieces(nc net.Conn, connect, raw []byte, cut int) {
	all := append(connect, raw...)
	cut = min(cut, len(all))
	nc.SetWriteDeadline(time.Now().Add(time.Second / 2))
	for _, piece := range [][]byte{all[:cut], all[cut:]} {
		if len(piece) > 0 {
			if _, err := nc.Write(piece); err != nil {
				return
			}
		}
	}
}

// readPackets reads until the end and wants packets that a broker may send.
func readPackets(r io.Reader, v packet.Version) error {
	for {
		_, err := readPacket(r, v)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		default:
			return err
		}
	}
}

// wantOnlyTheSession checks the counters once the fuzzed connection has ended.
func wantOnlyTheSession(t *testing.T, b *Broker) {
	t.Helper()
	s := settled(b)
	if s.Connections != 1 || s.Sessions > 2 || s.PendingStores != 0 || s.InflightMessages < 0 || s.QueuedMessages < 0 || s.HookPanics != 0 {
		t.Errorf("left behind: %+v", s)
	}
	elapse(51 * time.Second)
	synctest.Wait()
	if s = settled(b); s.Sessions != 1 || s.Subscriptions != 1 || b.index.Len() != 1 {
		t.Errorf("%d sessions, %d subscriptions, %d in the index after the session expired, want the witness's", s.Sessions, s.Subscriptions, b.index.Len())
	}
}
