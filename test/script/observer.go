package script

import (
	"context"
	"fmt"
	"slices"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// note keeps a line for the output if the script asked for its kind.
func (r *rules) note(kind, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind == "" || r.prints[kind] {
		r.lines = append(r.lines, fmt.Sprintf(format, args...))
	}
}

// collect takes the lines noted since the last time. They come from many goroutines: only their set means anything.
func (r *rules) collect() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	slices.Sort(lines)
	return lines
}

// OnConnect implements hooks.SessionObserver.
func (r *rules) OnConnect(c *hooks.Client, present bool) {
	if present {
		r.note("sessions", "%s resumed", c.ID)
		return
	}
	r.note("sessions", "%s connected", c.ID)
}

// OnDisconnect implements hooks.SessionObserver.
func (r *rules) OnDisconnect(c *hooks.Client, _ string) { r.note("sessions", "%s disconnected", c.ID) }

// OnSessionEnd implements hooks.SessionObserver.
func (r *rules) OnSessionEnd(clientID string, _ string) {
	r.note("sessions", "session of %s ended", clientID)
}

// OnUnsubscribe implements hooks.SessionObserver.
func (r *rules) OnUnsubscribe(c *hooks.Client, filter string) {
	r.note("sessions", "%s unsubscribed %s", c.ID, quote(filter))
}

// OnDelivered implements hooks.DeliveryObserver.
func (r *rules) OnDelivered(clientID string, m *packet.Message) {
	r.note("acks", "delivered to %s: %s", clientID, quote(m.Topic))
}

// OnAcked implements hooks.DeliveryObserver.
func (r *rules) OnAcked(clientID string, m *packet.Message, code packet.Code) {
	r.note("acks", "acked by %s: %s %s", clientID, quote(m.Topic), code)
}

// OnDropped implements hooks.DeliveryObserver.
func (r *rules) OnDropped(clientID string, m *packet.Message, reason hooks.DropReason) {
	if clientID == "" {
		clientID = "everybody"
	}
	r.note("drops", "dropped for %s: %s %s", clientID, quote(m.Topic), reason)
}

// challenge is an authentication method of two steps: whatever the client begins with is answered with
// "nonce", and that wants "secret".
type challenge struct{}

// Name implements hooks.Hook.
func (challenge) Name() string { return "challenge" }

// Method implements hooks.EnhancedAuthenticator.
func (challenge) Method() string { return "CHALLENGE" }

// Begin implements hooks.EnhancedAuthenticator.
func (challenge) Begin(*hooks.Client) hooks.Exchange { return &exchange{} }

type exchange struct{ asked bool }

// Step implements hooks.Exchange.
func (e *exchange) Step(_ context.Context, c *hooks.Client, data []byte) ([]byte, hooks.Decision) {
	if !e.asked {
		e.asked = true
		return []byte("nonce"), hooks.Decision{}
	}
	if string(data) != "secret" {
		return nil, hooks.Decision{Verdict: hooks.Deny, Code: packet.NotAuthorized, Reason: "wrong answer"}
	}
	c.Username = "challenged"
	return []byte("welcome"), hooks.Decision{Verdict: hooks.Allow}
}
