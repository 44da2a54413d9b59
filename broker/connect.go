package broker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
)

// handleConnect takes the CONNECT packet and starts authentication.
func (c *conn) handleConnect(t *turn, body []byte) error {
	p, err := packet.DecodeConnect(body, packet.Limits{MaxUserProperties: c.b.limits.MaxUserProperties})
	if p != nil {
		c.version = p.Version
		c.connect = p
		c.problemInfo = p.RequestProblemInfo
		c.maxPacket = p.MaximumPacketSize
	}
	if err != nil {
		return err // [MQTT5-3.1.4-1]
	}
	if err := c.checkConnect(p); err != nil {
		return err
	}
	c.client.ID, c.client.Username, c.client.Version = p.ClientID, p.Username, byte(p.Version)
	c.client.Clean, c.client.KeepAlive, c.client.User = p.CleanStart, p.KeepAlive, p.User
	c.client.Bridge, c.client.SessionExpiry = p.Bridge, c.sessionExpiry()
	if c.certified {
		c.client.Username = c.client.CommonName
	}
	c.phase = authenticating
	if p.HasAuthMethod {
		return c.beginExchange(p.AuthMethod, p.AuthData)
	}
	c.authenticate(p)
	return nil
}

// checkConnect applies what the broker's limits and the topic rules say of a CONNECT packet.
func (c *conn) checkConnect(p *packet.Connect) error {
	l := &c.b.limits
	if p.ClientID == "" {
		if p.Version == packet.V31 || (p.Version == packet.V311 && !p.CleanStart) { // [MQTT311-3.1.3-7] [MQTT311-3.1.3-8]
			return packet.Refuse(packet.ClientIdentifierNotValid, "an empty client identifier needs a clean session")
		}
		p.ClientID = newClientID() // [MQTT5-3.1.3-6] [MQTT5-3.1.3-7] [MQTT311-3.1.3-6]
		c.assigned = true
	}
	if p.Version == packet.V31 && utf8.RuneCountInString(p.ClientID) > 23 { // MQTT 3.1, section 3.1: Client Identifier
		return packet.Refuse(packet.ClientIdentifierNotValid, "MQTT 3.1 allows 23 characters in a client identifier")
	}
	if len(p.ClientID) > l.MaxClientIDLength { // [MQTT5-3.1.3-5] [MQTT5-3.1.3-8]
		return packet.Refuse(packet.ClientIdentifierNotValid, "client identifier too long")
	}
	if w := p.Will; w != nil {
		switch err := topic.CheckName(w.Topic, c.b.topicLimits()); {
		case err != nil:
			return packet.Refuse(packet.TopicNameInvalid, "will topic: "+err.Error())
		case w.QoS > l.MaxQoS: // [MQTT5-3.2.2-12]
			return packet.Refuse(packet.QoSNotSupported, "will QoS above the maximum")
		case w.Retain && !l.RetainAvailable: // [MQTT5-3.2.2-13]
			return packet.Refuse(packet.RetainNotSupported, "retained will")
		case w.PayloadFormat == 1 && !packet.ValidPayload(w.Payload):
			return packet.Refuse(packet.PayloadFormatInvalid, "will payload is not UTF-8")
		}
	}
	if c.b.counters.connections.Load() >= int64(l.MaxConnections) {
		return packet.Refuse(packet.ServerBusy, "limits.max_connections reached")
	}
	return nil
}

// newClientID makes a client identifier that no other client has.
func newClientID() string {
	var b [10]byte
	rand.Read(b[:])
	return "auto-" + hex.EncodeToString(b[:])
}

// authenticate asks the hooks on a goroutine of its own: they may compute a password hash or call another server.
func (c *conn) authenticate(p *packet.Connect) {
	cred := hooks.Credentials{
		Username: c.client.Username, HasUsername: p.HasUsername || c.certified,
		Password: p.Password, HasPassword: p.HasPassword,
	}
	c.ask(func(ctx context.Context) func(t *turn) error {
		d := c.b.hooks.Authenticate(ctx, c.client, cred)
		return func(t *turn) error {
			if d.Verdict != hooks.Allow {
				return refusalOf(d, packet.NotAuthorized)
			}
			return c.authenticated(t, nil)
		}
	})
}

