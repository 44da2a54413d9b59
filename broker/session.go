package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A liveSession is a session with what it needs to run: its lock, its connection, its subscriptions. The
// rules of its QoS 1 and 2 exchanges are in package session.
type liveSession struct {
	// Fixed when it is made.
	b       *Broker
	id      string // the client identifier
	key     string // storage.Session.ID
	durable bool   // it outlives its connection: its queue and subscriptions are in the store

	// Anyone.
	conn      atomic.Pointer[conn]         // nil while offline; changed under mu
	client    atomic.Pointer[hooks.Client] // the current or last client
	load      atomic.Int64                 // deliveries not done
	loadBytes atomic.Int64                 // their size
	window    atomic.Int64                 // how many may be in flight, 0 while offline

	presence presence

	mu       sync.Mutex // guards what follows; taken after sessions.mu, before conn.mu
	out      session.Outbound
	in       session.Inbound
	subs     subscriptions
	backlog  backlog            // the part of the queue that only the store has
	retained []retainedDelivery // QoS 0 retained messages that wait for room in the outbox
	left     *conn              // the last connection; it may still be clearing up
	shared   bool               // it had a shared subscription
	// releasing are the numbers whose PUBREC the store has yet to confirm: no PUBREL is sent before.
	releasing map[uint64]bool
	wantsRoom bool   // a hook could not deliver: it is told when it can
	stalled   bool   // its connection is not fed: too many acknowledgements wait for the store
	expiry    uint32 // session expiry interval in seconds
	will      *storage.Will
	away      int64       // since when it is offline, Unix nanoseconds
	timer     *time.Timer // of the session's expiry, while offline
	willWait  *time.Timer // of the will's delay, while offline
	ended     bool        // no longer in the registry
}

// never is the session expiry interval that does not end [MQTT5-3.1.2.11.2].
const never = 0xFFFFFFFF

// deliver queues a message for a session whose queue is not stored, and sends what its window allows.
// It returns why not, if it does not.
func (s *liveSession) deliver(t *turn, d session.Delivery) hooks.DropReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return hooks.DropSessionEnded
	}
	if s.fullLocked(d.Message) && !s.dropOldestLocked(t, d.Message) {
		return hooks.DropQueueFull
	}
	lentOf(d.Tag).hold()
	s.out.Push(d)
	s.queuedLocked(t, d.Message)
	s.pumpLocked(t)
	s.noteLoadLocked()
	return ""
}

// deliverStored takes a message that the store has numbered.
func (s *liveSession) deliverStored(t *turn, number uint64, d session.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || number == 0 {
		t.drop(s.id, d.Message, hooks.DropSessionEnded)
		return
	}
	s.takeLocked(t, number, d)
	s.retrimLocked()
	s.pumpLocked(t)
	s.noteLoadLocked()
}

// noteLoadLocked lets everybody know how much waits.
func (s *liveSession) noteLoadLocked() {
	s.load.Store(int64(s.waitingLocked()))
	if s.durable {
		s.loadBytes.Store(s.out.Bytes() + s.backlog.bytes)
	}
}

func (s *liveSession) queuedLocked(t *turn, m *packet.Message) {
	t.tally.queued++
	t.tally.queuedBytes += int64(m.Size())
}

// doneLocked notes that a delivery left the queue. number is 0 for one that was not in it.
func (s *liveSession) doneLocked(t *turn, number uint64, m *packet.Message) {
	s.noteLoadLocked()
	if number == 0 {
		return
	}
	t.tally.queued--
	t.tally.queuedBytes -= int64(m.Size())
	if s.durable {
		t.acks = append(t.acks, storage.Ack{Session: s.key, Seq: number, Progress: storage.Done})
	}
}

// resume opens the window of a connection that was just accepted: what is unacknowledged is sent again, in
// order and with its old packet identifiers, and only now [MQTT5-4.4.0-1].
func (s *liveSession) resume(t *turn, c *conn) {
	s.resumeQueue(t, c)
	s.tellPresence(t)
}

