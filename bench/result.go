package bench

import (
	"errors"
	"fmt"
	"time"
)

// ErrPlatform is what Run fails with where it cannot measure.
var ErrPlatform = errors.New("bench: measuring needs Linux (epoll and /proc)")

// stallAfter is how long nothing may move before a run is given up.
const stallAfter = 10 * time.Second

// A Result is what a run measured. What does not apply to its scenario, or needs PIDs that were not given, is zero.
type Result struct {
	Options Options `json:"options"`

	Seconds             float64 `json:"seconds"` // that were measured
	Published           uint64  `json:"published"`
	Delivered           uint64  `json:"delivered"`
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	// BrokerMicros and GeneratorMicros are processor time for each delivery, in microseconds.
	BrokerMicros    float64 `json:"broker_us_per_delivery"`
	GeneratorMicros float64 `json:"generator_us_per_delivery"`
	// BrokerCores is how many processors the broker kept busy, Processes how many each of several did.
	BrokerCores float64      `json:"broker_cores"`
	Processes   []ProcessUse `json:"processes,omitempty"`
	// MessagesPerWrite is how many messages a publisher sent in one piece, MessagesPerRead how many a subscriber got. The more, the
	// less work there is for each message on either side.
	MessagesPerWrite float64 `json:"messages_per_write"`
	MessagesPerRead  float64 `json:"messages_per_read"`

	// Lost, Misordered and Repeated are of the whole run, warm-up included. Misordered counts messages that arrived behind a
	// later one of the same publisher at the same subscriber, Repeated those that arrived once more.
	Lost       uint64 `json:"lost"`
	Misordered uint64 `json:"misordered"`
	Repeated   uint64 `json:"repeated"`
	// Forgotten counts sessions that the broker did not have any more when their clients came back.
	Forgotten int `json:"forgotten,omitempty"`
	// Strange counts messages of other runs, which had waited in a channel.
	Strange uint64 `json:"strange,omitempty"`
	// Stalled tells that nothing arrived for so long that the run was given up.
	Stalled bool `json:"stalled"`

	ConnectsPerSecond      float64 `json:"connects_per_second"` // until the subscription was acknowledged
	SubscriptionsPerSecond float64 `json:"subscriptions_per_second"`
	RSSBefore              int64   `json:"rss_before"` // bytes, before the first connection
	RSSAfter               int64   `json:"rss_after"`  // at the end, with all connections
	RSSPerConnection       float64 `json:"rss_per_connection"`
	RSSPerSubscription     float64 `json:"rss_per_subscription"`
	RSSPerRetained         float64 `json:"rss_per_retained"`
	// SessionsPerSecond and RetainedPerSecond are how fast the broker took what it holds.
	SessionsPerSecond float64 `json:"sessions_per_second,omitempty"`
	RetainedPerSecond float64 `json:"retained_per_second,omitempty"`
	// Ready is how long a broker that was ended took from its start until it answered, and AnonymousReady its memory then that is
	// no page of a file; 0 if it was not.
	Ready          time.Duration `json:"ready_ns,omitempty"`
	AnonymousReady int64         `json:"anonymous_ready,omitempty"`

	// Latency is from when a message was sent until it arrived. In an open loop it is from when it was due, and Lateness is until
	// the generator sent it.
	Latency  Quantiles `json:"latency"`
	Lateness Quantiles `json:"lateness"`
	Silence  *Silence  `json:"silence,omitempty"` // nil in a closed loop
	// Acknowledged is from when a message was sent until the broker acknowledged it, for durable sessions.
	Acknowledged Quantiles `json:"acknowledged"`

	Store     *StoreWork     `json:"store,omitempty"`     // nil without Metrics
	Collector *CollectorWork `json:"collector,omitempty"` // nil without Metrics, or if they do not tell of one
	Backlog   *Backlogged    `json:"backlog,omitempty"`
	Lone      *LoneResult    `json:"lone,omitempty"`
}

// A Stage is what was measured from one moment to another.
type Stage struct {
	Seconds        float64        `json:"seconds"`
	Published      uint64         `json:"published"`
	Delivered      uint64         `json:"delivered"`
	BrokerCores    float64        `json:"broker_cores"` // processors kept busy
	GeneratorCores float64        `json:"generator_cores"`
	Store          *StoreWork     `json:"store,omitempty"`
	Collector      *CollectorWork `json:"collector,omitempty"`

	MessagesPerWrite float64      `json:"messages_per_write"`
	MessagesPerRead  float64      `json:"messages_per_read"`
	Processes        []ProcessUse `json:"processes,omitempty"`
}

// ProcessUse is what one of the broker's processes took.
type ProcessUse struct {
	PID    int     `json:"pid"`
	Cores  float64 `json:"cores"`
	Micros float64 `json:"us_per_delivery,omitempty"`
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
	Growth        Stage `json:"growth"`         // from the first PUBLISH to the last acknowledgement
	Drain         Stage `json:"drain"`          // from the first connect to the last message
	Anonymous     int64 `json:"anonymous"`      // memory that is no page of a file, with everything queued
	AnonymousPeak int64 `json:"anonymous_peak"` // the most at any time

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
