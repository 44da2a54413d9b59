package packet

import "bytes"

// A Connect is what a client asks for when it opens a connection.
type Connect struct {
	ProtocolName string
	Version      Version
	Bridge       bool // it set the bit by which bridges say so with MQTT 3.1 and 3.1.1
	CleanStart   bool // clean session in MQTT 3.1 and 3.1.1
	KeepAlive    uint16
	ClientID     string
	Username     string
	HasUsername  bool
	Password     []byte
	HasPassword  bool
	Will         *Will // nil is none

	SessionExpiry       uint32
	HasSessionExpiry    bool
	ReceiveMaximum      uint16 // 65535 when absent (MQTT 5, 3.1.2.11.3)
	MaximumPacketSize   uint32 // 0 when absent: no limit
	TopicAliasMaximum   uint16
	RequestResponseInfo bool
	RequestProblemInfo  bool // true when absent (MQTT 5, 3.1.2.11.7)
	AuthMethod          string
	HasAuthMethod       bool
	AuthData            []byte
	User                []UserProperty
}

// A Will is the message the broker publishes when the connection ends without DISCONNECT.
type Will struct {
	Topic         string // a UTF-8 string that is not empty and has no wildcards
	Payload       []byte
	QoS           byte
	Retain        bool
	DelayInterval uint32
	Expiry        uint32
	HasExpiry     bool
	PayloadFormat byte
	Properties    []byte // to be forwarded, as in Message.Properties
}

// connectFlags is the byte of that name (MQTT 5, 3.1.2.3).
type connectFlags byte

const (
	connectReserved   connectFlags = 1 << 0
	connectCleanStart connectFlags = 1 << 1
	connectWill       connectFlags = 1 << 2
	connectWillRetain connectFlags = 1 << 5
	connectPassword   connectFlags = 1 << 6
	connectUsername   connectFlags = 1 << 7
)

func (f connectFlags) has(bit connectFlags) bool { return f&bit != 0 }

func (f connectFlags) willQoS() byte { return byte(f>>3) & 3 }

// DecodeConnect reads the body of a CONNECT packet. What it returns shares nothing with body.
//
// With an error it returns what it knows, at least the version in which
// the client understands a CONNACK, or nil if the bytes are not MQTT at all. For
// a protocol level nobody knows that is MQTT 3.1.1, whose clients must be told [MQTT311-3.1.2-2].
// An empty client identifier is not an error here.
func DecodeConnect(body []byte, l Limits) (*Connect, error) {
	r := cursor{rest: body}
	name, level := r.text("protocol name"), r.byte("protocol level")
	if r.err != nil {
		return nil, r.err
	}
	c, err := newConnect(string(name), level)
	if err != nil {
		return c, err
	}
	flags := connectFlags(r.byte("connect flags"))
	if err := checkConnectFlags(flags, c.Version); err != nil {
		return c, err
	}
	c.CleanStart = flags.has(connectCleanStart)
	c.KeepAlive = r.uint16("keep alive")
	if c.Version == V5 {
		c.readProperties(&r, l)
	}
	c.ClientID = string(r.text("client identifier")) // then will, user name, password [MQTT5-3.1.3-1] [MQTT5-3.1.3-3] [MQTT5-3.1.3-4] [MQTT311-3.1.3-3]
	if flags.has(connectWill) {
		c.readWill(&r, flags, l)
	}
	c.readCredentials(&r, flags)
	r.end(CONNECT) // [MQTT5-3.1.2-16] [MQTT5-3.1.2-18] [MQTT311-3.1.2-18] [MQTT311-3.1.2-20]
	return c, r.err
}

// bridgeBit in the protocol level is how mosquitto's bridges say what they are. It is in no specification, and no client sends it
// by chance.
const bridgeBit = 0x80

// newConnect judges protocol name and level.
func newConnect(name string, level byte) (*Connect, error) {
	c := &Connect{ProtocolName: name, Version: Version(level), ReceiveMaximum: 65535, RequestProblemInfo: true}
	if v := Version(level &^ bridgeBit); level != byte(v) && (v == V311 || v == V31) {
		c.Version, c.Bridge = v, true
	}
	switch {
	case name == "MQTT" && (c.Version == V311 || c.Version == V5), name == "MQIsdp" && c.Version == V31:
		return c, nil
	case name == "MQTT":
		c.Version = V311
	case name == "MQIsdp":
		c.Version = V31
	default:
		return nil, Refuse(UnsupportedProtocolVersion, "CONNECT: unknown protocol name") // [MQTT5-3.1.2-1] [MQTT311-3.1.2-1]
	}
	return c, Refuse(UnsupportedProtocolVersion, "CONNECT: unknown protocol level") // [MQTT5-3.1.2-2] [MQTT311-3.1.2-2]
}

