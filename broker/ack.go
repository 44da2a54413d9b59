package broker

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

func receivedID(key string, id uint16) storage.Received {
	return storage.Received{Session: key, ID: id}
}

// payLocked acknowledges a PUBLISH at once, or after those that are owed before it. The session's lock is held.
func (c *conn) payLocked(t *turn, qos byte, a packet.Ack) {
	in := &c.session.in
	if in.Idle() {
		c.sendAck(t, qos, a)
		return
	}
	in.Ready(in.Owe(a.ID, qos), a.ID, qos, a.Code)
	c.payOwedLocked(t)
}

// payOwedLocked sends the acknowledgements that are ready, in the order of their PUBLISH packets.
func (c *conn) payOwedLocked(t *turn) {
	w, ok := c.session.in.Pop()
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; ok; w, ok = c.session.in.Pop() {
		c.sendAckLocked(t, w.QoS, packet.Ack{ID: w.ID, Code: w.Code})
	}
}

func (c *conn) sendAck(t *turn, qos byte, a packet.Ack) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sendAckLocked(t, qos, a)
}

// sendAckLocked sends PUBACK or PUBREC with the identifier of the PUBLISH [MQTT5-2.2.1-5] [MQTT5-3.3.4-1]
// [MQTT5-4.3.2-4] [MQTT5-4.3.3-8] [MQTT311-4.3.2-2] [MQTT311-4.3.3-2].
func (c *conn) sendAckLocked(t *turn, qos byte, a packet.Ack) {
	kind := packet.PUBACK
	if qos == 2 {
		kind = packet.PUBREC
	}
	if a.Code.Failed() && c.b.hideReasons {
		a.Code = packet.UnspecifiedError
	}
	if c.closing {
		return
	}
	a.Reason = c.ackReasonLocked(a.Reason)
	c.outbox.close(packet.AppendAck(c.outbox.open(), kind, c.version, a))
	t.tally.packetsSent++
	t.touchLocked(c)
}

// acknowledge tells the publisher what became of its messages, in the order of its PUBLISH packets. The connection
// may be another one by now, or gone.
func (s *liveSession) acknowledge(t *turn, answers ...answer) {
	s.mu.Lock()
	c := s.conn.Load()
	mute, code := false, packet.Success
	for i := range answers {
		a := &answers[i]
		s.in.Ready(a.ticket, a.id, a.qos, a.code)
		if a.code.Failed() && c != nil && c.version != packet.V5 {
			mute, code = true, a.code
		}
	}
	if c != nil && !mute {
		c.payOwedLocked(t)
	}
	resume := c != nil && s.stalled && s.in.Owing() < int(s.b.limits.ReceiveMaximum)
	if resume {
		s.stalled = false
	}
	s.mu.Unlock()
	if resume {
		c.post(func(*turn) error { c.waits--; return nil })
	}
	if mute { // nothing in 3.1.1 can refuse: the client must keep the message [MQTT311-4.8.0-2]
		c.end(t, packet.Success, "", code.String())
	}
}

// handleAck takes PUBACK, PUBREC, PUBREL or PUBCOMP.
func (c *conn) handleAck(t *turn, kind packet.Type, body []byte) error {
	a, err := packet.DecodeAck(kind, body, c.version, packet.Limits{MaxUserProperties: c.b.limits.MaxUserProperties})
	if err != nil {
		return err
	}
	switch kind {
	case packet.PUBACK:
		return c.handlePuback(t, a)
	case packet.PUBREC:
		return c.handlePubrec(t, a)
	case packet.PUBREL:
		c.handlePubrel(t, a)
		return nil
	}
	return c.handlePubcomp(t, a)
}

// handlePuback ends a QoS 1 delivery. A failure code discards the message like a success does [MQTT5-4.4.0-2]
// [MQTT5-4.8.2-6].
func (c *conn) handlePuback(t *turn, a packet.Ack) error {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.Load() != c {
		return nil
	}
	outcome, number, d := s.out.Puback(a.ID)
	switch outcome {
	case session.Violation:
		return packet.Refuse(packet.ProtocolError, "PUBACK for a QoS 2 message")
	case session.Completed:
		s.completeLocked(t, number, d, a)
	}
	return nil
}

// completeLocked takes the answer that ends a delivery.
func (s *liveSession) completeLocked(t *turn, number uint64, d session.Delivery, a packet.Ack) {
	s.answeredLocked(t, d, a)
	s.concludeLocked(t, number, d)
}

// concludeLocked clears up after a delivery that has ended, and sends what has room now.
func (s *liveSession) concludeLocked(t *turn, number uint64, d session.Delivery) {
	t.tally.inflight--
	s.doneLocked(t, number, d.Message)
	lentOf(d.Tag).giveBack()
	s.pumpLocked(t)
	s.roomLocked(t)
}

// answeredLocked tells the hooks what the client said to a message.
func (s *liveSession) answeredLocked(t *turn, d session.Delivery, a packet.Ack) {
	if done, extra := doneOf(d); extra { // a hook's, which decides what a refusal means
		t.observe(event{kind: acked, clientID: s.id, message: d.Message, code: a.Code, done: done, user: a.User})
		return
	}
	t.observe(event{kind: acked, clientID: s.id, message: d.Message, code: a.Code})
	if a.Code.Failed() {
		t.b.counters.drop(hooks.DropRefused, 1)
		t.observe(event{kind: dropped, clientID: s.id, message: d.Message, reason: hooks.DropRefused})
	}
}