func (s *liveSession) resumeQueue(t *turn, c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.Load() != c {
		return
	}
	window := min(c.receiveMax, int(s.b.limits.MaxInflight)) // [MQTT5-3.3.4-9] [MQTT5-4.9.0-2]
	s.out.Resume(window)
	s.window.Store(int64(window))
	t.tally.inflight += int64(s.out.Inflight())
	for _, id := range s.out.ReleasedExtras() {
		c.send(t, func(dst []byte) []byte {
			return packet.AppendAck(dst, packet.PUBREL, c.version, packet.Ack{ID: id})
		})
	}
	s.pumpLocked(t)
}

// pump sends what the window and the outbox allow. Only PUBLISH waits for the window: answers go to the
// outbox at once [MQTT5-3.3.4-10] [MQTT5-4.9.0-3].
func (s *liveSession) pump(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pumpLocked(t)
	s.roomLocked(t)
}

func (s *liveSession) pumpLocked(t *turn) {
	c := s.conn.Load()
	if c == nil || s.out.Idle() && len(s.retained) == 0 && !(s.durable && s.behindLocked()) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.opened && !c.closing {
		if c.outbox.size >= s.b.limits.MaxOutboxBytes {
			c.wantPump = true
			return
		}
		if step, ok := s.out.Next(t.now); ok {
			s.stepLocked(t, c, step)
		} else if len(s.retained) > 0 {
			s.sendRetainedLocked(t, c)
		} else {
			s.pageLocked()
			return
		}
	}
}

// stepLocked does one step of the queue. Both locks are held.
func (s *liveSession) stepLocked(t *turn, c *conn, step session.Step) {
	d := step.Delivery
	switch step.Kind {
	case session.DropExpired:
		s.doneLocked(t, step.Number, d.Message)
		t.drop(s.id, d.Message, hooks.DropExpired)
	case session.SendPubrel:
		if !s.releasing[step.Number] { // else it is sent when the store has the PUBREC
			c.sendLocked(t, func(dst []byte) []byte {
				return packet.AppendAck(dst, packet.PUBREL, c.version, packet.Ack{ID: step.ID})
			})
		}
		t.tally.inflight++
	case session.SendPublish:
		if c.publishLocked(t, sending{d.Message, lentOf(d.Tag), d.SubscriptionIDs, d.QoS, d.Retain, step.Dup, step.ID}) {
			t.tally.inflight++
			return
		}
		m := d.Message
		s.out.Finish(step.Number)
		s.doneLocked(t, step.Number, m)
		t.drop(s.id, m, hooks.DropTooLarge)
	}
}

// sendRetainedLocked sends the oldest retained message that waits.
func (s *liveSession) sendRetainedLocked(t *turn, c *conn) {
	r := s.retained[0]
	s.retained[0] = retainedDelivery{}
	if s.retained = s.retained[1:]; len(s.retained) == 0 {
		s.retained = nil
	}
	if r.message.Expired(t.now) {
		return
	}
	if !c.publishLocked(t, sending{message: r.message, ids: r.ids, retain: true}) {
		t.drop(s.id, r.message, hooks.DropTooLarge)
	}
}

// A sending is one PUBLISH for one connection.
type sending struct {
	message *packet.Message
	lent    *lent    // the message, or nil if it is not lent
	ids     []uint32 // subscription identifiers [MQTT5-3.3.4-3]
	qos     byte
	retain  bool
	dup     bool
	id      uint16
}

// publishLocked appends a PUBLISH to the outbox. It reports false if the packet is larger than the client takes
// [MQTT5-3.1.2-24] [MQTT5-3.1.2-25].
func (c *conn) publishLocked(t *turn, p sending) bool {
	m := p.message
	if c.version == packet.V5 && (len(p.ids) > 0 || c.aliasMax > 0) {
		if !c.publishAloneLocked(t, p) {
			return false
		}
	} else {
		f := t.frames.of(m, p.lent)
		fr := f.get(c.version, p.qos, p.retain)
		if c.maxPacket != 0 && uint32(fr.size) > c.maxPacket {
			return false
		}
		var left uint32
		if m.Expires != 0 {
			left = remaining(m, t.now)
		}
		f.appendTo(&c.outbox, fr, p.id, p.dup, left)
	}
	t.tally.packetsSent++
	t.tally.publishSent++
	t.tally.publishBytesOut += uint64(len(m.Payload))
	t.touchLocked(c)
	if t.b.observed {
		t.observe(event{kind: delivered, clientID: c.session.id, message: m})
	}
	return true
}

