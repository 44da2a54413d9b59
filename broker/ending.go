package broker

import (
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// detach takes a connection that ended off its session. The session, which was kept so far whatever its
// expiry interval [MQTT5-4.1.0-1], ends with it, or waits for the client as long as the interval says.
func (s *liveSession) detach(c *conn, why string) {
	t := s.b.begin()
	defer t.end()
	s.mu.Lock()
	if s.conn.Load() != c { // taken over, or ended
		s.mu.Unlock()
		return
	}
	// The next connection's record must not be overtaken by this one's.
	c.occupy()
	defer c.rest()
	s.left, s.away = c, t.now
	dropped := s.releaseLocked(t)
	will := s.willAfterLocked(c)
	ends := s.expiry == 0
	if ends { // [MQTT5-3.1.2-23] [MQTT311-3.1.2-6]
		s.ended = true
	} else {
		s.waitLocked(time.Duration(s.expiry)*time.Second, s.expiry == never)
	}
	record := s.recordLocked(s.leftLocked())
	s.mu.Unlock()
	t.undone(dropped)
	s.tellPresence(t)
	if ends {
		s.b.sessions.remove(s)
	}
	if will != nil { // before the record that no longer has it: a crash in between publishes it again, and does not lose it
		s.b.publishWill(t, s.client.Load(), will)
	}
	if ends {
		s.finish(t, "connection ended")
	} else if s.durable {
		t.storeAcks() // the record says that what was sent is marked
		s.b.update(nil, record)
	}
}

// leftLocked is when the client left, for the record. It is not told while messages that may have been sent before a
// crash were not read from the store again: the next start, if that follows a crash too, must know of them [MQTT5-3.3.1-1].
func (s *liveSession) leftLocked() int64 {
	if s.out.Tail() < s.backlog.maybeSent {
		return 0
	}
	return s.away
}

// releaseLocked takes the connection off. What it had in flight is marked as sent, so that a resend after a
// restart carries DUP.
func (s *liveSession) releaseLocked(t *turn) (dropped []session.Delivery) {
	s.conn.Store(nil)
	s.window.Store(0)
	t.tally.inflight -= int64(s.out.Inflight())
	if s.durable {
		s.out.Sent(func(number uint64) {
			t.acks = append(t.acks, storage.Ack{Session: s.key, Seq: number, Progress: storage.Sent})
		})
	}
	dropped = s.out.Suspend()
	s.in.Reset()
	s.stalled = false
	s.retained = nil
	if s.durable {
		s.backlog.takeBack(&s.out)
	}
	s.noteLoadLocked()
	return dropped
}

// willAfterLocked decides what becomes of the will now that the connection has ended: it is
// returned if it is to be published at once, and published later if it has a delay
// [MQTT5-3.1.2-8] [MQTT5-3.1.3-9] [MQTT311-3.1.2-8].
func (s *liveSession) willAfterLocked(c *conn) *storage.Will {
	will := s.will
	if will == nil {
		return nil
	}
	if !c.sendsWill() { // [MQTT5-3.1.2-10] [MQTT311-3.1.2-10]
		s.will = nil
		return nil
	}
	if will.DelayInterval == 0 || s.expiry == 0 {
		s.will = nil
		return will
	}
	s.delayWillLocked(time.Duration(will.DelayInterval) * time.Second)
	return nil
}

// sendsWill reports whether the connection, if it ended now, would have its will published: it was accepted,
// and the client has not said goodbye.
func (c *conn) sendsWill() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendWill
}

// delayWillLocked publishes the will after d, unless the session is resumed or ends first.
func (s *liveSession) delayWillLocked(d time.Duration) {
	will := s.will
	s.willWait = time.AfterFunc(d, func() {
		s.mu.Lock()
		due := s.will == will && s.conn.Load() == nil && !s.ended
		if due {
			s.will = nil
		}
		s.mu.Unlock()
		if !due {
			return
		}
		t := s.b.begin()
		defer t.end()
		s.b.publishWill(t, s.client.Load(), will) // before the record that no longer has it, as in detach
		s.mu.Lock()
		offline := s.conn.Load() == nil && !s.ended
		record := s.recordLocked(s.leftLocked())
		s.mu.Unlock()
		if offline { // else there is a newer record
			s.b.update(nil, record)
		}
	})
}

// waitLocked ends the session after d if no client has resumed it.
func (s *liveSession) waitLocked(d time.Duration, forever bool) {
	if forever {
		return
	}
	s.timer = time.AfterFunc(d, func() { s.expire("expired") })
}

