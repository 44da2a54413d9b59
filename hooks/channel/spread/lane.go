package spread

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/penstockmq/penstock/broker/packet"
)

// A lane is the messages of one key while one of them, the current, was read and is not done. Two keys whose hashes are equal share a
// lane, which keeps the order of both.
type lane struct {
	key     uint64
	current *entry
	waiting backlog // numbers behind the current, which were passed over
}

// A backlog is a rising sequence of numbers, a byte or two for each.
type backlog struct {
	len         int
	first, last uint64
	gaps        []byte // from each number to the next, as varints
	head        int    // in gaps
}

func (b *backlog) push(number uint64) {
	if b.len == 0 {
		*b = backlog{first: number, last: number, gaps: b.gaps[:0], len: 1}
		return
	}
	b.gaps = binary.AppendUvarint(b.gaps, number-b.last)
	b.last = number
	b.len++
}

// pop takes the first number; there must be one.
func (b *backlog) pop() uint64 {
	number := b.first
	if b.len--; b.len == 0 {
		return number
	}
	gap, n := binary.Uvarint(b.gaps[b.head:])
	b.first += gap
	b.head += n
	if b.head >= 1<<10 && b.head*2 >= len(b.gaps) {
		b.gaps = b.gaps[:copy(b.gaps, b.gaps[b.head:])]
		b.head = 0
	}
	return number
}

// laneOf finds the key of a message. 0 is none.
func (s *Spread) laneOf(m *packet.Message) uint64 {
	if s.rules.Key == nil {
		return 0
	}
	key, ok := s.rules.Key(m)
	if !ok {
		return 0
	}
	return max(1, maphash.String(s.seed, key))
}

// advance goes on to the next message of a lane when its current one is done.
func (s *Spread) advance(l *lane, now int64) {
	l.current = nil
	if l.waiting.len == 0 {
		delete(s.lanes, l.key)
		return
	}
	e := s.enter(l.waiting.pop(), nil)
	e.lane, l.current = l, e
	s.waiting--
	if m, ok := s.held[e.number]; ok {
		s.letGo(e.number, m)
		e.message, e.size = m, m.Size()
	}
	s.schedule(e, now)
}

// hold keeps a message that was passed over in memory, if there is room.
func (s *Spread) hold(number uint64, m *packet.Message) {
	if len(s.held) >= heldMax || s.heldBytes+m.Size() > heldBytesMax {
		return
	}
	if _, ok := s.held[number]; !ok {
		s.held[number] = m
		s.heldBytes += m.Size()
	}
}

func (s *Spread) letGo(number uint64, m *packet.Message) {
	delete(s.held, number)
	s.heldBytes -= m.Size()
}
