package admin

import (
	"time"

	"github.com/penstockmq/penstock/broker"
	"github.com/prometheus/client_golang/prometheus"
)

// A Source has the numbers; the broker is one.
type Source interface {
	// Stats takes a snapshot. It is called once per scrape.
	Stats() broker.Stats
}

// A number is a metric of one value in a snapshot S, a tableau one with a value for each reason.
type (
	number[S any] struct {
		name, help string
		kind       prometheus.ValueType
		of         func(*S) float64
		desc       *prometheus.Desc // made by newNumbers
	}
	tableau struct {
		desc *prometheus.Desc
		of   func(*broker.Stats, func(reason string, n uint64))
	}
)

// numbers are metrics of the same snapshots, with the same labels.
type numbers[S any] []number[S]

func newNumbers[S any](all []number[S], labels ...string) numbers[S] {
	for i := range all {
		all[i].desc = metric(all[i].name, all[i].help, labels...)
	}
	return all
}

func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("penstock_"+name, help, labels, nil)
}

func (n numbers[S]) describe(to chan<- *prometheus.Desc) {
	for i := range n {
		to <- n[i].desc
	}
}

func (n numbers[S]) collect(to chan<- prometheus.Metric, s *S, labels ...string) {
	for i := range n {
		to <- prometheus.MustNewConstMetric(n[i].desc, n[i].kind, n[i].of(s), labels...)
	}
}

// A collector turns snapshots into metrics.
type collector struct {
	src      Source
	numbers  numbers[broker.Stats]
	tableaus []tableau
}

func newCollector(src Source) *collector {
	return &collector{src: src, numbers: newNumbers(append(gauges(), counters()...)), tableaus: tableaus()}
}

// Describe sends the metrics' descriptions.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	c.numbers.describe(to)
	for _, t := range c.tableaus {
		to <- t.desc
	}
}

// Collect sends the metrics of one snapshot.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := c.src.Stats()
	c.numbers.collect(to, &s)
	for _, t := range c.tableaus {
		t.of(&s, func(reason string, n uint64) {
			to <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, float64(n), reason)
		})
	}
}

func gauge[S any](name, help string, of func(*S) float64) number[S] {
	return number[S]{name: name, help: help, kind: prometheus.GaugeValue, of: of}
}

func counter[S any](name, help string, of func(*S) uint64) number[S] {
	return number[S]{name: name, help: help, kind: prometheus.CounterValue, of: func(s *S) float64 { return float64(of(s)) }}
}

// seconds is a counter of time.
func seconds[S any](name, help string, of func(*S) time.Duration) number[S] {
	return number[S]{name: name, help: help, kind: prometheus.CounterValue, of: func(s *S) float64 { return of(s).Seconds() }}
}

// whether is a gauge that is 1 while something is so.
func whether[S any](name, help string, of func(*S) bool) number[S] {
	return gauge(name, help, func(s *S) float64 {
		if of(s) {
			return 1
		}
		return 0
	})
}

func gauges() []number[broker.Stats] {
	return []number[broker.Stats]{
		gauge("start_time_seconds", "When the broker started, Unix time.",
			func(s *broker.Stats) float64 { return float64(s.Started.UnixNano()) / 1e9 }),
		gauge("connections", "Clients connected now.",
			func(s *broker.Stats) float64 { return float64(s.Connections) }),
		gauge("connections_max", "The most clients connected at once since the start.",
			func(s *broker.Stats) float64 { return float64(s.ConnectionsMax) }),
		gauge("sessions", "Sessions, connected or not.",
			func(s *broker.Stats) float64 { return float64(s.Sessions) }),
		gauge("subscriptions", "Subscriptions of all sessions.",
			func(s *broker.Stats) float64 { return float64(s.Subscriptions) }),
		gauge("shared_subscriptions", "Members of shared subscriptions; part of penstock_subscriptions.",
			func(s *broker.Stats) float64 { return float64(s.SharedSubscriptions) }),
		gauge("retained_messages", "Retained messages.",
			func(s *broker.Stats) float64 { return float64(s.RetainedMessages) }),
		gauge("retained_bytes", "Bytes of retained messages: topics, payloads and properties.",
			func(s *broker.Stats) float64 { return float64(s.RetainedBytes) }),
		gauge("queued_messages", "QoS 1 and 2 messages that wait for a client or for its acknowledgement.",
			func(s *broker.Stats) float64 { return float64(s.QueuedMessages) }),
		gauge("queued_bytes", "Bytes of penstock_queued_messages.",
			func(s *broker.Stats) float64 { return float64(s.QueuedBytes) }),
		gauge("inflight_messages", "QoS 1 and 2 messages sent and not acknowledged yet.",
			func(s *broker.Stats) float64 { return float64(s.InflightMessages) }),
		gauge("pending_stores", "Publishes that wait for the store.",
			func(s *broker.Stats) float64 { return float64(s.PendingStores) }),
	}
}

func counters() []number[broker.Stats] {
	return []number[broker.Stats]{
		counter("connects_total", "CONNECT packets accepted.",
			func(s *broker.Stats) uint64 { return s.Connects }),
		counter("received_bytes_total", "Bytes received from clients, as MQTT packets.",
			func(s *broker.Stats) uint64 { return s.BytesReceived }),
		counter("sent_bytes_total", "Bytes sent to clients, as MQTT packets.",
			func(s *broker.Stats) uint64 { return s.BytesSent }),
		counter("packets_received_total", "MQTT packets received.",
			func(s *broker.Stats) uint64 { return s.PacketsReceived }),
		counter("packets_sent_total", "MQTT packets sent.",
			func(s *broker.Stats) uint64 { return s.PacketsSent }),
		counter("publish_received_total", "PUBLISH packets received.",
			func(s *broker.Stats) uint64 { return s.PublishReceived }),
		counter("publish_sent_total", "PUBLISH packets sent.",
			func(s *broker.Stats) uint64 { return s.PublishSent }),
		counter("publish_received_payload_bytes_total", "Payload bytes of PUBLISH packets received.",
			func(s *broker.Stats) uint64 { return s.PublishBytesIn }),
		counter("publish_sent_payload_bytes_total", "Payload bytes of PUBLISH packets sent.",
			func(s *broker.Stats) uint64 { return s.PublishBytesOut }),
		counter("sessions_expired_total", "Sessions that ended because their expiry interval passed.",
			func(s *broker.Stats) uint64 { return s.SessionsExpired }),
		counter("retained_replaced_total", "Retained messages replaced by a newer one.",
			func(s *broker.Stats) uint64 { return s.RetainedReplaced }),
		counter("hook_panics_total", "Panics of hooks; each ended one connection.",
			func(s *broker.Stats) uint64 { return s.HookPanics }),
	}
}

func tableaus() []tableau {
	return []tableau{
		{
			metric("connections_refused_total", "Connections that were not accepted.", "reason"),
			func(s *broker.Stats, each func(string, uint64)) { spread(s.Refused, each) },
		},
		{
			metric("connections_ended_total", "Accepted connections that ended.", "reason"),
			func(s *broker.Stats, each func(string, uint64)) { spread(s.Disconnected, each) },
		},
		{
			metric("messages_dropped_total", "Deliveries that did not happen.", "reason"),
			func(s *broker.Stats, each func(string, uint64)) { spread(s.Dropped, each) },
		},
	}
}

func spread[R ~string](counts map[R]uint64, each func(string, uint64)) {
	for reason, n := range counts {
		each(string(reason), n)
	}
}
