package crash

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// A hello is what a CONNECT packet says.
type hello struct {
	id         string
	version    packet.Version
	clean      bool
	volatile   bool   // the session is to end with the connection
	receiveMax uint16 // MQTT 5; 0 is not sent
	will       *testament
}

// A testament is a will.
type testament struct {
	topic   string
	payload []byte
	qos     byte
	delay   uint32 // seconds, MQTT 5
}

// sessionExpiry is longer than any run, in seconds.
const sessionExpiry = 24 * 3600

// encode builds the CONNECT packet. A session of MQTT 3.1.1 lives on exactly if it is not clean, so
// a clean one that is to stay needs a second connection; see subscriber.
func (h hello) encode() []byte {
	flags := byte(0)
	if h.clean {
		flags |= 0x02
	}
	if h.will != nil {
		flags |= 0x04 | h.will.qos<<3
	}
	body := append(text(nil, "MQTT"), byte(h.version), flags, 0, 0) // no keep-alive: a run is full of long pauses
	if h.version == packet.V5 {
		body = block(body, h.properties())
	}
	body = text(body, h.id)
	if w := h.will; w != nil {
		if h.version == packet.V5 {
			var p []byte
			if w.delay != 0 {
				p = binary.BigEndian.AppendUint32(append(p, 0x18), w.delay)
			}
			body = block(body, p)
		}
		body = text(text(body, w.topic), string(w.payload))
	}
	return frame(packet.CONNECT, 0, body)
}

func (h hello) properties() (p []byte) {
	if !h.volatile {
		p = binary.BigEndian.AppendUint32(append(p, 0x11), sessionExpiry)
	}
	if h.receiveMax != 0 {
		p = binary.BigEndian.AppendUint16(append(p, 0x21), h.receiveMax)
	}
	return p
}

func text(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// block appends properties, fewer than 128 bytes of them, with their length in front.
func block(dst, properties []byte) []byte {
	return append(append(dst, byte(len(properties))), properties...)
}

func frame(kind packet.Type, flags byte, body []byte) []byte {
	return append(binary.AppendUvarint([]byte{byte(kind)<<4 | flags}, uint64(len(body))), body...)
}

func encodeSubscribe(v packet.Version, id uint16, filter string, qos byte) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	if v == packet.V5 {
		body = block(body, nil)
	}
	return frame(packet.SUBSCRIBE, 2, append(text(body, filter), qos))
}

func encodeUnsubscribe(v packet.Version, id uint16, filter string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	if v == packet.V5 {
		body = block(body, nil)
	}
	return frame(packet.UNSUBSCRIBE, 2, text(body, filter))
}

func encodeAck(kind packet.Type, v packet.Version, id uint16) []byte {
	return packet.AppendAck(nil, kind, v, packet.Ack{ID: id})
}

func encodeDisconnect() []byte { return frame(packet.DISCONNECT, 0, nil) }

// readPacket reads one packet of a broker.
func readPacket(r io.Reader, one io.ByteReader, v packet.Version) (p packets.Packet, err error) {
	head, err := one.ReadByte()
	if err != nil {
		return p, err
	}
	length, err := binary.ReadUvarint(one)
	if err != nil {
		return p, err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return p, err
	}
	p.ProtocolVersion = byte(v)
	if err := p.FixedHeader.Decode(head); err != nil {
		return p, fmt.Errorf("%w: %w", errMalformed, err)
	}
	p.FixedHeader.Remaining = len(body)
	if err := decodeBody(&p, packet.TypeOf(head), body); err != nil {
		return p, fmt.Errorf("%w: %w", errMalformed, err)
	}
	return p, nil
}

func decodeBody(p *packets.Packet, kind packet.Type, body []byte) error {
	switch kind {
	case packet.CONNACK:
		return p.ConnackDecode(body)
	case packet.PUBLISH:
		return p.PublishDecode(body)
	case packet.PUBACK:
		return p.PubackDecode(body)
	case packet.PUBREC:
		return p.PubrecDecode(body)
	case packet.PUBREL:
		return p.PubrelDecode(body)
	case packet.PUBCOMP:
		return p.PubcompDecode(body)
	case packet.SUBACK:
		return p.SubackDecode(body)
	case packet.UNSUBACK:
		return p.UnsubackDecode(body)
	case packet.DISCONNECT:
		return p.DisconnectDecode(body)
	case packet.PINGRESP:
		return nil
	}
	return fmt.Errorf("%s from a broker", kind)
}
