package broker

import (
	"context"
	"slices"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// An enhanced is the enhanced authentication of one client.
type enhanced struct {
	method    string         // of the CONNECT packet
	exchange  hooks.Exchange // nil while none runs
	applicant *hooks.Client  // whom the exchange may change; the client once it succeeds
}

// beginExchange starts enhanced authentication (MQTT 5, 4.12) for a CONNECT packet.
func (c *conn) beginExchange(method string, data []byte) error {
	if c.b.hooks.Method(method) == nil { // [MQTT5-4.12.0-1]
		return packet.Refuse(packet.BadAuthenticationMethod, "no hook serves "+method)
	}
	c.enhanced = &enhanced{method: method, applicant: c.client, exchange: c.b.hooks.Method(method).Begin(c.client)}
	c.stepExchange(data, c.authenticated)
	return nil
}

// stepExchange hands data to the exchange. succeed goes on once the exchange has, with the data to send.
func (c *conn) stepExchange(data []byte, succeed func(t *turn, data []byte) error) {
	exchange, applicant := c.enhanced.exchange, c.enhanced.applicant
	c.ask(func(ctx context.Context) func(t *turn) error {
		reply, d := exchange.Step(ctx, applicant, data)
		return func(t *turn) error {
			switch d.Verdict {
			case hooks.Allow:
				c.enhanced.exchange = nil
				return succeed(t, reply)
			case hooks.Deny: // [MQTT5-4.12.0-4] [MQTT5-4.12.1-2]
				c.enhanced.exchange = nil
				return refusalOf(d, packet.NotAuthorized)
			}
			return c.sendAuth(t, packet.ContinueAuthentication, reply) // [MQTT5-4.12.0-2]
		}
	})
}

// sendAuth sends AUTH, always without a reason string [MQTT5-3.15.2-2].
func (c *conn) sendAuth(t *turn, code packet.Code, data []byte) error {
	frame := packet.AppendAuth(nil, code, c.enhanced.method, data, "")
	if err := c.checkFits(len(frame)); err != nil {
		return err
	}
	c.send(t, func(dst []byte) []byte { return append(dst, frame...) })
	return nil
}

// handleAuthenticating takes what a client sends before its CONNACK: nothing but AUTH and
// DISCONNECT is allowed [MQTT5-3.1.2-30], and nothing but DISCONNECT without an exchange.
func (c *conn) handleAuthenticating(t *turn, kind packet.Type, body []byte) error {
	switch {
	case kind == packet.AUTH && c.enhanced != nil && c.enhanced.exchange != nil:
		return c.continueExchange(t, body, c.authenticated)
	case kind == packet.DISCONNECT:
		if _, err := packet.DecodeDisconnect(body, c.version); err != nil {
			return err
		}
		c.end(t, packet.Success, "", "disconnected by client")
		return nil
	}
	return packet.Refuse(packet.ProtocolError, kind.String()+" before CONNACK")
}

func (c *conn) continueExchange(t *turn, body []byte, succeed func(t *turn, data []byte) error) error {
	a, err := packet.DecodeAuth(body)
	switch {
	case err != nil:
		return err
	case a.Method != c.enhanced.method: // [MQTT5-4.12.0-5]
		return packet.Refuse(packet.ProtocolError, "AUTH with another authentication method")
	case a.Code != packet.ContinueAuthentication: // [MQTT5-4.12.0-3]
		return packet.Refuse(packet.ProtocolError, "AUTH that does not continue the exchange")
	}
	c.stepExchange(a.Data, succeed)
	return nil
}

// handleReauth takes AUTH on an open connection: re-authentication (MQTT 5, 4.12.1) with the method of the
// CONNECT packet [MQTT5-4.12.1-1].
func (c *conn) handleReauth(t *turn, body []byte) error {
	if c.version != packet.V5 {
		return packet.Refuse(packet.MalformedPacket, "AUTH exists from MQTT 5 on")
	}
	if c.enhanced == nil { // [MQTT5-4.12.0-6] [MQTT5-4.12.0-7]
		return packet.Refuse(packet.ProtocolError, "AUTH without an authentication method in CONNECT")
	}
	if c.enhanced.exchange != nil {
		return c.continueExchange(t, body, c.reauthenticated)
	}
	a, err := packet.DecodeAuth(body)
	switch {
	case err != nil:
		return err
	case a.Method != c.enhanced.method:
		return packet.Refuse(packet.ProtocolError, "re-authentication with another method")
	case a.Code != packet.ReAuthenticate:
		return packet.Refuse(packet.ProtocolError, "AUTH that starts no re-authentication")
	}
	again := *c.client // other goroutines read that one
	again.Groups = slices.Clone(again.Groups)
	c.enhanced.applicant = &again
	c.enhanced.exchange = c.b.hooks.Method(c.enhanced.method).Begin(c.enhanced.applicant)
	c.stepExchange(a.Data, c.reauthenticated)
	return nil
}

func (c *conn) reauthenticated(t *turn, data []byte) error {
	s := c.session
	s.mu.Lock()
	if s.conn.Load() == c {
		c.client = c.enhanced.applicant
		s.client.Store(c.client)
	}
	s.mu.Unlock()
	c.b.Recheck()
	return c.sendAuth(t, packet.Success, data)
}
