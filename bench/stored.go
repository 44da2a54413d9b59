package bench

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// The cases in which brokers have a store on disk.

func idleStoredCases() []Case {
	idle := Default(Idle)
	idle.Clients, idle.Warmup, idle.Duration = 1, 0, time.Second
	return []Case{{Name: "idle-stored", Options: idle, Figures: []Figure{
		{Name: "memory with the store open, MB", value: func(r *Result) float64 { return megabytes(r.RSSAfter) }, Limit: 40, Absolute: true},
	}}}
}

// pairsClean is the case that pairs with durable sessions are measured against.
const pairsClean = "pairs-clean"

func durablePairsCases() []Case {
	clean := manned(Pairs, 1, 50, 1, 100)
	durable := clean
	durable.Durable = true
	return []Case{
		{Name: pairsClean, Options: clean, Figures: throughput(0, "")},
		{Name: "pairs-durable", Options: durable, Figures: slices.Concat([]Figure{
			{Name: "broker CPU, × " + pairsClean, value: brokerMicros, base: pairsClean, Limit: 1.4, Absolute: true},
			{Name: "broker CPU, µs/delivery", value: brokerMicros},
		}, synced(), shape())},
	}
}

// synced are the figures of a case whose messages go to the store while they are delivered.
func synced() []Figure {
	return []Figure{
		{Name: "fsyncs/s", value: func(r *Result) float64 { return r.Store.fsyncsPerSecond() }},
		{Name: "messages/fsync", value: func(r *Result) float64 { return r.Store.messagesPerFsync() }, zeros: true},
		{Name: "PUBACK p99, ms", value: pubackP99},
	}
}

// penstockOnly and bridging are the brokers that are measured where others have nothing that is alike.
var penstockOnly, bridging = []string{"penstock"}, []string{"penstock", "mosquitto"}

// channelName names the first channel, which the members join, and those that only take copies.
func channelName(i int) string {
	if i == 0 {
		return "bench"
	}
	return fmt.Sprintf("bench-%d", i)
}

// copiesMany is how many channels take everything in the case about copies.
const copiesMany = 1000

// channelCases are about a durable channel and the work that its members share. No other broker is measured: the nearest that they
// have is a shared subscription, which share-qos1 compares, and with sessions that last mosquitto's is still acknowledged before
// anything is on disk, so that a ratio would be one of two different promises.
func channelCases() []Case {
	one := manned(Channel, 1, 20, 5, 100)
	one.Channel, one.Durable = channelName(0), true
	many := one
	many.Clients, many.Window = 4, 10 // a message is a thousand
	return []Case{
		{Name: "channel", Options: one, Only: penstockOnly, Channels: 1, Figures: slices.Concat([]Figure{
			{Name: "deliveries/s", value: deliveries, Limit: 60_000, Absolute: true, AtLeast: true},
			{Name: "broker CPU, µs/delivery", value: brokerMicros},
		}, synced(), shape()[1:])},
		{Name: "channels-1000", Options: many, Only: penstockOnly, Channels: copiesMany, Figures: []Figure{
			{Name: "broker CPU, µs/copy", value: func(r *Result) float64 { return r.BrokerMicros / copiesMany }, Limit: 1.5, Absolute: true},
			{Name: "copies/s", value: func(r *Result) float64 { return r.DeliveriesPerSecond * copiesMany }},
			{Name: "PUBACK p99, ms", value: pubackP99, Detail: true},
		}},
	}
}

// bridgeCases are about the way from an edge over its bridge to a session at a hub, two brokers of a kind. The clients at either end
// speak the version of the link.
func bridgeCases() []Case {
	five := manned(Bridge, 1, 16, 1, 500)
	five.Durable, five.Version = true, 5
	five.To = "hub" // a comparison puts its address in its place
	three := five
	three.Version = 4
	figures := append([]Figure{
		{Name: "deliveries/s", value: deliveries, Limit: 30_000, Absolute: true, AtLeast: true},
		{Name: "CPU of both brokers, µs/delivery", value: brokerMicros},
		{Name: "CPU of the edge, µs/delivery", value: processMicros(0)},
		{Name: "CPU of the hub, µs/delivery", value: processMicros(1)},
		{Name: "PUBACK p99, ms", value: pubackP99},
		{Name: "fsyncs/s of the edge", value: func(r *Result) float64 { return r.Store.fsyncsPerSecond() }, Detail: true},
	}, shape()[1:]...)
	return []Case{
		{Name: "bridge", Options: five, Only: bridging, Figures: figures},
		{Name: "bridge-311", Options: three, Only: bridging, Figures: figures},
	}
}

// processMicros is the processor time of one of two brokers, each of which is one process.
func processMicros(i int) func(*Result) float64 {
	return func(r *Result) float64 {
		if len(r.Processes) != 2 {
			return 0
		}
		return r.Processes[i].Micros
	}
}

