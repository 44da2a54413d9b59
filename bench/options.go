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
	Pairs    Scenario = "pairs"    // n publishers to n subscribers, each pair on a topic of its own
	FanOut   Scenario = "fanout"   // one publisher to n subscribers
	FanIn    Scenario = "fanin"    // n publishers on topics of their own to m subscribers on a wildcard
	Share    Scenario = "share"    // n publishers to one shared subscription of m members
	Channel  Scenario = "channel"  // n publishers to the m members of a declared channel
	Bridge   Scenario = "bridge"   // pairs whose subscribers are at another broker
	Idle     Scenario = "idle"     // n connections with a subscription each, and no messages
	Subs     Scenario = "subs"     // pairs, beside many subscriptions that match nothing, or sessions that hold them
	Retained Scenario = "retained" // pairs, beside many retained messages on other topics
	Latency  Scenario = "latency"  // pairs at a fixed rate
	Backlog  Scenario = "backlog"  // n publishers to m sessions that are away, which come back and read everything
	Lone     Scenario = "lone"     // one publisher to a session that is away, one message after the other
)

// Scenarios lists every scenario.
var Scenarios = []Scenario{Pairs, FanOut, FanIn, Share, Channel, Bridge, Idle, Subs, Retained, Latency, Backlog, Lone}

// Options say what Run does. Zero values of the numbers with a default take it.
type Options struct {
	Address  string   `json:"address"` // host:port of the broker
	Scenario Scenario `json:"scenario"`
	// To is for Bridge: host:port of the broker to which the one at Address forwards. The subscribers are there.
	To string `json:"to,omitempty"`
	// Username and Password are sent with every CONNECT unless both are empty.
	Username string `json:"username,omitempty"`
	Password string `json:"-"`
	// Prefix is what topics start with. A level that no other run has, and the publisher's number, follow.
	Prefix string `json:"prefix"`
	// ToPrefix is for Bridge: what the bridge puts in front of a topic.
	ToPrefix string `json:"to_prefix,omitempty"`
	// Group is for Share: the name of the shared subscription. Filter is its filter; empty for the run's own topics.
	Group  string `json:"group,omitempty"`
	Filter string `json:"filter,omitempty"`
	// Channel is for Channel: the name of one whose filter matches Prefix/#.
	Channel string `json:"channel,omitempty"`
	// Clients is the number of publishers, or of connections for Idle. FanOut and Lone have one publisher whatever it says.
	Clients int `json:"clients"`
	// Subscribers is the number of subscribers for FanOut and FanIn, of members for Share and Channel, and of sessions for Backlog;
	// with pairs there are as many as publishers.
	Subscribers int `json:"subscribers"`
	// Subscriptions and Holders are for Subs: how many subscriptions, over how many connections. Wildcards is the percentage with
	// a wildcard.
	Subscriptions int `json:"subscriptions,omitempty"`
	Holders       int `json:"holders,omitempty"`
	Wildcards     int `json:"wildcards,omitempty"`
	// Away is for Subs with Durable: those who hold subscriptions leave, so that the broker has their sessions.
	Away bool `json:"away,omitempty"`
	// Retained is for Subs and Retained: how many retained messages there are on topics of nobody's interest.
	Retained int  `json:"retained,omitempty"`
	QoS      byte `json:"qos"`    // 0, 1 or 2
	Size     int  `json:"size"`   // bytes of a payload
	Window   int  `json:"window"` // messages of one publisher that may be on their way
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
	// Metrics is the URL of the broker's metrics (Prometheus), read for what it says of its store and its garbage collector; empty for none.
	Metrics string `json:"metrics,omitempty"`
	// Rest is how long the generator sleeps between two looks at its sockets, so that one read and one write serve several messages
	// and the processor is the broker's. It must be short against the time in which the broker works off all windows.
	Rest     time.Duration `json:"rest"`
	Warmup   time.Duration `json:"warmup"`   // not measured
	Duration time.Duration `json:"duration"` // measured; Backlog takes as long as it takes
	// PIDs are the broker's processes, on this machine, or those of both brokers of a bridge; none leaves processor time and
	// memory unmeasured.
	PIDs []int `json:"pids,omitempty"`
	// Progress is called about once a second from the measuring thread, if it is not nil. It must be quick.
	Progress func(Progress) `json:"-"`
	// Restart is for Backlog, Subs and Retained: if it is not nil it is called once everything that the broker is to keep is
	// acknowledged and nobody is connected. It ends the broker, starts it again and returns when it serves.
	Restart func(context.Context) (Restarted, error) `json:"-"`
	// Abandon leaves sessions and retained messages to a broker that nobody will use again.
	Abandon bool `json:"-"`
}

