// Package ring passes memory on: what one queue needed for a moment goes to the next that grows, so that bursts make
// no work for the collector and a queue that is quiet again holds little.
//
// A ring is a slice whose length is a power of two, used as a circle. What is in it, and where it begins, is its owner's; here is only
// who may have it next. A Pool keeps rings of a few lengths, and lets the collector have those that nobody asks for.
//
// Tested here for rings that are not empty, and by the guards of package broker for what a burst allocates.
package ring

import (
	"math/bits"
	"sync"
)

// Rings shorter than Shortest or longer than Longest are not kept.
const (
	Shortest = 64
	Longest  = 1024
)

// A Pool has rings that nobody uses now. Its methods are safe for concurrent use. The zero value is empty.
type Pool[T any] struct {
	byLength [8]sync.Pool
}

// Take returns a ring of zero values. length is a power of two.
func (p *Pool[T]) Take(length int) []T {
	if of := p.of(length); of != nil {
		if r, ok := of.Get().(*[]T); ok {
			return *r
		}
	}
	return make([]T, length)
}

// Give takes back a ring that Take returned, and which is not used any more.
func (p *Pool[T]) Give(r []T) {
	if of := p.of(len(r)); of != nil {
		clear(r)
		of.Put(&r)
	}
}

// of is where rings of a length are, nil if they are not kept.
func (p *Pool[T]) of(length int) *sync.Pool {
	if length < Shortest || length > Longest {
		return nil
	}
	return &p.byLength[bits.Len(uint(length))-bits.Len(Shortest)]
}
