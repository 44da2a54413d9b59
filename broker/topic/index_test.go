package topic

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// newNumbers makes an index of numbers whose plans are the sorted numbers that match.
func newNumbers(cacheMax int) *Index[int, []int] {
	return NewIndex(func(_ string, matched []int) []int {
		return slices.Sorted(slices.Values(matched))
	}, cacheMax)
}

// isPruned reports whether an index holds nothing at all.
func isPruned(x *Index[int, []int]) bool {
	root := &x.root.body
	empty := x.root.edges.Load() == 0 && root.plus.Load() == nil && root.here.empty() && root.rest.empty()
	for i := range x.exact.segments {
		empty = empty && x.exact.segments[i].slots.Load() == nil && x.wildcards.segments[i].slots.Load() == nil
	}
	return empty
}

// A model is the stupid Index.
type model map[string]map[int]bool

func (m model) add(filter string, v int) bool {
	if m[filter] == nil {
		m[filter] = map[int]bool{}
	}
	had := m[filter][v]
	m[filter][v] = true
	return !had
}

func (m model) remove(filter string, v int) bool {
	had := m[filter][v]
	delete(m[filter], v)
	return had
}

func (m model) match(name string) []int {
	var found []int
	for filter, vs := range m {
		if Match(filter, name) {
			for v := range vs {
				found = append(found, v)
			}
		}
	}
	slices.Sort(found)
	return found
}

func (m model) len() int {
	n := 0
	for _, vs := range m {
		n += len(vs)
	}
	return n
}

// checkName compares what the index says of a name with the model; held is a plan kept from before.
func (m model) checkName(t *testing.T, x *Index[int, []int], name string, held *Plan[[]int]) *Plan[[]int] {
	t.Helper()
	want := m.match(name)
	if held.Current() && !slices.Equal(held.Value, want) {
		t.Fatalf("a plan for %q is current with %v, want %v", name, held.Value, want)
	}
	if got := slices.Sorted(slices.Values(x.Match(name, nil))); !slices.Equal(got, want) {
		t.Fatalf("Match(%q) = %v, want %v", name, got, want)
	}
	p := x.Lookup([]byte(name))
	if !slices.Equal(p.Value, want) || p.Name != name || !p.Current() {
		t.Fatalf("Lookup(%q) = %v of %q, want %v", name, p.Value, p.Name, want)
	}
	return p
}

// TestIndexModel: after any changes the index finds what Match finds, and no plan that claims to be current is wrong.
func TestIndexModel(t *testing.T) {
	r := setting.Random(t)
	for range 20 {
		x, m := newNumbers(64), model{}
		held := map[string]*Plan[[]int]{}
		filters := make([]string, 40)
		for i := range filters {
			filters[i] = randomFilter(r)
		}
		for range 300 {
			filter, v := filters[r.IntN(len(filters))], r.IntN(4)
			if r.IntN(2) == 0 {
				if got, want := x.Add(filter, v), m.add(filter, v); got != want {
					t.Fatalf("Add(%q, %d) = %v", filter, v, got)
				}
			} else if got, want := x.Remove(filter, v), m.remove(filter, v); got != want {
				t.Fatalf("Remove(%q, %d) = %v", filter, v, got)
			}
			for range 10 {
				name := randomName(r)
				held[name] = m.checkName(t, x, name, held[name])
			}
			if x.Len() != m.len() {
				t.Fatalf("Len() = %d, want %d", x.Len(), m.len())
			}
		}
		for filter, vs := range m {
			for v := range vs {
				x.Remove(filter, v)
			}
		}
		if !isPruned(x) {
			t.Fatal("something is left after everything was removed")
		}
	}
}

