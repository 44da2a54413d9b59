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
	Options Options
	Figures []Figure
}

// A Figure is one number of a Result, better when smaller unless it is a rate.
type Figure struct {
	Name  string
	value func(*Result) float64
	// base names the case by whose figure of the same name this one is divided; empty for none.
	base string
	// Limit is what it should not exceed, as a ratio to the reference broker, or itself if Absolute. 0 is none.
	Limit    float64
	Absolute bool
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
	return []Case{
		{"pairs-qos0", Default(Pairs), throughput(0.7)},
		{"pairs-qos1", withQoS(Pairs, 1), throughput(0.6)},
		{"pairs-qos2", withQoS(Pairs, 2), throughput(0)},
		{"fanout", Default(FanOut), throughput(0.35)},
		{"fanin", Default(FanIn), throughput(0)},
		{"share", Default(Share), throughput(0)},
		{"idle", Default(Idle), []Figure{
			{Name: "memory, KB/connection", value: func(r *Result) float64 { return r.RSSPerConnection / 1000 }, Limit: 12, Absolute: true},
			{Name: "connects/s", value: func(r *Result) float64 { return r.ConnectsPerSecond }},
		}},
		{subsFew, withSubscriptions(100, 10), throughput(0)},
		{"subs-1m", Default(Subs), []Figure{
			{Name: "broker CPU, µs/delivery", value: brokerMicros},
			{Name: "broker CPU, × " + subsFew, value: brokerMicros, base: subsFew, Limit: 1.3, Absolute: true},
			{Name: "memory, bytes/subscription", value: func(r *Result) float64 { return r.RSSPerSubscription }},
		}},
		{"latency", Default(Latency), []Figure{
			{Name: "p50, µs", value: func(r *Result) float64 { return micros(r.LatencyP50) }},
			{Name: "p99, µs", value: func(r *Result) float64 { return micros(r.LatencyP99) }},
		}},
	}
}

// subsFew is the case that the one with many subscriptions is measured against.
const subsFew = "subs-100"

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func withQoS(s Scenario, qos byte) Options {
	o := Default(s)
	o.QoS = qos
	return o
}

func withSubscriptions(n, holders int) Options {
	o := Default(Subs)
	o.Subscriptions, o.Holders = n, holders
	return o
}

// SelectCases returns the cases with the names, in the order of all; all of them for no names.
func SelectCases(names []string) ([]Case, error) {
	all := Cases()
	if len(names) == 0 {
		return all, nil
	}
	known := make([]string, len(all))
	for i, c := range all {
		known[i] = c.Name
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("case is %q, must be one of %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(c Case) bool { return !slices.Contains(names, c.Name) }), nil
}
