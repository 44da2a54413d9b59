package topic

import "sync/atomic"

// A Plan is what was made of the values that match a name, shared by all who look the name up.
type Plan[P any] struct {
	// Fixed.
	Value      P
	Name       string // the topic name; callers may keep it instead of a copy of their own
	changes    *changes
	watches    [watchesMax]watch
	watchesLen int32
	weight     int32 // what it counts for in the cache
	// Shared.
	seen atomic.Uint64 // changes.count up to which nothing concerned the plan
	used atomic.Bool   // looked up since the cache last asked
}

// newPlan makes a plan without a value that knows the state of all changes from before it was called.
func newPlan[P any](name string, c *changes) *Plan[P] {
	p := &Plan[P]{Name: name, changes: c}
	p.seen.Store(c.count.Load())
	p.watchesLen = int32(len(c.watch(name, p.watches[:0])))
	return p
}

// Current reports whether the plan is right. It is false once a change may have made it
// wrong, and stays so; Lookup then gives another. While nothing changes anywhere it costs two
// atomic loads. A nil plan is not current.
func (p *Plan[P]) Current() bool {
	return p != nil && (p.seen.Load() == p.changes.count.Load() || p.unconcerned())
}

// unconcerned reports whether no change so far concerned the plan. It takes the count before the counters,
// which go up before the count: so it cannot note a change as seen that it has not looked for.
func (p *Plan[P]) unconcerned() bool {
	count := p.changes.count.Load()
	if !p.changes.unchanged(p.watches[:p.watchesLen]) {
		return false
	}
	p.seen.Store(count)
	return true
}

// markUsed writes only when it must, so that a plan in use stays in every processor's cache.
func (p *Plan[P]) markUsed() {
	if !p.used.Load() {
		p.used.Store(true)
	}
}
