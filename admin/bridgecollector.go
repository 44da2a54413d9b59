package admin

import "github.com/prometheus/client_golang/prometheus"

// A bridgeCollector turns snapshots of the bridges into metrics, each labelled with the bridge's name.
type bridgeCollector struct {
	bridges  Bridges
	numbers  numbers[BridgeStatus]
	dropped  *prometheus.Desc
	repeated *prometheus.Desc
}

func newBridgeCollector(b Bridges) *bridgeCollector {
	return &bridgeCollector{
		bridges: b, numbers: newNumbers(bridgeNumbers(), "bridge"),
		dropped: metric("bridge_messages_dropped_total", "Messages that a bridge did not deliver, by reason.", "bridge", "reason"),
		repeated: metric("bridge_peer_messages_dropped_total",
			"Messages that bridges of other brokers brought and that were here before, by reason.", "reason"),
	}
}

func bridgeNumbers() []number[BridgeStatus] {
	return []number[BridgeStatus]{
		whether("bridge_connected", "1 while the bridge is connected.",
			func(s *BridgeStatus) bool { return s.State == "connected" }),
		gauge("bridge_queue_messages", "Messages that wait for the other broker.",
			func(s *BridgeStatus) float64 { return float64(s.QueueMessages) }),
		gauge("bridge_queue_bytes", "Bytes of penstock_bridge_queue_messages.",
			func(s *BridgeStatus) float64 { return float64(s.QueueBytes) }),
		gauge("bridge_queue_age_seconds", "Age of the oldest message that waits.",
			func(s *BridgeStatus) float64 { return s.QueueAge.Seconds() }),
		gauge("bridge_inflight_messages", "Messages sent and not acknowledged.",
			func(s *BridgeStatus) float64 { return float64(s.Inflight) }),
		gauge("bridge_round_trip_seconds", "Smoothed time from PUBLISH to its acknowledgement.",
			func(s *BridgeStatus) float64 { return s.RoundTrip.Seconds() }),
		counter("bridge_messages_sent_total", "Messages that the other broker acknowledged, or of QoS 0.",
			func(s *BridgeStatus) uint64 { return s.Sent }),
		counter("bridge_messages_received_total", "Messages from the other broker.",
			func(s *BridgeStatus) uint64 { return s.Received }),
		counter("bridge_bytes_sent_total", "Bytes of penstock_bridge_messages_sent_total.",
			func(s *BridgeStatus) uint64 { return s.SentBytes }),
		counter("bridge_bytes_received_total", "Bytes of penstock_bridge_messages_received_total.",
			func(s *BridgeStatus) uint64 { return s.ReceivedBytes }),
		counter("bridge_messages_resent_total", "PUBLISH packets sent again.",
			func(s *BridgeStatus) uint64 { return s.Resent }),
		counter("bridge_connects_total", "Connections made.",
			func(s *BridgeStatus) uint64 { return s.Connects }),
	}
}

// Describe sends the metrics' descriptions.
func (c *bridgeCollector) Describe(to chan<- *prometheus.Desc) {
	c.numbers.describe(to)
	to <- c.dropped
	to <- c.repeated
}

// Collect sends the metrics of one snapshot.
func (c *bridgeCollector) Collect(to chan<- prometheus.Metric) {
	for _, s := range c.bridges.Bridges() {
		c.numbers.collect(to, &s, s.Name)
		for reason, n := range s.Dropped {
			to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n), s.Name, reason)
		}
	}
	for reason, n := range c.bridges.Dropped() {
		to <- prometheus.MustNewConstMetric(c.repeated, prometheus.CounterValue, float64(n), reason)
	}
}
