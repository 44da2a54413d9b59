package bench

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// ErrPlatform is what Run fails with where it cannot measure.
var ErrPlatform = errors.New("bench: measuring needs Linux (epoll and /proc)")

// stallAfter is how long nothing may move before a run is given up.
const stallAfter = 10 * time.Second

// A Result is what a run measured. What does not apply to its scenario, or needs a PID that was not given, is zero.
type Result struct {
	Options Options `json:"options"`

	Seconds             float64 `json:"seconds"` // that were measured
	Published           uint64  `json:"published"`
	Delivered           uint64  `json:"delivered"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	// BrokerMicros and GeneratorMicros are processor time for each delivery, in microseconds.
	BrokerMicros    float64 `json:"broker_us_per_delivery"`
	GeneratorMicros float64 `json:"generator_us_per_delivery"`
	// BrokerCores is how many processors the broker kept busy.
	BrokerCores float64 `json:"broker_cores"`

	// Lost and Misordered are of the whole run, warm-up included. Misordered counts messages that arrived behind a
	// later one of the same publisher, or twice.
	Lost       uint64 `json:"lost"`
	Misordered uint64 `json:"misordered"`
	// Stalled tells that nothing arrived for so long that the run was given up.
	Stalled bool `json:"stalled"`

	ConnectsPerSecond      float64 `json:"connects_per_second"` // until the subscription was acknowledged
	SubscriptionsPerSecond float64 `json:"subscriptions_per_second"`
	RSSBefore              int64   `json:"rss_before"` // bytes, before the first connection
	RSSAfter               int64   `json:"rss_after"`  // at the end, with all connections
	RSSPerConnection       float64 `json:"rss_per_connection"`
	RSSPerSubscription     float64 `json:"rss_per_subscription"`

	LatencyP50  time.Duration `json:"latency_p50_ns"`
	LatencyP99  time.Duration `json:"latency_p99_ns"`
	LatencyP999 time.Duration `json:"latency_p999_ns"`
	LatencyMax  time.Duration `json:"latency_max_ns"`
}

// Good reports whether everything sent arrived, once and in order.
func (r *Result) Good() bool { return r.Lost == 0 && r.Misordered == 0 && !r.Stalled }

// Write writes the result for a person.
func (r *Result) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(shown bool, name, format string, args ...any) {
		if shown {
			fmt.Fprintf(t, name+"\t"+format+"\n", args...)
		}
	}
	known := r.Options.PID != 0
	line(true, "scenario", "%s, QoS %d, %d bytes, window %d, MQTT %s", r.Options.Scenario, r.Options.QoS, r.Options.Size,
		r.Options.Window, map[byte]string{4: "3.1.1", 5: "5"}[r.Options.Version])
	line(true, "connects", "%.0f/s", r.ConnectsPerSecond)
	line(r.Options.Scenario == Subs, "subscriptions", "%.0f/s", r.SubscriptionsPerSecond)
	line(r.Delivered > 0, "deliveries", "%.0f/s (%d in %.1f s)", r.DeliveriesPerSecond, r.Delivered, r.Seconds)
	line(known && r.Delivered > 0, "broker CPU", "%.2f µs a delivery", r.BrokerMicros)
	line(r.Delivered > 0, "generator CPU", "%.2f µs a delivery", r.GeneratorMicros)
	line(known, "broker cores", "%.2f", r.BrokerCores)
	line(known, "broker memory", "%.1f MB (%.1f MB before)", float64(r.RSSAfter)/1e6, float64(r.RSSBefore)/1e6)
	line(known && r.RSSPerConnection > 0, "memory", "%.1f KB a connection", r.RSSPerConnection/1000)
	line(known && r.RSSPerSubscription > 0, "memory", "%.0f bytes a subscription", r.RSSPerSubscription)
	line(r.Options.Scenario == Latency, "latency", "p50 %v, p99 %v, p99.9 %v, max %v",
		r.LatencyP50, r.LatencyP99, r.LatencyP999, r.LatencyMax)
	line(r.Published > 0, "lost", "%d", r.Lost)
	line(r.Published > 0, "out of order", "%d", r.Misordered)
	line(r.Stalled, "STALLED", "nothing arrived for %v", stallAfter)
	return t.Flush()
}
