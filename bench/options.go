package bench

import (
	"context"
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
	Backlog Scenario = "backlog" // n publishers to m sessions that are away, which come back and read everything
	Lone    Scenario = "lone"    // one publisher to a session that is away, one message after the other
)

// Scenarios lists every scenario.
var Scenarios = []Scenario{Pairs, FanOut, FanIn, Share, Idle, Subs, Latency, Backlog, Lone}

// Options say what Run does. Zero values of the numbers with a default take it.
type Options struct {
	Address  string   `json:"address"` // host:port of the broker
	Scenario Scenario `json:"scenario"`
	// Clients is the number of publishers, or of connections for Idle. FanOut and Lone have one publisher whatever it says.
	Clients int `json:"clients"`
	// Subscribers is the number of subscribers for FanOut, FanIn and Share, and of sessions for Backlog; with pairs there are
	// as many as publishers.
	Subscribers int `json:"subscribers"`
	// Subscriptions and Holders are for Subs: how many subscriptions, over how many connections.
	Subscriptions int  `json:"subscriptions,omitempty"`
	Holders       int  `json:"holders,omitempty"`
	QoS           byte `json:"qos"`    // 0, 1 or 2
	Size          int  `json:"size"`   // bytes of a payload
	Window        int  `json:"window"` // messages of one publisher that may be on their way
	// Burst is how many messages a publisher sends between two looks at its socket; 0 is as many as the window takes. With 1
	// messages come alone, as those of many devices do, unless the broker lets them gather.
	Burst   int  `json:"burst,omitempty"`
	Rate    int  `json:"rate,omitempty"`   // for Latency: messages a second, of all publishers
	Version byte `json:"protocol_version"` // 4 (MQTT 3.1.1) or 5
	// Durable gives every client a session that outlives its connection. Backlog and Lone always have such sessions.
	Durable bool `json:"durable,omitempty"`
	// Messages is for Backlog: how many are published, by all publishers together.
	Messages int `json:"messages,omitempty"`
	// Everyone is for Backlog: each session gets every message, and not a share of the topics.
	Everyone bool `json:"everyone,omitempty"`
	// Data is the folder in which the broker keeps what is durable, on this machine: Backlog measures its size, and Lone writes
	// a plain file next to it, to compare with.
	Data string `json:"data,omitempty"`
	// Settle is for Backlog with Data: how long the size is watched after everything was read, or until it is below SettleBelow bytes.
	Settle      time.Duration `json:"settle,omitempty"`
	SettleBelow int64         `json:"settle_below,omitempty"`
	// Metrics is the URL of the broker's metrics (Prometheus), read for what it says of its store; empty for none.
	Metrics string `json:"metrics,omitempty"`
	// Rest is how long the generator sleeps between two looks at its sockets, so that one read and one write serve several messages
	// and the processor is the broker's. It must be short against the time in which the broker works off all windows.
	Rest     time.Duration `json:"rest"`
	Warmup   time.Duration `json:"warmup"`   // not measured
	Duration time.Duration `json:"duration"` // measured; Backlog takes as long as it takes
	// PID is the broker's process, on this machine; 0 leaves its processor time and memory unmeasured.
	PID int `json:"pid,omitempty"`
	// Progress is called about once a second from the measuring thread, if it is not nil. It must be quick.
	Progress func(Progress) `json:"-"`
	// Restart is for Backlog: if it is not nil it is called once everything was acknowledged and nobody is connected. It
	// ends the broker's process without a warning, starts it again and returns when it serves.
	Restart func(context.Context) (Restarted, error) `json:"-"`
}

// Restarted tells of a broker that was ended and started again.
type Restarted struct {
	PID   int           // of the new process
	Ready time.Duration // from its start until it answered a CONNECT
}

