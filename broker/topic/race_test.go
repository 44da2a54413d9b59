package topic

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// What a contested value's state counts, modulo 4.
const (
	isOut = iota
	isBeingAdded
	isIn
	isBeingRemoved
)

// The values of TestIndexRace that never change.
const (
	crowdFirst = 10_000
	crowdLen   = 300
)

// A contested value is added to and removed from one filter over and over by one writer.
type contested struct {
	filter string
	v      int
	state  atomic.Int64
}

// TestIndexRace: while values come and go, a Lookup or Match that starts after Add returned and
// every plan that is current includes the value, and none does after Remove returned.
func TestIndexRace(t *testing.T) {
	r := setting.Random(t)
	names := []string{"a", "a/b", "a/b/c", "b", "b/b", "$SYS/b"}
	filters := []string{"a", "a/b", "a/+", "a/#", "+/b", "#", "+", "a/b/c", "+/+/c", "$SYS/#", "$SYS/b"}
	x := newNumbers(8)
	for v := range crowdLen { // so that chunks change under readers as well
		x.Add("a/+", crowdFirst+v)
	}
	var all []*contested
	for v := range 12 * len(filters) {
		all = append(all, &contested{filter: filters[v%len(filters)], v: v})
	}
	var writers, readers sync.WaitGroup
	var stop atomic.Bool
	for part := range slices.Chunk(all, 6*len(filters)) {
		random := rand.New(rand.NewPCG(r.Uint64(), 0))
		writers.Go(func() {
			for !stop.Load() {
				part[random.IntN(len(part))].flip(x)
			}
		})
	}
	for range 2 {
		random := rand.New(rand.NewPCG(r.Uint64(), 0))
		readers.Go(func() {
			held := map[string]*Plan[[]int]{}
			for settled := 0; settled < 20_000; {
				name := names[random.IntN(len(names))]
				var n int
				held[name], n = observe(t, x, all, name, held[name])
				settled += n
			}
		})
	}
	readers.Wait()
	stop.Store(true)
	writers.Wait()
}

func (c *contested) flip(x *Index[int, []int]) {
	if c.state.Add(1)%4 == isBeingAdded {
		x.Add(c.filter, c.v)
	} else {
		x.Remove(c.filter, c.v)
	}
	c.state.Add(1)
}

// observe looks at one name and reports values that are there or not though they were settled
// otherwise from before the look until after it. It says how many were settled.
func observe(t *testing.T, x *Index[int, []int], all []*contested, name string, held *Plan[[]int]) (p *Plan[[]int], settled int) {
	before := make([]int64, len(all))
	for i, c := range all {
		before[i] = c.state.Load()
	}
	current := held.Current()
	matched := x.Match(name, nil)
	p = x.Lookup([]byte(name))
	for i, c := range all {
		state := before[i] % 4
		if !Match(c.filter, name) || c.state.Load() != before[i] || state == isBeingAdded || state == isBeingRemoved {
			continue
		}
		settled++
		want := state == isIn
		if slices.Contains(matched, c.v) != want {
			t.Errorf("Match(%q): %d under %q there: %v", name, c.v, c.filter, !want)
		}
		if slices.Contains(p.Value, c.v) != want {
			t.Errorf("Lookup(%q): %d under %q there: %v", name, c.v, c.filter, !want)
		}
		if current && slices.Contains(held.Value, c.v) != want {
			t.Errorf("a current plan for %q: %d under %q there: %v", name, c.v, c.filter, !want)
		}
	}
	checkCrowd(t, name, matched)
	return p, settled
}

// checkCrowd checks that no value is given twice and that the standing ones are there.
func checkCrowd(t *testing.T, name string, matched []int) {
	slices.Sort(matched)
	if len(slices.Compact(slices.Clone(matched))) != len(matched) {
		t.Errorf("Match(%q) gives a value twice", name)
	}
	for v := range crowdLen {
		if _, found := slices.BinarySearch(matched, crowdFirst+v); found != Match("a/+", name) {
			t.Errorf("Match(%q): the standing value %d is there: %v", name, v, found)
		}
	}
}