// TestIndexManyFilters: growing and shrinking through many sizes loses nothing and leaves nothing.
func TestIndexManyFilters(t *testing.T) {
	r := setting.Random(t)
	x := newNumbers(8)
	const n = 20_000
	filter := func(i int) string {
		if i%2 == 0 {
			return fmt.Sprintf("site/%d/temp", i)
		}
		return fmt.Sprintf("site/+/%d/#", i)
	}
	name := func(i int) string {
		if i%2 == 0 {
			return filter(i)
		}
		return fmt.Sprintf("site/x/%d/y", i)
	}
	for _, i := range r.Perm(n) {
		x.Add(filter(i), i)
	}
	order := r.Perm(n)
	for k, i := range order {
		if got := x.Match(name(i), nil); !slices.Equal(got, []int{i}) {
			t.Fatalf("Match(%q) = %v, want %d", name(i), got, i)
		}
		if !x.Remove(filter(i), i) {
			t.Fatalf("Remove(%q, %d) found nothing", filter(i), i)
		}
		if got := x.Match(name(i), nil); len(got) != 0 {
			t.Fatalf("Match(%q) = %v after Remove", name(i), got)
		}
		if got := x.Len(); got != n-k-1 {
			t.Fatalf("Len() = %d, want %d", got, n-k-1)
		}
	}
	if !isPruned(x) {
		t.Error("something is left after everything was removed")
	}
}

// TestIndexChurn: adding and removing for ever, always a few at a time, does not grow the index.
func TestIndexChurn(t *testing.T) {
	x := newNumbers(8)
	for i := range 50_000 {
		x.Add(fmt.Sprint("a/", i), i)
		x.Add(fmt.Sprint("+/", i), i)
		x.Remove(fmt.Sprint("a/", i-100), i-100)
		x.Remove(fmt.Sprint("+/", i-100), i-100)
	}
	slotsLen := 0
	for i := range x.exact.segments {
		if s := x.exact.segments[i].slots.Load(); s != nil {
			slotsLen += len(s.tags)
		}
		if s := x.wildcards.segments[i].slots.Load(); s != nil {
			slotsLen += len(s.tags)
		}
	}
	if x.Len() != 200 || slotsLen > 2*segmentsLen*2*slotsMin {
		t.Errorf("%d pairs take %d slots", x.Len(), slotsLen)
	}
}

// TestIndexFanOut: a filter with many values finds each once, in whatever order they come and go.
func TestIndexFanOut(t *testing.T) {
	r := setting.Random(t)
	for _, n := range []int{2, scanMax, scanMax + 1, chunkMax, chunkMax + 1, 5000} {
		x, m := newNumbers(8), model{}
		for _, v := range r.Perm(n) {
			if !x.Add("a/#", v) || x.Add("a/#", v) {
				t.Fatalf("Add of value %d of %d is not told right", v, n)
			}
			m.add("a/#", v)
		}
		m.checkName(t, x, "a/b", nil)
		for k, v := range r.Perm(n) {
			if !x.Remove("a/#", v) || x.Remove("a/#", v) {
				t.Fatalf("Remove of value %d of %d is not told right", v, n)
			}
			m.remove("a/#", v)
			if again := r.IntN(n); r.IntN(4) == 0 && x.Add("a/#", again) != m.add("a/#", again) {
				t.Fatalf("Add of value %d again is not told right", again)
			}
			if k%97 == 0 || n < 200 {
				m.checkName(t, x, "a/b", nil)
			}
		}
		m.checkName(t, x, "a/b", nil)
		if x.Len() != m.len() {
			t.Fatalf("Len() = %d, want %d", x.Len(), m.len())
		}
	}
}

// TestIndexInvalidate: Invalidate has matching names looked up again, InvalidateAll every name.
func TestIndexInvalidate(t *testing.T) {
	builds := 0
	x := NewIndex(func(string, []int) int { builds++; return builds }, 64)
	names := []string{"a", "a/b", "a/b/c", "b", "$SYS/a"}
	for _, filter := range []string{"a", "a/#", "+/b", "a/+/c", "#", "$SYS/#"} {
		for _, name := range names {
			p := x.Lookup([]byte(name))
			x.Invalidate(filter)
			if Match(filter, name) && p.Current() {
				t.Errorf("after Invalidate(%q) the plan for %q is current", filter, name)
			}
		}
	}
	for _, name := range names {
		p := x.Lookup([]byte(name))
		x.InvalidateAll()
		if p.Current() {
			t.Errorf("after InvalidateAll the plan for %q is current", name)
		}
		if again := x.Lookup([]byte(name)); again.Value == p.Value {
			t.Errorf("after InvalidateAll the plan for %q is not made again", name)
		}
	}
}