// handlePubrec takes the client's word that it has a QoS 2 message. PUBREL is sent once the store knows
// [MQTT5-4.3.3-3] [MQTT5-4.3.3-4] [MQTT311-4.3.3-1].
func (c *conn) handlePubrec(t *turn, a packet.Ack) error {
	s := c.session
	s.mu.Lock()
	if s.conn.Load() != c {
		s.mu.Unlock()
		return nil
	}
	outcome, number, d := s.out.Pubrec(a.ID, a.Code.Failed())
	wait := false // for the store
	switch outcome {
	case session.Completed:
		s.completeLocked(t, number, d, a)
	case session.Released:
		s.answeredLocked(t, d, a)
		wait = s.releaseStoredLocked(number)
	case session.Repeated:
		wait = s.releasing[number]
	}
	s.mu.Unlock()
	switch {
	case outcome == session.Violation:
		return packet.Refuse(packet.ProtocolError, "PUBREC for a QoS 1 message")
	case outcome == session.Released && wait:
		s.release(t, number, a.ID)
	case outcome == session.Completed, wait, outcome == session.Unknown && a.Code.Failed():
	default: // an unknown identifier is answered too, or a client that remembers more than we do would ask for ever
		c.sendPubrel(t, a.ID)
	}
	return nil
}

// releaseStoredLocked reports whether a release must be stored before PUBREL, and notes that it is not yet.
func (s *liveSession) releaseStoredLocked(number uint64) bool {
	if number == 0 || !s.durable {
		return false
	}
	if s.releasing == nil {
		s.releasing = make(map[uint64]bool)
	}
	s.releasing[number] = true
	return true
}

// release sends PUBREL when the store knows that PUBREC came, on the connection that the session has then. The store answers
// in the order in which it was asked, so PUBRELs leave in the order of the PUBRECs [MQTT311-4.6.0-4].
func (s *liveSession) release(t *turn, number uint64, id uint16) {
	a := storage.Ack{Session: s.key, Seq: number, Progress: storage.Released}
	done := func(t *turn, err error) {
		s.b.storeResult(false, err)
		s.mu.Lock()
		delete(s.releasing, number)
		c := s.conn.Load()
		s.mu.Unlock()
		if err == nil && c != nil {
			c.releaseOpen(t, id)
		}
	}
	if pending, err := s.b.store.Ack(a, waiter(func(err error) { done(s.b.storeTurn(), err) })); !pending {
		done(t, err)
	}
}

// releaseOpen sends PUBREL unless CONNACK was not sent yet: then it is sent with all else that is sent again.
func (c *conn) releaseOpen(t *turn, id uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened {
		c.sendLocked(t, func(dst []byte) []byte {
			return packet.AppendAck(dst, packet.PUBREL, c.version, packet.Ack{ID: id})
		})
	}
}

// sendPubrel sends PUBREL, always without a reason string [MQTT5-3.6.2-2].
func (c *conn) sendPubrel(t *turn, id uint16) {
	c.send(t, func(dst []byte) []byte {
		return packet.AppendAck(dst, packet.PUBREL, c.version, packet.Ack{ID: id})
	})
}

// handlePubcomp ends a QoS 2 delivery.
func (c *conn) handlePubcomp(t *turn, a packet.Ack) error {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.Load() != c {
		return nil
	}
	outcome, number, d := s.out.Pubcomp(a.ID)
	switch outcome {
	case session.Violation:
		return packet.Refuse(packet.ProtocolError, "PUBCOMP for a message that is not released")
	case session.Completed:
		s.concludeLocked(t, number, d)
	}
	return nil
}

// handlePubrel forgets a QoS 2 identifier and sends PUBCOMP once the store has forgotten it too
// [MQTT5-4.3.3-11] [MQTT311-4.3.3-2], whatever became of the message [MQTT5-4.3.3-13]. An identifier that is
// not known is answered as well, or the client would ask for ever.
func (c *conn) handlePubrel(t *turn, a packet.Ack) {
	s := c.session
	s.mu.Lock()
	known, begun := s.in.Release(a.ID)
	s.mu.Unlock()
	switch {
	case begun:
		return
	case !known:
		c.sendPubcomp(t, a.ID)
		return
	case !s.durable:
		c.forget(t, a.ID)
		return
	}
	change := storage.DeleteReceived{Received: receivedID(s.key, a.ID)}
	done := func(t *turn, err error) {
		c.b.storeResult(false, err)
		if err == nil {
			c.forget(t, a.ID)
		}
	}
	pending, err := c.b.store.Update([]storage.Change{change}, waiter(func(err error) { done(c.b.storeTurn(), err) }))
	if !pending {
		done(t, err)
	}
}

// forget frees the identifier and sends PUBCOMP.
func (c *conn) forget(t *turn, id uint16) {
	c.session.mu.Lock()
	c.session.in.Forget(id)
	c.session.mu.Unlock()
	c.sendPubcomp(t, id)
}

// sendPubcomp sends PUBCOMP, always without a reason string [MQTT5-3.7.2-2].
func (c *conn) sendPubcomp(t *turn, id uint16) {
	c.send(t, func(dst []byte) []byte {
		return packet.AppendAck(dst, packet.PUBCOMP, c.version, packet.Ack{ID: id})
	})
}
