package packet

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Forwarded are the properties of a message that travel from publisher to subscriber unaltered.
type Forwarded struct {
	PayloadFormat   *byte // nil when absent
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	User            []UserProperty
}

// ParseProperties reads Message.Properties. What it returns shares nothing with b.
func ParseProperties(b []byte) (Forwarded, error) {
	var f Forwarded
	p := properties{cursor: cursor{rest: b}, allowed: forwardedProperties}
	for p.next() {
		switch p.id {
		case propPayloadFormat:
			format := byte(p.number)
			f.PayloadFormat = &format
		case propContentType:
			f.ContentType = string(p.value)
		case propResponseTopic:
			f.ResponseTopic = string(p.value)
		case propCorrelationData:
			f.CorrelationData = bytes.Clone(p.value)
		case propUser:
			f.User = append(f.User, UserProperty{string(p.key), string(p.value)})
		}
	}
	if p.err != nil {
		return Forwarded{}, p.err
	}
	return f, nil
}

// AppendProperties appends the properties as Message.Properties holds them. Empty strings and
// nil slices are left out; what is longer than 65535 bytes is cut.
func AppendProperties(dst []byte, f *Forwarded) []byte {
	if f.PayloadFormat != nil {
		dst = append(dst, byte(propPayloadFormat), *f.PayloadFormat)
	}
	if f.ContentType != "" {
		dst = appendText(append(dst, byte(propContentType)), clip(f.ContentType, textMax))
	}
	if f.ResponseTopic != "" {
		dst = appendText(append(dst, byte(propResponseTopic)), clip(f.ResponseTopic, textMax))
	}
	if f.CorrelationData != nil {
		data := clipData(f.CorrelationData)
		dst = binary.BigEndian.AppendUint16(append(dst, byte(propCorrelationData)), uint16(len(data)))
		dst = append(dst, data...)
	}
	for _, u := range f.User {
		dst = appendText(append(dst, byte(propUser)), clip(u.Key, textMax))
		dst = appendText(dst, clip(u.Value, textMax))
	}
	return dst
}

// UserProperties ranges over the user properties in Message.Properties, in their order. It
// allocates the two strings and nothing else; it stops at what is malformed.
func UserProperties(b []byte) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		p := properties{cursor: cursor{rest: b}, allowed: forwardedProperties}
		for p.next() {
			if p.id == propUser && !yield(string(p.key), string(p.value)) {
				return
			}
		}
	}
}
