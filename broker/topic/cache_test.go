package topic

import (
	"fmt"
	"testing"
)

// contents counts the plans a cache remembers and what they weigh.
func (c *cache[P]) contents() (plans int, weight int64) {
	for i := range c.sets {
		for w := range ways {
			if p := c.sets[i].plans[w].Load(); p != nil {
				plans++
				weight += int64(p.weight)
			}
		}
	}
	return plans, weight
}

// TestCacheBound: no number of names makes the cache remember more plans than it was made for.
func TestCacheBound(t *testing.T) {
	for _, cacheMax := range []int{0, 1, 8, 100, 1024} {
		x := newNumbers(cacheMax)
		x.Add("#", 1)
		for i := range 20_000 {
			x.Lookup(fmt.Append(nil, "flood/", i))
		}
		bound := 8
		for bound < cacheMax {
			bound *= 2
		}
		plans, weight := x.cache.contents()
		if plans > bound || plans < bound/2 {
			t.Errorf("cacheMax %d: %d plans", cacheMax, plans)
		}
		if got := x.cache.weight.Load(); got != weight {
			t.Errorf("cacheMax %d: weight %d is counted as %d", cacheMax, weight, got)
		}
	}
}

// TestCacheWeight: plans made of many values do not add up to many times the cache's size.
func TestCacheWeight(t *testing.T) {
	x := newNumbers(1024)
	for v := range 3000 {
		x.Add("heavy/#", v)
	}
	for i := range 2000 {
		x.Lookup(fmt.Append(nil, "heavy/", i))
		x.Lookup(fmt.Append(nil, "light/", i%50))
	}
	plans, weight := x.cache.contents()
	if got := x.cache.weight.Load(); got != weight {
		t.Errorf("weight %d is counted as %d", weight, got)
	}
	if weight > x.cache.weightMax || plans < 5 {
		t.Errorf("%d plans weigh %d", plans, weight)
	}
}

// TestCacheTooHeavyPlan: a plan heavier than the whole cache may be is remembered alone.
func TestCacheTooHeavyPlan(t *testing.T) {
	x := newNumbers(8)
	for v := range 1000 {
		x.Add("a", v)
	}
	p := x.Lookup([]byte("a"))
	if x.Lookup([]byte("a")) != p {
		t.Error("it is made again for every lookup")
	}
	x.Lookup([]byte("b"))
	if plans, weight := x.cache.contents(); plans != 1 || weight != 1 {
		t.Errorf("%d plans weigh %d after the next lookup", plans, weight)
	}
	if !p.Current() {
		t.Error("it is not current once given up")
	}
}

// TestCacheKeepsPlansInUse: names in use stay remembered while a publisher runs through names it uses once.
func TestCacheKeepsPlansInUse(t *testing.T) {
	builds := 0
	x := NewIndex(func(name string, _ []int) string {
		if name[0] == 'u' {
			builds++
		}
		return name
	}, 1024)
	const inUse = 100
	lookups := 0
	for i := range 100_000 {
		x.Lookup(fmt.Append(nil, "flood/", i))
		x.Lookup(fmt.Append(nil, "used/", i%inUse))
		lookups++
	}
	if builds > lookups/20 {
		t.Errorf("%d of %d lookups of names in use made the plan again", builds, lookups)
	}
}

// TestCacheForgetsPlansOutOfUse: names once much used make place for others.
func TestCacheForgetsPlansOutOfUse(t *testing.T) {
	builds := 0
	x := NewIndex(func(string, []int) int { builds++; return builds }, ways)
	for range 10 {
		for i := range ways {
			x.Lookup(fmt.Append(nil, "past/", i))
		}
	}
	for round := range 10 {
		builds = 0
		for i := range ways / 2 {
			x.Lookup(fmt.Append(nil, "present/", i))
		}
		if round == 9 && builds > 0 {
			t.Errorf("%d of %d names in use are still made again", builds, ways/2)
		}
	}
}

// TestPlanOutlivesCache: a plan that was given up is still current, and outdated when a change concerns it.
func TestPlanOutlivesCache(t *testing.T) {
	x := newNumbers(8)
	p := x.Lookup([]byte("kept"))
	for i := range 1000 {
		x.Lookup(fmt.Append(nil, "flood/", i))
	}
	if x.cache.find(hashString("kept"), []byte("kept")) != nil {
		t.Fatal("the plan was not given up")
	}
	if !p.Current() {
		t.Error("the plan is not current")
	}
	x.Add("kept", 1)
	if p.Current() {
		t.Error("the plan is current after Add")
	}
	var none *Plan[[]int]
	if none.Current() {
		t.Error("a nil plan is current")
	}
}

// TestCacheKeepsFirst: of two goroutines that made a plan at the same time, both get the one that was first.
func TestCacheKeepsFirst(t *testing.T) {
	x := newNumbers(8)
	hash := hashString("a")
	first, second := x.plan("a"), x.plan("a")
	if x.cache.keep(hash, first) != first || x.cache.keep(hash, second) != first {
		t.Error("the first plan was replaced")
	}
	x.Add("a", 1)
	third := x.plan("a")
	if x.cache.keep(hash, third) != third {
		t.Error("an outdated plan was kept")
	}
}
