package packet

import (
	"encoding/binary"
	"slices"
)

// An Outgoing is a PUBLISH packet to be sent.
type Outgoing struct {
	Topic           string // at most 65535 bytes
	Payload         []byte
	Properties      []byte // as in Message.Properties
	QoS             byte
	Retain          bool
	Dup             bool   // it was sent before; the publisher's DUP is not forwarded [MQTT5-3.3.1-3]
	ID              uint16 // not sent for QoS 0 [MQTT5-2.2.1-2]
	Expiry          uint32 // what is left of the message expiry interval [MQTT5-3.3.2-6]
	HasExpiry       bool
	SubscriptionIDs []uint32
	Alias           uint16 // 0 is none
	OmitTopic       bool   // the receiver knows the topic by Alias; has no effect before MQTT 5
}

// The sizes of properties with a fixed one, identifier included.
const (
	expirySize = 5
	aliasSize  = 3
)

// topic is what stands in the topic name field.
func (o *Outgoing) topic(v Version) string {
	if v == V5 && o.OmitTopic && o.Alias != 0 {
		return ""
	}
	return o.Topic
}

// propertiesSize is the property length: 0 before MQTT 5.
func (o *Outgoing) propertiesSize(v Version) int {
	if v != V5 {
		return 0
	}
	n := len(o.Properties)
	if o.HasExpiry {
		n += expirySize
	}
	if o.Alias != 0 {
		n += aliasSize
	}
	for _, id := range o.SubscriptionIDs {
		n += 1 + varintSize(id)
	}
	return n
}

// remainingLength is the length without the fixed header. props is the property length.
func (o *Outgoing) remainingLength(v Version, props int) int {
	n := 2 + len(o.topic(v)) + len(o.Payload)
	if o.QoS > 0 {
		n += 2
	}
	if v == V5 {
		n += varintSize(uint32(props)) + props
	}
	return n
}

// PublishSize is the length of the whole packet in bytes, fixed header and payload included.
func PublishSize(v Version, o *Outgoing) int {
	n := o.remainingLength(v, o.propertiesSize(v))
	return 1 + varintSize(uint32(n)) + n
}

// PublishOffsets tells where in the encoded packet the two bytes of the packet
// identifier and the four bytes of the message expiry interval stand, -1 for what it does not have.
// So one encoded packet can serve many receivers: copied, and patched with SetDup and the offsets.
func PublishOffsets(v Version, o *Outgoing) (id, expiry int) {
	props := o.propertiesSize(v)
	at := 1 + varintSize(uint32(o.remainingLength(v, props))) + 2 + len(o.topic(v))
	id, expiry = -1, -1
	if o.QoS > 0 {
		id, at = at, at+2
	}
	if v == V5 && o.HasExpiry {
		expiry = at + varintSize(uint32(props)) + 1
	}
	return id, expiry
}

// SetDup sets the DUP flag in an encoded PUBLISH packet that is sent again [MQTT5-3.3.1-1] [MQTT311-3.3.1-1].
func SetDup(frame []byte) { frame[0] |= flagDup }

// AppendPublish appends the whole packet.
func AppendPublish(dst []byte, v Version, o *Outgoing) []byte {
	return append(AppendPublishHeader(dst, v, o), o.Payload...)
}

// AppendPublishHeader appends the packet up to the payload, which its remaining length
// counts already: the caller sends o.Payload right after.
func AppendPublishHeader(dst []byte, v Version, o *Outgoing) []byte {
	props := o.propertiesSize(v)
	remaining := o.remainingLength(v, props)
	dst = slices.Grow(dst, 5+remaining-len(o.Payload))
	dst = append(dst, o.head())
	dst = appendVarint(dst, uint32(remaining))
	dst = appendText(dst, o.topic(v))
	if o.QoS > 0 {
		dst = binary.BigEndian.AppendUint16(dst, o.ID)
	}
	if v == V5 {
		dst = appendVarint(dst, uint32(props))
		dst = o.appendProperties(dst)
	}
	return dst
}

// head is the first byte. A DUP flag with QoS 0 is never sent [MQTT5-3.3.1-2] [MQTT5-4.3.1-1] [MQTT311-3.3.1-2].
func (o *Outgoing) head() byte {
	head := byte(PUBLISH)<<4 | o.QoS<<1
	if o.Dup && o.QoS > 0 {
		head |= flagDup
	}
	if o.Retain {
		head |= flagRetain
	}
	return head
}

// appendProperties appends the properties. The expiry comes first: PublishOffsets counts on it.
func (o *Outgoing) appendProperties(dst []byte) []byte {
	if o.HasExpiry {
		dst = append(dst, byte(propMessageExpiry))
		dst = binary.BigEndian.AppendUint32(dst, o.Expiry)
	}
	if o.Alias != 0 {
		dst = append(dst, byte(propTopicAlias))
		dst = binary.BigEndian.AppendUint16(dst, o.Alias)
	}
	for _, id := range o.SubscriptionIDs {
		dst = append(dst, byte(propSubscriptionID))
		dst = appendVarint(dst, id)
	}
	return append(dst, o.Properties...)
}

// appendText appends a string with its length in front.
func appendText(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}