// ask runs a question to hooks on a goroutine and feeds nothing until the answer is there.
func (c *conn) ask(question func(ctx context.Context) func(t *turn) error) {
	c.waits++
	if !c.b.startTask() {
		return
	}
	go func() {
		defer c.b.tasks.Done()
		ctx, cancel := context.WithTimeout(c.b.ctx, c.b.limits.ConnectTimeout)
		defer cancel()
		answer := question(ctx)
		c.post(func(t *turn) error {
			c.waits--
			return answer(t)
		})
	}()
}

// refusalOf turns a decision that is not Allow into the error that ends or refuses.
func refusalOf(d hooks.Decision, code packet.Code) *packet.Refusal {
	if d.Code.Failed() {
		code = d.Code
	}
	return packet.Refuse(code, d.Reason)
}

// authenticated goes on with a client that may connect. data is the authentication data of the CONNACK.
func (c *conn) authenticated(t *turn, data []byte) error {
	p := c.connect
	if w := p.Will; w != nil {
		if isSys(w.Topic) {
			return packet.Refuse(packet.NotAuthorized, "will topic: $SYS is the broker's")
		}
		if d := c.b.hooks.AuthorizePublish(c.client, w.Topic, w.QoS, w.Retain); d.Verdict == hooks.Deny {
			return refusalOf(d, packet.NotAuthorized)
		}
	}
	c.receiveMax, c.expiryAsked = int(p.ReceiveMaximum), p.SessionExpiry
	c.aliasMax = min(p.TopicAliasMaximum, c.b.limits.TopicAliasMaximum)
	c.keepAlive = time.Duration(c.serverKeepAlive(p)) * time.Second
	c.phase = attaching
	return c.attach(t, data)
}

// serverKeepAlive is the keep-alive in force in seconds (MQTT 5, 3.2.2.3.14) [MQTT5-3.2.2-22]. A limit holds
// for clients of 3.1.1 too, which cannot be told: it is then the larger of the two, so that a client that
// keeps its word stays connected.
func (c *conn) serverKeepAlive(p *packet.Connect) uint16 {
	limit := c.b.limits.MaxKeepAlive
	if limit == 0 || p.Version != packet.V5 || (p.KeepAlive != 0 && p.KeepAlive <= limit) {
		return p.KeepAlive
	}
	return limit
}

// accepted sends CONNACK [MQTT5-3.1.4-5], before any packet but AUTH [MQTT5-3.2.0-1] and once
// [MQTT5-3.2.0-2], and opens the connection. It runs once the store has the session.
func (c *conn) accepted(t *turn, present bool, data []byte) error {
	c.mu.Lock()
	if c.closing { // taken over while the store was writing
		c.mu.Unlock()
		return nil
	}
	frame := packet.AppendConnack(nil, c.version, c.connack(present, data))
	if c.checkFits(len(frame)) != nil {
		c.mu.Unlock()
		c.end(t, packet.Success, "", "packet too large")
		return nil
	}
	c.sendLocked(t, func(dst []byte) []byte { return append(dst, frame...) })
	c.opened, c.sendWill = true, true
	c.mu.Unlock()
	c.phase = open
	c.connect = nil
	c.watchKeepAlive()
	c.b.counters.connects.Add(1)
	c.b.log.Debug("client connected", "client", c.client.ID, "version", c.version.String(), "listener", c.client.Listener)
	c.b.hooks.OnConnect(c.client, present)
	c.session.resume(t, c)
	return nil
}

