package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Scenario says who publishes to whom.
type Scenario string

// The scenarios.
const (
	Pairs   Scenario = "pairs"   // n publishers to n subscribers, each pair on a topic of its own
	FanOut  Scenario = "fanout"  // one publisher to n subscribers
	FanIn   Scenario = "fanin"   // n publishers on topics of their own to m subscribers on a wildcard
	Share   Scenario = "share"   // n publishers to one shared subscription of m members
	Idle    Scenario = "idle"    // n connections with a subscription each, and no messages
	Subs    Scenario = "subs"    // pairs, beside many subscriptions that match nothing
	Latency Scenario = "latency" // pairs at a fixed rate
)

// Scenarios lists every scenario.
var Scenarios = []Scenario{Pairs, FanOut, FanIn, Share, Idle, Subs, Latency}

// Options say what Run does. Zero values of the numbers with a default take it.
type Options struct {
	Address  string   `json:"address"` // host:port of the broker
	Scenario Scenario `json:"scenario"`
	// Clients is the number of publishers, or of connections for Idle. FanOut has one publisher whatever it says.
	Clients int `json:"clients"`
	// Subscribers is the number of subscribers for FanOut, FanIn and Share; with pairs there are as many as publishers.
	Subscribers int `json:"subscribers"`
	// Subscriptions and Holders are for Subs: how many subscriptions, over how many connections.
	Subscriptions int  `json:"subscriptions,omitempty"`
	Holders       int  `json:"holders,omitempty"`
	QoS           byte `json:"qos"`              // 0, 1 or 2
	Size          int  `json:"size"`             // bytes of a payload
	Window        int  `json:"window"`           // messages of one publisher that may be on their way
	Rate          int  `json:"rate,omitempty"`   // for Latency: messages a second, of all publishers
	Version       byte `json:"protocol_version"` // 4 (MQTT 3.1.1) or 5
	// Rest is how long the generator sleeps between two looks at its sockets, so that one read and one write serve several messages
	// and the processor is the broker's. It must be short against the time in which the broker works off all windows.
	Rest     time.Duration `json:"rest"`
	Warmup   time.Duration `json:"warmup"`   // not measured
	Duration time.Duration `json:"duration"` // measured
	// PID is the broker's process, on this machine; 0 leaves its processor time and memory unmeasured.
	PID int `json:"pid,omitempty"`
	// Progress is called about once a second from the measuring thread, if it is not nil. It must be quick.
	Progress func(Progress) `json:"-"`
}

// Progress is how far a run is.
type Progress struct {
	Phase     string // connecting, warming up, measuring or draining
	Elapsed   time.Duration
	Connected int    // clients whose subscriptions are acknowledged
	Delivered uint64 // messages, since the last Progress
}

// Default is what the command line starts from.
func Default(s Scenario) Options {
	o := Options{
		Address: "127.0.0.1:1883", Scenario: s, Clients: 50, Subscribers: 1, Size: 64, Window: 100, Version: 4,
		Rest: 500 * time.Microsecond, Warmup: time.Second, Duration: 5 * time.Second,
	}
	switch s {
	case FanOut:
		o.Clients, o.Subscribers = 1, 100
	case Share:
		o.Subscribers = 10
	case Idle:
		o.Clients = 10_000
	case Subs:
		o.Subscriptions, o.Holders = 1_000_000, 100
	case Latency:
		o.Rate, o.Rest = 1000, 0
	}
	return o
}

const (
	windowMax = 65_535      // a message's place in the window is its packet identifier
	sizeMax   = 16 << 20    // bytes of a payload
	countMax  = 100_000_000 // of what must fit in memory
	// keepAlive is long, and a run shorter, because clients never ping.
	keepAlive   = 2 * time.Hour
	durationMax = time.Hour
	restMax     = 100 * time.Millisecond
)

// Check says what is impossible in the options, all of it.
func (o *Options) Check() error {
	var errs []error
	within := func(name string, value, low, high int) {
		if value < low || value > high {
			errs = append(errs, fmt.Errorf("%s is %d, must be between %d and %d", name, value, low, high))
		}
	}
	if !slices.Contains(Scenarios, o.Scenario) {
		errs = append(errs, fmt.Errorf("scenario is %q, must be one of %s", o.Scenario, ScenarioNames(", ")))
	}
	if o.Version != 4 && o.Version != 5 {
		errs = append(errs, fmt.Errorf("protocol version is %d, must be 4 (MQTT 3.1.1) or 5", o.Version))
	}
	within("clients", o.Clients, 1, countMax)
	within("qos", int(o.QoS), 0, 2)
	within("size", o.Size, headerLen, sizeMax)
	within("window", o.Window, 1, windowMax)
	switch o.Scenario {
	case FanOut, FanIn, Share:
		within("subscribers", o.Subscribers, 1, countMax)
	case Subs:
		within("subscriptions", o.Subscriptions, 1, countMax)
		within("holders", o.Holders, 1, o.Subscriptions)
	case Latency:
		within("rate", o.Rate, 1, int(time.Second/time.Microsecond))
	}
	if o.Rest < 0 || o.Rest > restMax {
		errs = append(errs, fmt.Errorf("rest is %v, must be between 0 and %v", o.Rest, restMax))
	}
	if o.Duration <= 0 || o.Warmup < 0 || o.Warmup+o.Duration > durationMax {
		errs = append(errs, fmt.Errorf("warmup %v and duration %v must be positive and below %v together", o.Warmup, o.Duration, durationMax))
	}
	return errors.Join(errs...)
}

// ScenarioNames joins the names of all scenarios.
func ScenarioNames(separator string) string {
	var names []string
	for _, s := range Scenarios {
		names = append(names, string(s))
	}
	return strings.Join(names, separator)
}
