package bridge

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// The user properties by which brokers tell each other where a message began and what it came through. A client that
// publishes them itself speaks for a bridge.
const (
	// PropertyOrigin is "<broker>:<number>": the broker where the message was published, and its count of such messages.
	PropertyOrigin = "penstock-origin"
	// PropertyPath is a broker that took the message from a bridge. It stands there once for each, in order.
	PropertyPath = "penstock-path"
	// PropertyAgain is the client identifier of a bridge that may have sent the message before: it says nothing about those of others.
	PropertyAgain = "penstock-again"
	// PropertyBridge, of CONNECT, is the broker on whose behalf a bridge connects.
	PropertyBridge = "penstock-bridge"
)

// pathMax bounds the brokers that a message comes through.
const pathMax = 32

// A trace is what the properties of a message say of its way.
type trace struct {
	origin string
	number uint64
	path   []string
	again  string
}

// userProperty is the encoding of a user property up to its value (MQTT 5, 2.2.2.2): identifier, length and name.
func userProperty(name string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x26}, uint16(len(name)))
	return append(b, name...)
}

var (
	originMark = userProperty(PropertyOrigin)
	pathMark   = userProperty(PropertyPath)
	againMark  = userProperty(PropertyAgain)
)

// appendMark appends the user property of a mark.
func appendMark(dst, mark []byte, value string) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, mark...), uint16(len(value)))
	return append(dst, value...)
}

// cutMark finds the next user property of a mark in encoded properties, and what follows it.
func cutMark(properties, mark []byte) (value string, rest []byte, ok bool) {
	_, rest, ok = bytes.Cut(properties, mark)
	if !ok || len(rest) < 2 {
		return "", nil, false
	}
	length := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; length > len(rest) {
		return "", nil, false
	}
	return string(rest[:length]), rest[length:], true
}

// readTrace finds the trace in encoded properties. ok is false for a message that came through no bridge.
func readTrace(properties []byte) (t trace, ok bool) {
	if len(properties) < len(originMark) {
		return trace{}, false
	}
	value, rest, found := cutMark(properties, originMark)
	if !found {
		return trace{}, false
	}
	origin, number, _ := strings.Cut(value, ":")
	n, err := strconv.ParseUint(number, 36, 64)
	if err != nil || origin == "" {
		return trace{}, false
	}
	t = trace{origin: origin, number: n}
	t.again, _, _ = cutMark(rest, againMark)
	for len(t.path) <= pathMax {
		step, after, more := cutMark(rest, pathMark)
		if !more {
			break
		}
		t.path, rest = append(t.path, step), after
	}
	return t, true
}

// passed reports whether the message was at a broker before.
func (t *trace) passed(broker string) bool {
	return t.origin == broker || slices.Contains(t.path, broker)
}

// appendOrigin appends the property that begins a trace.
func appendOrigin(dst []byte, broker string, number uint64) []byte {
	return appendMark(dst, originMark, broker+":"+strconv.FormatUint(number, 36))
}