// storeEmpty is the case that a broker with much in its store is measured against.
const storeEmpty = "store-empty"

// heldCases are about a broker that keeps a million subscriptions in 100 000 sessions and a million retained messages, and was
// started with all that on disk.
func heldCases() []Case {
	empty := brief(Default(Pairs))
	empty.Durable = true
	full := brief(Default(Subs))
	full.Durable, full.Away, full.Holders, full.Retained = true, true, 100_000, 1_000_000
	return []Case{
		{Name: storeEmpty, Options: empty, Figures: throughput(0, "")},
		{Name: "store-full", Options: full, Ending: Stopped, Rounds: 1, Figures: []Figure{
			{Name: "ready after its start, s", value: func(r *Result) float64 { return r.Ready.Seconds() }, Limit: 5, Absolute: true},
			{Name: "broker CPU, × " + storeEmpty, value: brokerMicros, base: storeEmpty, Limit: 1.3, Absolute: true},
			{Name: "anonymous memory then, MB", value: func(r *Result) float64 { return megabytes(r.AnonymousReady) }},
			{Name: "sessions made/s", value: func(r *Result) float64 { return r.SessionsPerSecond }, Detail: true},
			{Name: "retained/s", value: func(r *Result) float64 { return r.RetainedPerSecond }, Detail: true},
		}},
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
			{Name: "PUBACK p99, ms", value: pubackP99, Limit: 25, Absolute: true},
			{Name: "fsyncs/s", value: backlogged(func(b *Backlogged) float64 { return b.Growth.Store.fsyncsPerSecond() })},
			{Name: "messages/fsync", value: backlogged(func(b *Backlogged) float64 { return b.Growth.Store.messagesPerFsync() }), zeros: true},
			{Name: "drained/s", value: backlogged(func(b *Backlogged) float64 { return b.Drain.PerSecond() }), Limit: 150_000, Absolute: true, AtLeast: true},
			{Name: "PUBACK p50, ms", value: pubackP50, Detail: true},
			{Name: "broker CPU, µs/message stored", value: backlogged(func(b *Backlogged) float64 { return b.Growth.BrokerMicros() }), Detail: true},
			{Name: "broker CPU, µs/message drained", value: backlogged(func(b *Backlogged) float64 { return b.Drain.BrokerMicros() }), Detail: true},
			{Name: "generator CPU, µs/message stored", value: backlogged(func(b *Backlogged) float64 { return b.Growth.GeneratorMicros() }), Detail: true},
		}},
		{Name: "lone", Options: lone, Figures: []Figure{
			{Name: "a message, µs", value: func(r *Result) float64 { return micros(r.Lone.Broker) }},
			{Name: "plain append with fdatasync, µs", value: func(r *Result) float64 { return micros(r.Lone.Plain) }},
			{Name: "message ÷ plain append", value: func(r *Result) float64 { return r.Lone.Ratio }, Limit: 2.5, Absolute: true},
		}},
		{Name: "backlog-1m", Options: million, Ending: Killed, Figures: []Figure{
			{Name: "anonymous memory, MB at most", value: backlogged(func(b *Backlogged) float64 { return megabytes(b.AnonymousPeak) }), Limit: 120, Absolute: true},
			{Name: "ready after kill -9, s", value: func(r *Result) float64 { return r.Ready.Seconds() }, Limit: 3, Absolute: true},
			{Name: "disk within a minute of the drain, MB", value: backlogged(func(b *Backlogged) float64 { return megabytes(b.DiskSettled) }), Limit: 50, Absolute: true},
			{Name: "disk with all queued, MB", value: backlogged(func(b *Backlogged) float64 { return megabytes(b.DiskQueued) }), Detail: true},
			{Name: "s until it was that small", value: settleSeconds, Detail: true},
			{Name: "drained/s", value: backlogged(func(b *Backlogged) float64 { return b.Drain.PerSecond() }), Detail: true},
		}},
	}
}

// backlogged takes a figure from what Backlog measured.
func backlogged(of func(*Backlogged) float64) func(*Result) float64 {
	return func(r *Result) float64 { return of(r.Backlog) }
}

// settleSeconds is 0, which means that it is not known, of a broker whose disk is not looked at.
func settleSeconds(r *Result) float64 {
	if r.Backlog.DiskQueued == 0 {
		return 0
	}
	return r.Backlog.SettleSeconds
}

func pubackP50(r *Result) float64 { return micros(r.Acknowledged.P50) / 1000 }
func pubackP99(r *Result) float64 { return micros(r.Acknowledged.P99) / 1000 }

func (w *StoreWork) fsyncsPerSecond() float64 {
	if w == nil {
		return 0
	}
	return w.FsyncsPerSecond
}

// messagesPerFsync is 0 where everything was acknowledged by all its receivers before it was written, and NaN if it is not known.
func (w *StoreWork) messagesPerFsync() float64 {
	if w == nil {
		return math.NaN()
	}
	return w.MessagesPerFsync
}
