package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Case is one measurement of a comparison, and the figures taken from it.
type Case struct {
	Name    string
	Group   string // Live or Stored
	Options Options
	Figures []Figure
	// Rounds is how often it is measured unless somebody says otherwise.
	Rounds int
	// Ending says how the broker is ended, once it has what it is to keep, to be started again.
	Ending Ending
	// Only are the names of the brokers that are measured in it; none for all that know it.
	Only []string
	// Environment is what the broker finds there besides, as NAME=value.
	Environment []string
	// Metered has a broker that can serve its metrics without a store, too.
	Metered bool
	// Channels is for Channel: how many there are that take everything, the one with the members included.
	Channels int
}

// The groups of cases.
const (
	Live   = "live"   // nothing is written to disk: Penstock with storage.path "", mosquitto with persistence false
	Stored = "stored" // brokers have a store on disk: Penstock with storage.sync always, mosquitto with persistence true
)

// An Ending is a way to end a broker.
type Ending byte

// The ways to end a broker.
const (
	NoEnding Ending = iota
	Killed          // with SIGKILL
	Stopped         // with SIGTERM, so that a broker that writes when it ends can
)

// A Figure is one number of a Result, better when smaller unless AtLeast.
type Figure struct {
	Name  string
	value func(*Result) float64 // 0 if it is not known, or with zeros NaN
	// base names the case by whose figure of the same value this one is divided; empty for none.
	base string
	// beside is, if it is not nil, taken of each round and the same round of base, in place of the quotient. NaN is not known.
	beside func(r, base *Result) float64
	// zeros tells that 0 is a value as others are.
	zeros bool
	// Limit is what it should not exceed, as a ratio to the reference broker, or itself if Absolute. 0 is none.
	Limit    float64
	Absolute bool
	AtLeast  bool // Limit is what it should reach
	// FlashMQ is that broker's ratio to mosquitto as it was measured elsewhere, on a quiet and on a busy machine.
	FlashMQ string
	// Detail tells that it only helps to judge the others.
	Detail bool
}

const (
	roundsUsual = 3
	roundsOften = 5 // of what scatters
)

func brokerMicros(r *Result) float64 { return r.BrokerMicros }
func deliveries(r *Result) float64   { return r.DeliveriesPerSecond }

// throughput are the figures of a case with messages.
func throughput(limit float64, flashMQ string) []Figure {
	return append([]Figure{{Name: "broker CPU, µs/delivery", value: brokerMicros, Limit: limit, FlashMQ: flashMQ}}, shape()...)
}

// shape are the figures that say what the load was like.
func shape() []Figure {
	return []Figure{
		{Name: "deliveries/s", value: deliveries, Detail: true},
		{Name: "generator CPU, µs/delivery", value: func(r *Result) float64 { return r.GeneratorMicros }, Detail: true},
		{Name: "messages in a publisher's write", value: func(r *Result) float64 { return r.MessagesPerWrite }, Detail: true},
		{Name: "messages in a subscriber's read", value: func(r *Result) float64 { return r.MessagesPerRead }, Detail: true},
	}
}

// Cases are what brokers are compared by, with the limits that Penstock is built to.
func Cases() []Case {
	all := slices.Concat(trafficCases(), singleCases(), holdingCases(), latencyCases(), pauseCases())
	for i := range all {
		all[i].Group = Live
	}
	stored := slices.Concat(idleStoredCases(), durablePairsCases(), channelCases(), bridgeCases(), heldCases(), backlogCases())
	for i := range stored {
		stored[i].Group = Stored
	}
	all = append(all, stored...)
	for i := range all {
		all[i].Options.Abandon = true // each broker is used for one measurement
		if all[i].Rounds == 0 {
			all[i].Rounds = roundsUsual
		}
	}
	return all
}

// brief is a case's length: many rounds tell more than long ones.
func brief(o Options) Options {
	o.Warmup, o.Duration = 500*time.Millisecond, 2*time.Second
	return o
}

// manned is a brief case of n publishers and m subscribers, each publisher with a window.
func manned(s Scenario, qos byte, n, m, window int) Options {
	o := brief(withQoS(s, qos))
	o.Clients, o.Subscribers, o.Window = n, m, window
	return o
}

// bursts are the cases about the cost of a delivery, in which publishers send as much as their window allows at once.
func bursts() []Case {
	large := manned(Pairs, 0, 10, 1, 50)
	large.Size = 8 << 10
	return []Case{
		{Name: "pairs-qos0", Options: manned(Pairs, 0, 50, 1, 50), Figures: throughput(0.25, "0.30 – 0.22")},
		{Name: "fanout-qos0", Options: manned(FanOut, 0, 1, 100, 50), Figures: throughput(0.14, "0.18 – 0.13")},
		{Name: "fanin-qos0", Options: manned(FanIn, 0, 100, 1, 50), Figures: throughput(0.36, "0.39 – 0.39")},
		{Name: "pairs-qos1", Options: manned(Pairs, 1, 50, 1, 20), Figures: throughput(0.21, "0.25 – 0.19")},
		{Name: "fanin-qos1", Options: manned(FanIn, 1, 100, 2, 20), Figures: throughput(0.30, "0.31 – 0.32")},
		{Name: "share-qos1", Options: manned(Share, 1, 20, 5, 20), Figures: throughput(0.21, "0.23 – 0.22")},
		{Name: "pairs-qos2", Options: manned(Pairs, 2, 20, 1, 20), Figures: throughput(0.23, "0.28 – 0.20")},
		{Name: "pairs-8k", Options: large, Figures: throughput(0.60, "0.79 – 0.57")},
	}
}