// Progress is how far a run is.
type Progress struct {
	Phase     string // what is done now
	Elapsed   time.Duration
	Connected int           // clients that are connected, with their subscriptions acknowledged
	Delivered uint64        // messages, since the last Progress; while a backlog grows, messages acknowledged
	P99       time.Duration // of what is measured: latency, or the wait for an acknowledgement; 0 if neither is
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
		o.Clients, o.Rate, o.Rest = 100, 5000, 0
	case Backlog:
		o.Clients, o.Subscribers, o.QoS, o.Durable, o.Messages, o.Warmup = 10, 10, 1, true, 1_000_000, 0
	case Lone:
		o.Clients, o.Window, o.QoS, o.Durable, o.Rest = 1, 1, 1, true, 0
	}
	return o
}

const (
	windowMax = 65_535      // a message's place in the window is its packet identifier
	sizeMax   = 16 << 20    // bytes of a payload
	countMax  = 100_000_000 // of what must fit in memory
	// keepAlive is long, and a run shorter, because clients never ping to stay connected.
	keepAlive   = 2 * time.Hour
	durationMax = time.Hour
	restMax     = 100 * time.Millisecond
	// sessionExpiry is how long a durable session of MQTT 5 outlives a run that could not end it.
	sessionExpiry = 2 * time.Hour
)

// Check says what is impossible in the options, all of it.
func (o *Options) Check() error {
	var w wrongs
	if !slices.Contains(Scenarios, o.Scenario) {
		w.add("scenario is %q, must be one of %s", o.Scenario, ScenarioNames(", "))
	}
	if o.Version != 4 && o.Version != 5 {
		w.add("protocol version is %d, must be 4 (MQTT 3.1.1) or 5", o.Version)
	}
	w.within("clients", o.Clients, 1, countMax)
	w.within("qos", int(o.QoS), 0, 2)
	w.within("size", o.Size, headerLen, sizeMax)
	w.within("window", o.Window, 1, windowMax)
	w.within("burst", o.Burst, 0, windowMax)
	switch o.Scenario {
	case FanOut, FanIn, Share:
		w.within("subscribers", o.Subscribers, 1, countMax)
	case Subs:
		w.within("subscriptions", o.Subscriptions, 1, countMax)
		w.within("holders", o.Holders, 1, o.Subscriptions)
	case Latency:
		w.within("rate", o.Rate, 1, int(time.Second/time.Microsecond))
	case Backlog:
		w.within("sessions", o.Subscribers, 1, countMax)
		w.within("messages", o.Messages, o.Clients, countMax)
	}
	o.checkTimes(&w)
	o.checkDurable(&w)
	return errors.Join(w...)
}

func (o *Options) checkTimes(w *wrongs) {
	if o.Rest < 0 || o.Rest > restMax {
		w.add("rest is %v, must be between 0 and %v", o.Rest, restMax)
	}
	if o.Duration <= 0 || o.Warmup < 0 || o.Warmup+o.Duration > durationMax {
		w.add("warmup %v and duration %v must be positive and below %v together", o.Warmup, o.Duration, durationMax)
	}
	if o.Settle < 0 || o.Settle > durationMax {
		w.add("settle is %v, must be between 0 and %v", o.Settle, durationMax)
	}
	if o.Settle > 0 && o.Data == "" {
		w.add("settle is %v, which needs the broker's data folder", o.Settle)
	}
}

func (o *Options) checkDurable(w *wrongs) {
	if o.Scenario != Backlog && o.Scenario != Lone {
		return
	}
	w.within("qos", int(o.QoS), 1, 2)
	if !o.Durable {
		w.add("sessions must be durable for %s", o.Scenario)
	}
	if o.Scenario == Lone && o.Data == "" {
		w.add("the broker's data folder is needed for %s: the plain file is written next to it", o.Scenario)
	}
}

// wrongs collects what is impossible.
type wrongs []error

func (w *wrongs) add(format string, args ...any) { *w = append(*w, fmt.Errorf(format, args...)) }

func (w *wrongs) within(name string, value, low, high int) {
	if value < low || value > high {
		w.add("%s is %d, must be between %d and %d", name, value, low, high)
	}
}

// ScenarioNames joins the names of all scenarios.
func ScenarioNames(separator string) string {
	var names []string
	for _, s := range Scenarios {
		names = append(names, string(s))
	}
	return strings.Join(names, separator)
}