// connack fills the CONNACK of an accepted client (MQTT 5, 3.2.2.3). It has neither reason string nor user
// properties [MQTT5-3.2.2-20].
func (c *conn) connack(present bool, data []byte) *packet.Connack {
	l, p := &c.b.limits, c.connect
	ack := &packet.Connack{
		SessionPresent: present, ReceiveMaximum: l.ReceiveMaximum, MaximumPacketSize: l.MaxPacketSize,
		TopicAliasMaximum: l.TopicAliasMaximum,
		RetainAvailable:   l.RetainAvailable, WildcardAvailable: l.WildcardAvailable,
		SharedAvailable: l.SharedAvailable, SubscriptionIDAvailable: l.SubscriptionIDs,
		AuthMethod: p.AuthMethod, AuthData: data, // [MQTT5-4.12.0-5]
	}
	if l.MaxQoS < 2 {
		ack.MaximumQoS = &l.MaxQoS // [MQTT5-3.2.2-9]
	}
	if c.assigned {
		ack.AssignedClientID = p.ClientID // [MQTT5-3.2.2-16]
	}
	if expiry := c.sessionExpiry(); expiry != p.SessionExpiry {
		ack.SessionExpiry = &expiry
	}
	if keep := uint16(c.keepAlive / time.Second); keep != p.KeepAlive {
		ack.ServerKeepAlive = &keep
	}
	if p.RequestResponseInfo { // [MQTT5-3.1.2-28]
		ack.ResponseInformation = "response/" + p.ClientID
	}
	return ack
}

// refuseConnect answers CONNECT with a failure and closes [MQTT5-3.1.4-2] [MQTT5-3.2.2-7] [MQTT311-3.2.2-5].
// A client of 3.1 or 3.1.1 hears only what its six return codes can say.
func (c *conn) refuseConnect(t *turn, r *packet.Refusal) {
	c.b.counters.refuse(label(r.Code.String()))
	c.b.log.Info("connection refused", "client", c.client.ID, "remote", c.remote(), "listener", c.client.Listener,
		"reason", r.Code.String(), "err", r.Text)
	c.mu.Lock()
	if c.version != 0 && !c.closing && (c.version == packet.V5 || tellable(r.Code)) {
		ack := &packet.Connack{Code: r.Code, Reason: c.reasonLocked(r.Text), RetainAvailable: true, WildcardAvailable: true,
			SharedAvailable: true, SubscriptionIDAvailable: true}
		if c.b.hideReasons && r.Code != packet.UnsupportedProtocolVersion {
			ack.Code = packet.UnspecifiedError
		}
		if c.version != packet.V5 {
			ack.Code = r.Code
		}
		if frame := packet.AppendConnack(nil, c.version, ack); c.checkFits(len(frame)) == nil {
			c.sendLocked(t, func(dst []byte) []byte { return append(dst, frame...) })
		}
	}
	c.closing = true // [MQTT5-3.1.4-6]
	c.endReason = r.Code.String()
	c.mu.Unlock()
	c.driver.flush(t)
	c.driver.shut()
}

func (c *conn) remote() string {
	if c.client.Remote == nil {
		return ""
	}
	return c.client.Remote.String()
}

// tellable lists the failures that a CONNACK of MQTT 3.1.1 has a return code for (MQTT 3.1.1, table 3.1).
// After any other the connection is closed without a word [MQTT311-3.1.4-1] [MQTT311-3.2.2-6]
// [MQTT311-4.8.0-1].
func tellable(code packet.Code) bool {
	return slices.Contains([]packet.Code{
		packet.UnsupportedProtocolVersion, packet.ClientIdentifierNotValid, packet.ServerUnavailable, packet.ServerBusy,
		packet.BadUserNameOrPassword, packet.NotAuthorized, packet.Banned, packet.QuotaExceeded, packet.ServerShuttingDown,
		packet.UnspecifiedError, packet.ConnectionRateExceeded,
	}, code)
}

// handleDisconnect takes the client's DISCONNECT.
func (c *conn) handleDisconnect(t *turn, body []byte) error {
	d, err := packet.DecodeDisconnect(body, c.version)
	if err != nil {
		return err
	}
	if d.HasSessionExpiry && !c.changeExpiry(d.SessionExpiry) { // [MQTT5-3.14.2.2.2]
		return packet.Refuse(packet.ProtocolError, "DISCONNECT sets a session expiry interval that CONNECT had not")
	}
	c.mu.Lock()
	c.sendWill = d.Code != packet.Success // [MQTT5-3.14.4-3] [MQTT5-3.1.2-10] [MQTT311-3.1.2-10]
	c.mu.Unlock()
	c.end(t, packet.Success, "", "disconnected by client")
	return nil
}
