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
	// Kill ends the broker with SIGKILL once a backlog has grown, and starts it again.
	Kill bool
}

// The groups of cases.
const (
	Live   = "live"   // nothing is written to disk: Penstock with storage.path "", mosquitto with persistence false
	Stored = "stored" // brokers have a store on disk: Penstock with storage.sync always, mosquitto with persistence true
)

// A Figure is one number of a Result, better when smaller unless AtLeast.
type Figure struct {
	Name  string
	value func(*Result) float64 // 0 if it is not known
	// base names the case by whose figure of the same value this one is divided; empty for none.
	base string
	// Limit is what it should not exceed, as a ratio to the reference broker, or itself if Absolute. 0 is none.
	Limit    float64
	Absolute bool
	AtLeast  bool // Limit is what it should reach
}

func brokerMicros(r *Result) float64 { return r.BrokerMicros }
func rate(r *Result) float64         { return r.DeliveriesPerSecond }

// throughput are the figures of a case with messages.
func throughput(limit float64) []Figure {
	return []Figure{
		{Name: "broker CPU, µs/delivery", value: brokerMicros, Limit: limit},
		{Name: "deliveries/s", value: rate},
	}
}

// Cases are what brokers are compared by, with the limits that Penstock is built to.
func Cases() []Case {
	all := slices.Concat(trafficCases(), singleCases(), holdingCases(), latencyCases())
	for i := range all {
		all[i].Group = Live
	}
	stored := slices.Concat(idleStoredCases(), durablePairsCases(), backlogCases())
	for i := range stored {
		stored[i].Group = Stored
	}
	return append(all, stored...)
}

// trafficCases are about the cost of a delivery.
func trafficCases() []Case {
	cases := []Case{
		{Name: "pairs-qos0", Options: Default(Pairs), Figures: throughput(0.7)},
		{Name: "pairs-qos1", Options: withQoS(Pairs, 1), Figures: throughput(0.6)},
		{Name: "pairs-qos2", Options: withQoS(Pairs, 2), Figures: throughput(0)},
		{Name: "fanout", Options: Default(FanOut), Figures: throughput(0.35)},
		{Name: "fanin", Options: Default(FanIn), Figures: throughput(0)},
		{Name: "share", Options: Default(Share), Figures: throughput(0)},
	}
	var both []Case
	for _, c := range cases {
		five := c
		five.Name += "-v5"
		five.Options.Version = 5
		both = append(both, c, five)
	}
	return both
}

// singleCases are pairs whose messages do not come in bursts, which is where batching saves nothing by itself: in single ones, so fast that
// they gather in the broker, and alone, each after the one before it has arrived.
func singleCases() []Case {
	single := func(qos byte) Options {
		o := withQoS(Pairs, qos)
		o.Burst, o.Rest = 1, 0
		return o
	}
	alone := func(qos byte) Options {
		o := withQoS(Pairs, qos)
		o.Window, o.Rest = 1, 0
		return o
	}
	return []Case{
		{Name: "single-qos0", Options: single(0), Figures: throughput(0.7)},
		{Name: "single-qos1", Options: single(1), Figures: throughput(0.6)},
		{Name: "alone-qos0", Options: alone(0), Figures: throughput(0)},
		{Name: "alone-qos1", Options: alone(1), Figures: throughput(0)},
	}
}

// subsFew is the case that the one with many subscriptions is measured against.
const subsFew = "subs-100"

// holdingCases are about the cost of what a broker holds.
func holdingCases() []Case {
	few := Default(Subs)
	few.Subscriptions, few.Holders = 100, 10
	return []Case{
		{Name: "idle", Options: Default(Idle), Figures: []Figure{
			{Name: "memory, KB/connection", value: func(r *Result) float64 { return r.RSSPerConnection / 1000 }, Limit: 12, Absolute: true},
			{Name: "connects/s", value: func(r *Result) float64 { return r.ConnectsPerSecond }},
		}},
		{Name: subsFew, Options: few, Figures: throughput(0)},
		{Name: "subs-1m", Options: Default(Subs), Figures: []Figure{
			{Name: "broker CPU, µs/delivery", value: brokerMicros},
			{Name: "broker CPU, × " + subsFew, value: brokerMicros, base: subsFew, Limit: 1.3, Absolute: true},
			{Name: "memory, bytes/subscription", value: func(r *Result) float64 { return r.RSSPerSubscription }},
		}},
	}
}

func latencyCases() []Case {
	figures := []Figure{
		{Name: "p50, µs", value: func(r *Result) float64 { return micros(r.Latency.P50) }},
		{Name: "p99, µs", value: func(r *Result) float64 { return micros(r.Latency.P99) }, Limit: 1},
		{Name: "generator late, p99, µs", value: func(r *Result) float64 { return micros(r.Lateness.P99) }},
		{Name: "broker CPU, µs/delivery", value: brokerMicros}, // with nothing to batch
	}
	return []Case{
		{Name: "latency-qos0", Options: Default(Latency), Figures: figures},
		{Name: "latency-qos1", Options: withQoS(Latency, 1), Figures: figures},
	}
}

