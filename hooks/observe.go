package hooks

import "github.com/penstockmq/penstock/broker/packet"

// OnConnect tells the observers that a client was accepted.
func (ch *Chain) OnConnect(c *Client, present bool) {
	at := ""
	defer identify(&at)
	for _, h := range ch.sessions {
		at = h.name
		h.hook.OnConnect(c, present)
	}
}

// OnUnsubscribe tells the observers that a client gave up a subscription.
func (ch *Chain) OnUnsubscribe(c *Client, filter string) {
	at := ""
	defer identify(&at)
	for _, h := range ch.sessions {
		at = h.name
		h.hook.OnUnsubscribe(c, filter)
	}
}

// OnDisconnect tells the observers that a connection is gone. A panic is recovered and the
// next observer told.
func (ch *Chain) OnDisconnect(c *Client, reason string) {
	for _, h := range ch.sessions {
		ch.guard(h.name, func() { h.hook.OnDisconnect(c, reason) })
	}
}

// OnSessionEnd tells the observers that a session is gone. A panic is recovered and the next
// observer told.
func (ch *Chain) OnSessionEnd(clientID, reason string) {
	for _, h := range ch.sessions {
		ch.guard(h.name, func() { h.hook.OnSessionEnd(clientID, reason) })
	}
}

// OnDelivered tells the observers that m was written to a client's outbox. A panic is recovered
// and the next observer told.
func (ch *Chain) OnDelivered(clientID string, m *packet.Message) {
	for _, h := range ch.deliveries {
		ch.guard(h.name, func() { h.hook.OnDelivered(clientID, m) })
	}
}

// OnAcked tells the observers that a client took or refused m. A panic is recovered and the
// next observer told.
func (ch *Chain) OnAcked(clientID string, m *packet.Message, code packet.Code) {
	for _, h := range ch.deliveries {
		ch.guard(h.name, func() { h.hook.OnAcked(clientID, m, code) })
	}
}

// OnDropped tells the observers that m will not reach a client. A panic is recovered and the
// next observer told.
func (ch *Chain) OnDropped(clientID string, m *packet.Message, reason DropReason) {
	for _, h := range ch.deliveries {
		ch.guard(h.name, func() { h.hook.OnDropped(clientID, m, reason) })
	}
}
