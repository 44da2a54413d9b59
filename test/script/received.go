package script

import (
	"fmt"
	"slices"

	"github.com/penstockmq/penstock/broker/packet"
)

// A received is one packet from the server, taken apart.
type received struct {
	kind    byte
	size    int // of the whole packet
	dup     bool
	retain  bool
	present bool
	qos     byte
	id      uint16
	code    packet.Code
	codes   []packet.Code // of SUBACK and UNSUBACK
	topic   string
	payload []byte
	values  []value
}

// property is the value of a property, if it is there.
func (p *received) property(name string) (value, bool) {
	at := slices.IndexFunc(p.values, func(v value) bool { return v.name == name })
	if at < 0 {
		return value{}, false
	}
	return p.values[at], true
}

// cut splits the first whole packet off b. It reports false while more bytes are needed.
func cut(b []byte) (one, rest []byte, ok bool) {
	in := &reading{rest: b}
	in.byte()
	length := int(in.varint())
	if in.short || length > len(in.rest) {
		return nil, b, false
	}
	end := len(b) - len(in.rest) + length
	return b[:end], b[end:], true
}

// decode takes a whole packet apart, refusing whatever a server may not send.
func decode(b []byte, version byte) (*received, error) {
	in := &reading{rest: b}
	first := in.byte()
	in.varint()
	p := &received{kind: first >> 4, size: len(b)}
	if p.kind != publish && first&0x0F != map[byte]byte{pubrel: 2}[p.kind] {
		return nil, fmt.Errorf("reserved flags are set")
	}
	var err error
	switch p.kind {
	case connack:
		err = p.connack(in, version)
	case publish:
		err = p.publish(in, first, version)
	case puback, pubrec, pubrel, pubcomp:
		err = p.ack(in, version)
	case suback, unsuback:
		err = p.suback(in, version)
	case pingresp:
	case disconnect, auth:
		err = p.disconnect(in, version)
	default:
		err = fmt.Errorf("packet type %d is not the server's", p.kind)
	}
	switch {
	case err != nil:
		return nil, err
	case in.short:
		return nil, fmt.Errorf("ends too early")
	case in.wasteful:
		return nil, fmt.Errorf("a length is longer than it needs to be")
	case len(in.rest) > 0:
		return nil, fmt.Errorf("%d bytes too many", len(in.rest))
	}
	return p, p.checkCodes(version)
}

func (p *received) connack(in *reading, version byte) (err error) {
	flags := in.byte()
	if flags > 1 || version == 3 && flags != 0 {
		return fmt.Errorf("reserved acknowledge flags are set")
	}
	p.present = flags == 1
	p.code = packet.Code(in.byte())
	if p.present && p.code != 0 {
		return fmt.Errorf("session present in a refusal")
	}
	if version == 5 {
		p.values, err = decodeProperties(in, p.kind)
	}
	return err
}

func (p *received) publish(in *reading, first, version byte) (err error) {
	p.dup, p.qos, p.retain = first&8 != 0, first>>1&3, first&1 != 0
	p.topic = in.text()
	if p.qos > 0 {
		p.id = in.two()
	}
	if version == 5 {
		p.values, err = decodeProperties(in, p.kind)
	}
	p.payload = slices.Clone(in.rest)
	in.rest = nil
	switch {
	case p.qos == 3:
		return fmt.Errorf("QoS 3")
	case p.qos == 0 && p.dup:
		return fmt.Errorf("DUP with QoS 0")
	case p.qos > 0 && p.id == 0:
		return fmt.Errorf("packet identifier 0")
	}
	return err
}

func (p *received) ack(in *reading, version byte) (err error) {
	p.id = in.two()
	if version == 5 && len(in.rest) > 0 {
		p.code = packet.Code(in.byte())
		if len(in.rest) > 0 {
			p.values, err = decodeProperties(in, p.kind)
		}
	}
	return err
}

func (p *received) suback(in *reading, version byte) (err error) {
	p.id = in.two()
	if version == 5 {
		p.values, err = decodeProperties(in, p.kind)
	}
	if version == 5 || p.kind == suback {
		for len(in.rest) > 0 {
			p.codes = append(p.codes, packet.Code(in.byte()))
		}
		if len(p.codes) == 0 {
			return fmt.Errorf("no reason code")
		}
	}
	return err
}

func (p *received) disconnect(in *reading, version byte) (err error) {
	if version != 5 {
		return fmt.Errorf("%s is not the server's before MQTT 5", packetName[p.kind])
	}
	if len(in.rest) > 0 {
		p.code = packet.Code(in.byte())
	}
	if len(in.rest) > 0 {
		p.values, err = decodeProperties(in, p.kind)
	}
	if _, ok := p.property("expiry"); ok && p.kind == disconnect {
		return fmt.Errorf("session expiry interval in a DISCONNECT of the server [MQTT5-3.14.2-2]")
	}
	return err
}

// codesAllowed are the reason codes a server may use in each packet (MQTT 5, tables 3-1, 3-4 to 3-11).
var codesAllowed = map[byte][]packet.Code{
	connack: {0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F},
	puback:  {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
	pubrec:  {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
	pubrel:  {0, 0x92}, pubcomp: {0, 0x92},
	suback:   {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
	unsuback: {0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
	disconnect: {0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
		0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2},
	auth: {0, 0x18},
}

// codesBefore5 are the return codes of MQTT 3.1 and 3.1.1.
var codesBefore5 = map[byte][]packet.Code{connack: {0, 1, 2, 3, 4, 5}, suback: {0, 1, 2, 0x80}}

// checkCodes refuses a reason code that the packet does not know [MQTT5-3.2.2-8] and the like.
func (p *received) checkCodes(version byte) error {
	table := codesAllowed
	if version != 5 {
		table = codesBefore5
	}
	codes := p.codes
	if p.codes == nil {
		codes = []packet.Code{p.code}
	}
	for _, c := range codes {
		if allowed, ok := table[p.kind]; ok && !slices.Contains(allowed, c) {
			return fmt.Errorf("reason code 0x%02x in %s", byte(c), packetName[p.kind])
		}
	}
	return nil
}
