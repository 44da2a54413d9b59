package badger

import (
	"encoding/binary"
	"maps"
	"slices"
)

// A manifest is what Badger's file MANIFEST says (4.9.6): which tables there are, and on which level. The file begins with 8 bytes;
// then come sets of changes, each with its length and CRC-32C, both big endian, as a protocol buffer (pb.ManifestChangeSet).
type manifest struct {
	levels map[uint64]uint64 // of the tables that there are, by id
	newest uint64            // the largest id it ever named
	whole  int               // bytes up to the end of the last set that is whole
}

// manifestHeader is "Bdgr", two bytes for whoever uses Badger, and its version.
const manifestHeader = "Bdgr\x00\x00\x00\x08"

// The fields of a change, and the operations.
const (
	changeID        = 1
	changeOperation = 2
	changeLevel     = 3

	operationDelete = 1
)

// parseManifest reads a manifest up to the first byte that is wrong.
func parseManifest(data []byte) *manifest {
	m := &manifest{levels: make(map[uint64]uint64)}
	if len(data) < len(manifestHeader) || string(data[:len(manifestHeader)]) != manifestHeader {
		return m
	}
	m.whole = len(manifestHeader)
	for {
		rest := data[m.whole:]
		if len(rest) < 8 {
			return m
		}
		length := uint64(binary.BigEndian.Uint32(rest))
		if length > uint64(len(rest)-8) || binary.BigEndian.Uint32(rest[4:]) != checksum(rest[8:8+length]) || !m.apply(rest[8:8+length]) {
			return m
		}
		m.whole += 8 + int(length)
	}
}

// apply makes one set of changes.
func (m *manifest) apply(set []byte) bool {
	c := &cursor{rest: set}
	for len(c.rest) > 0 {
		if c.uvarint() != 1<<3|2 { // field 1, of variable length
			return false
		}
		fields, ok := decodeFields(c.bytes())
		if !ok || c.bad {
			return false
		}
		id := fields[changeID]
		m.newest = max(m.newest, id)
		if fields[changeOperation] == operationDelete {
			delete(m.levels, id)
			continue
		}
		m.levels[id] = fields[changeLevel]
	}
	return !c.bad
}

// decodeFields reads a protocol buffer in which all fields are numbers.
func decodeFields(b []byte) (fields map[uint64]uint64, ok bool) {
	fields = make(map[uint64]uint64)
	c := &cursor{rest: b}
	for len(c.rest) > 0 {
		tag := c.uvarint()
		if tag&7 != 0 {
			return nil, false
		}
		fields[tag>>3] = c.uvarint()
	}
	return fields, !c.bad
}

// encode writes a manifest with the same tables.
func (m *manifest) encode() []byte {
	var set []byte
	for _, id := range slices.Sorted(maps.Keys(m.levels)) {
		change := binary.AppendUvarint([]byte{changeID << 3}, id)
		if level := m.levels[id]; level > 0 {
			change = binary.AppendUvarint(append(change, changeLevel<<3), level)
		}
		set = appendBytes(append(set, 1<<3|2), change)
	}
	b := []byte(manifestHeader)
	b = binary.BigEndian.AppendUint32(b, uint32(len(set)))
	b = binary.BigEndian.AppendUint32(b, checksum(set))
	return append(b, set...)
}
