package admin

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// A channelCollector turns snapshots of the channels into metrics, each labelled with the channel's name. Clients can make channels, so
// only so many have metrics: those that exist longest, which keeps a channel's metrics when another is made.
type channelCollector struct {
	channels                  Channels
	max                       int
	numbers                   numbers[ChannelStatus]
	dropped                   *prometheus.Desc
	count, unlisted, deferred *prometheus.Desc
}

func newChannelCollector(c Channels, most int) *channelCollector {
	return &channelCollector{
		channels: c, max: most, numbers: newNumbers(append(channelGauges(), channelCounters()...), "channel"),
		dropped:  metric("channel_dropped_total", "Messages that left the channel without being dealt with, by reason.", "channel", "reason"),
		count:    metric("channels", "Channels."),
		unlisted: metric("channels_unlisted", "Channels without metrics of their own: more than admin.max_channel_metrics."),
		deferred: metric("deferred_messages", "Messages published with a delay, and not due."),
	}
}

func channelGauges() []number[ChannelStatus] {
	return []number[ChannelStatus]{
		gauge("channel_depth", "Messages that no member has dealt with, those in flight and deferred included.",
			func(s *ChannelStatus) float64 { return float64(s.Depth) }),
		gauge("channel_bytes", "Bytes of penstock_channel_depth.",
			func(s *ChannelStatus) float64 { return float64(s.Bytes) }),
		gauge("channel_in_flight", "Messages handed to members and not acknowledged.",
			func(s *ChannelStatus) float64 { return float64(s.InFlight) }),
		gauge("channel_deferred", "Messages that wait for the time of another attempt.",
			func(s *ChannelStatus) float64 { return float64(s.Deferred) }),
		gauge("channel_oldest_age_seconds", "Age of the oldest message that no member has dealt with.",
			func(s *ChannelStatus) float64 { return s.OldestAge.Seconds() }),
		gauge("channel_members", "Members, online or not.",
			func(s *ChannelStatus) float64 { return float64(s.MemberCount) }),
		gauge("channel_members_online", "Members with a connection.",
			func(s *ChannelStatus) float64 { return float64(s.MembersOnline) }),
		whether("channel_paused", "1 while the channel is paused.",
			func(s *ChannelStatus) bool { return s.Paused }),
	}
}

func channelCounters() []number[ChannelStatus] {
	return []number[ChannelStatus]{
		counter("channel_queued_total", "Messages that came in.", func(s *ChannelStatus) uint64 { return s.Queued }),
		counter("channel_delivered_total", "Messages handed to members.", func(s *ChannelStatus) uint64 { return s.Delivered }),
		counter("channel_acknowledged_total", "Messages that members dealt with.",
			func(s *ChannelStatus) uint64 { return s.Acked }),
		counter("channel_unconfirmed_total", "Of penstock_channel_acknowledged_total, those to members with QoS 0.",
			func(s *ChannelStatus) uint64 { return s.Unconfirmed }),
		counter("channel_requeued_total", "Messages handed out, and back.", func(s *ChannelStatus) uint64 { return s.Requeued }),
		counter("channel_failed_total", "Attempts that failed, those that timed out included.",
			func(s *ChannelStatus) uint64 { return s.Failed }),
		counter("channel_timed_out_total", "Attempts that were not acknowledged in time.",
			func(s *ChannelStatus) uint64 { return s.TimedOut }),
		counter("channel_dead_lettered_total", "Messages moved to the dead letters.",
			func(s *ChannelStatus) uint64 { return s.DeadLettered }),
		counter("channel_put_back_total", "Dead letters put back into the channels that they came from.",
			func(s *ChannelStatus) uint64 { return s.PutBack }),
	}
}

// Describe sends the metrics' descriptions.
func (c *channelCollector) Describe(to chan<- *prometheus.Desc) {
	c.numbers.describe(to)
	for _, d := range []*prometheus.Desc{c.dropped, c.count, c.unlisted, c.deferred} {
		to <- d
	}
}

// Collect sends the metrics of one snapshot.
func (c *channelCollector) Collect(to chan<- prometheus.Metric) {
	all := c.channels.Channels()
	slices.SortFunc(all, func(a, b ChannelStatus) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name)) })
	listed := all[:min(len(all), c.max)]
	total := func(d *prometheus.Desc, n int) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	total(c.count, len(all))
	total(c.unlisted, len(all)-len(listed))
	total(c.deferred, c.channels.Deferred())
	for i := range listed {
		s := &listed[i]
		c.numbers.collect(to, s, s.Name)
		for reason, n := range s.Dropped {
			to <- prometheus.MustNewConstMetric(c.dropped, prometheus.CounterValue, float64(n), s.Name, reason)
		}
	}
}
