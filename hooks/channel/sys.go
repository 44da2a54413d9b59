package channel

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// sysPrefix begins the topics of figures.
const sysPrefix = "$SYS/channels/"

// publishSys keeps the topics below $SYS/channels up to date: $SYS/channels/<name>/<figure>, retained, published again when the
// value changed.
func (h *Channels) publishSys() {
	ticker := time.NewTicker(h.options.SysInterval)
	defer ticker.Stop()
	last := make(map[string]string)
	for {
		select {
		case <-ticker.C:
		case <-h.ctx.Done():
			return
		}
		last = h.publishFigures(last)
	}
}

// publishFigures publishes what differs from the last time, and takes back what is no more.
func (h *Channels) publishFigures(last map[string]string) (now map[string]string) {
	now = make(map[string]string, len(last))
	now[sysPrefix+"count"] = strconv.Itoa(len(h.all()))
	now[sysPrefix+"deferred"] = strconv.Itoa(h.Deferred())
	for _, s := range h.Stats() {
		for name, value := range s.figures() {
			now[sysPrefix+s.Settings.Name+"/"+name] = value
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if value := now[name]; last[name] != value {
			h.publishFigure(name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		if _, ok := now[name]; !ok {
			h.publishFigure(name, "")
		}
	}
	return now
}

func (h *Channels) publishFigure(name, value string) {
	h.broker.Publish(&packet.Message{Topic: name, Payload: []byte(value), Received: time.Now().UnixNano(), Retain: true}, nil)
}

// figures are the topics of a channel and their values. Times are seconds; drain is -1 if the channel does not empty.
func (s *Stat) figures() map[string]string {
	n := strconv.Itoa
	u := func(v uint64) string { return strconv.FormatUint(v, 10) }
	f := func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }
	drain := "-1"
	if s.Drain >= 0 {
		drain = f(s.Drain.Seconds())
	}
	online := 0
	for _, m := range s.Members {
		if m.Online {
			online++
		}
	}
	var dropped uint64
	for _, count := range s.Dropped {
		dropped += count
	}
	return map[string]string{
		"depth": n(s.Depth), "bytes": strconv.FormatInt(s.Bytes, 10), "in_flight": n(s.InFlight), "deferred": n(s.Deferred),
		"queued": u(s.Queued), "delivered": u(s.Delivered), "acked": u(s.Acked), "requeued": u(s.Requeued), "timed_out": u(s.TimedOut),
		"dead_lettered": u(s.DeadLettered), "dropped": u(dropped), "rate_in": f(s.RateIn), "rate_out": f(s.RateOut),
		"oldest_age": f(s.OldestAge.Seconds()), "drain": drain, "members": n(len(s.Members)), "members_online": n(online),
		"paused": strconv.FormatBool(s.Paused),
	}
}
