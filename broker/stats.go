package broker

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/hooks"
)

// Stats is a snapshot of the broker's gauges and counters. Counters count from the start of the process, or,
// with a store that lasts, those that it keeps from its first start.
type Stats struct {
	Started             time.Time
	Connections         int // clients connected now
	ConnectionsMax      int // the most at once
	Sessions            int // connected or not
	Subscriptions       int
	SharedSubscriptions int // members of shared subscriptions, of Subscriptions
	RetainedMessages    int
	RetainedBytes       int64
	QueuedMessages      int64 // QoS 1 and 2 messages that wait for a client or for its acknowledgement
	QueuedBytes         int64
	InflightMessages    int64 // sent and not acknowledged
	PendingStores       int64 // publishes that wait for the store

	Connects         uint64 // accepted CONNECT packets
	BytesReceived    uint64
	BytesSent        uint64
	PacketsReceived  uint64
	PacketsSent      uint64
	PublishReceived  uint64
	PublishSent      uint64
	PublishBytesIn   uint64 // payload bytes
	PublishBytesOut  uint64
	SessionsExpired  uint64
	HookPanics       uint64
	Refused          map[string]uint64           // refused connections by reason
	Disconnected     map[string]uint64           // ended connections by reason
	Dropped          map[hooks.DropReason]uint64 // deliveries that did not happen, by reason
	RetainedReplaced uint64
}

// counters are the broker's live numbers. The hot ones are gathered in a tally first.
type counters struct {
	connections, connectionsMax               atomic.Int64
	subscriptions, sharedSubscriptions        atomic.Int64
	queued, queuedBytes, inflight, pending    atomic.Int64
	connects, bytesReceived, bytesSent        atomic.Uint64
	packetsReceived, packetsSent              atomic.Uint64
	publishReceived, publishSent              atomic.Uint64
	publishBytesIn, publishBytesOut           atomic.Uint64
	sessionsExpired, hookPanics, retainedOver atomic.Uint64

	mu           sync.Mutex // guards the maps; a leaf in the lock order
	refused      map[string]uint64
	disconnected map[string]uint64
	dropped      map[hooks.DropReason]uint64
}

func newCounters() *counters {
	c := &counters{
		refused: make(map[string]uint64), disconnected: make(map[string]uint64),
		dropped: make(map[hooks.DropReason]uint64, len(hooks.DropReasons)),
	}
	for _, r := range hooks.DropReasons {
		c.dropped[r] = 0
	}
	return c
}

func (c *counters) drop(reason hooks.DropReason, n uint64) {
	c.mu.Lock()
	c.dropped[reason] += n
	c.mu.Unlock()
}

func (c *counters) refuse(reason string) {
	c.mu.Lock()
	c.refused[reason]++
	c.mu.Unlock()
}

func (c *counters) disconnect(reason string) {
	c.mu.Lock()
	c.disconnected[reason]++
	c.mu.Unlock()
}

// connected notes one more connection and keeps the maximum.
func (c *counters) connected() {
	now := c.connections.Add(1)
	for {
		most := c.connectionsMax.Load()
		if now <= most || c.connectionsMax.CompareAndSwap(most, now) {
			return
		}
	}
}

// lasting are the counters that go on after a restart, by the name under which the store keeps them.
func (c *counters) lasting() map[string]*atomic.Uint64 {
	return map[string]*atomic.Uint64{
		"connects": &c.connects, "bytes_received": &c.bytesReceived, "bytes_sent": &c.bytesSent,
		"packets_received": &c.packetsReceived, "packets_sent": &c.packetsSent,
		"publish_received": &c.publishReceived, "publish_sent": &c.publishSent,
		"publish_bytes_in": &c.publishBytesIn, "publish_bytes_out": &c.publishBytesOut,
		"sessions_expired": &c.sessionsExpired,
	}
}

// restore goes on from counters of the last run.
func (c *counters) restore(values map[string]uint64) {
	for name, v := range c.lasting() {
		v.Store(values[name])
	}
}

// save takes the counters that go on after a restart.
func (c *counters) save() map[string]uint64 {
	values := make(map[string]uint64)
	for name, v := range c.lasting() {
		values[name] = v.Load()
	}
	return values
}

// A tally gathers what one turn counts, so that shared counters are touched once a turn.
type tally struct {
	bytesReceived, packetsReceived, publishReceived, publishBytesIn uint64
	packetsSent, publishSent, publishBytesOut                       uint64
	queued, queuedBytes, inflight                                   int64
}

func (c *counters) add(t *tally) {
	if t.packetsReceived != 0 || t.bytesReceived != 0 {
		c.bytesReceived.Add(t.bytesReceived)
		c.packetsReceived.Add(t.packetsReceived)
	}
	if t.publishReceived != 0 {
		c.publishReceived.Add(t.publishReceived)
		c.publishBytesIn.Add(t.publishBytesIn)
	}
	if t.packetsSent != 0 {
		c.packetsSent.Add(t.packetsSent)
	}
	if t.publishSent != 0 {
		c.publishSent.Add(t.publishSent)
		c.publishBytesOut.Add(t.publishBytesOut)
	}
	if t.queued != 0 || t.queuedBytes != 0 {
		c.queued.Add(t.queued)
		c.queuedBytes.Add(t.queuedBytes)
	}
	if t.inflight != 0 {
		c.inflight.Add(t.inflight)
	}
	*t = tally{}
}

// Stats takes a snapshot. It costs a few microseconds and walks over nothing.
func (b *Broker) Stats() Stats {
	c := b.counters
	s := Stats{
		Started:     b.started,
		Connections: int(c.connections.Load()), ConnectionsMax: int(c.connectionsMax.Load()),
		Sessions: b.sessions.len(), Subscriptions: int(c.subscriptions.Load()),
		SharedSubscriptions: int(c.sharedSubscriptions.Load()),
		RetainedMessages:    b.retained.len(), RetainedBytes: b.retained.bytes.Load(),
		QueuedMessages: c.queued.Load(), QueuedBytes: c.queuedBytes.Load(), InflightMessages: c.inflight.Load(),
		PendingStores: c.pending.Load(), Connects: c.connects.Load(),
		BytesReceived: c.bytesReceived.Load(), BytesSent: c.bytesSent.Load(),
		PacketsReceived: c.packetsReceived.Load(), PacketsSent: c.packetsSent.Load(),
		PublishReceived: c.publishReceived.Load(), PublishSent: c.publishSent.Load(),
		PublishBytesIn: c.publishBytesIn.Load(), PublishBytesOut: c.publishBytesOut.Load(),
		SessionsExpired: c.sessionsExpired.Load(), HookPanics: c.hookPanics.Load(), RetainedReplaced: c.retainedOver.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Refused, s.Disconnected, s.Dropped = maps.Clone(c.refused), maps.Clone(c.disconnected), maps.Clone(c.dropped)
	return s
}
