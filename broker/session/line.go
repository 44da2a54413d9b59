package session

import (
	"sort"

	"github.com/penstockmq/penstock/broker/ring"
)

// A place is one number that waits for its turn.
type place struct {
	number uint64
	slot
}

// A line is what waits to be handed to a connection, by ascending number: a ring. Numbers that are
// done have no place, so a gap costs nothing however wide it is.
type line struct {
	places []place // empty, or a power of two long
	first  int     // where the oldest is
	length int
}

func (l *line) at(i int) *place { return &l.places[(l.first+i)&(len(l.places)-1)] }

// push appends a number above all others. Its place is to be filled.
func (l *line) push(number uint64) *place {
	if l.length == len(l.places) {
		l.resize(max(ringMin, 2*len(l.places)))
	}
	l.length++
	p := l.at(l.length - 1)
	p.number = number
	return p
}

// find returns the place of a number, or nil.
func (l *line) find(number uint64) *place {
	i := sort.Search(l.length, func(i int) bool { return l.at(i).number >= number })
	if i < l.length && l.at(i).number == number {
		return l.at(i)
	}
	return nil
}

// pop takes out the oldest.
func (l *line) pop() {
	*l.at(0) = place{}
	l.first = (l.first + 1) & (len(l.places) - 1)
	l.length--
	l.shrink()
}

// popLast takes out the newest.
func (l *line) popLast() {
	*l.at(l.length - 1) = place{}
	l.length--
	l.shrink()
}

// remove takes out one of the oldest: those before it move up.
func (l *line) remove(i int) {
	for ; i > 0; i-- {
		*l.at(i) = *l.at(i - 1)
	}
	l.pop()
}

func (l *line) shrink() {
	if shorter := ringFor(len(l.places), l.length); shorter < len(l.places) {
		l.resize(shorter)
	}
}

// resize moves everything to a ring of another length, which must hold it.
func (l *line) resize(length int) {
	places := placeRings.Take(length)
	for i := range l.length {
		places[i] = *l.at(i)
	}
	placeRings.Give(l.places)
	l.places, l.first = places, 0
}

// The lengths of rings: at least ringMin, and at most ringKept while little is in them. What is longer is passed on from one session to the
// next: each burst would otherwise make and leave some.
const (
	ringMin  = 4
	ringKept = ring.Shortest
)

var (
	slotRings  ring.Pool[slot]
	placeRings ring.Pool[place]
)

// ringFor is how long a ring is to be after something left it. It waits until seven eighths
// are free, so that a queue that goes up and down is not copied each time.
func ringFor(length, used int) int {
	for length > ringKept && used <= length/8 {
		length = max(ringKept, length/4)
	}
	return length
}
