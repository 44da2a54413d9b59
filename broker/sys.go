package broker

import (
	"strconv"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// publishSys keeps the $SYS topics up to date until the broker ends, under the names that mosquitto's users
// know. Every value is retained, and published again only when it changed.
func (b *Broker) publishSys(interval time.Duration) {
	defer close(b.sysDone)
	if interval <= 0 {
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := make(map[string]string)
	rates := newLoads(interval)
	for {
		b.publishSysOnce(last, rates)
		b.update(nil, storage.PutCounters{Values: b.counters.save()})
		select {
		case <-ticker.C:
		case <-b.ctx.Done():
			return
		}
	}
}

func (b *Broker) publishSysOnce(last map[string]string, rates *loads) {
	t := b.begin()
	defer t.end()
	now := time.Now().UnixNano()
	for _, v := range append(b.sysValues(), rates.update(b.Stats())...) {
		if last[v.name] == v.value {
			continue
		}
		last[v.name] = v.value
		m := &packet.Message{Topic: "$SYS/broker/" + v.name, Payload: []byte(v.value), Received: now, Retain: true}
		b.retained.set(b, m)
		r := newRouting(b, m)
		r.route(t, b.index.Lookup(stringAsBytes(m.Topic)).Value)
		r.finish(t)
	}
}

// isSys reports whether a topic name is the broker's own: no client publishes there (MQTT 5, 4.7.2).
func isSys(name string) bool { return len(name) > 4 && name[:5] == "$SYS/" }

// A sysValue is one topic below $SYS/broker/.
type sysValue struct{ name, value string }

func (b *Broker) sysValues() []sysValue {
	s := b.Stats()
	n := func(name string, v int64) sysValue { return sysValue{name, strconv.FormatInt(v, 10)} }
	u := func(name string, v uint64) sysValue { return sysValue{name, strconv.FormatUint(v, 10)} }
	var lost uint64
	values := []sysValue{
		{"version", "penstock version " + b.version},
		{"uptime", strconv.FormatInt(int64(time.Since(s.Started)/time.Second), 10) + " seconds"},
		n("clients/total", int64(s.Sessions)), n("clients/connected", int64(s.Connections)),
		n("clients/active", int64(s.Connections)), n("clients/maximum", int64(s.ConnectionsMax)),
		n("clients/disconnected", int64(max(0, s.Sessions-s.Connections))),
		n("clients/inactive", int64(max(0, s.Sessions-s.Connections))), u("clients/expired", s.SessionsExpired),
		n("subscriptions/count", int64(s.Subscriptions)),
		n("shared_subscriptions/count", int64(s.SharedSubscriptions)),
		n("retained messages/count", int64(s.RetainedMessages)),
		n("store/messages/count", s.QueuedMessages+int64(s.RetainedMessages)),
		n("store/messages/bytes", s.QueuedBytes+s.RetainedBytes),
		u("messages/received", s.PacketsReceived), u("messages/sent", s.PacketsSent), n("messages/inflight", s.InflightMessages),
		u("publish/messages/received", s.PublishReceived), u("publish/messages/sent", s.PublishSent),
		u("publish/bytes/received", s.PublishBytesIn), u("publish/bytes/sent", s.PublishBytesOut),
		u("bytes/received", s.BytesReceived), u("bytes/sent", s.BytesSent),
	}
	for reason, count := range s.Dropped {
		lost += count
		values = append(values, u("publish/messages/dropped/"+string(reason), count))
	}
	return append(values, u("publish/messages/dropped", lost))
}

// loads are moving averages over 1, 5 and 15 minutes, per minute, as mosquitto computes them.
type loads struct {
	interval time.Duration
	last     map[string]uint64
	average  map[string]float64
}

func newLoads(interval time.Duration) *loads {
	return &loads{interval: interval, last: make(map[string]uint64), average: make(map[string]float64)}
}

func (l *loads) update(s Stats) []sysValue {
	var out []sysValue
	for name, count := range map[string]uint64{
		"connections": s.Connects, "messages/received": s.PacketsReceived, "messages/sent": s.PacketsSent,
		"publish/received": s.PublishReceived, "publish/sent": s.PublishSent,
		"bytes/received": s.BytesReceived, "bytes/sent": s.BytesSent,
	} {
		perMinute := float64(count-l.last[name]) * float64(time.Minute) / float64(l.interval)
		l.last[name] = count
		for _, minutes := range []int{1, 5, 15} {
			topic := "load/" + name + "/" + strconv.Itoa(minutes) + "min"
			share := min(1, l.interval.Minutes()/float64(minutes))
			l.average[topic] += (perMinute - l.average[topic]) * share
			out = append(out, sysValue{topic, strconv.FormatFloat(l.average[topic], 'f', 2, 64)})
		}
	}
	return out
}
