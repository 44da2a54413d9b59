package packet

// remainingLengthMax is the largest value of a variable byte integer (MQTT 5, table 1-1).
const remainingLengthMax = 268_435_455

// Split looks at the front of b for one whole packet. head is its first byte, body
// what follows the fixed header, n the length of both; body aliases b.
//
// While bytes are missing n is 0, and need is the length of the whole packet if that is known
// already, else 0. max is the largest packet allowed, fixed header included, 0 is no limit. A
// fixed header that no client may send, or a packet that will be too large, is refused as soon as
// it shows. Packets that only a server may send are for the caller to refuse.
func Split(b []byte, max uint32) (head byte, body []byte, n, need int, err error) {
	return split(b, max, false)
}

// SplitV31 is Split for a connection known to speak MQTT 3.1, where a repeated PUBREL, SUBSCRIBE
// or UNSUBSCRIBE carries the DUP flag and the flags of the other packets are "not used"
// rather than reserved.
func SplitV31(b []byte, max uint32) (head byte, body []byte, n, need int, err error) {
	return split(b, max, true)
}

func split(b []byte, max uint32, lenient bool) (head byte, body []byte, n, need int, err error) {
	if len(b) == 0 {
		return 0, nil, 0, 0, nil
	}
	head = b[0]
	if err := checkHead(head, lenient); err != nil {
		return head, nil, 0, 0, err
	}
	remaining, width := varint(b[1:])
	if width < 0 {
		return head, nil, 0, 0, Refuse(MalformedPacket, "remaining length over four bytes") // [MQTT5-1.5.5-1]
	}
	if width == 0 {
		return head, nil, 0, 0, nil
	}
	whole := 1 + width + int(remaining)
	if max > 0 && uint64(whole) > uint64(max) {
		return head, nil, 0, whole, Refuse(PacketTooLarge, "packet larger than the maximum packet size") // [MQTT5-3.2.2-15]
	}
	if len(b) < whole {
		return head, nil, 0, whole, nil
	}
	return head, b[1+width : whole : whole], whole, whole, nil
}

// headFlags are the lower four bits that each type must have (MQTT 5, table 2-2). PUBLISH has flags of its own.
var headFlags = [16]byte{PUBREL: 0b0010, SUBSCRIBE: 0b0010, UNSUBSCRIBE: 0b0010}

// checkHead refuses the first byte of a packet that its type does not allow. A lenient
// check leaves out what MQTT 3.1 does not say.
func checkHead(head byte, lenient bool) error {
	t, flags := TypeOf(head), head&0x0f
	switch {
	case t == 0:
		return Refuse(ProtocolError, "reserved packet type 0") // MQTT 5, table 2-1: forbidden
	case t == PUBLISH:
		return checkPublishFlags(flags, lenient)
	case flags != headFlags[t] && !lenient:
		// [MQTT5-2.1.3-1] [MQTT5-3.6.1-1] [MQTT5-3.8.1-1] [MQTT5-3.10.1-1] [MQTT5-3.14.1-1]
		// [MQTT5-3.15.1-1] [MQTT311-2.2.2-2]
		return Refuse(MalformedPacket, t.String()+": wrong fixed header flags")
	}
	return nil
}

// checkPublishFlags refuses impossible DUP, QoS and RETAIN bits.
func checkPublishFlags(flags byte, lenient bool) error {
	qos := flags >> 1 & 3
	if qos == 3 {
		return Refuse(MalformedPacket, "PUBLISH: QoS 3") // [MQTT5-3.3.1-4] [MQTT311-3.3.1-4]
	}
	if qos == 0 && flags&flagDup != 0 && !lenient {
		return Refuse(MalformedPacket, "PUBLISH: DUP with QoS 0") // [MQTT5-3.3.1-2] [MQTT311-3.3.1-2]
	}
	return nil
}

// The flags in the fixed header of PUBLISH (MQTT 5, 3.3.1).
const (
	flagRetain = 0b0001
	flagDup    = 0b1000
)

// varint reads a variable byte integer (MQTT 5, 1.5.5). width is its length, 0 if it is
// not complete, -1 if it is longer than four bytes. An encoding that is not the
// shortest is read too: MQTT 3.1.1 does not forbid it for the remaining length, and small
// devices that reserve a fixed width send it. cursor.varint, for MQTT 5 only, refuses it.
func varint(b []byte) (value uint32, width int) {
	for i, c := range b {
		if i == 4 {
			return 0, -1
		}
		value |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			return value, i + 1
		}
	}
	if len(b) >= 4 {
		return 0, -1
	}
	return 0, 0
}

// appendVarint appends v as a variable byte integer of the smallest width [MQTT5-1.5.5-1].
func appendVarint(dst []byte, v uint32) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

// varintSize is the width of v as a variable byte integer.
func varintSize(v uint32) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	}
	return 4
}
