package bench

import (
	"encoding/binary"
	"errors"
)

// The first bytes of packets, with the flags they must have (MQTT 5, 2.1.2 and 2.1.3).
const (
	connectByte    = 0x10
	connackByte    = 0x20
	publishByte    = 0x30
	pubackByte     = 0x40
	pubrecByte     = 0x50
	pubrelByte     = 0x62
	pubcompByte    = 0x70
	subscribeByte  = 0x82
	subackByte     = 0x90
	pingreqByte    = 0xC0
	pingrespByte   = 0xD0
	disconnectByte = 0xE0
)

// A header is what each payload starts with: which run and publisher it is of, in 4 bytes each, the message's number and its
// time, in 8 bytes each.
type header struct {
	run       uint32
	publisher uint32
	sequence  uint64 // from 1; 0 is a message that only tells that it came through
	time      int64
}

const headerLen = 24

var errRemainingLength = errors.New("remaining length over four bytes") // [MQTT5-1.5.5-1]

func appendLength(dst []byte, n int) []byte {
	for n >= 0x80 {
		dst = append(dst, byte(n)|0x80)
		n >>= 7
	}
	return append(dst, byte(n))
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func appendFrame(dst []byte, first byte, body []byte) []byte {
	dst = append(dst, first)
	dst = appendLength(dst, len(body))
	return append(dst, body...)
}

// A hello is what a CONNECT says, without a will.
type hello struct {
	version  byte
	id       string
	clean    bool // clean session or clean start
	durable  bool // with MQTT 5, the session has an expiry interval; before, it is durable if it is not clean
	username string
	password string
}

func (h hello) append(dst []byte) []byte {
	const cleanFlag, usernameFlag, passwordFlag, expiryProperty = 0x02, 0x80, 0x40, 0x11
	var flags byte
	if h.clean {
		flags = cleanFlag
	}
	if h.username != "" || h.password != "" {
		flags |= usernameFlag | passwordFlag // the second needs the first before MQTT 5 [MQTT311-3.1.2-22]
	}
	body := append(appendString(nil, "MQTT"), h.version, flags)
	body = binary.BigEndian.AppendUint16(body, uint16(keepAlive.Seconds()))
	switch {
	case h.version == 5 && h.durable:
		body = append(body, 5, expiryProperty) // [MQTT5-3.1.2.11.2]
		body = binary.BigEndian.AppendUint32(body, uint32(sessionExpiry.Seconds()))
	case h.version == 5:
		body = append(body, 0) // no properties
	}
	body = appendString(body, h.id)
	if flags&usernameFlag != 0 {
		body = appendString(appendString(body, h.username), h.password)
	}
	return appendFrame(dst, connectByte, body)
}

// appendSubscribe appends a SUBSCRIBE for filters, all with the same QoS.
func appendSubscribe(dst []byte, version byte, id uint16, qos byte, filters []string) []byte {
	body := binary.BigEndian.AppendUint16(nil, id)
	if version == 5 {
		body = append(body, 0) // no properties
	}
	for _, f := range filters {
		body = append(appendString(body, f), qos)
	}
	return appendFrame(dst, subscribeByte, body)
}

// appendDisconnect appends the DISCONNECT of a client that leaves in order.
func appendDisconnect(dst []byte) []byte { return append(dst, disconnectByte, 0) }

// appendPing appends a PINGREQ.
func appendPing(dst []byte) []byte { return append(dst, pingreqByte, 0) }

// appendAck appends PUBACK, PUBREC, PUBREL or PUBCOMP, meaning success in either version.
func appendAck(dst []byte, first byte, id uint16) []byte {
	return append(dst, first, 2, byte(id>>8), byte(id))
}

// appendRetained appends a PUBLISH with QoS 1 of a message to be retained; without a payload it is forgotten [MQTT5-3.3.1-6].
func appendRetained(dst []byte, version byte, id uint16, topic string, payload []byte) []byte {
	const retain, qos1 = 0x01, 0x02
	body := binary.BigEndian.AppendUint16(appendString(nil, topic), id)
	if version == 5 {
		body = append(body, 0) // no properties
	}
	return appendFrame(dst, publishByte|qos1|retain, append(body, payload...))
}

// A stamp is a PUBLISH whose packet identifier and payload header are filled in for each message.
type stamp struct {
	frame    []byte
	id       int // where the packet identifier is; 0 for QoS 0
	header   int // where the payload starts
	sequence int // where the message's number is
	time     int // where its time is
}

func newStamp(o *Options, of header, topic string) stamp {
	var s stamp
	body := appendString(nil, topic)
	if o.QoS > 0 {
		s.id = len(body)
		body = append(body, 0, 0)
	}
	if o.Version == 5 {
		body = append(body, 0) // no properties
	}
	s.header = len(body)
	body = append(body, make([]byte, o.Size)...)
	binary.BigEndian.PutUint32(body[s.header:], of.run)
	binary.BigEndian.PutUint32(body[s.header+4:], of.publisher)
	s.frame = appendFrame(nil, publishByte|o.QoS<<1, body)
	front := len(s.frame) - len(body)
	if o.QoS > 0 {
		s.id += front
	}
	s.header += front
	s.sequence, s.time = s.header+8, s.header+16
	return s
}

// append appends the PUBLISH of one message.
func (s *stamp) append(dst []byte, id uint16, sequence uint64, time int64) []byte {
	at := len(dst)
	dst = append(dst, s.frame...)
	frame := dst[at:]
	if s.id > 0 {
		binary.BigEndian.PutUint16(frame[s.id:], id)
	}
	binary.BigEndian.PutUint64(frame[s.sequence:], sequence)
	binary.BigEndian.PutUint64(frame[s.time:], uint64(time))
	return dst
}

// readHeader reads what append wrote.
func readHeader(payload []byte) (h header, ok bool) {
	if len(payload) < headerLen {
		return header{}, false
	}
	return header{
		run: binary.BigEndian.Uint32(payload), publisher: binary.BigEndian.Uint32(payload[4:]),
		sequence: binary.BigEndian.Uint64(payload[8:]), time: int64(binary.BigEndian.Uint64(payload[16:])),
	}, true
}

// cut splits the first packet off in. It returns a nil body while the packet is incomplete.
func cut(in []byte) (first byte, body, rest []byte, err error) {
	if len(in) < 2 {
		return 0, nil, in, nil
	}
	n, width := readLength(in[1:])
	if width < 0 {
		return 0, nil, in, errRemainingLength
	}
	start := 1 + width
	if width == 0 || len(in)-start < n {
		return 0, nil, in, nil
	}
	return in[0], in[start : start+n : start+n], in[start+n:], nil
}

// readLength reads a variable byte integer. width is 0 while it is incomplete and negative when it is too long.
func readLength(in []byte) (n, width int) {
	for i, b := range in {
		if i == 4 {
			return 0, -1
		}
		n |= int(b&0x7F) << (7 * i)
		if b < 0x80 {
			return n, i + 1
		}
	}
	if len(in) >= 4 {
		return 0, -1
	}
	return 0, 0
}
