package topic

import (
	"sync"
	"sync/atomic"
)

const (
	ways       = 8  // plans in a set
	weightEach = 32 // what a plan may weigh on average
)

// A cache remembers plans, found by name without a lock. It is a set-associative one: a name's hash
// says the set, and a set that is full gives up one of its plans, so that neither
// inserting nor giving up looks at more than one set. Plans that were looked up again are kept in
// favour of those that were not: a publisher that runs through millions of names
// replaces its own.
type cache[P any] struct {
	// Fixed when newCache returns.
	sets      []set[P] // a power of two
	weightMax int64
	// Shared.
	weight atomic.Int64 // of all plans, so that plans for a hundred thousand values each do not add up
	hand   atomic.Uint64
}

// A set is written with mu held and read without. The tags, parts of the hashes, spare a reader the
// way to plans of other names; the name in the plan decides.
type set[P any] struct {
	tags  [ways]atomic.Uint32
	plans [ways]atomic.Pointer[Plan[P]]
	mu    sync.Mutex
	hand  uint8    // the plan to ask next whether it was used; guarded by mu
	_     [23]byte // to whole cache lines
}

func newCache[P any](plansMax int) *cache[P] {
	sets := 1
	for sets*ways < plansMax {
		sets *= 2
	}
	return &cache[P]{sets: make([]set[P], sets), weightMax: int64(sets) * ways * weightEach}
}

func (c *cache[P]) set(hash uint64) (s *set[P], tag uint32) {
	return &c.sets[hash&uint64(len(c.sets)-1)], uint32(hash >> 32)
}

// find returns the plan of a name, current or not, or nil.
func (c *cache[P]) find(hash uint64, name []byte) *Plan[P] {
	s, tag := c.set(hash)
	for i := range s.tags {
		if s.tags[i].Load() == tag {
			if p := s.plans[i].Load(); p != nil && p.Name == string(name) {
				return p
			}
		}
	}
	return nil
}

// keep remembers a plan and returns it, or the one that another goroutine was first with.
func (c *cache[P]) keep(hash uint64, p *Plan[P]) *Plan[P] {
	s, tag := c.set(hash)
	s.mu.Lock()
	i := s.placeLocked(tag, p.Name)
	old := s.plans[i].Load()
	if old != nil && old.Name == p.Name && old.Current() {
		s.mu.Unlock()
		return old
	}
	s.plans[i].Store(p)
	s.tags[i].Store(tag)
	s.mu.Unlock()

	gained := int64(p.weight)
	if old != nil {
		gained -= int64(old.weight)
	}
	if c.weight.Add(gained) > c.weightMax {
		c.lighten(p)
	}
	return p
}

// placeLocked says where a plan goes: in place of the one of the same name, else where there is none, else in
// place of one that was not used lately. Each call ages one plan, so that one no longer in use goes in the end.
func (s *set[P]) placeLocked(tag uint32, name string) int {
	place, unused := -1, -1
	for n := range ways {
		i := (int(s.hand) + n) % ways
		p := s.plans[i].Load()
		switch {
		case p == nil:
			place = i
		case s.tags[i].Load() == tag && p.Name == name:
			return i
		case unused < 0 && !p.used.Load():
			unused = i
		}
	}
	if place >= 0 {
		return place
	}
	oldest := int(s.hand)
	s.hand = uint8((oldest + 1) % ways)
	s.plans[oldest].Load().used.Store(false)
	if unused >= 0 {
		return unused
	}
	return oldest
}

// lighten gives up plans, set by set, those in use last, until the rest is light enough. It spares one plan. The
// sets it passes are few next to the values whose plans made it necessary.
func (c *cache[P]) lighten(spared *Plan[P]) {
	for range 2 * len(c.sets) { // the first time around it may only have aged them
		if c.weight.Load() <= c.weightMax {
			return
		}
		s := &c.sets[c.hand.Add(1)&uint64(len(c.sets)-1)]
		c.weight.Add(-int64(s.dropUnused(spared)))
	}
}

// dropUnused gives up the plans not used since it was last called and returns what they weighed.
func (s *set[P]) dropUnused(spared *Plan[P]) (weight int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.plans {
		p := s.plans[i].Load()
		if p == nil || p == spared || p.used.Swap(false) {
			continue
		}
		s.plans[i].Store(nil)
		weight += int(p.weight)
	}
	return weight
}
