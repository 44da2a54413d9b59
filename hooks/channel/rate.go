package channel

import "math"

// rateSpan is over how long a rate is averaged.
const rateSpan = 10e9 // nanoseconds

// A rate is a count of events and how many there are a second, averaged over the last seconds.
type rate struct {
	total   uint64
	counted int   // since at
	at      int64 // when average was computed
	average float64
}

// add counts n events.
func (r *rate) add(n int, now int64) {
	r.total += uint64(n)
	r.counted += n
	if now-r.at >= 1e9 {
		r.perSecond(now)
	}
}

// perSecond is how many there are a second.
func (r *rate) perSecond(now int64) float64 {
	passed := float64(now - r.at)
	if passed < 1e9 {
		return r.average
	}
	if r.at == 0 {
		passed = rateSpan
	}
	weight := 1 - math.Exp(-passed/rateSpan)
	r.average += (float64(r.counted)*1e9/passed - r.average) * weight
	r.counted, r.at = 0, now
	return r.average
}
