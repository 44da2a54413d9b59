package badger

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/penstockmq/penstock/storage"
)

// recordVersion is the first byte of every record. A reader refuses what it does not know.
const recordVersion = 1

// sealedBytes is what stands before the contents of a record: version and checksum.
const sealedBytes = 1 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// newRecord begins a record: contents are appended, then seal is called.
func newRecord(size int) []byte { return make([]byte, sealedBytes, sealedBytes+size) }

// seal writes version and checksum in front of the contents.
func seal(record []byte) []byte {
	record[0] = recordVersion
	binary.LittleEndian.PutUint32(record[1:], checksum(record[sealedBytes:]))
	return record
}

// unseal returns the contents of a record whose version is known and whose checksum is right.
func unseal(record []byte) ([]byte, error) {
	if len(record) < sealedBytes {
		return nil, errMalformed
	}
	if record[0] != recordVersion {
		return nil, ErrNewer
	}
	if binary.LittleEndian.Uint32(record[1:]) != checksum(record[sealedBytes:]) {
		return nil, errChecksum
	}
	return record[sealedBytes:], nil
}

// checkSizes refuses a change whose record would not fit a value. The largest part of a session is its will, whose properties
// are only bounded by limits.max_packet_size; what else can be large is written in parts.
func checkSizes(changes []storage.Change) error {
	for _, c := range changes {
		if p, is := c.(storage.PutSession); is && p.Session.Will != nil && p.Session.Will.Message.Size() > partBytes {
			return fmt.Errorf("session %q: a will of %d bytes: %w", p.Session.ID, p.Session.Will.Message.Size(), storage.ErrFull)
		}
	}
	return nil
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

// A cursor reads contents and remembers that something was wrong. What it returns after that is zero.
type cursor struct {
	rest []byte
	bad  bool
}

func (c *cursor) fail() {
	c.rest, c.bad = nil, true
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.rest)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cursor) byte() byte {
	if len(c.rest) == 0 {
		c.fail()
		return 0
	}
	v := c.rest[0]
	c.rest = c.rest[1:]
	return v
}

func (c *cursor) uint32() uint32 {
	if len(c.rest) < 4 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(c.rest)
	c.rest = c.rest[4:]
	return v
}

func (c *cursor) uint64() uint64 {
	if len(c.rest) < 8 {
		c.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(c.rest)
	c.rest = c.rest[8:]
	return v
}

// count reads a number of things of which each takes at least size bytes of the rest.
func (c *cursor) count(size int) int {
	v := c.uvarint()
	if v > uint64(len(c.rest)/size) {
		c.fail()
		return 0
	}
	return int(v)
}

// bytes returns a part of what is read, not a copy.
func (c *cursor) bytes() []byte {
	n := c.count(1)
	v := c.rest[:n:n]
	c.rest = c.rest[n:]
	return v
}

func (c *cursor) text() string { return string(c.bytes()) }

// end is the error of a record that was read to its end.
func (c *cursor) end() error {
	if c.bad || len(c.rest) > 0 {
		return errMalformed
	}
	return nil
}
