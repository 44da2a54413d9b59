package topic

import (
	"strings"
	"sync"
	"sync/atomic"
)

// An Index maps topic filters to values V and remembers, for topic names in use, a
// plan P made from the values that match. It is safe for concurrent use; Lookup and
// Match take no lock that Add and Remove hold.
//
// Once Add has returned, every Lookup or Match that starts and every Plan that is Current
// includes the value; once Remove has returned, none does.
type Index[V comparable, P any] struct {
	// Fixed when NewIndex returns.
	build   func(name string, matched []V) P
	root    *branch[V]
	changes *changes
	cache   *cache[P]
	// Shared.
	mu        sync.Mutex       // who changes the two tables holds it; who reads them does not
	exact     table[values[V]] // filters without wildcard, each as one key
	wildcards table[edges[V]]  // the others, level by level from root
	len       atomic.Int64
	buffers   sync.Pool // *[]V, for Lookup
}

// A branch is the path of levels with which some filters with wildcards start.
type branch[V comparable] = entry[edges[V]]

type edges[V comparable] struct {
	plus atomic.Pointer[entry[edges[V]]] // the branch one + further, which is not in the table
	here values[V]                       // of the filter that ends here
	rest values[V]                       // of the filter that ends with # after this
}

// bufferMax is the number of matching values up to which Lookup keeps its buffer for the next.
const bufferMax = 4096

// NewIndex makes an empty Index. Build makes a plan for a name from the values that match, one for each
// filter they are under, in no particular order; it must not keep the slice, may be called by
// several goroutines at once, and runs under no lock. About cacheMax plans are remembered (rounded up to a power of two,
// at least 8), fewer when many values match each: 32 values per plan on average.
func NewIndex[V comparable, P any](build func(name string, matched []V) P, cacheMax int) *Index[V, P] {
	c := newCache[P](cacheMax)
	return &Index[V, P]{
		build:   build,
		root:    &branch[V]{hash: tagMin},
		changes: newChanges(len(c.sets) * ways),
		cache:   c,
	}
}

// Len is the number of pairs of filter and value.
func (x *Index[V, P]) Len() int { return int(x.len.Load()) }

// Add puts a value under a filter. It does nothing if it is there already. The index
// keeps the filter, or parts of it, so it should not be part of a much larger string.
func (x *Index[V, P]) Add(filter string, v V) (added bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if HasWildcard(filter) {
		added = x.addWildcard(filter, v)
	} else {
		added = x.addExact(filter, v)
	}
	if added {
		x.len.Add(1)
		x.changes.announce(filter)
	}
	return added
}

// Remove takes a value from under a filter. It does nothing if it is not there.
func (x *Index[V, P]) Remove(filter string, v V) (removed bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if HasWildcard(filter) {
		removed = x.removeWildcard(filter, v)
	} else {
		removed = x.removeExact(filter, v)
	}
	if removed {
		x.len.Add(-1)
		x.changes.announce(filter)
	}
	return removed
}

// Invalidate has the plans of names that match the filter made again. It is called after something that
// they hold about a value has changed.
func (x *Index[V, P]) Invalidate(filter string) { x.changes.announce(filter) }

// InvalidateAll has every plan made again.
func (x *Index[V, P]) InvalidateAll() { x.changes.announce("#") }

// Lookup returns the plan for a name, remembered or made now. A caller may keep the plan for as long
// as it is Current, which is cheaper than another Lookup.
func (x *Index[V, P]) Lookup(name []byte) *Plan[P] {
	hash := hashBytes(name)
	if p := x.cache.find(hash, name); p != nil && p.Current() {
		p.markUsed()
		return p
	}
	return x.cache.keep(hash, x.plan(string(name)))
}

// plan makes a plan. It notes the state of all changes before it matches: a change it may have missed then
// makes the plan outdated.
func (x *Index[V, P]) plan(name string) *Plan[P] {
	p := newPlan[P](name, x.changes)
	buffer, _ := x.buffers.Get().(*[]V)
	if buffer == nil {
		buffer = new([]V)
	}
	matched := x.Match(name, (*buffer)[:0])
	p.Value = x.build(name, matched)
	p.weight = int32(1 + len(matched))
	if cap(matched) <= bufferMax {
		clear(matched)
		*buffer = matched
		x.buffers.Put(buffer)
	}
	return p
}

