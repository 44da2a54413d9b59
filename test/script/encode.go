package script

import (
	"fmt"
	"strings"
)

func flagBit(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// encodeConnect builds CONNECT for the version from the options.
func encodeConnect(version byte, clean bool, id string, o *options) []byte {
	var body, payload writing
	name := "MQTT"
	if version == 3 {
		name = "MQIsdp"
	}
	body.text(name)
	body.byte(version)
	flags := flagBit(clean, 0x02)
	payload.text(id)
	flags |= encodeWill(&payload, version, o)
	if s, ok := o.text("username"); ok {
		flags |= 0x80
		payload.text(s)
	}
	if s, ok := o.text("password"); ok {
		flags |= 0x40
		payload.text(s)
	}
	body.byte(flags)
	body.two(uint16(o.number("keepalive", 16, 0)))
	body.properties(version, encodeProperties(connect, "", o))
	body.bytes(payload)
	return frame(connect<<4, body)
}

// encodeWill appends the will to the payload and returns its connect flags.
func encodeWill(payload *writing, version byte, o *options) byte {
	topic, ok := o.text("will")
	if !ok {
		return 0
	}
	message, _ := o.text("will_payload")
	flags := byte(0x04) | byte(o.number("will_qos", 2, 0))<<3 | flagBit(o.flag("will_retain"), 0x20)
	payload.properties(version, encodeProperties(will, "will_", o))
	payload.text(topic)
	payload.text(message)
	return flags
}

// encodePublish builds PUBLISH; id is used when the options do not name one and the QoS needs one.
func encodePublish(version byte, id func() uint16, o *options) []byte {
	var body writing
	topic, payload := o.next("topic"), o.next("payload")
	if size := o.number("size", 32, 0); size > 0 {
		payload = strings.Repeat(payload, int(size)/max(len(payload), 1))
	}
	qos := byte(o.number("qos", 2, 0))
	body.text(topic)
	if qos > 0 {
		body.two(takeID(id, o))
	}
	body.properties(version, encodeProperties(publish, "", o))
	body.bytes([]byte(payload))
	return frame(publish<<4|qos<<1|flagBit(o.flag("dup"), 8)|flagBit(o.flag("retain"), 1), body)
}

// takeID is the packet identifier of the options, or the next one.
func takeID(next func() uint16, o *options) uint16 {
	if n := o.number("id", 16, 0x10000); n != 0x10000 {
		return uint16(n)
	}
	return next()
}

// encodeSubscribe builds SUBSCRIBE from filters with their options, separated by commas.
func encodeSubscribe(version byte, id func() uint16, list []string) ([]byte, error) {
	var filters, body, properties writing
	packetID, given := uint16(0), false
	for _, group := range split(list, ",") {
		o := newOptions(group)
		filters.text(o.next("filter"))
		bits := byte(o.number("qos", 2, 0)) | flagBit(o.flag("nolocal"), 4) | flagBit(o.flag("rap"), 8) | byte(o.number("rh", 2, 0))<<4
		filters.byte(bits)
		if n := o.number("id", 16, 0x10000); n != 0x10000 {
			packetID, given = uint16(n), true
		}
		properties.bytes(encodeProperties(subscribe, "", o))
		if err := o.done(); err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
	}
	if !given {
		packetID = id()
	}
	body.two(packetID)
	body.properties(version, properties)
	body.bytes(filters)
	return frame(subscribe<<4|2, body), nil
}

func split(list []string, at string) [][]string {
	groups := [][]string{nil}
	for _, w := range list {
		if w == at {
			groups = append(groups, nil)
			continue
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], w)
	}
	return groups
}

// encodeUnsubscribe builds UNSUBSCRIBE from filters.
func encodeUnsubscribe(version byte, id func() uint16, o *options) []byte {
	var body, filters writing
	packetID := takeID(id, o)
	properties := encodeProperties(unsubscribe, "", o)
	for o.more() {
		filters.text(o.next("filter"))
	}
	body.two(packetID)
	body.properties(version, properties)
	body.bytes(filters)
	return frame(unsubscribe<<4|2, body)
}

// encodeAck builds PUBACK, PUBREC, PUBREL or PUBCOMP, as short as it can be.
func encodeAck(kind byte, id uint16, code byte, properties []byte) []byte {
	var body writing
	body.two(id)
	if code != 0 || len(properties) > 0 {
		body.byte(code)
	}
	if len(properties) > 0 {
		body.sized(properties)
	}
	return frame(kind<<4|flagBit(kind == pubrel, 2), body)
}

// encodeDisconnect builds DISCONNECT or AUTH, as short as it can be.
func encodeDisconnect(kind, version byte, o *options) []byte {
	var body writing
	code := byte(o.number("code", 8, 0))
	properties := encodeProperties(kind, "", o)
	if version == 5 && (code != 0 || len(properties) > 0) {
		body.byte(code)
		if len(properties) > 0 {
			body.sized(properties)
		}
	}
	return frame(kind<<4, body)
}