// trafficCases are about the cost of a delivery, in either version.
func trafficCases() []Case {
	var both []Case
	for _, c := range bursts() {
		five := c
		five.Name += "-v5"
		five.Options.Version = 5
		both = append(both, c, five)
	}
	return both
}

// singleCases are those whose messages do not come in bursts, so that batching saves nothing by itself: in single ones, so fast
// that they gather in the broker, and alone, each after the one before it has arrived.
func singleCases() []Case {
	var cases []Case
	for _, c := range bursts() {
		if c.Name == "pairs-8k" {
			continue // such messages hardly gather as it is
		}
		c.Name += "-single"
		c.Options.Burst = 1
		c.Figures = throughput(map[string]float64{"pairs-qos0-single": 0.7, "pairs-qos1-single": 0.6}[c.Name], "")
		cases = append(cases, c)
	}
	return append(cases,
		Case{Name: "pairs-qos0-alone", Options: manned(Pairs, 0, 50, 1, 1), Figures: throughput(0, "")},
		Case{Name: "pairs-qos1-alone", Options: manned(Pairs, 1, 50, 1, 1), Figures: throughput(0, "")},
	)
}

// subsFew is the case that those with much to hold are measured against.
const subsFew = "subs-100"

// holdingCases are about the cost of what a broker holds.
func holdingCases() []Case {
	few, many, retained := brief(Default(Subs)), brief(Default(Subs)), brief(Default(Retained))
	few.Subscriptions, few.Holders = 100, 10
	idle := Default(Idle)
	idle.Warmup, idle.Duration = 0, time.Second
	return []Case{
		{Name: "idle", Options: idle, Figures: []Figure{
			{Name: "memory, KB/connection", value: func(r *Result) float64 { return r.RSSPerConnection / 1000 }, Limit: 3, Absolute: true},
			{Name: "connects/s", value: func(r *Result) float64 { return r.ConnectsPerSecond }, Limit: 8000, Absolute: true, AtLeast: true},
		}},
		{Name: subsFew, Options: few, Figures: throughput(0, "")},
		{Name: "subs-1m", Options: many, Figures: []Figure{
			{Name: "broker CPU, × " + subsFew, value: brokerMicros, base: subsFew, Limit: 1.3, Absolute: true},
			{Name: "memory, bytes/subscription", value: func(r *Result) float64 { return r.RSSPerSubscription }},
			{Name: "subscriptions/s", value: func(r *Result) float64 { return r.SubscriptionsPerSecond }, Detail: true},
		}},
		{Name: "retained-1m", Options: retained, Figures: []Figure{
			{Name: "broker CPU, × " + subsFew, value: brokerMicros, base: subsFew, Limit: 1.3, Absolute: true},
			{Name: "memory, bytes/retained message", value: func(r *Result) float64 { return r.RSSPerRetained }},
			{Name: "retained/s", value: func(r *Result) float64 { return r.RetainedPerSecond }, Detail: true},
		}},
	}
}

func latencyCases() []Case {
	figures := []Figure{
		{Name: "p99, µs", value: func(r *Result) float64 { return micros(r.Latency.P99) }, Limit: 1},
		{Name: "broker CPU, µs/delivery", value: brokerMicros}, // with nothing to batch
		{Name: "p50, µs", value: func(r *Result) float64 { return micros(r.Latency.P50) }, Detail: true},
		{Name: "generator late, p99, µs", value: func(r *Result) float64 { return micros(r.Lateness.P99) }, Detail: true},
	}
	qos0, qos1 := withQoS(Latency, 0), withQoS(Latency, 1)
	// A machine that is taken away for 5 ms ten times in 4 s makes that the p99, of whichever broker is measured just then.
	qos0.Duration, qos1.Duration = 10*time.Second, 10*time.Second
	return []Case{
		{Name: "latency-qos0", Options: qos0, Figures: figures, Rounds: roundsOften},
		{Name: "latency-qos1", Options: qos1, Figures: figures, Rounds: roundsOften},
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func withQoS(s Scenario, qos byte) Options {
	o := Default(s)
	o.QoS = qos
	return o
}

// base is the case by which some of its figures are divided, or empty.
func (c *Case) base() string {
	for _, f := range c.Figures {
		if f.base != "" {
			return f.base
		}
	}
	return ""
}

// SelectCases returns the cases with the names or groups, in the order of all; all of them for no names.
func SelectCases(names []string) ([]Case, error) {
	all := Cases()
	if len(names) == 0 {
		return all, nil
	}
	known := []string{Live, Stored}
	for _, c := range all {
		known = append(known, c.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("case is %q, must be one of %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(c Case) bool { return !slices.Contains(names, c.Name) && !slices.Contains(names, c.Group) }), nil
}