// Match appends the values under every filter that matches a name to dst, one for each filter
// they are under, in no particular order.
func (x *Index[V, P]) Match(name string, dst []V) []V {
	if e := x.exact.find(nil, tag(hashString(name)), name); e != nil {
		dst = e.body.appendTo(dst)
	}
	return x.matchWildcards(name, dst)
}

// matchWildcards goes down all branches that match at once, level by level.
func (x *Index[V, P]) matchWildcards(name string, dst []V) []V {
	if !isReserved(name) { // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
		dst = x.root.body.rest.appendTo(dst)
	}
	var a, b [16]*branch[V]
	at, next := a[:0], b[:0]
	at = append(at, x.root)
	for more := true; more && len(at) > 0; {
		var level string
		level, name, more = strings.Cut(name, "/")
		levelHash := hashString(level)
		next = next[:0]
		for _, from := range at {
			if from.edges.Load() > 0 {
				if to := x.wildcards.find(from, from.under(levelHash), level); to != nil {
					dst = to.body.rest.appendTo(dst)
					next = append(next, to)
				}
			}
			to := from.body.plus.Load()
			if to != nil && (from != x.root || !isReserved(level)) { // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
				dst = to.body.rest.appendTo(dst)
				next = append(next, to)
			}
		}
		at, next = next, at
	}
	for _, end := range at {
		dst = end.body.here.appendTo(dst)
	}
	return dst
}

func (x *Index[V, P]) addExact(filter string, v V) bool {
	hash := tag(hashString(filter))
	e := x.exact.find(nil, hash, filter)
	if e != nil {
		return e.body.add(v)
	}
	e = &entry[values[V]]{key: filter, hash: hash}
	e.body.add(v)
	x.exact.insert(e)
	return true
}

func (x *Index[V, P]) removeExact(filter string, v V) bool {
	e := x.exact.find(nil, tag(hashString(filter)), filter)
	if e == nil || !e.body.remove(v) {
		return false
	}
	if e.body.empty() {
		x.exact.remove(e)
	}
	return true
}

func (x *Index[V, P]) addWildcard(filter string, v V) bool {
	at := x.root
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if level == "#" {
			return at.body.rest.add(v)
		}
		to := x.step(at, level)
		if to == nil {
			to = x.grow(at, level)
		}
		at = to
	}
	return at.body.here.add(v)
}

func (x *Index[V, P]) removeWildcard(filter string, v V) bool {
	at, found := x.root, &x.root.body.rest
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		if level == "#" {
			found = &at.body.rest
			break
		}
		if at = x.step(at, level); at == nil {
			return false
		}
		found = &at.body.here
	}
	if !found.remove(v) {
		return false
	}
	x.prune(at)
	return true
}

// step returns the branch one level of a filter further, or nil.
func (x *Index[V, P]) step(at *branch[V], level string) *branch[V] {
	if level == "+" {
		return at.body.plus.Load()
	}
	return x.wildcards.find(at, at.under(hashString(level)), level)
}

// grow makes the branch one level further.
func (x *Index[V, P]) grow(at *branch[V], level string) *branch[V] {
	to := &branch[V]{parent: at, hash: at.under(hashString(level))}
	if level == "+" {
		to.key = "+"
		at.body.plus.Store(to)
	} else {
		to.key = strings.Clone(level) // a branch may outlive the filter that made it
		x.wildcards.insert(to)
	}
	return to
}

// prune takes out a branch that leads nowhere, and what leads only to it.
func (x *Index[V, P]) prune(at *branch[V]) {
	for at != x.root && at.edges.Load() == 0 && at.body.plus.Load() == nil &&
		at.body.here.empty() && at.body.rest.empty() {
		if at.key == "+" {
			at.parent.body.plus.Store(nil)
		} else {
			x.wildcards.remove(at)
		}
		at = at.parent
	}
}
