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

	// Lost, Misordered and Repeated are of the whole run, warm-up included. Misordered counts messages that arrived behind a
	// later one of the same publisher, Repeated those that arrived once more; of a shared subscription both are Misordered.
	Lost       uint64 `json:"lost"`
	Misordered uint64 `json:"misordered"`
	Repeated   uint64 `json:"repeated"`
	// Forgotten counts sessions that the broker did not have any more when their clients came back.
	Forgotten int `json:"forgotten,omitempty"`
	// Stalled tells that nothing arrived for so long that the run was given up.
	Stalled bool `json:"stalled"`

	ConnectsPerSecond      float64 `json:"connects_per_second"` // until the subscription was acknowledged
	SubscriptionsPerSecond float64 `json:"subscriptions_per_second"`
	RSSBefore              int64   `json:"rss_before"` // bytes, before the first connection
	RSSAfter               int64   `json:"rss_after"`  // at the end, with all connections
	RSSPerConnection       float64 `json:"rss_per_connection"`
	RSSPerSubscription     float64 `json:"rss_per_subscription"`

	// Latency is from when a message was due until it arrived, Lateness until the generator sent it.
	Latency  Quantiles `json:"latency"`
	Lateness Quantiles `json:"lateness"`
	// Acknowledged is from when a message was sent until the broker acknowledged it, for durable sessions.
	Acknowledged Quantiles `json:"acknowledged"`

	Store   *StoreWork  `json:"store,omitempty"` // nil without Metrics
	Backlog *Backlogged `json:"backlog,omitempty"`
	Lone    *LoneResult `json:"lone,omitempty"`
}

// A Stage is what was measured from one moment to another.
type Stage struct {
	Seconds        float64    `json:"seconds"`
	Published      uint64     `json:"published"`
	Delivered      uint64     `json:"delivered"`
	BrokerCores    float64    `json:"broker_cores"` // processors kept busy
	GeneratorCores float64    `json:"generator_cores"`
	Store          *StoreWork `json:"store,omitempty"`
}

// Messages are those that moved: published, or else delivered.
func (s *Stage) Messages() uint64 { return max(s.Published, s.Delivered) }

// PerSecond is how many moved in a second.
func (s *Stage) PerSecond() float64 { return float64(s.Messages()) / s.Seconds }

// BrokerMicros is the broker's processor time for each.
func (s *Stage) BrokerMicros() float64 { return s.BrokerCores * 1e6 / s.PerSecond() }

// GeneratorMicros is the generator's.
func (s *Stage) GeneratorMicros() float64 { return s.GeneratorCores * 1e6 / s.PerSecond() }

// Backlogged is what Backlog measured. Sizes are in bytes; those of the disk are 0 without the data folder, those
// of memory without a PID.
type Backlogged struct {
	Growth Stage `json:"growth"` // from the first PUBLISH to the last acknowledgement
	Drain  Stage `json:"drain"`  // from the first connect to the last message
	// Ready is how long a broker that was killed took from its start until it answered; 0 if it was not.
	Ready time.Duration `json:"ready_ns,omitempty"`

	Anonymous      int64 `json:"anonymous"`       // memory that is no page of a file, with everything queued
	AnonymousReady int64 `json:"anonymous_ready"` // after the restart
	AnonymousPeak  int64 `json:"anonymous_peak"`  // the most at any time

	DiskBefore    int64      `json:"disk_before"`
	DiskQueued    int64      `json:"disk_queued"`  // with everything queued
	DiskRead      int64      `json:"disk_read"`    // when everything was read
	DiskSettled   int64      `json:"disk_settled"` // when it was watched no longer
	SettleSeconds float64    `json:"settle_seconds"`
	Disk          []DiskSize `json:"disk,omitempty"` // in between
}

// A DiskSize is the size of the data folder some time after everything was read.
type DiskSize struct {
	Seconds float64 `json:"seconds"`
	Bytes   int64   `json:"bytes"`
}

// A LoneResult is what Lone measured.
type LoneResult struct {
	Messages int           `json:"messages"`
	Broker   time.Duration `json:"broker_ns"` // for each message, from PUBLISH to its acknowledgement
	Plain    time.Duration `json:"plain_ns"`  // for the same bytes appended to a plain file with fdatasync
	Ratio    float64       `json:"ratio"`
	Append   Quantiles     `json:"append"` // of the plain file
}

// Good reports whether everything sent arrived, once and in order.
func (r *Result) Good() bool {
	return r.Lost == 0 && r.Misordered == 0 && r.Repeated == 0 && r.Forgotten == 0 && !r.Stalled
}

// trouble says what is not good.
func (r *Result) trouble() string {
	text := fmt.Sprintf("%d lost, %d out of order, %d repeated", r.Lost, r.Misordered, r.Repeated)
	if r.Forgotten > 0 {
		text += fmt.Sprintf(", %d sessions forgotten", r.Forgotten)
	}
	if r.Stalled {
		text += ", stalled"
	}
	return text
}

// A page is written line by line: a name and what is to say.
type page struct{ table *tabwriter.Writer }

func (p page) line(shown bool, name, format string, args ...any) {
	if shown {
		fmt.Fprintf(p.table, name+"\t"+format+"\n", args...)
	}
}