// Restarted tells of a broker that was ended and started again.
type Restarted struct {
	PIDs  []int         // of the new processes
	Ready time.Duration // from its start until it answered a CONNECT
}

// Progress is how far a run is.
type Progress struct {
	Phase     string // what is done now
	Elapsed   time.Duration
	Connected int           // clients that are connected, with their subscriptions acknowledged
	PerSecond float64       // messages that arrived since the last Progress; while a backlog grows, messages acknowledged
	P99       time.Duration // of what is measured: latency, or the wait for an acknowledgement; 0 if neither is
}

// Default is what the command line starts from.
func Default(s Scenario) Options {
	o := Options{
		Address: "127.0.0.1:1883", Scenario: s, Prefix: "bench", Clients: 50, Subscribers: 1, Size: 64, Window: 50, Version: 4,
		Warmup: time.Second, Duration: 5 * time.Second,
	}
	switch s {
	case FanOut:
		o.Clients, o.Subscribers = 1, 100
	case FanIn:
		o.Clients = 100
	case Share:
		o.Clients, o.Subscribers, o.Group = 20, 5, "bench"
	case Channel:
		o.Clients, o.Subscribers, o.QoS = 20, 5, 1
	case Bridge:
		o.Clients, o.QoS = 10, 1
	case Idle:
		o.Clients = 10_000
	case Subs:
		o.Subscriptions, o.Holders, o.Wildcards = 1_000_000, 100, 50
	case Retained:
		o.Retained = 1_000_000
	case Latency:
		o.Clients, o.Rate, o.Window = 100, 5000, 1000
	case Backlog:
		o.Clients, o.Subscribers, o.QoS, o.Durable, o.Messages, o.Warmup, o.Window = 10, 10, 1, true, 1_000_000, 0, 100
	case Lone:
		o.Clients, o.Window, o.QoS, o.Durable = 1, 1, 1, true
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
	o.checkScenario(&w)
	o.checkTimes(&w)
	o.checkDurable(&w)
	return errors.Join(w...)
}

func (o *Options) checkScenario(w *wrongs) {
	switch o.Scenario {
	case FanOut, FanIn:
		w.within("subscribers", o.Subscribers, 1, countMax)
	case Share, Channel:
		w.within("members", o.Subscribers, 1, countMax)
		o.checkNames(w)
	case Bridge:
		if o.To == "" {
			w.add("the address to which the bridge forwards is needed")
		}
	case Subs:
		w.within("subscriptions", o.Subscriptions, 1, countMax)
		w.within("holders", o.Holders, 1, o.Subscriptions)
		w.within("wildcards", o.Wildcards, 0, 100)
		w.within("retained", o.Retained, 0, countMax)
	case Retained:
		w.within("retained", o.Retained, 1, countMax)
	case Latency:
		w.within("rate", o.Rate, 1, int(time.Second/time.Microsecond))
	case Backlog:
		w.within("sessions", o.Subscribers, 1, countMax)
		w.within("messages", o.Messages, o.Clients, countMax)
	}
	if strings.ContainsAny(o.Prefix, "+#") || strings.HasPrefix(o.Prefix, "$") || o.Prefix == "" {
		w.add("prefix is %q, must be the start of a topic", o.Prefix)
	}
}

// checkNames refuses names that would not be one level of a filter [MQTT5-4.8.2-1].
func (o *Options) checkNames(w *wrongs) {
	name := o.Group
	if o.Scenario == Channel {
		name = o.Channel
	}
	if name == "" || strings.ContainsAny(name, "+#/") {
		w.add("the %s's name is %q, must be one level without wildcards", map[Scenario]string{Share: "group", Channel: "channel"}[o.Scenario], name)
	}
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
	if o.Away && !o.Durable {
		w.add("who is away must have a durable session")
	}
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
