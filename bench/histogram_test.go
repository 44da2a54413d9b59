package bench

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/setting"
)

// Quantiles are within a bucket of those of the sorted durations.
func TestQuantiles(t *testing.T) {
	random := setting.Random(t)
	var h histogram
	var all []int64
	for range 20_000 {
		v := random.Int64N(int64(1) << (1 + random.IntN(40)))
		h.add(v)
		all = append(all, v)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999} {
		exact := float64(all[int(q*float64(len(all)))])
		if got := float64(h.quantile(q)); got < exact || got > exact*(1+1.0/64)+1 {
			t.Errorf("quantile %v: got %v, want %v and less than 1/64 more", q, got, exact)
		}
	}
	if got := int64(h.quantile(1)); got != all[len(all)-1] {
		t.Errorf("largest: got %d, want %d", got, all[len(all)-1])
	}
}

// Every value has a bucket, whose end is not below it, and buckets are in order.
func TestBuckets(t *testing.T) {
	var h histogram
	last := -1
	for shift := range 63 {
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1<<shift/3} {
			b := bucket(v)
			if b < last || b >= len(h.buckets) || bucketEnd(b) < int64(v) || bucket(uint64(bucketEnd(b))) != b {
				t.Errorf("%d: bucket %d after %d, which ends at %d", v, b, last, bucketEnd(b))
			}
			last = b
		}
	}
	h.add(-5)
	h.add(math.MaxInt64)
	if h.count != 2 || h.quantile(0.1) != 0 || h.quantile(1) != math.MaxInt64 {
		t.Errorf("count %d, least %d, largest %d", h.count, h.quantile(0.1), h.quantile(1))
	}
}

func TestNoDurations(t *testing.T) {
	if q := new(histogram).quantile(0.5); q != 0 {
		t.Errorf("got %v", q)
	}
}

// A duration is said with the digits that are known of it.
func TestRound(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 7: "7ns", 999: "999ns", 4063231: "4.06ms", 59290230: "59.3ms", 999999: "1ms", 10 * time.Second: "10s", -1234567: "-1.23ms",
	} {
		if got := Round(d).String(); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
