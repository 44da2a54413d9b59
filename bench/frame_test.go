package bench

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// decode reads one packet of ours with another codec.
func decode(t *testing.T, version byte, frame []byte) *packets.Packet {
	t.Helper()
	first, body, rest, err := cut(frame)
	if err != nil || body == nil || len(rest) > 0 {
		t.Fatalf("not one packet: %#x, error %v", frame, err)
	}
	p := &packets.Packet{ProtocolVersion: version}
	if err := p.FixedHeader.Decode(first); err != nil {
		t.Fatalf("%#x: %v", first, err)
	}
	p.FixedHeader.Remaining = len(body)
	decoders := map[byte]func([]byte) error{
		packets.Connect: p.ConnectDecode, packets.Subscribe: p.SubscribeDecode, packets.Publish: p.PublishDecode,
		packets.Puback: p.PubackDecode, packets.Pubrec: p.PubrecDecode, packets.Pubrel: p.PubrelDecode,
		packets.Pubcomp: p.PubcompDecode, packets.Disconnect: p.DisconnectDecode, packets.Pingreq: func([]byte) error { return nil },
	}
	if err := decoders[p.FixedHeader.Type](body); err != nil {
		t.Fatalf("%#x: %v", frame, err)
	}
	return p
}

func versions(t *testing.T, run func(t *testing.T, version byte)) {
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprint("version ", v), func(t *testing.T) { run(t, v) })
	}
}

func TestConnectFrame(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		for _, h := range []hello{{clean: true}, {durable: true}, {clean: true, durable: true}} {
			h.version, h.id = version, "name"
			p := decode(t, version, h.append(nil))
			if p.Connect.ClientIdentifier != "name" || p.Connect.Clean != h.clean || p.ProtocolVersion != version || p.Connect.Keepalive != 7200 {
				t.Errorf("%+v", p.Connect)
			}
			if expires := p.Properties.SessionExpiryInterval > 0; expires != (h.durable && version == 5) {
				t.Errorf("%+v: expiry interval %d", h, p.Properties.SessionExpiryInterval)
			}
			if code := p.ConnectValidate(); code != packets.CodeSuccess {
				t.Error(code)
			}
		}
	})
}

func TestSubscribeFrame(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		p := decode(t, version, appendSubscribe(nil, version, 7, 2, []string{"a/+", "$share/g/b"}))
		if p.PacketID != 7 || len(p.Filters) != 2 || p.Filters[0].Filter != "a/+" || p.Filters[1].Filter != "$share/g/b" || p.Filters[1].Qos != 2 {
			t.Errorf("%+v", p)
		}
	})
}

func TestPublishFrame(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		for qos := range byte(3) {
			for _, size := range []int{headerLen, 64, 128, 20_000} {
				o := Options{Version: version, QoS: qos, Size: size}
				s := newStamp(&o, header{run: 9, publisher: 3}, "a/topic")
				frame := s.append([]byte("before"), 0x1234, 5, 6)[len("before"):]
				p := decode(t, version, frame)
				if p.TopicName != "a/topic" || p.FixedHeader.Qos != qos || len(p.Payload) != size || (qos > 0) != (p.PacketID == 0x1234) {
					t.Errorf("QoS %d: %+v", qos, p)
				}
				if h, ok := readHeader(p.Payload); !ok || h != (header{run: 9, publisher: 3, sequence: 5, time: 6}) {
					t.Errorf("header %+v, %v", h, ok)
				}
			}
		}
	})
}

func TestSmallFrames(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		for _, first := range []byte{pubackByte, pubrecByte, pubrelByte, pubcompByte} {
			if p := decode(t, version, appendAck(nil, first, 0x1234)); p.PacketID != 0x1234 || p.ReasonCode != 0 {
				t.Errorf("%#x: %+v", first, p)
			}
		}
		decode(t, version, appendDisconnect(nil))
		decode(t, version, appendPing(nil))
	})
}

// A packet is cut off only when it is whole, wherever the bytes end.
func TestCutWaitsForTheWholePacket(t *testing.T) {
	o := Options{Version: 4, Size: 200}
	s := newStamp(&o, header{}, "t")
	whole := s.append(nil, 0, 1, 0)
	both := append(bytes.Clone(whole), whole...)
	for n := range len(both) {
		first, body, rest, err := cut(both[:n])
		if n < len(whole) {
			if body != nil || err != nil || len(rest) != n {
				t.Fatalf("%d of %d bytes: body of %d, rest of %d, error %v", n, len(whole), len(body), len(rest), err)
			}
			continue
		}
		if first != whole[0] || !bytes.HasSuffix(whole, body) || len(rest) != n-len(whole) {
			t.Fatalf("%d bytes: first %#x, body of %d, rest of %d", n, first, len(body), len(rest))
		}
	}
}

func TestCutRefusesFiveBytesOfLength(t *testing.T) {
	for _, in := range [][]byte{{0x30, 0xFF, 0xFF, 0xFF, 0xFF}, {0x30, 0x80, 0x80, 0x80, 0x80, 0x01}} {
		if _, _, _, err := cut(in); !errors.Is(err, errRemainingLength) {
			t.Errorf("%#x: %v", in, err)
		}
	}
}