// Line says the most important in one line.
func (r *Result) Line() string {
	switch {
	case r.Backlog != nil:
		b := r.Backlog
		text := fmt.Sprintf("%.0f acknowledged/s (p99 %v), %.0f drained/s, %.1f MB of memory at most", b.Growth.PerSecond(), r.Acknowledged.P99,
			b.Drain.PerSecond(), megabytes(b.AnonymousPeak))
		if b.Ready > 0 {
			text += fmt.Sprintf(", ready again in %v", b.Ready)
		}
		return text
	case r.Lone != nil:
		return fmt.Sprintf("%v a message, %v a plain append: %.2f", r.Lone.Broker, r.Lone.Plain, r.Lone.Ratio)
	case r.Options.Scenario == Idle:
		return fmt.Sprintf("%.1f MB, %.1f KB for each of %d connections, %.0f connects/s", megabytes(r.RSSAfter), r.RSSPerConnection/1000, r.Options.Clients,
			r.ConnectsPerSecond)
	case r.Options.Scenario == Latency:
		return r.Latency.String()
	}
	return fmt.Sprintf("%.0f deliveries/s, %.2f µs broker CPU a delivery, %.2f µs generator CPU", r.DeliveriesPerSecond, r.BrokerMicros, r.GeneratorMicros)
}

// Write writes the result for a person.
func (r *Result) Write(w io.Writer) error {
	p := page{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	known := r.Options.PID != 0
	p.line(true, "scenario", "%s, QoS %d, %d bytes, window %d, MQTT %s", r.Options.Scenario, r.Options.QoS, r.Options.Size,
		r.Options.Window, map[byte]string{4: "3.1.1", 5: "5"}[r.Options.Version])
	p.line(true, "connects", "%.0f/s", r.ConnectsPerSecond)
	p.line(r.Options.Scenario == Subs, "subscriptions", "%.0f/s", r.SubscriptionsPerSecond)
	p.line(r.DeliveriesPerSecond > 0, "deliveries", "%.0f/s (%d in %.1f s)", r.DeliveriesPerSecond, r.Delivered, r.Seconds)
	p.line(r.BrokerMicros > 0, "broker CPU", "%.2f µs a delivery", r.BrokerMicros)
	p.line(r.GeneratorMicros > 0, "generator CPU", "%.2f µs a delivery", r.GeneratorMicros)
	p.line(r.BrokerCores > 0, "broker cores", "%.2f", r.BrokerCores)
	p.line(r.RSSAfter > 0, "broker memory", "%.1f MB (%.1f MB before)", megabytes(r.RSSAfter), megabytes(r.RSSBefore))
	p.line(known && r.RSSPerConnection > 0, "memory", "%.1f KB a connection", r.RSSPerConnection/1000)
	p.line(known && r.RSSPerSubscription > 0, "memory", "%.0f bytes a subscription", r.RSSPerSubscription)
	p.line(r.Options.Scenario == Latency, "latency", "%v", r.Latency)
	p.line(r.Options.Scenario == Latency, "sent late by", "%v", r.Lateness)
	p.line(r.Acknowledged.Max > 0, "acknowledged in", "%v", r.Acknowledged)
	r.Store.write(p)
	if r.Backlog != nil {
		r.Backlog.write(p)
	}
	if r.Lone != nil {
		r.Lone.write(p)
	}
	p.line(r.Published > 0, "lost", "%d", r.Lost)
	p.line(r.Published > 0, "out of order", "%d", r.Misordered)
	p.line(r.Repeated > 0, "repeated", "%d", r.Repeated)
	p.line(r.Forgotten > 0, "forgotten", "%d sessions", r.Forgotten)
	p.line(r.Stalled, "STALLED", "nothing arrived for %v", stallAfter)
	return p.table.Flush()
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

func (w *StoreWork) write(p page) {
	if w != nil && w.Fsyncs > 0 {
		p.line(true, "fsyncs", "%.0f/s, %.1f messages each, %.0f bytes written a message", w.FsyncsPerSecond, w.MessagesPerFsync, w.BytesPerMessage)
	}
}

func (b *Backlogged) write(p page) {
	stage := func(name string, s *Stage) {
		p.line(true, name, "%.0f/s (%d in %.1f s), generator CPU %.2f µs each", s.PerSecond(), s.Messages(), s.Seconds, s.GeneratorMicros())
		p.line(s.BrokerCores > 0, name+", broker CPU", "%.2f µs each", s.BrokerMicros())
	}
	stage("published", &b.Growth)
	b.Growth.Store.write(p)
	p.line(b.Ready > 0, "ready after kill", "%v, with %.1f MB of anonymous memory", b.Ready, megabytes(b.AnonymousReady))
	stage("read", &b.Drain)
	p.line(b.AnonymousPeak > 0, "anonymous memory", "%.1f MB with everything queued, %.1f MB at most", megabytes(b.Anonymous), megabytes(b.AnonymousPeak))
	p.line(b.DiskQueued > 0, "disk", "%.1f MB before, %.1f MB with everything queued, %.1f MB when all was read, %.1f MB %.0f s later", megabytes(b.DiskBefore),
		megabytes(b.DiskQueued), megabytes(b.DiskRead), megabytes(b.DiskSettled), b.SettleSeconds)
}

func (l *LoneResult) write(p page) {
	p.line(true, "a message", "%v (mean of %d)", l.Broker, l.Messages)
	p.line(true, "plain append", "%v (mean); %v", l.Plain, l.Append)
	p.line(true, "ratio", "%.2f", l.Ratio)
}
