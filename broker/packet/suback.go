package packet

import "encoding/binary"

// AppendSuback appends a SUBACK packet with the identifier of the SUBSCRIBE [MQTT5-2.2.1-6] [MQTT5-3.8.4-2]
// and one code for each filter, in their order [MQTT5-3.9.3-1].
//
// MQTT 3.1.1 knows one failure, 0x80 [MQTT311-3.9.3-2]. MQTT 3.1 knows none: it says that a server
// which does not authorize a subscription has no way of telling so and must acknowledge all
// the same, so a failure is sent as granted QoS 0; many of its clients would read
// 0x80 as a broken packet. mosquitto likewise sends 0x80 to 3.1.1 clients only.
func AppendSuback(dst []byte, v Version, id uint16, codes []Code, reason string) []byte {
	if v == V5 {
		return appendCodes(dst, SUBACK, id, codes, reason)
	}
	failure := Code(0x80)
	if v == V31 {
		failure = GrantedQoS0
	}
	dst = append(dst, byte(SUBACK)<<4)
	dst = appendVarint(dst, uint32(2+len(codes)))
	dst = binary.BigEndian.AppendUint16(dst, id)
	for _, c := range codes {
		if c.Failed() {
			c = failure
		}
		dst = append(dst, byte(c))
	}
	return dst
}

// AppendUnsuback appends an UNSUBACK packet with the identifier of the UNSUBSCRIBE [MQTT5-2.2.1-6] and one code for each
// filter, in their order [MQTT5-3.11.3-1]. MQTT 3.1 and 3.1.1 carry neither codes nor reason.
func AppendUnsuback(dst []byte, v Version, id uint16, codes []Code, reason string) []byte {
	if v == V5 {
		return appendCodes(dst, UNSUBACK, id, codes, reason)
	}
	dst = append(dst, byte(UNSUBACK)<<4, 2)
	return binary.BigEndian.AppendUint16(dst, id)
}

// AnswerSize is the size in bytes of a SUBACK or UNSUBACK of MQTT 5 with so many codes and no reason.
func AnswerSize(codes int) int {
	n := 2 + reasonSize("") + codes
	return 1 + varintSize(uint32(n)) + n
}

// appendCodes appends a packet of MQTT 5 that is a list of codes. It has no user properties
// [MQTT5-3.9.2-2] [MQTT5-3.11.2-2].
func appendCodes(dst []byte, t Type, id uint16, codes []Code, reason string) []byte {
	reason = clip(reason, reasonMax)
	dst = append(dst, byte(t)<<4)
	dst = appendVarint(dst, uint32(2+reasonSize(reason)+len(codes)))
	dst = binary.BigEndian.AppendUint16(dst, id)
	dst = appendReason(dst, reason)
	for _, c := range codes {
		dst = append(dst, byte(t.listed(c)))
	}
	return dst
}
