package bench

import (
	"math"
	"time"
)

// The cases about what clients notice of the garbage collector. It can keep them waiting in two ways: it stops the program, which
// Go's runtime times, and it works beside it, on processors that the broker, the generator and everything else on the machine want. Of
// the second nobody but the clients can tell; but nothing arrives for a millisecond for other reasons, too, so what they notice is
// compared with what they notice of the same program, in turn, while it does not collect.

// uncollected is what the twin of a case is called, whose broker does not collect.
func uncollected(name string) string { return name + "-uncollected" }

// pauseCases are those with 100 000 messages a second, each beside its twin.
func pauseCases() []Case {
	var cases []Case
	for qos, name := range []string{"pauses-qos0", "pauses-qos1"} {
		o := withQoS(Latency, byte(qos))
		o.Rate, o.Duration = 100_000, 4*time.Second
		twin := uncollected(name)
		cases = append(cases,
			Case{Name: twin, Options: o, Rounds: roundsOften, Only: penstockOnly, Environment: []string{"GOGC=off"}, Figures: silences()},
			Case{Name: name, Options: o, Rounds: roundsOften, Metered: true, Figures: append(collecting(twin), silences()...)})
	}
	return cases
}

// collecting are the figures about the collector.
func collecting(twin string) []Figure {
	return []Figure{
		{Name: "longest stop of the collector, ms", value: collected(func(w *CollectorWork) float64 { return micros(w.LongestStop) / 1000 }),
			zeros: true, Limit: 1, Absolute: true},
		{Name: "silences over 1 ms that a collection adds", base: twin, beside: addedSilences, zeros: true, Limit: addedMax, Absolute: true},
		{Name: "collections while it was measured", value: collected(func(w *CollectorWork) float64 { return w.Collections }), zeros: true, Detail: true},
		{Name: "mean stop of these, ms", value: collected(func(w *CollectorWork) float64 { return micros(w.MeanStop) / 1000 }), zeros: true, Detail: true},
	}
}

// addedMax says that most collections go unnoticed. It is not 0, because the figure is a difference between two counts, either of
// which scatters by its root and more.
const addedMax = 0.5

// addedSilences is how many silences over a millisecond a collection adds to those that there are without the collector, as a
// difference between neighbours in time. A ratio would grow without a bound on a machine that is quiet, where the
// twin has none or one, and shrink on a busy one, where either has hundreds that are no collector's. The difference is the same
// on both, but for its scatter, and the median of the rounds forgets one that something disturbed, as a sum would not. Divided by the
// collections it is 1 if each is noticed once. Where there were none, none added anything: the difference is the machine's.
func addedSilences(r, twin *Result) float64 {
	switch {
	case r.Collector == nil:
		return math.NaN()
	case r.Collector.Collections == 0:
		return 0
	}
	return (longSilences(r) - longSilences(twin)) / r.Collector.CollectionsPerSecond
}

// longSilences is how many of more than a millisecond there were in a second.
func longSilences(r *Result) float64 { return float64(r.Silence.Long) / r.Seconds }

// silences are the figures of any broker.
func silences() []Figure {
	return []Figure{
		{Name: "silences over 1 ms, a second", value: longSilences, zeros: true},
		{Name: "longest silence, ms", value: func(r *Result) float64 { return micros(r.Silence.Longest) / 1000 }, Detail: true},
		{Name: "p99.9, µs", value: func(r *Result) float64 { return micros(r.Latency.P999) }, Detail: true},
		{Name: "generator away, ms at most", value: func(r *Result) float64 { return micros(r.Silence.Away) / 1000 }, Detail: true},
		{Name: "broker CPU, µs/delivery", value: brokerMicros, Detail: true},
		{Name: "deliveries/s", value: deliveries, Detail: true},
	}
}

// collected takes a figure from what a broker says of its collector.
func collected(of func(*CollectorWork) float64) func(*Result) float64 {
	return func(r *Result) float64 {
		if r.Collector == nil {
			return math.NaN()
		}
		return of(r.Collector)
	}
}
