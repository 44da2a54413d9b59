package script

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The packet types, and the will's properties as if they were one more.
const (
	connect = 1 + iota
	connack
	publish
	puback
	pubrec
	pubrel
	pubcomp
	subscribe
	suback
	unsubscribe
	unsuback
	pingreq
	pingresp
	disconnect
	auth
	will
)

var packetName = [...]string{"", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE",
	"SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}

type propertyKind byte

const (
	oneByte propertyKind = iota
	twoBytes
	fourBytes
	varBytes
	text
	binaryData
	pair
)

// A property is a row of MQTT 5, table 2-4, with the name scripts use.
type property struct {
	id      byte
	name    string
	kind    propertyKind
	packets []byte
}

var acks = []byte{puback, pubrec, pubrel, pubcomp, suback, unsuback, connack, disconnect, auth}

var propertyTable = []property{
	{0x01, "format", oneByte, []byte{publish, will}},
	{0x02, "expiry", fourBytes, []byte{publish, will}},
	{0x03, "type", text, []byte{publish, will}},
	{0x08, "response", text, []byte{publish, will}},
	{0x09, "corr", binaryData, []byte{publish, will}},
	{0x0B, "subid", varBytes, []byte{publish, subscribe}},
	{0x11, "expiry", fourBytes, []byte{connect, connack, disconnect}},
	{0x12, "assigned", text, []byte{connack}},
	{0x13, "keepalive", twoBytes, []byte{connack}},
	{0x15, "method", text, []byte{connect, connack, auth}},
	{0x16, "data", binaryData, []byte{connect, connack, auth}},
	{0x17, "request_problem", oneByte, []byte{connect}},
	{0x18, "delay", fourBytes, []byte{will}},
	{0x19, "request_response", oneByte, []byte{connect}},
	{0x1A, "response_info", text, []byte{connack}},
	{0x1C, "reference", text, []byte{connack, disconnect}},
	{0x1F, "reason", text, acks},
	{0x21, "receive_maximum", twoBytes, []byte{connect, connack}},
	{0x22, "alias_maximum", twoBytes, []byte{connect, connack}},
	{0x23, "alias", twoBytes, []byte{publish}},
	{0x24, "max_qos", oneByte, []byte{connack}},
	{0x25, "retain_available", oneByte, []byte{connack}},
	{0x26, "user", pair, append([]byte{connect, publish, will, subscribe, unsubscribe}, acks...)},
	{0x27, "max_packet", fourBytes, []byte{connect, connack}},
	{0x28, "wildcard_available", oneByte, []byte{connack}},
	{0x29, "subids_available", oneByte, []byte{connack}},
	{0x2A, "shared_available", oneByte, []byte{connack}},
}

// A value is one property of a packet.
type value struct {
	*property
	number uint32
	text   string // for a pair the key
	second string // of a pair
}

// encodeProperties takes the options that are properties of the packet, in the order
// in which they were written; prefix is will_ for the will's.
func encodeProperties(packet byte, prefix string, o *options) []byte {
	var w writing
	for i := range o.list {
		opt := &o.list[i]
		name, ok := strings.CutPrefix(opt.key, prefix)
		if !ok || opt.used {
			continue
		}
		at := slices.IndexFunc(propertyTable, func(p property) bool {
			return p.name == name && slices.Contains(p.packets, packet)
		})
		if at < 0 {
			continue
		}
		opt.used = true
		if err := encodeProperty(&w, &propertyTable[at], opt.value); err != nil {
			o.fail(fmt.Errorf("%s: %w", opt.key, err))
		}
	}
	return w
}

func encodeProperty(w *writing, p *property, s string) error {
	w.byte(p.id)
	switch p.kind {
	case text, binaryData:
		w.text(s)
		return nil
	case pair:
		key, val, _ := strings.Cut(s, ":")
		w.text(key)
		w.text(val)
		return nil
	}
	bits := map[propertyKind]int{oneByte: 8, twoBytes: 16, fourBytes: 32, varBytes: 28}[p.kind]
	n, err := strconv.ParseUint(s, 0, bits)
	if err != nil {
		return err
	}
	switch p.kind {
	case oneByte:
		w.byte(byte(n))
	case twoBytes:
		w.two(uint16(n))
	case fourBytes:
		w.four(uint32(n))
	case varBytes:
		w.varint(uint32(n))
	}
	return nil
}

// decodeProperties reads the properties of a packet from the server and refuses what
// no server may send: a property of another packet, or the same twice.
func decodeProperties(r *reading, packet byte) ([]value, error) {
	in := &reading{rest: r.take(int(r.varint()))}
	if r.short {
		return nil, nil // which is said of the packet
	}
	var out []value
	for len(in.rest) > 0 {
		id := in.byte()
		at := slices.IndexFunc(propertyTable, func(p property) bool { return p.id == id })
		if at < 0 || !slices.Contains(propertyTable[at].packets, packet) {
			return nil, fmt.Errorf("property 0x%02x in %s", id, packetName[packet])
		}
		p := &propertyTable[at]
		again := slices.ContainsFunc(out, func(v value) bool { return v.id == id })
		if again && p.name != "user" && p.name != "subid" {
			return nil, fmt.Errorf("property %s twice", p.name)
		}
		out = append(out, decodeProperty(in, p))
	}
	if in.short {
		return nil, fmt.Errorf("properties end too early")
	}
	// Only the order among user properties means anything.
	slices.SortStableFunc(out, func(a, b value) int {
		if a.id == b.id {
			return cmp.Compare(a.number, b.number)
		}
		return cmp.Compare(a.id, b.id)
	})
	return out, nil
}

func decodeProperty(in *reading, p *property) value {
	v := value{property: p}
	switch p.kind {
	case oneByte:
		v.number = uint32(in.byte())
	case twoBytes:
		v.number = uint32(in.two())
	case fourBytes:
		v.number = in.four()
	case varBytes:
		v.number = in.varint()
	case pair:
		v.text, v.second = in.text(), in.text()
	default:
		v.text = in.text()
	}
	return v
}

// String is the property as in a script.
func (v value) String() string {
	switch v.kind {
	case text, binaryData:
		return v.name + "=" + quote(v.text)
	case pair:
		return v.name + "=" + quote(v.text+":"+v.second)
	}
	return fmt.Sprintf("%s=%d", v.name, v.number)
}