func idleStoredCases() []Case {
	idle := Default(Idle)
	idle.Clients = 1
	return []Case{{Name: "idle-stored", Options: idle, Figures: []Figure{
		{Name: "memory with the store open, MB", value: func(r *Result) float64 { return megabytes(r.RSSAfter) }, Limit: 40, Absolute: true},
	}}}
}

// pairsClean is the case that pairs with durable sessions are measured against.
const pairsClean = "pairs-clean"

func durablePairsCases() []Case {
	durable := withQoS(Pairs, 1)
	durable.Durable = true
	return []Case{
		{Name: pairsClean, Options: withQoS(Pairs, 1), Figures: throughput(0)},
		{Name: "pairs-durable", Options: durable, Figures: append(throughput(0),
			Figure{Name: "broker CPU, × " + pairsClean, value: brokerMicros, base: pairsClean, Limit: 1.6, Absolute: true},
			Figure{Name: "messages/fsync", value: func(r *Result) float64 { return r.Store.messagesPerFsync() }},
			Figure{Name: "PUBACK p99, ms", value: func(r *Result) float64 { return micros(r.Acknowledged.P99) / 1000 }},
		)},
	}
}

func backlogCases() []Case {
	million := Default(Backlog)
	million.Size = 200
	million.Settle, million.SettleBelow = time.Minute, 50e6
	lone := Default(Lone)
	lone.Data, million.Data = "data", "data" // a comparison puts the broker's own in its place
	return []Case{
		{Name: "backlog", Options: Default(Backlog), Figures: []Figure{
			{Name: "acknowledged/s", value: backlogged(func(b *Backlogged) float64 { return b.Growth.PerSecond() }), Limit: 100_000, Absolute: true, AtLeast: true},
			{Name: "PUBACK p50, ms", value: func(r *Result) float64 { return micros(r.Acknowledged.P50) / 1000 }},
			{Name: "PUBACK p99, ms", value: func(r *Result) float64 { return micros(r.Acknowledged.P99) / 1000 }, Limit: 25, Absolute: true},
			{Name: "broker CPU, µs/message stored", value: backlogged(func(b *Backlogged) float64 { return b.Growth.BrokerMicros() })},
			{Name: "messages/fsync", value: backlogged(func(b *Backlogged) float64 { return b.Growth.Store.messagesPerFsync() })},
			{Name: "drained/s", value: backlogged(func(b *Backlogged) float64 { return b.Drain.PerSecond() }), Limit: 150_000, Absolute: true, AtLeast: true},
			{Name: "broker CPU, µs/message drained", value: backlogged(func(b *Backlogged) float64 { return b.Drain.BrokerMicros() })},
		}},
		{Name: "lone", Options: lone, Figures: []Figure{
			{Name: "a message, µs", value: func(r *Result) float64 { return micros(r.Lone.Broker) }},
			{Name: "plain append with fdatasync, µs", value: func(r *Result) float64 { return micros(r.Lone.Plain) }},
			{Name: "message ÷ plain append", value: func(r *Result) float64 { return r.Lone.Ratio }, Limit: 2.5, Absolute: true},
		}},
		{Name: "backlog-1m", Options: million, Kill: true, Figures: []Figure{
			{Name: "anonymous memory, MB at most", value: backlogged(func(b *Backlogged) float64 { return megabytes(b.AnonymousPeak) }), Limit: 120, Absolute: true},
			{Name: "ready after kill -9, s", value: backlogged(func(b *Backlogged) float64 { return b.Ready.Seconds() }), Limit: 3, Absolute: true},
			{Name: "disk with all queued, MB", value: backlogged(func(b *Backlogged) float64 { return megabytes(b.DiskQueued) })},
			{Name: "disk within a minute of the drain, MB", value: backlogged(func(b *Backlogged) float64 { return megabytes(b.DiskSettled) }), Limit: 50, Absolute: true},
			{Name: "s until then", value: backlogged(func(b *Backlogged) float64 { return b.SettleSeconds })},
			{Name: "drained/s", value: backlogged(func(b *Backlogged) float64 { return b.Drain.PerSecond() })},
		}},
	}
}

// backlogged takes a figure from what Backlog measured.
func backlogged(of func(*Backlogged) float64) func(*Result) float64 {
	return func(r *Result) float64 { return of(r.Backlog) }
}

func (w *StoreWork) messagesPerFsync() float64 {
	if w == nil {
		return 0
	}
	return w.MessagesPerFsync
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
