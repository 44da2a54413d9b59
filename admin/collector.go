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
		desc *prometheus.Desc
		kind prometheus.ValueType
		of   func(*S) float64
	}
	tableau struct {
		desc *prometheus.Desc
		of   func(*broker.Stats, func(reason string, n uint64))
	}
)

// A collector turns snapshots into metrics.
type collector struct {
	src      Source
	numbers  []number[broker.Stats]
	tableaus []tableau
}

func newCollector(src Source) *collector {
	return &collector{src: src, numbers: append(gauges(), counters()...), tableaus: tableaus()}
}

// Describe sends the metrics' descriptions.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, n := range c.numbers {
		to <- n.desc
	}
	for _, t := range c.tableaus {
		to <- t.desc
	}
}

// Collect sends the metrics of one snapshot.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := c.src.Stats()
	for _, n := range c.numbers {
		to <- prometheus.MustNewConstMetric(n.desc, n.kind, n.of(&s))
	}
	for _, t := range c.tableaus {
		t.of(&s, func(reason string, n uint64) {
			to <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, float64(n), reason)
		})
	}
}

func gauge[S any](name, help string, of func(*S) float64) number[S] {
	return number[S]{prometheus.NewDesc("penstock_"+name, help, nil, nil), prometheus.GaugeValue, of}
}

func counter[S any](name, help string, of func(*S) uint64) number[S] {
	return number[S]{
		prometheus.NewDesc("penstock_"+name, help, nil, nil), prometheus.CounterValue,
		func(s *S) float64 { return float64(of(s)) },
	}
}

// seconds is a counter of time.
func seconds[S any](name, help string, of func(*S) time.Duration) number[S] {
	return number[S]{
		prometheus.NewDesc("penstock_"+name, help, nil, nil), prometheus.CounterValue,
		func(s *S) float64 { return of(s).Seconds() },
	}
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
	perReason := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("penstock_"+name, help, []string{"reason"}, nil)
	}
	return []tableau{
		{
			perReason("connections_refused_total", "Connections that were not accepted."),
			func(s *broker.Stats, each func(string, uint64)) { spread(s.Refused, each) },
		},
		{
			perReason("connections_ended_total", "Accepted connections that ended."),
			func(s *broker.Stats, each func(string, uint64)) { spread(s.Disconnected, each) },
		},
		{
			perReason("messages_dropped_total", "Deliveries that did not happen."),
			func(s *broker.Stats, each func(string, uint64)) { spread(s.Dropped, each) },
		},
	}
}

func spread[R ~string](counts map[R]uint64, each func(string, uint64)) {
	for reason, n := range counts {
		each(string(reason), n)
	}
}
