package broker

import (
	"strings"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// A subscribing is one SUBSCRIBE packet while it is handled.
type subscribing struct {
	c       *conn
	id      uint16
	codes   []packet.Code // one for each filter, in their order [MQTT5-3.8.4-6] [MQTT311-3.8.4-5]
	changes []storage.Change
	made    []madeSubscription
}

// A madeSubscription is one that was granted: retained messages follow.
type madeSubscription struct {
	sub      *subscriber
	share    string      // share name, or empty
	replaced *subscriber // with the same filter, or nil
}

// handleSubscribe takes a SUBSCRIBE packet. The subscriptions hold at once; SUBACK tells so when the store
// has them [MQTT5-3.8.4-1] [MQTT311-3.8.4-1].
func (c *conn) handleSubscribe(t *turn, body []byte) error {
	p, err := packet.DecodeSubscribe(body, c.version, packet.Limits{MaxUserProperties: c.b.limits.MaxUserProperties})
	if err != nil {
		return err
	}
	if p.SubscriptionID != 0 && !c.b.limits.SubscriptionIDs { // [MQTT5-3.2.2.3.12]
		return packet.Refuse(packet.SubscriptionIdentifiersNotSupported, "limits.subscription_ids is off")
	}
	if err := c.checkFits(packet.AnswerSize(len(p.Subscriptions))); err != nil {
		return err
	}
	work := &subscribing{c: c, id: p.ID}
	for _, asked := range p.Subscriptions {
		if c.client.Bridge { // it has no other way to say so
			asked.NoLocal, asked.RetainAsPublished = !strings.HasPrefix(asked.Filter, "$share/"), true // [MQTT5-3.8.3-4]
		}
		// As if each came in a packet of its own [MQTT5-3.8.4-5] [MQTT311-3.8.4-4].
		code, err := work.add(hooks.Subscription{
			Filter: asked.Filter, QoS: asked.QoS, NoLocal: asked.NoLocal, RetainAsPublished: asked.RetainAsPublished,
			RetainHandling: asked.RetainHandling, ID: p.SubscriptionID,
		})
		if err != nil {
			return err
		}
		if code.Failed() && c.b.hideReasons {
			code = packet.UnspecifiedError
		}
		work.codes = append(work.codes, code)
	}
	if len(work.changes) == 0 {
		work.finish(t, nil)
		return nil
	}
	pending, err := c.b.store.Update(work.changes, waiter(func(err error) { work.finish(c.b.storeTurn(), err) }))
	if !pending {
		work.finish(t, err)
	}
	return nil
}

// add makes one subscription and returns the code for SUBACK. The error ends the connection.
func (w *subscribing) add(asked hooks.Subscription) (packet.Code, error) {
	c := w.c
	share, filter, shared, err := topic.ParseShared(asked.Filter)
	if err != nil { // [MQTT5-4.8.2-1] [MQTT5-4.8.2-2]
		return 0, packet.Refuse(packet.ProtocolError, err.Error())
	}
	if err := topic.CheckFilter(filter, c.b.topicLimits()); err != nil { // [MQTT5-4.7.1-1] [MQTT5-4.7.1-2] [MQTT5-4.8.2-2]
		if c.version == packet.V5 {
			return packet.TopicFilterInvalid, nil
		}
		return 0, packet.Refuse(packet.TopicFilterInvalid, err.Error()) // [MQTT311-4.7.1-2] [MQTT311-4.7.1-3]
	}
	checks := c.b.checks.Load()
	if code := c.allowSubscribe(&asked, filter, shared); code.Failed() {
		return code, nil
	}
	asked.QoS = min(asked.QoS, c.b.limits.MaxQoS) // [MQTT5-3.8.4-7] [MQTT5-3.2.2-10]
	by := c.b.servings.find(asked.Filter)
	if by != nil {
		if d := c.b.join(by, c.session, &asked); d.Verdict == hooks.Deny {
			return c.refuseSubscribe(&asked, d), nil
		}
	}
	sub := &subscriber{filter: filter, session: c.session, asked: asked, served: by}
	sub.checkedAt.Store(checks)
	replaced, code := c.session.enter(sub)
	if code.Failed() {
		if by != nil {
			c.b.calm(func() { by.members.Leave(c.session.id, asked.Filter) })
		}
		return code, nil
	}
	c.b.subscribe(share, sub, replaced)
	w.made = append(w.made, madeSubscription{sub: sub, share: share, replaced: replaced})
	if c.session.durable {
		w.changes = append(w.changes, storage.PutSubscription{Subscription: storage.Subscription{
			Session: c.session.key, Filter: asked.Filter, QoS: asked.QoS, NoLocal: asked.NoLocal,
			RetainAsPublished: asked.RetainAsPublished, RetainHandling: asked.RetainHandling, ID: asked.ID,
		}})
	}
	return packet.Code(asked.QoS), nil
}

// allowSubscribe asks limits and hooks. Success is the answer when nobody objects; hooks may lower the QoS.
func (c *conn) allowSubscribe(asked *hooks.Subscription, filter string, shared bool) packet.Code {
	l := &c.b.limits
	switch {
	case shared && !l.SharedAvailable:
		return packet.SharedSubscriptionsNotSupported // [MQTT5-3.2.2.3.13]
	case !l.WildcardAvailable && topic.HasWildcard(filter):
		return packet.WildcardSubscriptionsNotSupported // MQTT 5, 3.2.2.3.11, [MQTT311-3.8.3-2]
	}
	d := c.b.hooks.AuthorizeSubscribe(c.client, filter, asked.QoS)
	if d.Verdict != hooks.Deny {
		d = c.b.hooks.OnSubscribe(c.client, asked)
	}
	if d.Verdict == hooks.Deny {
		return c.refuseSubscribe(asked, d)
	}
	return packet.Success
}

// refuseSubscribe is the code for a subscription that a hook refused.
func (c *conn) refuseSubscribe(asked *hooks.Subscription, d hooks.Decision) packet.Code {
	code := refusalOf(d, packet.NotAuthorized).Code
	c.b.log.Info("subscription refused", "client", c.client.ID, "topic", asked.Filter, "reason", code.String(), "err", d.Reason)
	return code
}

// enter notes the subscription in the session and returns the one that it replaces [MQTT5-3.8.4-3]
// [MQTT311-3.8.4-3].
func (s *liveSession) enter(sub *subscriber) (replaced *subscriber, code packet.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	replaced = s.subs.find(sub.asked.Filter)
	if s.ended || (replaced == nil && s.subs.len() >= s.b.limits.MaxSubscriptions) {
		return nil, packet.QuotaExceeded
	}
	s.subs.put(sub)
	s.shared = s.shared || sub.asked.Filter != sub.filter
	return replaced, packet.Success
}

// finish sends SUBACK, without a reason string [MQTT5-3.9.2-1], and then the retained messages, also of a
// subscription that replaced another [MQTT5-3.8.4-4].
func (w *subscribing) finish(t *turn, err error) {
	c := w.c
	if err != nil {
		w.undo(err)
	}
	c.send(t, func(dst []byte) []byte { return packet.AppendSuback(dst, c.version, w.id, w.codes, "") })
	if err != nil {
		return
	}
	for _, m := range w.made {
		if m.sub.served != nil {
			c.session.tellOnline(t, m.sub.served)
			continue
		}
		if c.b.servings.find(m.sub.asked.Filter) != nil { // a hook began to serve it meanwhile
			c.b.rehome(t, c.session, m.sub.asked.Filter)
			continue
		}
		h := m.sub.asked.RetainHandling // [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11]
		if m.share == "" && (h == 0 || (h == 1 && m.replaced == nil)) {
			c.b.sendRetained(t, m.sub)
		}
	}
}

// undo takes the subscriptions back that the store refused; what they replaced holds again.
func (w *subscribing) undo(err error) {
	b, s := w.c.b, w.c.session
	b.storeResult(false, err)
	for i := range w.codes {
		w.codes[i] = storeCode(err)
	}
	for _, m := range w.made {
		s.mu.Lock()
		current := s.subs.find(m.sub.asked.Filter) == m.sub
		if current && m.replaced != nil {
			s.subs.put(m.replaced)
		} else if current {
			s.subs.remove(m.sub.asked.Filter)
		}
		s.mu.Unlock()
		switch {
		case current && m.replaced != nil:
			b.subscribe(m.share, m.replaced, m.sub)
		case current:
			b.unsubscribe(m.sub)
		}
	}
}

// handleUnsubscribe takes an UNSUBSCRIBE packet. Messages that are queued are still delivered
// [MQTT5-3.10.4-2] [MQTT5-3.10.4-3] [MQTT311-3.10.4-3].
func (c *conn) handleUnsubscribe(t *turn, body []byte) error {
	p, err := packet.DecodeUnsubscribe(body, c.version, packet.Limits{MaxUserProperties: c.b.limits.MaxUserProperties})
	if err != nil {
		return err
	}
	if err := c.checkFits(packet.AnswerSize(len(p.Filters))); err != nil {
		return err
	}
	codes := make([]packet.Code, 0, len(p.Filters)) // [MQTT5-3.11.3-1]
	var changes []storage.Change
	for _, filter := range p.Filters { // as if each came in a packet of its own [MQTT5-3.10.4-6]
		code, err := c.unsubscribe(filter)
		if err != nil {
			return err
		}
		codes = append(codes, code)
		if code == packet.Success && c.session.durable {
			changes = append(changes, storage.DeleteSubscription{Session: c.session.key, Filter: filter})
		}
	}
	answer := func(t *turn, err error) { // [MQTT5-3.10.4-4] [MQTT5-3.10.4-5] [MQTT311-3.10.4-4] [MQTT311-3.10.4-5]
		c.b.storeResult(false, err)
		if err == nil { // without a reason string [MQTT5-3.11.2-1]
			c.send(t, func(dst []byte) []byte { return packet.AppendUnsuback(dst, c.version, p.ID, codes, "") })
		}
	}
	if len(changes) == 0 {
		answer(t, nil)
		return nil
	}
	pending, err := c.b.store.Update(changes, waiter(func(err error) { answer(c.b.storeTurn(), err) }))
	if !pending {
		answer(t, err)
	}
	return nil
}

// unsubscribe ends one subscription, found by its filter character by character [MQTT5-3.10.4-1]
// [MQTT311-3.10.4-1].
func (c *conn) unsubscribe(filter string) (packet.Code, error) {
	_, plain, _, err := topic.ParseShared(filter)
	if err == nil {
		err = topic.CheckFilter(plain, c.b.topicLimits())
	}
	if err != nil {
		if c.version == packet.V5 {
			return packet.TopicFilterInvalid, nil
		}
		return 0, packet.Refuse(packet.TopicFilterInvalid, err.Error())
	}
	s := c.session
	s.mu.Lock()
	sub := s.subs.find(filter)
	s.subs.remove(filter)
	s.mu.Unlock()
	if sub == nil {
		return packet.NoSubscriptionExisted, nil
	}
	c.b.unsubscribe(sub)
	c.b.hooks.OnUnsubscribe(c.client, filter)
	return packet.Success, nil
}
