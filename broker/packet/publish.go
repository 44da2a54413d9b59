package packet

import "encoding/binary"

// A Publish is a PUBLISH packet as received. Its slices alias the bytes it was decoded
// from, or its own scratch; they hold until either is used again.
type Publish struct {
	Topic            []byte // a UTF-8 string; empty only when Alias stands for it. Its syntax is not checked here
	Payload          []byte
	ID               uint16 // 0 for QoS 0
	QoS              byte
	Dup              bool
	Retain           bool
	Alias            uint16 // 0 is none
	Expiry           uint32
	HasExpiry        bool
	PayloadFormat    byte
	HasPayloadFormat bool
	Properties       []byte // to be forwarded, as in Message.Properties

	scratch []byte // holds Properties when they do not stand together in the packet; reused
}

// scratchMax bounds what a Publish keeps between packets.
const scratchMax = 4096

// Decode reads a PUBLISH packet from its first byte and body. p may be used
// again and again; unless the packet's forwarded properties are scattered, nothing is allocated.
//
// Whether Topic is a topic name, wildcards included [MQTT5-3.3.2-2], and whether the alias is within bounds
// and known is for the caller, who knows the limits and answers with TopicNameInvalid or TopicAliasInvalid.
func (p *Publish) Decode(head byte, body []byte, v Version, l Limits) error {
	if err := checkPublishFlags(head&0x0f, v == V31); err != nil {
		return err
	}
	scratch := p.scratch[:0]
	if cap(scratch) > scratchMax {
		scratch = nil
	}
	*p = Publish{
		QoS: head >> 1 & 3, Dup: head&flagDup != 0, Retain: head&flagRetain != 0,
		scratch: scratch,
	}
	rest, err := p.decodeTopic(body)
	if err != nil {
		return err
	}
	if p.QoS > 0 {
		if rest, err = p.decodeID(rest); err != nil {
			return err
		}
	}
	if v == V5 {
		if rest, err = p.decodeProperties(rest, l); err != nil {
			return err
		}
	}
	if len(p.Topic) == 0 && p.Alias == 0 {
		return Refuse(ProtocolError, "PUBLISH: no topic name") // MQTT 5, 3.3.2.1, [MQTT311-4.7.3-1]
	}
	p.Payload = rest
	return nil
}

// decodeTopic reads the topic name [MQTT5-3.3.2-1] [MQTT311-3.3.2-1]. It returns what follows.
func (p *Publish) decodeTopic(body []byte) ([]byte, error) {
	if len(body) < 2 {
		return nil, Refuse(MalformedPacket, "topic name: packet ends within it")
	}
	end := 2 + int(binary.BigEndian.Uint16(body))
	if end > len(body) {
		return nil, Refuse(MalformedPacket, "topic name: packet ends within it")
	}
	p.Topic = body[2:end:end]
	if !validText(p.Topic) {
		return nil, Refuse(MalformedPacket, "topic name: not a UTF-8 encoded string")
	}
	return body[end:], nil
}

// decodeID reads the packet identifier, which only QoS 1 and 2 have [MQTT5-2.2.1-2] [MQTT5-2.2.1-3].
func (p *Publish) decodeID(rest []byte) ([]byte, error) {
	if len(rest) < 2 {
		return nil, Refuse(MalformedPacket, "packet identifier: packet ends within it")
	}
	p.ID = binary.BigEndian.Uint16(rest)
	if p.ID == 0 {
		return nil, Refuse(ProtocolError, "PUBLISH: packet identifier 0") // [MQTT5-2.2.1-3] [MQTT311-2.3.1-1]
	}
	return rest[2:], nil
}

// decodeProperties reads the properties. It returns what follows.
func (p *Publish) decodeProperties(rest []byte, l Limits) ([]byte, error) {
	if len(rest) > 0 && rest[0] == 0 {
		return rest[1:], nil // [MQTT5-2.2.2-1], the common case
	}
	r := cursor{rest: rest}
	props := r.properties(publishProperties, l)
	for props.next() {
		switch props.id {
		case propMessageExpiry:
			p.Expiry, p.HasExpiry = props.number, true
		case propTopicAlias:
			p.Alias = uint16(props.number)
		case propPayloadFormat:
			p.PayloadFormat, p.HasPayloadFormat = byte(props.number), true
		case propSubscriptionID:
			props.fail(ProtocolError, "PUBLISH: subscription identifier from a client") // [MQTT5-3.3.4-6]
		}
		if forwardedProperties.has(props.id) {
			p.forward(props.raw)
		}
	}
	r.adopt(&props)
	p.Properties = p.Properties[:len(p.Properties):len(p.Properties)]
	return r.rest, r.err
}

// forward adds a property to Properties. While each follows the last in the packet, Properties
// just grows over it; after a gap they are gathered in scratch.
func (p *Publish) forward(raw []byte) {
	n := len(p.Properties)
	switch {
	case n == 0:
		p.Properties = raw
	case n < cap(p.Properties) && &p.Properties[:n+1][n] == &raw[0]:
		p.Properties = p.Properties[:n+len(raw)]
	default:
		if len(p.scratch) == 0 {
			p.scratch = append(p.scratch, p.Properties...)
		}
		p.scratch = append(p.scratch, raw...)
		p.Properties = p.scratch
	}
}
