package badger

import (
	"encoding/binary"
	"slices"

	"github.com/penstockmq/penstock/storage"
)

// marks say how far the delivery of each number of a queue came: two bits for each from the floor on. Numbers below the
// floor are Done, those beyond the words Queued. The zero marks know nothing; floor 1 is a new queue's.
type marks struct {
	floor uint64
	words []uint64 // 32 numbers each; the first begins with floor rounded down to a multiple of 32
}

const (
	marksPerWord = 32
	wordDone     = ^uint64(0) // 32 numbers that are all Done
)

func (m *marks) base() uint64 { return m.floor &^ (marksPerWord - 1) }

func (m *marks) get(seq uint64) storage.Progress {
	if seq < m.floor {
		return storage.Done
	}
	n := seq - m.base()
	if n/marksPerWord >= uint64(len(m.words)) {
		return storage.Queued
	}
	return storage.Progress(m.words[n/marksPerWord] >> (n % marksPerWord * 2) & 3)
}

// set moves a number on; it is never moved back.
func (m *marks) set(seq uint64, p storage.Progress) {
	if m.get(seq) >= p {
		return
	}
	n := seq - m.base()
	if more := int(n/marksPerWord) + 1 - len(m.words); more > 0 {
		m.words = append(m.words, make([]uint64, more)...)
	}
	word, shift := &m.words[n/marksPerWord], n%marksPerWord*2
	*word = *word&^(3<<shift) | uint64(p)<<shift
}

// fill sets the numbers from one up to another, which are Queued.
func (m *marks) fill(from, to uint64, p storage.Progress) {
	const each = wordDone / 3 // a one in every number's place
	for seq := from; seq < to; seq++ {
		whole := seq%marksPerWord == 0 && to-seq >= marksPerWord
		if at := (seq - m.base()) / marksPerWord; whole && at <= uint64(len(m.words)) {
			m.words = append(m.words[:at], each*uint64(p))
			seq += marksPerWord - 1
			continue
		}
		m.set(seq, p)
	}
}

// trim raises the floor over what is Done, but not over next.
func (m *marks) trim(next uint64) {
	for m.floor < next && len(m.words) > 0 {
		if m.floor%marksPerWord == 0 && m.words[0] == wordDone && m.floor+marksPerWord <= next {
			m.floor += marksPerWord
			m.words = m.words[1:]
			continue
		}
		if m.get(m.floor) != storage.Done {
			return
		}
		m.floor++
		if m.floor%marksPerWord == 0 {
			m.words = m.words[1:]
		}
	}
	if len(m.words) == 0 {
		m.words = nil // let go of the array
	}
}

// count is how many numbers from first to last are not Done.
func (m *marks) count(first, last uint64) int {
	n := 0
	for seq := max(first, m.floor); seq <= last; seq++ {
		if m.get(seq) != storage.Done {
			n++
		}
	}
	return n
}

// appendTo writes the floor, and from there to the end of the words runs of equal progress.
func (m *marks) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, m.floor)
	end := m.base() + uint64(len(m.words))*marksPerWord
	for seq := m.floor; seq < end; {
		p, from := m.get(seq), seq
		for seq < end && m.get(seq) == p {
			seq++
		}
		if seq < end || p != storage.Queued {
			b = binary.AppendUvarint(b, (seq-from)<<2|uint64(p))
		}
	}
	return b
}

// marksMax is more than any span of marks or run of acknowledgements is: two bits each would fill the memory.
const marksMax = 1 << 34

// decodeMarks reads what appendTo wrote to the end of c. A record may say as much as the queue has had numbers, up to next, and no more; it
// speaks of whole words.
func decodeMarks(c *cursor, next uint64) marks {
	m := marks{floor: c.uvarint()}
	for seq := m.floor; len(c.rest) > 0; {
		run := c.uvarint()
		end := seq + run>>2
		if end < seq || end > next+marksPerWord || end-m.floor > marksMax {
			c.fail()
			return m
		}
		if p := storage.Progress(run & 3); p != storage.Queued {
			m.words = slices.Grow(m.words, int((end-m.base())/marksPerWord)+1-len(m.words))
			m.fill(seq, end, p)
		}
		seq = end
	}
	return m
}
