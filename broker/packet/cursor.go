package packet

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// A cursor reads a packet body from front to back. After the first failure it reads
// zero values, and err keeps what was wrong; so a decoder reads its fields and asks once.
// What it returns aliases the body.
type cursor struct {
	rest []byte
	err  error
}

// fail keeps the first failure.
func (c *cursor) fail(code Code, text string) {
	if c.err == nil {
		c.err = Refuse(code, text)
	}
	c.rest = nil
}

// take cuts n bytes off the front.
func (c *cursor) take(n int, field string) []byte {
	if n > len(c.rest) {
		c.fail(MalformedPacket, field+": packet ends within it")
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) byte(field string) byte {
	if b := c.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16(field string) uint16 {
	if b := c.take(2, field); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32(field string) uint32 {
	if b := c.take(4, field); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// varint reads a variable byte integer in the only width it may have [MQTT5-1.5.5-1].
func (c *cursor) varint(field string) uint32 {
	v, width := varint(c.rest)
	if width <= 0 || width != varintSize(v) {
		c.fail(MalformedPacket, field+": malformed variable byte integer")
		return 0
	}
	c.rest = c.rest[width:]
	return v
}

// binary reads binary data (MQTT 5, 1.5.6).
func (c *cursor) binary(field string) []byte {
	return c.take(int(c.uint16(field)), field)
}

// text reads a UTF-8 encoded string (MQTT 5, 1.5.4).
func (c *cursor) text(field string) []byte {
	b := c.binary(field)
	if !validText(b) {
		c.fail(MalformedPacket, field+": not a UTF-8 encoded string")
		return nil
	}
	return b
}

// packetID reads a packet identifier, which is never 0 [MQTT5-2.2.1-3] [MQTT311-2.3.1-1].
func (c *cursor) packetID(t Type) uint16 {
	id := c.uint16("packet identifier")
	if id == 0 {
		c.fail(ProtocolError, t.String()+": packet identifier 0")
	}
	return id
}

// end refuses what follows the last field: the packet is not what its length says.
func (c *cursor) end(t Type) {
	if len(c.rest) > 0 {
		c.fail(MalformedPacket, t.String()+": bytes after the last field")
	}
}

// validText reports whether b may be the content of a UTF-8 encoded string: well-formed, thus
// without surrogates [MQTT5-1.5.4-1] [MQTT311-1.5.3-1], and without U+0000 [MQTT5-1.5.4-2]
// [MQTT311-1.5.3-2]. Control characters and noncharacters, which a receiver may refuse, are
// accepted; a byte order mark is a character like any other [MQTT5-1.5.4-3] [MQTT311-1.5.3-3].
func validText(b []byte) bool {
	return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
}

// ValidPayload reports whether a payload is what a payload format indicator of 1
// claims: well-formed UTF-8 (MQTT 5, 3.3.2.3.2). Unlike in a string, U+0000 may occur.
func ValidPayload(p []byte) bool { return utf8.Valid(p) }
