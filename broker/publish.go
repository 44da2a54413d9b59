package broker

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
)

// memoSize is how many topics a connection remembers the plans of; a power of two.
const memoSize = 8

// A topicMemo keeps what was found out about the topics a client publishes to, so that the next message is
// routed without looking anything up.
type topicMemo [memoSize]struct {
	plan      *topic.Plan[*plan]
	checkedAt uint64 // Broker.checks when the authorizers were asked
	decision  hooks.Decision
}

// handlePublish takes a PUBLISH from the client.
func (c *conn) handlePublish(t *turn, head byte, body []byte) error {
	p := &t.incoming
	if err := p.Decode(head, body, c.version, packet.Limits{MaxUserProperties: c.b.limits.MaxUserProperties}); err != nil {
		return err
	}
	t.tally.publishReceived++
	t.tally.publishBytesIn += uint64(len(p.Payload))
	name, err := c.topicOf(p)
	if err != nil {
		return err
	}
	if err := c.checkPublish(p); err != nil {
		return err
	}
	found, decision, err := c.lookup(p, name)
	if err != nil {
		return err
	}
	if p.QoS == 0 {
		if decision.Verdict == hooks.Deny {
			return c.refusePublish(t, p, found.Name, decision, hooks.DropNotAuthorized)
		}
		return c.routeIncoming(t, p, found)
	}
	repeated, err := c.admit(t, p)
	if repeated || err != nil {
		return err
	}
	if decision.Verdict == hooks.Deny {
		return c.refusePublish(t, p, found.Name, decision, hooks.DropNotAuthorized)
	}
	return c.routeIncoming(t, p, found)
}

// topicOf resolves the topic alias (MQTT 5, 3.3.2.3.4).
func (c *conn) topicOf(p *packet.Publish) ([]byte, error) {
	if p.Alias == 0 {
		if len(p.Topic) == 0 { // [MQTT5-3.3.2-8]
			return nil, packet.Refuse(packet.ProtocolError, "PUBLISH with neither topic name nor alias")
		}
		return p.Topic, nil
	}
	if p.Alias > c.b.limits.TopicAliasMaximum { // [MQTT5-3.3.2-9] [MQTT5-3.2.2-17] [MQTT5-3.2.2-18]
		return nil, packet.Refuse(packet.TopicAliasInvalid, "topic alias above the maximum")
	}
	for len(c.aliasesIn) < int(p.Alias) {
		c.aliasesIn = append(c.aliasesIn, "")
	}
	known := &c.aliasesIn[p.Alias-1]
	if len(p.Topic) > 0 { // [MQTT5-3.3.2-12]
		if *known != string(p.Topic) {
			*known = string(p.Topic)
		}
	} else if *known == "" {
		return nil, packet.Refuse(packet.ProtocolError, "topic alias was not set up on this connection")
	}
	return stringAsBytes(*known), nil
}

// checkPublish applies the server's limits to a PUBLISH.
func (c *conn) checkPublish(p *packet.Publish) error {
	l := &c.b.limits
	switch {
	case p.QoS > l.MaxQoS: // [MQTT5-3.2.2-11]
		return packet.Refuse(packet.QoSNotSupported, "QoS above the maximum")
	case p.Retain && !l.RetainAvailable: // [MQTT5-3.2.2-14]
		return packet.Refuse(packet.RetainNotSupported, "retained message")
	}
	return nil
}

// lookup finds the plan of a topic and whether the client may publish to it.
func (c *conn) lookup(p *packet.Publish, name []byte) (*topic.Plan[*plan], hooks.Decision, error) {
	if c.memo == nil {
		c.memo = new(topicMemo)
	}
	slot := uint(len(name))*31 + uint(name[len(name)-1]) + uint(name[len(name)/2])*7
	m := &c.memo[slot%memoSize]
	if m.plan == nil || m.plan.Name != bytesAsString(name) {
		if err := topic.CheckName(bytesAsString(name), c.b.topicLimits()); err != nil {
			return nil, hooks.Decision{}, packet.Refuse(packet.TopicNameInvalid, err.Error()) // [MQTT5-3.3.2-2] [MQTT311-3.3.2-2]
		}
		m.plan, m.checkedAt = c.b.index.Lookup(name), 0
	} else if !m.plan.Current() {
		m.plan = c.b.index.Lookup(name)
	}
	if isSys(m.plan.Name) {
		return m.plan, hooks.Decision{Verdict: hooks.Deny, Code: packet.NotAuthorized, Reason: "$SYS is the broker's"}, nil
	}
	if !c.b.hooks.HasPublishAuthorizers() {
		return m.plan, hooks.Decision{}, nil
	}
	if now := c.b.checks.Load(); m.checkedAt != now {
		m.decision, m.checkedAt = c.b.hooks.AuthorizePublish(c.client, m.plan.Name, p.QoS, p.Retain), now
	}
	return m.plan, m.decision, nil
}

