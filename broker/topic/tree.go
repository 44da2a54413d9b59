package topic

import (
	"strings"
	"sync"
	"sync/atomic"
)

// A Tree maps topic names to values V and finds all whose name a filter matches. It is safe for
// concurrent use; Get and Match take no lock.
type Tree[V any] struct {
	root *twig[V]
	// Shared; only who holds mu changes them.
	mu    sync.Mutex
	table table[leaf[V]]
	len   atomic.Int64
}

// A twig is the path of levels with which some names start.
type twig[V any] = entry[leaf[V]]

// The twigs one level further than another form a list. A new one comes first and one taken out keeps its
// next: a reader on its way through the list meets every twig that is there throughout, and
// no name twice, even one that is deleted and set again.
type leaf[V any] struct {
	value atomic.Pointer[V] // of the name that ends here, or nil
	first atomic.Pointer[entry[leaf[V]]]
	next  atomic.Pointer[entry[leaf[V]]]
	prev  *entry[leaf[V]] // only writers read it
}

// NewTree makes an empty Tree.
func NewTree[V any]() *Tree[V] { return &Tree[V]{root: &twig[V]{hash: tagMin}} }

// Len is the number of names.
func (t *Tree[V]) Len() int { return int(t.len.Load()) }

// Get returns the value of a name.
func (t *Tree[V]) Get(name string) (v V, had bool) {
	if at := t.find(name); at != nil {
		if p := at.body.value.Load(); p != nil {
			return *p, true
		}
	}
	return v, false
}

// Set makes v the value of a name and returns the one it had. It keeps nothing of the string.
func (t *Tree[V]) Set(name string, v V) (old V, had bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.root
	for more := true; more; {
		var level string
		level, name, more = strings.Cut(name, "/")
		hash := at.under(hashString(level))
		to := t.table.find(at, hash, level)
		if to == nil {
			to = t.grow(at, level, hash)
		}
		at = to
	}
	if p := at.body.value.Swap(&v); p != nil {
		return *p, true
	}
	t.len.Add(1)
	return old, false
}

// Delete removes a name and returns the value it had.
func (t *Tree[V]) Delete(name string) (old V, had bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.find(name)
	if at == nil {
		return old, false
	}
	p := at.body.value.Swap(nil)
	if p == nil {
		return old, false
	}
	t.len.Add(-1)
	t.prune(at)
	return *p, true
}

// Match calls visit for every name that the filter matches, in no particular order, until it returns
// false. What is set or deleted meanwhile may be visited or not; no name is visited
// twice. Visit is called without a lock and may change the tree.
func (t *Tree[V]) Match(filter string, visit func(name string, v V) bool) {
	if !HasWildcard(filter) {
		if v, had := t.Get(filter); had {
			visit(filter, v)
		}
		return
	}
	w := walk[V]{tree: t, visit: visit}
	w.match(t.root, filter)
}

// A walk is one Match.
type walk[V any] struct {
	tree  *Tree[V]
	visit func(name string, v V) bool
	name  []byte // of the twig it is at
}

// match visits what the filter, or the rest of one, matches from a twig on. It returns false to end the walk.
func (w *walk[V]) match(at *twig[V], filter string) bool {
	level, rest, more := strings.Cut(filter, "/")
	switch level {
	case "#":
		return w.here(at) && w.eachUnder(at, w.all) // here: sport/# matches sport (MQTT 5, 4.7.1.2)
	case "+":
		if !more {
			return w.eachUnder(at, w.here)
		}
		return w.eachUnder(at, func(to *twig[V]) bool { return w.match(to, rest) })
	}
	to := w.tree.table.find(at, at.under(hashString(level)), level)
	switch {
	case to == nil:
		return true
	case !more:
		return w.enter(to, w.here)
	}
	return w.enter(to, func(to *twig[V]) bool { return w.match(to, rest) })
}

// all visits a twig and everything from it on.
func (w *walk[V]) all(at *twig[V]) bool { return w.here(at) && w.eachUnder(at, w.all) }

func (w *walk[V]) here(at *twig[V]) bool {
	p := at.body.value.Load()
	return p == nil || w.visit(string(w.name), *p)
}

// eachUnder enters every twig one level further that a wildcard stands for.
func (w *walk[V]) eachUnder(at *twig[V], f func(*twig[V]) bool) bool {
	for to := at.body.first.Load(); to != nil; to = to.body.next.Load() {
		if at == w.tree.root && isReserved(to.key) {
			continue // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
		}
		if !w.enter(to, f) {
			return false
		}
	}
	return true
}

// enter calls f with the name extended by a twig's level.
func (w *walk[V]) enter(to *twig[V], f func(*twig[V]) bool) bool {
	before := len(w.name)
	if to.parent != w.tree.root {
		w.name = append(w.name, '/')
	}
	w.name = append(w.name, to.key...)
	more := f(to)
	w.name = w.name[:before]
	return more
}

func (t *Tree[V]) find(name string) *twig[V] {
	at := t.root
	for more := true; more && at != nil; {
		var level string
		level, name, more = strings.Cut(name, "/")
		at = t.table.find(at, at.under(hashString(level)), level)
	}
	return at
}

// grow makes the twig one level further.
func (t *Tree[V]) grow(at *twig[V], level string, hash uint32) *twig[V] {
	to := &twig[V]{key: strings.Clone(level), parent: at, hash: hash}
	first := at.body.first.Load()
	to.body.next.Store(first)
	if first != nil {
		first.body.prev = to
	}
	at.body.first.Store(to)
	t.table.insert(to)
	return to
}

// prune takes out a twig that leads nowhere, and what leads only to it.
func (t *Tree[V]) prune(at *twig[V]) {
	for at != t.root && at.body.value.Load() == nil && at.edges.Load() == 0 {
		next := at.body.next.Load()
		if next != nil {
			next.body.prev = at.body.prev
		}
		if at.body.prev != nil {
			at.body.prev.body.next.Store(next)
		} else {
			at.parent.body.first.Store(next)
		}
		t.table.remove(at)
		at = at.parent
	}
}