// TestPlanRace: a plan that is looked at, or made, while a change goes on is current afterwards only if it
// shows the change.
func TestPlanRace(t *testing.T) {
	r := setting.Random(t)
	x := newNumbers(8)
	name := []byte("a/b")
	for round := range 9_000 {
		filter := []string{"a/b", "a/+", "a/#", "+/b", "#"}[r.IntN(5)]
		held, made := x.Lookup(name), x.Lookup(name)
		var changed atomic.Bool
		var writer sync.WaitGroup
		writer.Go(func() {
			change(x, filter, round%3 == 2)
			changed.Store(true)
		})
		for poll := 1; !changed.Load(); poll++ {
			if poll%4096 == 0 {
				runtime.Gosched() // the writer may have no processor of its own
			}
			if round%3 == 1 {
				made = x.plan(string(name))
			} else {
				held.Current()
			}
		}
		writer.Wait()
		want := x.Match(string(name), nil)
		if held.Current() {
			t.Fatalf("round %d: a plan from before the change of %q is current", round, filter)
		}
		if made.Current() && !slices.Equal(made.Value, want) {
			t.Fatalf("round %d: a plan made during the change of %q is current with %v, want %v", round, filter, made.Value, want)
		}
	}
}

// change adds a value under a filter or removes it, or only says so, right after a change elsewhere.
func change(x *Index[int, []int], filter string, only bool) {
	if only {
		x.Invalidate("other")
		x.Invalidate(filter)
		return
	}
	if !x.Add(filter, 1) {
		x.Remove(filter, 1)
	}
}

// TestCrowdRace: readers of a large filter that grows and shrinks find each standing value once.
func TestCrowdRace(t *testing.T) {
	x := newNumbers(8)
	const standing = 300
	for v := range 4 * standing {
		x.Add("a", v)
	}
	var writer, readers sync.WaitGroup
	var stop atomic.Bool
	writer.Go(func() {
		for range 10 {
			for v := standing; v < 4*standing; v++ { // down to where chunks are merged
				x.Remove("a", v)
			}
			for v := standing; v < 4*standing; v++ {
				x.Add("a", v)
			}
		}
	})
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				matched := slices.Sorted(slices.Values(x.Match("a", nil)))
				for v := range standing {
					if matched[v] != v {
						t.Errorf("value %d found where %d should be", matched[v], v)
						return
					}
				}
			}
		})
	}
	writer.Wait()
	stop.Store(true)
	readers.Wait()
}

// TestTreeRace: while names come and go, Match visits each standing name once and no name twice.
func TestTreeRace(t *testing.T) {
	r := setting.Random(t)
	tree := NewTree[int]()
	const standing = 50
	for i := range standing {
		tree.Set(fmt.Sprintf("s/%d/x", i), i)
	}
	var writers, readers sync.WaitGroup
	var stop atomic.Bool
	for w := range 2 {
		random := rand.New(rand.NewPCG(r.Uint64(), 0))
		writers.Go(func() {
			for range 20_000 {
				name := fmt.Sprintf("s/%d/%d", random.IntN(standing*2), w)
				if random.IntN(2) == 0 {
					tree.Set(name, -1)
				} else {
					tree.Delete(name)
				}
			}
		})
	}
	for _, filter := range []string{"#", "s/#", "s/+/x", "+/+/+"} {
		readers.Go(func() {
			for !stop.Load() {
				checkStanding(t, tree, filter, standing)
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
}

func checkStanding(t *testing.T, tree *Tree[int], filter string, standing int) {
	seen := map[string]bool{}
	found := 0
	tree.Match(filter, func(name string, v int) bool {
		if seen[name] {
			t.Errorf("Match(%q) visits %q twice", filter, name)
		}
		seen[name] = true
		if v >= 0 {
			found++
		}
		return true
	})
	if found != standing {
		t.Errorf("Match(%q) visits %d of %d standing names", filter, found, standing)
	}
}
