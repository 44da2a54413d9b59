package topic

import (
	"slices"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// TestCrowdReusesRoom: values that leave make room for those that come, and chunks that empty are merged.
func TestCrowdReusesRoom(t *testing.T) {
	r := setting.Random(t)
	c := &crowd[int]{}
	const n = 1000
	in := make([]int, n)
	for v := range n {
		in[v] = v
		c.add(v)
	}
	for v := n; v < 20*n; v++ {
		i := r.IntN(n)
		c.remove(in[i])
		in[i] = v
		c.add(v)
	}
	if full := (n + chunkMax - 1) / chunkMax; c.used != full {
		t.Errorf("%d values take %d chunks, %d would do", n, c.used, full)
	}
	slices.Sort(in)
	if got := slices.Sorted(slices.Values(c.appendTo(nil))); !slices.Equal(got, in) {
		t.Error("the values are not those that were added and not removed")
	}
	for _, v := range in[10:] {
		c.remove(v)
	}
	if c.used != 1 || len(c.where) != 0 || c.len != 10 {
		t.Errorf("10 values take %d chunks and %d places in the map", c.used, len(c.where))
	}
}