// admit notes a QoS 1 or QoS 2 PUBLISH. repeated means that the message came before and is not to be routed
// again.
func (c *conn) admit(t *turn, p *packet.Publish) (repeated bool, err error) {
	s := c.session
	if p.QoS == 1 && c.version != packet.V5 {
		return s.conn.Load() != c, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.Load() != c {
		return true, nil
	}
	if p.QoS == 2 {
		if known, ready := s.in.Received(p.ID); known {
			ticket := s.in.Owe(p.ID, 2)
			c.stallLocked()
			if ready {
				s.in.Ready(ticket, p.ID, 2, packet.Success)
			}
			c.payOwedLocked(t)
			return true, nil
		}
	}
	if c.version == packet.V5 && s.in.Open() >= int(c.b.limits.ReceiveMaximum) { // [MQTT5-3.3.4-7]
		return false, packet.Refuse(packet.ReceiveMaximumExceeded, "more unacknowledged messages than the receive maximum")
	}
	return false, nil
}

// owe notes that the acknowledgement may have to wait for the store, and returns its ticket plus one; 0 if it
// will not.
func (c *conn) owe(p *packet.Publish, m *packet.Message, to *plan) uint64 {
	s := c.session
	if !to.durable && !m.Retain && !(p.QoS == 2 && s.durable) {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ticket := s.in.Owe(p.ID, p.QoS) + 1
	if c.version != packet.V5 { // it knows no receive maximum
		c.stallLocked()
	}
	return ticket
}

// stallLocked stops reading a client while more of its messages than the receive maximum wait for the store.
func (c *conn) stallLocked() {
	if s := c.session; s.in.Owing() >= int(c.b.limits.ReceiveMaximum) && !s.stalled {
		s.stalled = true
		c.waits++
	}
}

// routeIncoming makes the Message of a PUBLISH and routes it.
func (c *conn) routeIncoming(t *turn, p *packet.Publish, found *topic.Plan[*plan]) error {
	m, l, borrowed := c.messageOf(t, p, found)
	if p.HasPayloadFormat && p.PayloadFormat == 1 && !packet.ValidPayload(p.Payload) {
		d := hooks.Decision{Code: packet.PayloadFormatInvalid, Reason: "payload is not UTF-8"}
		t.drop("", m, hooks.DropInvalidUTF8)
		return c.answerRefused(t, p, d)
	}
	if !borrowed && l == nil && c.b.hooks.Intercepts(m) {
		t.submit() // what the hook publishes comes after what the client sent before
		defer t.routed(c.client)
		changed, d := c.b.hooks.OnPublish(c.client, m)
		switch d.Verdict {
		case hooks.Deny:
			t.drop("", m, hooks.DropIntercepted)
			return c.answerRefused(t, p, d)
		case hooks.Handled:
			c.answerHandled(t, p, d.Code)
			return nil
		}
		if changed != m { // who gets it depends on its topic now [MQTT5-3.3.2-3]
			m, found = changed, c.b.index.Lookup(stringAsBytes(changed.Topic))
		}
	}
	r := t.routing(m)
	r.borrowed, r.lent = borrowed, l
	if refused := r.admit(t, found.Value); refused != nil {
		r.free()
		return c.answerRefused(t, p, hooks.Decision{Code: refused.Code, Reason: refused.Text})
	}
	var ticket uint64
	if p.QoS > 0 {
		ticket = c.owe(p, m, found.Value)
	} else {
		r.stall(c)
	}
	r.retain(t)
	r.route(t, found.Value)
	if p.QoS == 0 {
		r.finish(t)
		return nil
	}
	code := packet.Success
	if r.matched == 0 && c.version == packet.V5 { // [MQTT5-3.4.2-1]
		code = packet.NoMatchingSubscribers
	}
	if r.rejected > 0 && r.rejected == r.matched && c.version == packet.V5 { // nobody could take it
		code = packet.QuotaExceeded
	}
	c.settlePublish(t, r, p, code, ticket)
	return nil
}

// settlePublish acknowledges the message, now or when the store has it.
func (c *conn) settlePublish(t *turn, r *routing, p *packet.Publish, code packet.Code, ticket uint64) {
	id, qos := p.ID, p.QoS
	if ticket == 0 {
		r.finish(t)
		c.session.mu.Lock()
		if qos == 2 {
			c.session.in.Keep(id)
		}
		c.payLocked(t, qos, packet.Ack{ID: id, Code: code})
		c.session.mu.Unlock()
		return
	}
	r.publisher, r.answer = c.session, answer{ticket: ticket - 1, id: id, qos: qos, code: code}
	if qos == 2 && c.session.durable {
		r.received = receivedID(c.session.key, id)
		r.enqueue.Received = &r.received
	}
	if r.mayPutOff() {
		t.putOff(r)
		return
	}
	r.finish(t)
}

// messageOf makes the Message. Its bytes are borrowed from the read buffer when nobody needs to keep them, and lent when only queues in
// memory do.
func (c *conn) messageOf(t *turn, p *packet.Publish, found *topic.Plan[*plan]) (m *packet.Message, l *lent, borrowed bool) {
	m = &t.message
	*m = packet.Message{
		Topic: found.Name, Payload: p.Payload, Properties: p.Properties, Publisher: c.client.ID, Received: t.now,
		QoS: p.QoS, Retain: p.Retain,
	}
	if p.HasExpiry {
		m.Expires = t.now + int64(p.Expiry)*1e9
	}
	to := found.Value
	large := len(p.Payload) >= payloadByReference && len(to.direct) > 1
	queued := p.QoS > 0 && to.maxQoS > 0
	switch {
	case p.Retain, large, len(to.queues) > 0, c.b.observed, c.b.hooks.Intercepts(m),
		queued && (len(to.owners) > 0 || len(p.Payload)+len(p.Properties) > lendMax):
		return ownMessage(m), nil, false
	case queued:
		l = lendMessage(m)
		return &l.message, l, false
	}
	return m, nil, true
}

// refusePublish answers a PUBLISH that goes nowhere. MQTT 3.1.1 has no word for it: such a client is
// acknowledged as if all was well [MQTT311-3.3.5-2].
func (c *conn) refusePublish(t *turn, p *packet.Publish, name string, d hooks.Decision, reason hooks.DropReason) error {
	m := &packet.Message{
		Topic: name, Payload: p.Payload, Properties: p.Properties, Publisher: c.client.ID, QoS: p.QoS, Retain: p.Retain,
	}
	if c.b.observed {
		m = ownMessage(m)
	}
	t.drop("", m, reason)
	return c.answerRefused(t, p, d)
}

// answerRefused acknowledges a PUBLISH that was dropped.
func (c *conn) answerRefused(t *turn, p *packet.Publish, d hooks.Decision) error {
	code := d.Code
	if code == packet.Success {
		code = packet.NotAuthorized
	}
	c.b.log.Debug("publish refused", "client", c.client.ID, "reason", code.String(), "err", d.Reason)
	if p.QoS == 0 {
		return nil
	}
	if c.version != packet.V5 {
		if code == packet.QuotaExceeded {
			return packet.Refuse(code, d.Reason)
		}
		code = packet.Success
	}
	c.answer(t, p, packet.Ack{ID: p.ID, Code: code, Reason: d.Reason})
	return nil
}

// answerHandled acknowledges a PUBLISH that an interceptor dealt with.
func (c *conn) answerHandled(t *turn, p *packet.Publish, code packet.Code) {
	if p.QoS > 0 {
		c.answer(t, p, packet.Ack{ID: p.ID, Code: code})
	}
}

// answer acknowledges a PUBLISH that goes to nobody.
func (c *conn) answer(t *turn, p *packet.Publish, a packet.Ack) {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.QoS == 2 && !a.Code.Failed() {
		s.in.Keep(p.ID)
	}
	c.payLocked(t, p.QoS, a)
}
