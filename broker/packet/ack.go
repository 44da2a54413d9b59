package packet

import "encoding/binary"

// An Ack is a PUBACK, PUBREC, PUBREL or PUBCOMP. Its reason string and user properties are
// checked when decoded but not kept: no part of the broker acts on them.
type Ack struct {
	ID   uint16
	Code Code // Success in MQTT 3.1 and 3.1.1
	// Reason is sent, with MQTT 5, if it is not empty. Decoding checks it but does not keep it.
	Reason string
	// User are the user properties of a decoded packet with a code of 0x80 or above: of others nobody asks. They are
	// never sent [MQTT5-3.4.2-3] [MQTT5-3.5.2-3] [MQTT5-3.6.2-3] [MQTT5-3.7.2-3].
	User []UserProperty
}

// DecodeAck reads the body of a packet of one of the types PUBACK, PUBREC, PUBREL and
// PUBCOMP. It allocates only for the user properties of a refusal, and to refuse.
func DecodeAck(t Type, body []byte, v Version, l Limits) (Ack, error) {
	if len(body) == 2 { // MQTT 5, 3.4.2.1: without reason code it is a success
		if id := binary.BigEndian.Uint16(body); id != 0 {
			return Ack{ID: id}, nil
		}
	}
	r := cursor{rest: body}
	a := Ack{ID: r.packetID(t)}
	if v == V5 && len(r.rest) > 0 {
		a.Code = Code(r.byte("reason code"))
		r.ackCode(t, a.Code)
		if len(r.rest) > 0 { // MQTT 5, 3.4.2.2.1: without property length there are none
			p := r.properties(ackProperties, l)
			for p.next() {
				if p.id == propUser && a.Code.Failed() {
					a.User = append(a.User, UserProperty{string(p.key), string(p.value)})
				}
			}
			r.adopt(&p)
		}
	}
	r.end(t)
	if r.err != nil {
		return Ack{}, r.err
	}
	return a, nil
}

// ackCode refuses reason codes that a client may not use in an acknowledgement.
func (c *cursor) ackCode(t Type, code Code) {
	allowed := false
	switch t {
	case PUBACK, PUBREC: // [MQTT5-3.4.2-1] [MQTT5-3.5.2-1]
		switch code {
		case Success, NoMatchingSubscribers, UnspecifiedError, ImplementationError, NotAuthorized,
			TopicNameInvalid, PacketIdentifierInUse, QuotaExceeded, PayloadFormatInvalid:
			allowed = true
		}
	case PUBREL, PUBCOMP: // [MQTT5-3.6.2-1] [MQTT5-3.7.2-1]
		allowed = code == Success || code == PacketIdentifierNotFound
	}
	if !allowed {
		c.fail(ProtocolError, t.String()+": reason code not allowed")
	}
}

// AppendAck appends a PUBACK, PUBREC, PUBREL or PUBCOMP in its shortest legal form. MQTT 3.1
// and 3.1.1 carry neither code nor reason. User properties are never sent
// [MQTT5-3.4.2-3] [MQTT5-3.5.2-3] [MQTT5-3.6.2-3] [MQTT5-3.7.2-3].
func AppendAck(dst []byte, t Type, v Version, a Ack) []byte {
	head, id, code := byte(t)<<4|headFlags[t], a.ID, t.listed(a.Code)
	reason := clip(a.Reason, reasonMax)
	switch {
	case v != V5 || code == Success && reason == "":
		return append(dst, head, 2, byte(id>>8), byte(id))
	case reason == "":
		return append(dst, head, 3, byte(id>>8), byte(id), byte(code))
	}
	dst = append(dst, head)
	dst = appendVarint(dst, uint32(3+reasonSize(reason)))
	dst = append(dst, byte(id>>8), byte(id), byte(code))
	return appendReason(dst, reason)
}

// reasonSize is the number of bytes that appendReason appends.
func reasonSize(reason string) int {
	if reason == "" {
		return 1
	}
	length := 3 + len(reason) // identifier, length, text
	return varintSize(uint32(length)) + length
}

// appendReason appends properties, their length included, that are a reason string or nothing.
func appendReason(dst []byte, reason string) []byte {
	if reason == "" {
		return append(dst, 0)
	}
	dst = appendVarint(dst, uint32(3+len(reason)))
	return appendText(append(dst, byte(propReasonString)), reason)
}
