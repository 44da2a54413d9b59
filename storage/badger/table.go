package badger

import (
	"encoding/binary"
	"iter"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
)

// What this file knows of Badger's tables (4.9.6, without compression and encryption): blocks, an index of them, its length, its
// checksum and the length of that, from the end. A block is entries, their offsets, how many they are, a checksum and the length of
// that. Lengths are big endian; offsets and an entry's header (two lengths of its key: what it shares with the block's first, and
// what follows) are as the machine has them. Badger ends the process when an index is not whole, so this is looked at before.

const (
	tableSuffix = ".sst"
	// blockMax is more than any block has: values in tables end at valueThreshold.
	blockMax    = 64 << 10
	entryHeader = 4
)

// sumField is the tag of the sum in a checksum (pb.Checksum). The algorithm in front is CRC-32C, which is 0 and left out.
const sumField = 2 << 3

// checksumMax is the longest a checksum is: a tag and 32 bits.
const checksumMax = 1 + binary.MaxVarintLen32

// unchecked takes the checksum off the end of data. ok is false if it is not right.
func unchecked(data []byte) (contents []byte, ok bool) {
	if len(data) < 4 {
		return nil, false
	}
	end := len(data) - 4
	length := binary.BigEndian.Uint32(data[end:])
	if length > checksumMax || int(length) > end {
		return nil, false
	}
	sum, ok := decodeFields(data[end-int(length) : end])
	return data[:end-int(length)], ok && len(sum) <= 1
}

// checked is unchecked for contents that the checksum covers.
func checked(data []byte) (contents []byte, ok bool) {
	contents, ok = unchecked(data)
	if !ok {
		return nil, false
	}
	sum, _ := decodeFields(data[len(contents) : len(data)-4])
	return contents, sum[sumField>>3] == uint64(checksum(contents))
}

// tableBlocks finds the blocks of a table that are whole, and reports whether all are.
func tableBlocks(data []byte) (blocks [][]byte, whole bool) {
	index, ok := tableIndex(data)
	if !ok {
		return scanBlocks(data), false
	}
	whole = true
	var at fb.BlockOffset
	for i := range index.OffsetsLength() {
		index.Offsets(&at, i)
		from, to := uint64(at.Offset()), uint64(at.Offset())+uint64(at.Len())
		if to > uint64(len(data)) {
			whole = false
			continue
		}
		block, ok := checked(data[from:to])
		if !ok || !validBlock(block) {
			whole = false
			continue
		}
		blocks = append(blocks, block)
	}
	return blocks, whole && len(blocks) > 0
}

// tableIndex returns the index of a table, if it is whole.
func tableIndex(data []byte) (*fb.TableIndex, bool) {
	body, ok := unchecked(data)
	if !ok || len(body) < 4 {
		return nil, false
	}
	end := len(body) - 4
	length := binary.BigEndian.Uint32(body[end:])
	if int64(length) > int64(end) || length == 0 {
		return nil, false
	}
	index := body[end-int(length) : end]
	sum, _ := decodeFields(data[len(body) : len(data)-4])
	if sum[sumField>>3] != uint64(checksum(index)) {
		return nil, false
	}
	return fb.GetRootAsTableIndex(index, 0), true
}

// scanBlocks finds the blocks of a table without an index, which tells where they end: up to the first that is not whole.
func scanBlocks(data []byte) (blocks [][]byte) {
	for {
		block, size := scanBlock(data)
		if size == 0 {
			return blocks
		}
		blocks = append(blocks, block)
		data = data[size:]
	}
}

// scanBlock finds the end of the block with which data begins by its checksum.
func scanBlock(data []byte) (block []byte, size int) {
	for end := 4 + checksumMax; end <= min(len(data), blockMax); end++ {
		if length := binary.BigEndian.Uint32(data[end-4:]); length < 2 || length > checksumMax || data[end-4-int(length)] != sumField {
			continue
		}
		if block, ok := checked(data[:end]); ok && validBlock(block) {
			return block, end
		}
	}
	return nil, 0
}

// versionBytes is what a version takes at the end of a key.
const versionBytes = 8

// validBlock reports whether blockEntries can read a block. One whose checksum is right can be, but for bytes that only look like a block.
func validBlock(block []byte) bool {
	end := len(block) - 4
	if end < 0 {
		return false
	}
	count := int(binary.BigEndian.Uint32(block[end:]))
	if count == 0 || count > end/4 {
		return false
	}
	offsets, base := block[end-4*count:end], 0
	to := uint32(end - 4*count)
	for i := count - 1; i >= 0; i-- {
		from := binary.NativeEndian.Uint32(offsets[4*i:])
		if from > to || to-from < entryHeader || i == 0 && from != 0 {
			return false
		}
		e := block[from:to]
		shared, more := int(binary.NativeEndian.Uint16(e)), int(binary.NativeEndian.Uint16(e[2:]))
		if more > len(e)-entryHeader || shared+more < versionBytes || !validValue(e[entryHeader+more:]) {
			return false
		}
		if base = max(base, shared); i == 0 && (shared != 0 || base > more) {
			return false
		}
		to = from
	}
	return true
}

// validValue reports whether Badger can decode what stands under a key: two bytes, when it expires, and the value.
func validValue(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	_, n := binary.Uvarint(b[2:])
	return n > 0
}

// A tableEntry is a key, with its version at the end, and what stands under it.
type tableEntry struct{ key, value []byte }

// blockEntries lists the entries of a whole block.
func blockEntries(block []byte) iter.Seq[tableEntry] {
	return func(yield func(tableEntry) bool) {
		end := len(block) - 4
		count := int(binary.BigEndian.Uint32(block[end:]))
		offsets := block[end-4*count : end]
		var base []byte
		for i := range count { // all of it as validBlock wants it
			from, to := binary.NativeEndian.Uint32(offsets[4*i:]), uint32(end-4*count)
			if i+1 < count {
				to = binary.NativeEndian.Uint32(offsets[4*i+4:])
			}
			e := block[from:to]
			shared, more := binary.NativeEndian.Uint16(e), binary.NativeEndian.Uint16(e[2:])
			e = e[entryHeader:]
			key := append(append(make([]byte, 0, int(shared)+int(more)), base[:shared]...), e[:more]...)
			if i == 0 {
				base = key
			}
			if !yield(tableEntry{key, e[more:]}) {
				return
			}
		}
	}
}

// buildTable makes a table of blocks. One of no blocks has an entry that says that a record that never was is deleted: a table cannot
// be empty, and this one overlaps no other.
func buildTable(id uint64, blocks [][]byte) []byte {
	b := table.NewTableBuilder(table.Options{TableSize: memTableSize, BlockSize: 4 << 10, BloomFalsePositive: 0.01})
	defer b.Close()
	for _, block := range blocks {
		for e := range blockEntries(block) {
			var v y.ValueStruct
			v.Decode(e.value)
			b.Add(e.key, v, 0)
		}
	}
	if len(blocks) == 0 {
		const deleted = 1 // Badger's bitDelete
		b.Add(y.KeyWithTs(idKey(keyFlush, id), 1), y.ValueStruct{Meta: deleted}, 0)
	}
	return b.Finish()
}
