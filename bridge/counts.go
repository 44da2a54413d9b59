package bridge

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// The reasons for which a bridge drops a message.
const (
	dropFull      = "queue_full"       // max_queue_messages or max_queue_bytes
	dropOffline   = "offline"          // QoS 0 while the link is down
	dropSlow      = "slow"             // QoS 0, the other broker takes them too slowly
	dropExpired   = "expired"          // message expiry interval passed
	dropTooLarge  = "packet_too_large" // for the other broker, or for this one
	dropRefused   = "refused"          // by the other broker, with a reason code >= 0x80
	dropRejected  = "rejected"         // by this broker: a hook or a limit
	dropNoRule    = "no_rule"          // no rule matches any more
	dropLoop      = "loop"             // it was at this broker before
	dropDuplicate = "duplicate"        // it came another way before
)

// DropReasons lists every reason, so that a metric can start at zero for each.
var DropReasons = []string{
	dropFull, dropOffline, dropSlow, dropExpired, dropTooLarge, dropRefused, dropRejected, dropNoRule, dropLoop, dropDuplicate,
}

// counts are the statistics of one bridge since the start.
type counts struct {
	sent, received           atomic.Uint64 // messages that were acknowledged, or of QoS 0
	sentBytes, receivedBytes atomic.Uint64
	resent                   atomic.Uint64 // PUBLISH sent again
	connects                 atomic.Uint64
	out, in                  meter
	trip                     atomic.Int64 // smoothed time from PUBLISH to its acknowledgement, nanoseconds

	mu      sync.Mutex // guards what follows
	dropped map[string]uint64
}

func newCounts() *counts { return &counts{dropped: make(map[string]uint64)} }

func (c *counts) drop(reason string, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped[reason] += n
}

func (c *counts) drops() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]uint64, len(DropReasons))
	for _, reason := range DropReasons {
		all[reason] = c.dropped[reason]
	}
	return all
}

// tripShare is the weight of a new round trip in the smoothed one, as in TCP.
const tripShare = 8

func (c *counts) roundTrip(d time.Duration) {
	old := c.trip.Load()
	if old == 0 {
		c.trip.Store(int64(d))
		return
	}
	c.trip.Store(old + (int64(d)-old)/tripShare)
}

// meterSpan is how far back the rate of a meter looks.
const meterSpan = 10 * time.Second

// A meter measures a rate: events a second, of which those long ago weigh little.
type meter struct {
	mu   sync.Mutex // guards what follows
	rate float64
	at   time.Time
}

func (m *meter) add(n int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fadeLocked(now)
	m.rate += float64(n) / meterSpan.Seconds()
}

func (m *meter) read(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fadeLocked(now)
	return m.rate
}

func (m *meter) fadeLocked(now time.Time) {
	if passed := now.Sub(m.at); passed > 0 {
		m.rate *= math.Exp(-passed.Seconds() / meterSpan.Seconds())
		m.at = now
	}
}

// A throttle lets through so many messages a second, and a tenth of that at once.
type throttle struct {
	rate   float64 // 0 is no limit
	tokens float64
	at     time.Time
}

func newThrottle(rate int) *throttle { return &throttle{rate: float64(rate), tokens: 1} }

// take returns how long to wait, 0 if the message may go.
func (t *throttle) take(now time.Time) time.Duration {
	if t.rate == 0 {
		return 0
	}
	if !t.at.IsZero() {
		t.tokens = min(max(1, t.rate/10), t.tokens+now.Sub(t.at).Seconds()*t.rate)
	}
	t.at = now
	if t.tokens >= 1 {
		t.tokens--
		return 0
	}
	return 1 + time.Duration((1-t.tokens)/t.rate*float64(time.Second)) // never 0, which is yes
}