// expire ends a session that is offline [MQTT5-4.1.0-2]. It reports whether it did.
func (s *liveSession) expire(why string) bool {
	s.b.sessions.mu.Lock()
	s.mu.Lock()
	due := s.conn.Load() == nil && !s.ended
	var will *storage.Will
	if due {
		s.ended = true
		s.b.sessions.removeLocked(s)
		will, s.will = s.will, nil
	}
	s.mu.Unlock()
	s.b.sessions.mu.Unlock()
	if !due {
		return false
	}
	t := s.b.begin()
	defer t.end()
	s.b.counters.sessionsExpired.Add(1)
	if will != nil { // the session ends before the delay has passed [MQTT5-3.1.2-8]
		s.b.publishWill(t, s.client.Load(), will)
	}
	s.finish(t, why)
	return true
}

// overdueLocked reports whether the session has been offline for so many seconds, so that what they are the
// limit of has happened even if its timer has not come to it: after a start of the broker the client may be quicker.
func (s *liveSession) overdueLocked(now int64, seconds uint32) bool {
	return s.conn.Load() == nil && seconds != never && now-s.away >= int64(seconds)*int64(time.Second)
}

// stopTimersLocked is for a session that is resumed or ends.
func (s *liveSession) stopTimersLocked() {
	for _, timer := range []*time.Timer{s.timer, s.willWait} {
		if timer != nil {
			timer.Stop()
		}
	}
	s.timer, s.willWait = nil, nil
}

// finish clears up after a session that ended and is out of the registry: its subscriptions, its queue, its
// record. What it published retained is no part of it [MQTT311-3.1.2-7].
func (s *liveSession) finish(t *turn, why string) {
	s.clear(t)
	if changes := s.b.discard(s); changes != nil {
		s.b.update(nil, changes...)
	}
	s.b.hooks.OnSessionEnd(s.id, why)
}

// clear takes the session's subscriptions out of the index and its messages out of the queue. Those of shared
// subscriptions go to other members; those that only the store has are discard's.
func (s *liveSession) clear(t *turn) {
	s.mu.Lock()
	s.stopTimersLocked()
	subs := s.subs
	s.subs = subscriptions{}
	var moved []session.Delivery
	t.tally.queued -= int64(s.out.Len())
	t.tally.queuedBytes -= s.out.Bytes()
	s.out.Drain(func(d session.Delivery, wasSent bool) {
		if done, extra := doneOf(d); extra {
			t.observe(event{kind: undone, done: done})
			return
		}
		if d.Group != "" && (d.QoS == 1 || !wasSent) { // [MQTT5-4.8.2-5]
			moved = append(moved, d)
			return
		}
		t.drop(s.id, d.Message, hooks.DropSessionEnded)
	})
	s.load.Store(0)
	s.mu.Unlock()
	for sub := range subs.all() {
		s.b.unsubscribe(sub)
	}
	for _, d := range moved {
		s.b.regroup(t, d)
	}
}

// takeOverLocked gives the session to a new connection. It returns the will of the old one if it is to be
// published, and the old connection, both nil if there is none.
func (s *liveSession) takeOverLocked(t *turn, c *conn) (old *conn, will *storage.Will) {
	s.stopTimersLocked()
	if old = s.conn.Load(); old != nil {
		t.undone(s.releaseLocked(t))
		if s.will != nil && s.will.DelayInterval == 0 && old.sendsWill() {
			will = s.will
		}
	} else if s.will != nil && s.overdueLocked(t.now, s.will.DelayInterval) {
		will = s.will
	}
	s.in.Reconnected()
	s.will = nil // a delayed will is not sent: the session goes on [MQTT5-3.1.3-9]
	s.bindLocked(c)
	return old, will
}

// bindLocked makes c the session's connection.
func (s *liveSession) bindLocked(c *conn) {
	p := c.connect
	c.session = s
	s.expiry = c.sessionExpiry()
	s.will = willOf(p, c.client.ID) // [MQTT5-3.1.2-7]
	s.client.Store(c.client)
	s.conn.Store(c)
}

// willOf makes the will of a CONNECT packet, retained or not as it says [MQTT5-3.1.2-14] [MQTT5-3.1.2-15], nil
// without the will flag [MQTT311-3.1.2-12].
func willOf(p *packet.Connect, clientID string) *storage.Will {
	w := p.Will
	if w == nil {
		return nil
	}
	return &storage.Will{
		Message: &packet.Message{
			Topic: w.Topic, Payload: w.Payload, Properties: w.Properties, Publisher: clientID, QoS: w.QoS, Retain: w.Retain,
		},
		DelayInterval: w.DelayInterval, Expiry: w.Expiry, HasExpiry: w.HasExpiry,
	}
}