// checkConnectFlags refuses flags that contradict each other. MQTT 3.1 says of
// unused flags only that they are not used.
func checkConnectFlags(f connectFlags, v Version) error {
	switch {
	case f.willQoS() == 3 && f.has(connectWill):
		return Refuse(MalformedPacket, "CONNECT: will QoS 3") // [MQTT5-3.1.2-12] [MQTT311-3.1.2-14]
	case v == V31:
	case f.has(connectReserved):
		return Refuse(MalformedPacket, "CONNECT: reserved flag set") // [MQTT5-3.1.2-3] [MQTT311-3.1.2-3]
	case !f.has(connectWill) && f.willQoS() != 0:
		return Refuse(ProtocolError, "CONNECT: will QoS without will") // [MQTT5-3.1.2-11] [MQTT311-3.1.2-13]
	case !f.has(connectWill) && f.has(connectWillRetain):
		return Refuse(ProtocolError, "CONNECT: will retain without will") // [MQTT5-3.1.2-13] [MQTT311-3.1.2-15]
	}
	if v != V5 && f.has(connectPassword) && !f.has(connectUsername) {
		return Refuse(ProtocolError, "CONNECT: password without user name") // [MQTT311-3.1.2-22]
	}
	return nil
}

func (c *Connect) readProperties(r *cursor, l Limits) {
	p := r.properties(connectProperties, l)
	for p.next() {
		switch p.id {
		case propSessionExpiry:
			c.SessionExpiry, c.HasSessionExpiry = p.number, true
		case propReceiveMaximum:
			c.ReceiveMaximum = uint16(p.number)
		case propMaximumPacketSize:
			c.MaximumPacketSize = p.number
		case propTopicAliasMaximum:
			c.TopicAliasMaximum = uint16(p.number)
		case propRequestResponse:
			c.RequestResponseInfo = p.number == 1
		case propRequestProblem:
			c.RequestProblemInfo = p.number == 1
		case propAuthMethod:
			c.AuthMethod, c.HasAuthMethod = string(p.value), true
		case propAuthData:
			c.AuthData = bytes.Clone(p.value)
		case propUser:
			c.User = append(c.User, UserProperty{string(p.key), string(p.value)})
		}
	}
	r.adopt(&p)
	if p.seen.has(propAuthData) && !p.seen.has(propAuthMethod) {
		r.fail(ProtocolError, "CONNECT: authentication data without method") // MQTT 5, 3.1.2.11.10
	}
}

// readWill reads the will's part of the payload [MQTT5-3.1.2-9] [MQTT311-3.1.2-9].
func (c *Connect) readWill(r *cursor, f connectFlags, l Limits) {
	w := &Will{QoS: f.willQoS(), Retain: f.has(connectWillRetain)}
	if c.Version == V5 {
		p := r.properties(willProperties, l)
		p.userLen = len(c.User)
		w.readProperties(&p)
		r.adopt(&p)
	}
	topic := r.text("will topic") // [MQTT5-3.1.3-11] [MQTT311-3.1.3-10]
	if r.err == nil && (len(topic) == 0 || hasWildcard(topic)) {
		r.fail(TopicNameInvalid, "will topic: not a topic name") // [MQTT5-4.7.3-1] [MQTT5-3.3.2-2] [MQTT311-4.7.3-1]
	}
	w.Topic = string(topic)
	w.Payload = bytes.Clone(r.binary("will payload")) // may be empty
	c.Will = w
}

func (w *Will) readProperties(p *properties) {
	for p.next() {
		switch p.id {
		case propWillDelay:
			w.DelayInterval = p.number
		case propMessageExpiry:
			w.Expiry, w.HasExpiry = p.number, true
		case propPayloadFormat:
			w.PayloadFormat = byte(p.number)
		}
		if forwardedProperties.has(p.id) {
			w.Properties = append(w.Properties, p.raw...) // [MQTT5-3.1.3-10]
		}
	}
}

// readCredentials reads user name and password. In MQTT 3.1 the length of the packet takes
// precedence over the flags: a string that is announced but missing was not sent.
func (c *Connect) readCredentials(r *cursor, f connectFlags) {
	missing := func() bool { return c.Version == V31 && len(r.rest) == 0 }
	if f.has(connectUsername) && !missing() {
		c.Username, c.HasUsername = string(r.text("user name")), true // [MQTT5-3.1.2-17] [MQTT5-3.1.3-12] [MQTT311-3.1.3-11]
	}
	if f.has(connectPassword) && !missing() {
		c.Password, c.HasPassword = bytes.Clone(r.binary("password")), true // [MQTT5-3.1.2-19] [MQTT311-3.1.2-21]
	}
}