// TestIndexLeavesOtherPlans: a change to one filter leaves the plans of names with another stem alone.
func TestIndexLeavesOtherPlans(t *testing.T) {
	tests := []struct{ filter, name string }{
		{"a/b", "a/c"}, {"a/b", "a"}, {"a", "a/b"},
		{"device/17/#", "device/18/temp"}, {"device/17/+/x", "device/18/temp"},
		{"site/+/17/#", "site/x/18"}, {"+/17", "x/18"}, {"+/17/#", "$x/18"},
		{"$SYS/#", "a"}, {"a/b/c/#", "a/b"},
	}
	checked := 0
	for _, test := range tests {
		x := newNumbers(1 << 16)
		if x.sharesCounter(test.filter, test.name) {
			continue // by chance, once in some thousand runs
		}
		checked++
		p := x.Lookup([]byte(test.name))
		x.Add(test.filter, 1)
		if !p.Current() || x.Lookup([]byte(test.name)) != p {
			t.Errorf("adding %q outdates the plan for %q", test.filter, test.name)
		}
		x.Remove(test.filter, 1)
		if !p.Current() {
			t.Errorf("removing %q outdates the plan for %q", test.filter, test.name)
		}
	}
	if checked < len(tests)-2 {
		t.Errorf("only %d of %d pairs have counters of their own", checked, len(tests))
	}
}

// sharesCounter reports whether a change of a filter counts up a counter that plans for a name watch.
func (x *Index[V, P]) sharesCounter(filter, name string) bool {
	counter := x.changes.ofName(filter)
	if HasWildcard(filter) {
		counter = x.changes.ofStem(stem(filter))
	}
	return slices.ContainsFunc(x.changes.watch(name, nil), func(w watch) bool { return w.counter == counter })
}

// TestIndexBuildGetsEachFilter: a value under several matching filters is given once for each.
func TestIndexBuildGetsEachFilter(t *testing.T) {
	x := newNumbers(8)
	for _, filter := range []string{"a/b", "a/+", "a/#", "+/b", "#", "b"} {
		x.Add(filter, 7)
	}
	if got := x.Lookup([]byte("a/b")).Value; !slices.Equal(got, []int{7, 7, 7, 7, 7}) {
		t.Errorf("got %v", got)
	}
}

// TestIndexWideName: a name that matches more branches than fit the stack finds all.
func TestIndexWideName(t *testing.T) {
	x := newNumbers(8)
	const levels = 8
	for mask := range 1 << levels {
		filter := make([]string, levels)
		for i := range filter {
			filter[i] = "a"
			if mask&(1<<i) != 0 {
				filter[i] = "+"
			}
		}
		x.Add(strings.Join(filter, "/"), mask)
	}
	name := strings.Repeat("a/", levels-1) + "a"
	if got := len(x.Lookup([]byte(name)).Value); got != 1<<levels {
		t.Errorf("%d of %d filters found", got, 1<<levels)
	}
}

func TestLookupHitAllocatesNothing(t *testing.T) {
	x := newNumbers(8)
	x.Add("a/+", 1)
	name := []byte("a/b")
	x.Lookup(name)
	if n := testing.AllocsPerRun(100, func() { x.Lookup(name) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	dst := make([]int, 0, 8)
	if n := testing.AllocsPerRun(100, func() { x.Match("a/b", dst) }); n != 0 {
		t.Errorf("%v allocations in Match", n)
	}
}

// TestStemIsWatched: whatever filter matches a name, the name watches the filter's counter.
func TestStemIsWatched(t *testing.T) {
	r := setting.Random(t)
	c := newChanges(1)
	matches := 0
	for range 200_000 {
		filter, name := randomFilter(r), randomName(r)
		if !Match(filter, name) || !HasWildcard(filter) {
			continue
		}
		matches++
		want := c.ofStem(stem(filter))
		watches := c.watch(name, nil)
		if !slices.ContainsFunc(watches, func(w watch) bool { return w.counter == want }) {
			t.Fatalf("%q does not watch the stem of %q", name, filter)
		}
		if len(watches) > watchesMax {
			t.Fatalf("%q has %d watches", name, len(watches))
		}
	}
	if matches < 1000 {
		t.Errorf("only %d pairs matched", matches)
	}
}
