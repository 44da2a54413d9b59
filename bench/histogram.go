package bench

import (
	"fmt"
	"math/bits"
	"time"
)

// A histogram counts durations in buckets whose width is at most 1/64 of their value.
type histogram struct {
	buckets [(64 - bucketBits) << bucketBits]uint64
	count   uint64
	max     int64
}

const bucketBits = 6

// add counts a duration in nanoseconds.
func (h *histogram) add(ns int64) {
	ns = max(ns, 0)
	h.buckets[bucket(uint64(ns))]++
	h.count++
	h.max = max(h.max, ns)
}

// bucket is exact below 2^bucketBits; above, the leading one and the bucketBits bits behind it choose.
func bucket(v uint64) int {
	shift := max(bits.Len64(v)-1-bucketBits, 0)
	return shift<<bucketBits + int(v>>shift)
}

// bucketEnd is the largest value in a bucket.
func bucketEnd(b int) int64 {
	if b < 2<<bucketBits {
		return int64(b)
	}
	shift := b>>bucketBits - 1
	return int64(uint64(b-shift<<bucketBits+1)<<shift - 1)
}

// quantile is the duration that a share q of all durations does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(q * float64(h.count))
	var seen uint64
	for b, n := range h.buckets {
		if seen += n; seen > rank {
			return time.Duration(min(bucketEnd(b), h.max))
		}
	}
	return time.Duration(h.max)
}

// above is how many durations are in buckets behind the one of a duration.
func (h *histogram) above(ns int64) uint64 {
	var n uint64
	for _, count := range h.buckets[bucket(uint64(ns))+1:] {
		n += count
	}
	return n
}

// Quantiles are what a histogram says in four numbers.
type Quantiles struct {
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`
}

// quantilesOf is all zero for a histogram that is nil or empty.
func quantilesOf(h *histogram) Quantiles {
	if h == nil {
		return Quantiles{}
	}
	return Quantiles{h.quantile(0.5), h.quantile(0.99), h.quantile(0.999), time.Duration(h.max)}
}

// String names them.
func (q Quantiles) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, p99.9 %v, max %v", Round(q.P50), Round(q.P99), Round(q.P999), Round(q.Max))
}

// Round leaves a duration three digits, which is what a histogram's buckets know of it.
func Round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 || d/unit <= -1000 {
		unit *= 10
	}
	return d.Round(unit)
}
