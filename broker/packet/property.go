package packet

import "bytes"

// A UserProperty is a name and a value that mean something to the applications only. A
// name may occur more than once.
type UserProperty struct{ Key, Value string }

// Limits bound what a decoder accepts beyond the specification's own bounds.
type Limits struct {
	MaxUserProperties int // of one packet, those of its will included; 0 is no limit
}

// A propertyID is the identifier of a property (MQTT 5, table 2-4).
type propertyID byte

const (
	propPayloadFormat     propertyID = 0x01
	propMessageExpiry     propertyID = 0x02
	propContentType       propertyID = 0x03
	propResponseTopic     propertyID = 0x08
	propCorrelationData   propertyID = 0x09
	propSubscriptionID    propertyID = 0x0b
	propSessionExpiry     propertyID = 0x11
	propAssignedClientID  propertyID = 0x12
	propServerKeepAlive   propertyID = 0x13
	propAuthMethod        propertyID = 0x15
	propAuthData          propertyID = 0x16
	propRequestProblem    propertyID = 0x17
	propWillDelay         propertyID = 0x18
	propRequestResponse   propertyID = 0x19
	propResponseInfo      propertyID = 0x1a
	propServerReference   propertyID = 0x1c
	propReasonString      propertyID = 0x1f
	propReceiveMaximum    propertyID = 0x21
	propTopicAliasMaximum propertyID = 0x22
	propTopicAlias        propertyID = 0x23
	propMaximumQoS        propertyID = 0x24
	propRetainAvailable   propertyID = 0x25
	propUser              propertyID = 0x26
	propMaximumPacketSize propertyID = 0x27
	propWildcardAvailable propertyID = 0x28
	propSubIDAvailable    propertyID = 0x29
	propSharedAvailable   propertyID = 0x2a
)

// A propertyKind is the data type of a property's value.
type propertyKind byte

const (
	kindByte propertyKind = iota + 1
	kindUint16
	kindUint32
	kindVarint
	kindText
	kindBinary
	kindPair
)

// propertyForms holds the name and data type of every property there is (MQTT 5, table 2-4).
var propertyForms = [...]struct {
	name string
	kind propertyKind
}{
	propPayloadFormat:     {"payload format indicator", kindByte},
	propMessageExpiry:     {"message expiry interval", kindUint32},
	propContentType:       {"content type", kindText},
	propResponseTopic:     {"response topic", kindText},
	propCorrelationData:   {"correlation data", kindBinary},
	propSubscriptionID:    {"subscription identifier", kindVarint},
	propSessionExpiry:     {"session expiry interval", kindUint32},
	propAssignedClientID:  {"assigned client identifier", kindText},
	propServerKeepAlive:   {"server keep alive", kindUint16},
	propAuthMethod:        {"authentication method", kindText},
	propAuthData:          {"authentication data", kindBinary},
	propRequestProblem:    {"request problem information", kindByte},
	propWillDelay:         {"will delay interval", kindUint32},
	propRequestResponse:   {"request response information", kindByte},
	propResponseInfo:      {"response information", kindText},
	propServerReference:   {"server reference", kindText},
	propReasonString:      {"reason string", kindText},
	propReceiveMaximum:    {"receive maximum", kindUint16},
	propTopicAliasMaximum: {"topic alias maximum", kindUint16},
	propTopicAlias:        {"topic alias", kindUint16},
	propMaximumQoS:        {"maximum QoS", kindByte},
	propRetainAvailable:   {"retain available", kindByte},
	propUser:              {"user property", kindPair},
	propMaximumPacketSize: {"maximum packet size", kindUint32},
	propWildcardAvailable: {"wildcard subscription available", kindByte},
	propSubIDAvailable:    {"subscription identifier available", kindByte},
	propSharedAvailable:   {"shared subscription available", kindByte},
}

// A propertySet has bit n set for the property with identifier n.
type propertySet uint64

const (
	// forwardedProperties travel with the message [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16]
	// [MQTT5-3.3.2-17] [MQTT5-3.3.2-20].
	forwardedProperties = propertySet(1<<propPayloadFormat | 1<<propContentType | 1<<propResponseTopic |
		1<<propCorrelationData | 1<<propUser)
	publishProperties = forwardedProperties | 1<<propMessageExpiry | 1<<propTopicAlias | 1<<propSubscriptionID
	willProperties    = forwardedProperties | 1<<propMessageExpiry | 1<<propWillDelay
	connectProperties = propertySet(1<<propSessionExpiry | 1<<propReceiveMaximum | 1<<propMaximumPacketSize |
		1<<propTopicAliasMaximum | 1<<propRequestResponse | 1<<propRequestProblem | 1<<propUser |
		1<<propAuthMethod | 1<<propAuthData)
	ackProperties         = propertySet(1<<propReasonString | 1<<propUser)
	subscribeProperties   = propertySet(1<<propSubscriptionID | 1<<propUser)
	unsubscribeProperties = propertySet(1 << propUser)
	disconnectProperties  = ackProperties | 1<<propSessionExpiry | 1<<propServerReference
	authProperties        = ackProperties | 1<<propAuthMethod | 1<<propAuthData
)

