package channel

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// A Stat is what a channel looks like at one moment. Counts are since the broker started.
type Stat struct {
	Settings configs.Channel
	Origin   string // config, runtime, auto, dead_letter or retired
	Created  time.Time
	Paused   bool

	Depth     int   // messages that no member has dealt with, those in flight and deferred included
	Bytes     int64 // of those
	InFlight  int   // handed to members and not acknowledged
	Deferred  int   // waiting for the time of another attempt
	OldestAge time.Duration

	Queued       uint64 // messages that came in
	Delivered    uint64 // handed to members
	Acked        uint64
	Unconfirmed  uint64 // of these, to members with QoS 0
	Requeued     uint64
	Failed       uint64 // attempts that failed, those that timed out included
	TimedOut     uint64
	DeadLettered uint64
	PutBack      uint64
	Dropped      map[hooks.DropReason]uint64

	RateIn  float64 // messages a second, averaged over ten seconds
	RateOut float64 // handed out
	// Drain is how long the channel takes to empty at these rates; negative if it does not.
	Drain   time.Duration
	Members []MemberStat // by client
}

// A MemberStat is a member of a channel.
type MemberStat struct {
	Client    string
	Filter    string // of its subscription
	QoS       byte
	Online    bool
	InFlight  int
	Delivered uint64
	Acked     uint64
	Share     float64 // of what all members that are there now acknowledged, from 0 to 1
}

// Stats are the channels, by name.
func (h *Channels) Stats() []Stat {
	all := h.all()
	stats := make([]Stat, 0, len(all))
	for _, c := range all {
		stats = append(stats, c.stat())
	}
	return stats
}

// Stat is one channel. It may read the store.
func (h *Channels) Stat(name string) (Stat, error) {
	c := h.find(name)
	if c == nil {
		return Stat{}, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	return c.stat(), nil
}

// Deferred is how many messages were published with a delay and are not due.
func (h *Channels) Deferred() int { return h.deferred.waiting() }

func (c *channel) stat() Stat {
	oldest := c.oldestReceived()
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stat{Settings: *c.settings(), Origin: c.origin(), Created: c.created, Paused: c.spread.Paused(), Members: c.memberStatsLocked()}
	s.Depth, s.Bytes = c.spread.Depth()
	s.InFlight, s.Deferred = c.spread.InFlight(), c.spread.Delayed()
	if oldest > 0 && s.Depth > 0 {
		s.OldestAge = time.Duration(max(0, now-oldest))
	}
	count := &c.spread.Count
	s.Queued, s.Delivered, s.Acked, s.Unconfirmed = count.Queued, count.Delivered, count.Acked, count.Unconfirmed
	s.Requeued, s.Failed, s.TimedOut = count.Requeued, count.Failed, count.TimedOut
	s.DeadLettered, s.PutBack = count.DeadLettered, count.PutBack
	s.Dropped = map[hooks.DropReason]uint64{hooks.DropExpired: count.Expired}
	for reason, n := range count.Dropped {
		s.Dropped[reason] += n
	}
	s.RateIn, s.RateOut = c.in.perSecond(now), c.out.perSecond(now)
	s.Drain = drainTime(s.Depth, s.RateOut-s.RateIn)
	return s
}

// drainTime is how long depth messages take when so many more leave than come, a second.
func drainTime(depth int, leaving float64) time.Duration {
	const most = 366 * 24 * time.Hour
	switch {
	case depth == 0:
		return 0
	case leaving*most.Seconds() <= float64(depth):
		return -1
	}
	return time.Duration(float64(depth) / leaving * 1e9)
}

// oldestReceived is when the oldest message came, 0 without one.
func (c *channel) oldestReceived() (received int64) {
	err := c.queue.Read(0, 1, 1, func(q hooks.Queued) bool {
		received = q.Message.Received
		return false
	})
	if err != nil {
		c.h.log.Error("channel not read", "name", c.name, "err", err)
	}
	return received
}

func (c *channel) memberStatsLocked() (stats []MemberStat) {
	var acked uint64
	for m := range c.members {
		s := m.spread
		acked += s.Acked
		stats = append(stats, MemberStat{
			Client: s.Client, Filter: s.Filter, QoS: s.QoS, Online: s.Online(), InFlight: s.InFlight(), Delivered: s.Delivered, Acked: s.Acked,
		})
	}
	for i := range stats {
		if acked > 0 {
			stats[i].Share = float64(stats[i].Acked) / float64(acked)
		}
	}
	slices.SortFunc(stats, func(a, b MemberStat) int {
		return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Filter, b.Filter))
	})
	return stats
}
