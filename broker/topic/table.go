package topic

import "sync/atomic"

const (
	segmentsLen = 64 // so that growing is done in small steps; a power of two
	slotsMin    = 8  // of a segment that has any; a power of two

	// What a tag says of its slot; every other tag is the hash of the entry there.
	tagEmpty = 0 // no entry, nor one in the slots a search would try after it
	tagGone  = 1 // an entry was here
	tagMin   = 2
)

// An entry is one edge of a tree: what is found under key from parent. The entries of
// one tree all live in one table, so an entry with few edges pays for no map of its own.
type entry[T any] struct {
	// Fixed.
	key    string
	parent *entry[T]
	hash   uint32 // of the whole path, at least tagMin
	// edges counts the entries whose parent this is. A writer changes it, anyone reads it.
	edges atomic.Int32
	body  T
}

// under is the hash of the entry with that key under e.
func (e *entry[T]) under(keyHash uint64) uint32 { return tag(mix(uint64(e.hash), keyHash)) }

// tag makes the hash of a path fit for a slot.
func tag(hash uint64) uint32 { return max(tagMin, uint32(hash>>32)) }

// A table finds an entry by parent and key. One writer at a time changes it (its
// owner's mutex sees to that) while any number of readers search it, without a lock: an
// entry never moves within the arrays a reader may hold, and arrays are replaced as a whole.
type table[T any] struct {
	segments [segmentsLen]segment[T]
}

type segment[T any] struct {
	slots atomic.Pointer[slots[T]] // nil when there is nothing
	// Only the writer touches these.
	live int // entries
	used int // slots that are not tagEmpty
}

// slots is an open-addressed hash table, probed linearly. The tags stand apart from the entries so that a
// search for what is not there reads one cache line.
type slots[T any] struct {
	tags    []atomic.Uint32
	entries []atomic.Pointer[entry[T]]
}

// find returns the entry with that parent and key, or nil.
func (t *table[T]) find(parent *entry[T], hash uint32, key string) *entry[T] {
	s := t.segments[hash%segmentsLen].slots.Load()
	if s == nil {
		return nil
	}
	mask := uint32(len(s.tags) - 1)
	for i := hash / segmentsLen & mask; ; i = (i + 1) & mask {
		switch s.tags[i].Load() {
		case tagEmpty:
			return nil
		case hash:
			// The slot may be changing hands: what is in it counts, not the tag.
			e := s.entries[i].Load()
			if e != nil && e.parent == parent && e.key == key {
				return e
			}
		}
	}
}

// insert adds an entry that is not there.
func (t *table[T]) insert(e *entry[T]) {
	g := &t.segments[e.hash%segmentsLen]
	s := g.slots.Load()
	if s == nil || (g.used+1)*4 > len(s.tags)*3 {
		s = g.rebuild(g.live + 1)
	}
	if s.put(e) == tagEmpty {
		g.used++
	}
	g.live++
	if e.parent != nil {
		e.parent.edges.Add(1)
	}
}

// remove takes out an entry that is there.
func (t *table[T]) remove(e *entry[T]) {
	g := &t.segments[e.hash%segmentsLen]
	s := g.slots.Load()
	mask := uint32(len(s.tags) - 1)
	i := e.hash / segmentsLen & mask
	for s.entries[i].Load() != e {
		i = (i + 1) & mask
	}
	s.tags[i].Store(tagGone)
	s.entries[i].Store(nil)
	g.live--
	if e.parent != nil {
		e.parent.edges.Add(-1)
	}
	switch {
	case g.live == 0:
		g.slots.Store(nil)
		g.used = 0
	case len(s.tags) > slotsMin && g.live*8 < len(s.tags):
		g.rebuild(g.live)
	}
}

// rebuild moves the entries to new slots, at least twice as many as live.
func (g *segment[T]) rebuild(live int) *slots[T] {
	size := slotsMin
	for size < live*2 {
		size *= 2
	}
	fresh := &slots[T]{
		tags:    make([]atomic.Uint32, size),
		entries: make([]atomic.Pointer[entry[T]], size),
	}
	if old := g.slots.Load(); old != nil {
		for i := range old.entries {
			if e := old.entries[i].Load(); e != nil {
				fresh.put(e)
			}
		}
	}
	g.used = g.live
	g.slots.Store(fresh)
	return fresh
}

// put takes the first free slot for an entry and returns the tag that was there.
func (s *slots[T]) put(e *entry[T]) (before uint32) {
	mask := uint32(len(s.tags) - 1)
	for i := e.hash / segmentsLen & mask; ; i = (i + 1) & mask {
		if tag := s.tags[i].Load(); tag < tagMin {
			s.entries[i].Store(e) // first, so that who finds the tag finds the entry
			s.tags[i].Store(e.hash)
			return tag
		}
	}
}
