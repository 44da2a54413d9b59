package topic

import (
	"strings"
	"sync/atomic"
)

const (
	stemLevels   = 4                // of a filter, that its stem looks at
	watchesMax   = 2*stemLevels + 2 // see watch
	countersMin  = 1 << 12
	countersMax  = 1 << 16
	countersEach = 8 // per plan remembered
)

// changes lets a plan find out whether a change since it was made may concern it, without a
// list of plans: a change counts up the counter that its filter's stem hashes to, and a
// plan knows the counters of every stem whose filters could match its name. Stems that
// share a counter cost a plan that is made again without need, nothing else.
//
// The stem of a filter without wildcard is the filter. The stem of another is what
// comes before its first wildcard, or, if that is a + with a literal level after
// it, all up to that level; no more than stemLevels levels of it. So a subscription to device/17/# or
// site/+/17/# does not have the plans for other devices made again.
type changes struct {
	// count is of all changes: while it stands still, no counter need be looked at.
	count atomic.Uint64
	_     [56]byte // apart from what never changes
	// counters are, in the first half, of filters with wildcards, in the second of those without.
	counters []atomic.Uint32
}

func newChanges(plansMax int) *changes {
	size := countersMin
	for size < countersEach*plansMax && size < countersMax {
		size *= 2
	}
	return &changes{counters: make([]atomic.Uint32, 2*size)}
}

// announce tells that what matches the filter has changed. It is called after the
// change. The count goes up last: a plan that has seen the count has seen the counter.
func (c *changes) announce(filter string) {
	counter := c.ofName(filter)
	if HasWildcard(filter) {
		counter = c.ofStem(stem(filter))
	}
	c.counters[counter].Add(1)
	c.count.Add(1)
}

func (c *changes) ofStem(hash uint64) uint32 { return uint32(hash) & uint32(len(c.counters)/2-1) }

func (c *changes) ofName(name string) uint32 {
	return c.ofStem(hashString(name)) + uint32(len(c.counters)/2)
}

const (
	stemRoot = 0          // hash of no levels
	stemPlus = 0x2b2b2b2b // stands for the hash of + as a level
)

// stem is the hash of the stem of a filter with wildcards.
func stem(filter string) uint64 {
	hash := uint64(stemRoot)
	for range stemLevels {
		level, rest, more := strings.Cut(filter, "/")
		switch level {
		case "#":
			return hash
		case "+":
			if after, _, _ := strings.Cut(rest, "/"); more && after != "+" && after != "#" {
				return mix(mix(hash, stemPlus), hashString(after))
			}
			return hash
		}
		hash = mix(hash, hashString(level))
		filter = rest
	}
	return hash
}

// A watch is a counter and what it stood at.
type watch struct{ counter, seen uint32 }

// watch writes down where the counters stand of the stem of every filter that matches
// a name: the name itself, its first levels (none to stemLevels of them), and the same with one
// level more and + for the level before it.
func (c *changes) watch(name string, dst []watch) []watch {
	add := func(counter uint32) {
		dst = append(dst, watch{counter, c.counters[counter].Load()})
	}
	add(c.ofName(name))
	hash := uint64(stemRoot)
	add(c.ofStem(hash))
	level, rest, more := strings.Cut(name, "/")
	levelHash := hashString(level)
	for range stemLevels {
		before := hash
		hash = mix(before, levelHash)
		add(c.ofStem(hash))
		if !more {
			break
		}
		level, rest, more = strings.Cut(rest, "/")
		levelHash = hashString(level)
		add(c.ofStem(mix(mix(before, stemPlus), levelHash)))
	}
	return dst
}

// unchanged reports whether the counters stand where they did.
func (c *changes) unchanged(watches []watch) bool {
	for _, w := range watches {
		if c.counters[w.counter].Load() != w.seen {
			return false
		}
	}
	return true
}
