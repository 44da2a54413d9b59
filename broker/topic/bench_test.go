package topic

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
)

// A subscription stands for what a broker would put into an Index: something it has a pointer to.
type subscription struct{ _ int }

func newSubscriptions(cacheMax int) *Index[*subscription, []*subscription] {
	return NewIndex(func(_ string, matched []*subscription) []*subscription {
		return append([]*subscription(nil), matched...)
	}, cacheMax)
}

// fill adds n subscriptions, half of them to distinct names, half to distinct filters with wildcards.
func fill(x *Index[*subscription, []*subscription], n int) {
	shared := &subscription{}
	for i := range n / 2 {
		x.Add("a/site"+strconv.Itoa(i%100)+"/"+strconv.Itoa(i), shared)
		x.Add("a/+/"+strconv.Itoa(i)+"/#", shared)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

var sizes = []int{100, 1_000_000}

func BenchmarkLookupHit(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint("subscriptions=", n), func(b *testing.B) {
			x := newSubscriptions(1 << 16)
			fill(x, n)
			name := []byte("a/site7/7/temperature")
			b.ReportAllocs()
			for b.Loop() {
				x.Lookup(name)
			}
		})
	}
}

// BenchmarkLookupHitMany runs through names enough that plans come from memory, not from a processor's cache.
func BenchmarkLookupHitMany(b *testing.B) {
	x := newSubscriptions(1 << 16)
	names := make([][]byte, 10_000)
	for i := range names {
		names[i] = fmt.Appendf(nil, "a/site7/%d/temperature", i)
	}
	i := 0
	for b.Loop() {
		x.Lookup(names[i])
		if i++; i == len(names) {
			i = 0
		}
	}
}

func BenchmarkCurrent(b *testing.B) {
	x := newSubscriptions(1 << 16)
	p := x.Lookup([]byte("a/site7/7/temperature"))
	for b.Loop() {
		if !p.Current() {
			b.Fatal("not current")
		}
	}
}

// BenchmarkCurrentAfterChange is what each plan pays once for a change that does not concern it.
func BenchmarkCurrentAfterChange(b *testing.B) {
	x := newSubscriptions(1 << 16)
	p := x.Lookup([]byte("a/site7/7/temperature"))
	for b.Loop() {
		x.changes.count.Add(1)
		if !p.Current() {
			b.Fatal("not current")
		}
	}
}

// BenchmarkLookupMiss runs through distinct names for ever: match, build, and one plan given up for each.
func BenchmarkLookupMiss(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint("subscriptions=", n), func(b *testing.B) {
			x := newSubscriptions(1 << 16)
			fill(x, n)
			b.ReportAllocs()
			name := []byte("flood/site7/")
			i := 0
			for b.Loop() {
				i++
				x.Lookup(strconv.AppendInt(name, int64(i), 10))
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range sizes {
		x := newSubscriptions(8)
		fill(x, n)
		dst := make([]*subscription, 0, 16)
		for _, name := range []string{"other/topic/without/any", "a/site7/7/temperature", "a/site7/7"} {
			b.Run(fmt.Sprintf("subscriptions=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					x.Match(name, dst)
				}
			})
		}
	}
}

// BenchmarkMatchMany matches names all over a large index: what it costs when nothing is in a processor's cache.
func BenchmarkMatchMany(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint("subscriptions=", n), func(b *testing.B) {
			x := newSubscriptions(8)
			fill(x, n)
			names := make([]string, 50_000)
			for i := range names {
				names[i] = fmt.Sprintf("a/site7/%d/temperature", i*7)
			}
			dst := make([]*subscription, 0, 16)
			i := 0
			for b.Loop() {
				x.Match(names[i], dst)
				if i++; i == len(names) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkAddRemove(b *testing.B) {
	for _, filter := range []string{"a/site7/x", "a/+/x/#"} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("subscriptions=%d/%s", n, filter), func(b *testing.B) {
				x := newSubscriptions(8)
				fill(x, n)
				v := &subscription{}
				b.ReportAllocs()
				for b.Loop() {
					x.Add(filter, v)
					x.Remove(filter, v)
				}
			})
		}
	}
}

// BenchmarkBytesPerSubscription fills an index with a million subscriptions, filters included.
func BenchmarkBytesPerSubscription(b *testing.B) {
	const n = 1_000_000
	kinds := map[string]func(i int) string{
		"exact":      func(i int) string { return "a/site" + strconv.Itoa(i%100) + "/" + strconv.Itoa(i) },
		"a,+,N,#":    func(i int) string { return "a/+/" + strconv.Itoa(i) + "/#" },
		"N,a,+,b":    func(i int) string { return strconv.Itoa(i) + "/a/+/b" },
		"one filter": func(int) string { return "a/#" },
	}
	for kind, filter := range kinds {
		b.Run(kind, func(b *testing.B) {
			values := make([]subscription, n)
			for b.Loop() {
				x := newSubscriptions(8)
				before := heapInUse()
				for i := range values {
					x.Add(filter(i), &values[i])
				}
				b.ReportMetric(float64(heapInUse()-before)/n, "B/subscription")
				runtime.KeepAlive(x)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/subscription")
		})
	}
}

// BenchmarkFanOut adds 100 000 values to one filter and removes them again, in the order they came.
func BenchmarkFanOut(b *testing.B) {
	values := make([]subscription, 100_000)
	for b.Loop() {
		x := newSubscriptions(8)
		for i := range values {
			x.Add("a/#", &values[i])
		}
		for i := range values {
			x.Remove("a/#", &values[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(2*len(values)), "ns/change")
}

func BenchmarkMatchFanOut(b *testing.B) {
	values := make([]subscription, 100_000)
	x := newSubscriptions(8)
	for i := range values {
		x.Add("a/#", &values[i])
	}
	dst := make([]*subscription, 0, len(values))
	for b.Loop() {
		x.Match("a/b", dst)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(values)), "ns/value")
}

func BenchmarkTree(b *testing.B) {
	const n = 1_000_000
	name := func(i int) string { return "site/" + strconv.Itoa(i%100) + "/device/" + strconv.Itoa(i) + "/temp" }
	before := heapInUse()
	tree, v := NewTree[*subscription](), &subscription{}
	for i := range n {
		tree.Set(name(i), v)
	}
	perName := float64(heapInUse()-before) / n
	names := make([]string, 50_000)
	for i := range names {
		names[i] = name(i * 7)
	}
	b.Run("Set", func(b *testing.B) {
		for i := 0; b.Loop(); i = (i + 1) % len(names) {
			tree.Set(names[i], v)
		}
		b.ReportMetric(perName, "B/name")
	})
	b.Run("Get", func(b *testing.B) {
		for i := 0; b.Loop(); i = (i + 1) % len(names) {
			tree.Get(names[i])
		}
	})
	for _, filter := range []string{"site/7/device/7/temp", "site/+/device/7/+", "site/7/device/7/#", "site/7/#"} {
		b.Run("Match/"+filter, func(b *testing.B) {
			visits := 0
			b.ReportAllocs()
			for b.Loop() {
				tree.Match(filter, func(string, *subscription) bool { visits++; return true })
			}
			b.ReportMetric(float64(visits)/float64(b.N), "visits/op")
		})
	}
}