// publishAloneLocked encodes a PUBLISH that no other receiver shares: it has subscription identifiers or a
// topic alias.
func (c *conn) publishAloneLocked(t *turn, p sending) bool {
	m := p.message
	out := packet.Outgoing{
		Topic: m.Topic, Payload: m.Payload, Properties: m.Properties, QoS: p.qos, Retain: p.retain, Dup: p.dup,
		ID: p.id, SubscriptionIDs: p.ids,
	}
	if m.Expires != 0 {
		out.HasExpiry, out.Expiry = true, remaining(m, t.now)
	}
	fresh := c.aliasLocked(&out)
	if c.maxPacket != 0 && uint32(packet.PublishSize(c.version, &out)) > c.maxPacket {
		return false
	}
	if fresh {
		c.aliasesOut[m.Topic] = out.Alias
	}
	b := c.outbox.open()
	if t.frames.of(m, p.lent).byRef {
		c.outbox.close(packet.AppendPublishHeader(b, c.version, &out))
		c.outbox.refer(m.Payload)
	} else {
		c.outbox.close(packet.AppendPublish(b, c.version, &out))
	}
	return true
}

// aliasLocked gives the packet a topic alias, as far as the client allows them [MQTT5-3.1.2-26]
// [MQTT5-3.1.2-27] [MQTT5-3.3.2-11]: the first packet of a topic carries both and fresh is true, later ones
// the alias alone.
func (c *conn) aliasLocked(out *packet.Outgoing) (fresh bool) {
	if c.aliasMax == 0 {
		return false
	}
	if alias, ok := c.aliasesOut[out.Topic]; ok {
		out.Alias, out.OmitTopic = alias, true
		return false
	}
	if len(c.aliasesOut) >= int(c.aliasMax) {
		return false
	}
	if c.aliasesOut == nil {
		c.aliasesOut = make(map[string]uint16)
	}
	out.Alias = uint16(len(c.aliasesOut) + 1)
	return true
}

// publishNow sends a QoS 0 message, or drops it with a reason when the outbox is full.
func (c *conn) publishNow(t *turn, p sending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.opened || c.closing:
		t.drop(c.session.id, p.message, hooks.DropOffline)
	case c.outbox.size > 0 && c.outbox.size+len(p.message.Payload) > c.b.limits.MaxOutboxBytes:
		t.drop(c.session.id, p.message, hooks.DropOutboxFull)
	case !c.publishLocked(t, p):
		t.drop(c.session.id, p.message, hooks.DropTooLarge)
	}
}

// changeExpiry takes the session expiry interval of a DISCONNECT. It fails if CONNECT had set none
// [MQTT5-3.14.2.2.2].
func (c *conn) changeExpiry(seconds uint32) bool {
	if c.expiryAsked == 0 && seconds != 0 {
		return false
	}
	c.session.expireAfter(min(seconds, c.b.limits.MaxSessionExpiry))
	return true
}

// expireAfter sets how long the session outlives its connection, in seconds.
func (s *liveSession) expireAfter(seconds uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expiry = seconds
}

// record is the session as the store keeps it. The lock is held.
func (s *liveSession) recordLocked(disconnected int64) storage.PutSession {
	c := s.client.Load()
	return storage.PutSession{Session: storage.Session{
		ID: s.key, ClientID: s.id, Username: c.Username, Groups: c.Groups, CommonName: c.CommonName, Version: c.Version,
		ExpiryInterval: s.expiry, Disconnected: disconnected, Will: s.will,
	}}
}
