package session

import (
	"math/bits"
	"sync"
)

// The lengths of rings: at least ringMin, and at most ringKept while little is in them. Those that are longer, up to ringShared, are passed on
// from one session to the next: each burst would otherwise make and leave some.
const (
	ringMin    = 4
	ringKept   = 64
	ringShared = 1024
)

// ringFor is how long a ring is to be after something left it. It waits until seven eighths
// are free, so that a queue that goes up and down is not copied each time.
func ringFor(length, used int) int {
	for length > ringKept && used <= length/8 {
		length = max(ringKept, length/4)
	}
	return length
}

// rings are those that no session has now, by their length.
type rings[T any] [8]sync.Pool

var (
	slotRings  rings[slot]
	placeRings rings[place]
)

// take returns an empty ring.
func (r *rings[T]) take(length int) []T {
	if p := r.of(length); p != nil {
		if ring, ok := p.Get().(*[]T); ok {
			return *ring
		}
	}
	return make([]T, length)
}

// give takes back a ring that is not used any more.
func (r *rings[T]) give(ring []T) {
	if p := r.of(len(ring)); p != nil {
		clear(ring)
		p.Put(&ring)
	}
}

// of is where rings of a length are, a power of two; nil if they are too short or too long for that.
func (r *rings[T]) of(length int) *sync.Pool {
	if length < ringKept || length > ringShared {
		return nil
	}
	return &r[bits.Len(uint(length))-bits.Len(ringKept)]
}