func (s propertySet) has(id propertyID) bool { return s>>id&1 != 0 }

// properties reads the properties of one block, one after the other, with all
// checks that need no other part of the packet.
type properties struct {
	cursor
	allowed propertySet
	seen    propertySet
	userMax int // 0 is no limit
	userLen int

	// The property that next found.
	id     propertyID
	number uint32
	key    []byte // name of a user property
	value  []byte // text, binary data or the value of a user property
	raw    []byte // all of it, identifier included
}

// properties cuts a block of properties, with its length in front, off the packet.
func (c *cursor) properties(allowed propertySet, l Limits) properties {
	length := c.varint("property length")
	block := c.take(int(length), "properties")
	return properties{cursor: cursor{rest: block}, allowed: allowed, userMax: l.MaxUserProperties}
}

// next moves to the next property. It returns false at the end and when p.err is set.
func (p *properties) next() bool {
	if len(p.rest) == 0 {
		return false
	}
	start := p.rest
	id := p.varint("property identifier")
	if id >= uint32(len(propertyForms)) || propertyForms[id].kind == 0 {
		p.fail(MalformedPacket, "unknown property identifier") // MQTT 5, 2.2.2.2
		return false
	}
	p.id = propertyID(id)
	p.read(propertyForms[id].kind, propertyForms[id].name)
	if p.err != nil {
		return false
	}
	p.raw = start[:len(start)-len(p.rest)]
	p.check(propertyForms[id].name)
	return p.err == nil
}

// adopt makes a failure in a block of properties one of the packet.
func (c *cursor) adopt(p *properties) {
	if c.err == nil && p.err != nil {
		c.err, c.rest = p.err, nil
	}
}

// read reads the value of the current property.
func (p *properties) read(kind propertyKind, name string) {
	switch kind {
	case kindByte:
		p.number = uint32(p.byte(name))
	case kindUint16:
		p.number = uint32(p.uint16(name))
	case kindUint32:
		p.number = p.uint32(name)
	case kindVarint:
		p.number = p.varint(name)
	case kindText: // [MQTT5-3.3.2-13] [MQTT5-3.3.2-19]
		p.value = p.text(name)
	case kindBinary:
		p.value = p.binary(name)
	case kindPair: // [MQTT5-1.5.7-1]
		p.key = p.text(name)
		p.value = p.text(name)
	}
}

// check refuses the current property where it may not be.
func (p *properties) check(name string) {
	switch {
	case !p.allowed.has(p.id):
		p.fail(MalformedPacket, name+": not a property of this packet") // MQTT 5, 2.2.2.2
	case p.id == propUser:
		if p.userLen++; p.userMax > 0 && p.userLen > p.userMax {
			p.fail(QuotaExceeded, "too many user properties")
		}
	case p.seen.has(p.id):
		p.fail(ProtocolError, name+": more than once") // said of each property where it is defined
	default:
		p.seen |= 1 << p.id
		p.checkValue(name)
	}
}

// checkValue refuses values that the section defining the property rules out.
func (p *properties) checkValue(name string) {
	switch p.id {
	case propPayloadFormat, propRequestProblem, propRequestResponse: // MQTT 5, 3.3.2.3.2, 3.1.2.11.6, 3.1.2.11.7
		if p.number > 1 {
			p.fail(ProtocolError, name+": neither 0 nor 1")
		}
	case propReceiveMaximum, propMaximumPacketSize, propSubscriptionID: // MQTT 5, 3.1.2.11.3, 3.1.2.11.4, 3.8.2.1.2
		if p.number == 0 {
			p.fail(ProtocolError, name+": 0")
		}
	case propTopicAlias:
		if p.number == 0 {
			p.fail(TopicAliasInvalid, "topic alias: 0") // [MQTT5-3.3.2-8], MQTT 5, 3.3.4
		}
	case propResponseTopic:
		// It is a topic name: no wildcards [MQTT5-3.3.2-14], not empty [MQTT5-4.7.3-1].
		if len(p.value) == 0 || hasWildcard(p.value) {
			p.fail(ProtocolError, "response topic: not a topic name")
		}
	}
}

// hasWildcard reports whether a topic contains a character that only filters may have.
func hasWildcard(topic []byte) bool {
	return bytes.IndexByte(topic, '+') >= 0 || bytes.IndexByte(topic, '#') >= 0
}
