package broker

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// A driver moves bytes between a conn and its socket. Its methods never block and may be called by any
// goroutine, without locks held.
type driver interface {
	// flush writes what the outbox holds, as far as the socket takes it; the rest follows by itself. It
	// clears conn.dirty.
	flush(t *turn)
	// resume has feed called again: what it waited for has happened.
	resume()
	// shut ends the connection: no more is read, what the outbox holds is written within a bounded time, then the
	// socket is closed and conn.ended called.
	shut()
}

// A phase is how far a connection came. Only the goroutine that feeds it reads or writes it.
type phase byte

const (
	awaitConnect phase = iota // nothing but CONNECT is allowed [MQTT5-3.1.0-1]
	authenticating
	attaching // the store is writing the session
	open
)

// A conn is one network connection as the protocol sees it: it is fed bytes and appends frames to its
// outbox. It knows no socket.
type conn struct {
	// Fixed when Attach returns.
	b         *Broker
	driver    driver
	certified bool // the username is the certificate's
	// deadline is of CONNECT, then of keep-alive.
	deadline *time.Timer
	// Only the goroutine that feeds this connection touches these.
	phase     phase
	waits     int      // reasons for which feed does nothing; each ends by a posted answer
	partial   []byte   // packets that were not handled yet: an incomplete one, or all since feed had to wait
	need      int      // how long the packet at the front of partial is, if that is known and it is incomplete
	aliasesIn []string // topic by alias - 1 [MQTT5-3.3.2-7]
	memo      *topicMemo
	connect   *packet.Connect // until the connection is open
	enhanced  *enhanced       // nil without enhanced authentication
	assigned  bool            // we chose the client identifier
	keepAlive time.Duration
	// Fixed when the connection is open.
	version     packet.Version
	client      *hooks.Client // never nil
	session     *liveSession
	receiveMax  int    // the client's
	expiryAsked uint32 // session expiry interval of CONNECT, before our limit
	// Anyone.
	lastPacket atomic.Int64 // Unix nanoseconds: when a whole packet was last received
	quietMax   atomic.Int64 // nanoseconds until the keep-alive is over, or unwatched; 0 before CONNACK

	mu          sync.Mutex // guards what follows; taken after session.mu
	outbox      outbox
	dirty       bool // a turn will flush it
	writing     bool // a flush or a writer goroutine has a parcel
	opened      bool // CONNACK was sent
	closing     bool // nothing more is appended
	finished    bool // the driver has let go
	wantPump    bool // the queue stopped because the outbox was full
	throttled   bool // feed stopped because the outbox was full
	sendWill    bool // the end of this connection publishes the will
	endReason   string
	answers     []func(t *turn) error // for the feeding goroutine
	busy        int                   // feed is at work, attach has not cleared up yet
	rested      []func()              // to be called when neither is
	aliasesOut  map[string]uint16
	maxPacket   uint32 // the client's, 0 is no limit
	aliasMax    uint16 // the client's
	problemInfo bool   // the client wants reason strings
}

// newConn makes the connection of a client of whom no more is known than where it is.
func newConn(b *Broker, p listener.Peer) *conn {
	return &conn{b: b, certified: p.UsernameFromCert, client: &hooks.Client{
		CommonName: p.CommonName, Remote: p.Remote, Listener: p.Listener,
	}}
}

// feed takes bytes that were read, in any cut, and handles every whole packet in them. b is not kept.
func (c *conn) feed(t *turn, b []byte) {
	defer func() {
		t.submit() // what another connection of the session sends is stored behind it
		c.rest()
	}()
	t.tally.bytesReceived += uint64(len(b))
	for _, answer := range c.takeAnswers() {
		if err := answer(t); err != nil {
			c.fail(t, err)
		}
	}
	before := t.tally.packetsReceived
	if lack := c.need - len(c.partial); lack > 0 && lack < len(b) && len(c.partial) > 0 && c.waits == 0 {
		c.partial = append(c.partial, b[:lack]...)
		c.hold(c.handleAll(t, c.partial))
		b = b[lack:] // need not be copied
	}
	if len(c.partial) > 0 {
		c.partial = append(c.partial, b...)
		b = c.partial
	}
	c.hold(c.handleAll(t, b))
	if t.tally.packetsReceived != before {
		c.lastPacket.Store(t.now)
	}
}

// partialKeep is the size up to which the buffer of an incomplete packet is kept by a connection that has none.
const partialKeep = 512

// hold keeps what could not be handled yet. It may be the end of partial, or all of it.
func (c *conn) hold(rest []byte) {
	switch {
	case len(rest) == 0 && cap(c.partial) > partialKeep:
		c.partial = nil
	case len(rest) == 0:
		c.partial = c.partial[:0]
	case len(rest) != len(c.partial) || &rest[0] != &c.partial[0]:
		c.partial = append(c.partial[:0], rest...)
	}
}

// occupy begins what busy counts; rest must follow.
func (c *conn) occupy() {
	c.mu.Lock()
	c.busy++
	c.mu.Unlock()
}

// rest ends what busy counts.
func (c *conn) rest() {
	c.mu.Lock()
	var rested []func()
	if c.busy--; c.busy == 0 {
		rested, c.rested = c.rested, nil
	}
	c.mu.Unlock()
	for _, f := range rested {
		f()
	}
}

// whenRested calls f when the connection is not busy, now or as soon as it is not: what a connection that is
// being closed has begun is then done.
func (c *conn) whenRested(f func()) {
	c.mu.Lock()
	if c.busy > 0 {
		c.rested = append(c.rested, f)
		f = nil
	}
	c.mu.Unlock()
	if f != nil {
		f()
	}
}

// handleAll handles the whole packets at the front of b and returns what is left.
func (c *conn) handleAll(t *turn, b []byte) []byte {
	c.need = 0
	if c.stopped() {
		return nil
	}
	for c.waits == 0 && len(b) > 0 {
		head, body, n, need, err := c.split(b)
		if err == nil && n == 0 {
			c.need = need
			return b
		}
		if err == nil {
			t.tally.packetsReceived++
			err = c.handle(t, head, body)
			b = b[n:]
		}
		if err != nil {
			c.fail(t, err)
			return nil
		}
		if c.throttle() {
			return nil
		}
	}
	return b
}

// split takes the first whole packet off b; n is 0 if there is none yet, and need how long it will be, if that is known.
func (c *conn) split(b []byte) (head byte, body []byte, n, need int, err error) {
	if c.version == packet.V31 {
		return packet.SplitV31(b, c.b.limits.MaxPacketSize)
	}
	return packet.Split(b, c.b.limits.MaxPacketSize)
}

// stopped reports whether the connection is being closed: what else it sent is not looked at.
func (c *conn) stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// throttle stops feeding a client that does not read its acknowledgements. It reports whether the connection is being
// closed.
func (c *conn) throttle() (stopped bool) {
	c.mu.Lock()
	if !c.throttled && c.outbox.size > 2*c.b.limits.MaxOutboxBytes {
		c.throttled = true
		c.waits++
	}
	stopped = c.closing
	c.mu.Unlock()
	return stopped
}

func (c *conn) handle(t *turn, head byte, body []byte) error {
	kind := packet.TypeOf(head)
	switch c.phase {
	case awaitConnect:
		if kind != packet.CONNECT { // [MQTT5-3.1.0-1] [MQTT311-3.1.0-1]
			return packet.Refuse(packet.ProtocolError, "the first packet must be CONNECT")
		}
		return c.handleConnect(t, body)
	case authenticating:
		return c.handleAuthenticating(t, kind, body)
	}
	switch kind {
	case packet.PUBLISH:
		return c.handlePublish(t, head, body)
	case packet.PUBACK, packet.PUBREC, packet.PUBREL, packet.PUBCOMP:
		return c.handleAck(t, kind, body)
	case packet.SUBSCRIBE:
		return c.handleSubscribe(t, body)
	case packet.UNSUBSCRIBE:
		return c.handleUnsubscribe(t, body)
	case packet.PINGREQ:
		return c.handlePing(t, body)
	case packet.DISCONNECT:
		return c.handleDisconnect(t, body)
	case packet.AUTH:
		return c.handleReauth(t, body)
	case packet.CONNECT: // [MQTT5-3.1.0-2] [MQTT311-3.1.0-2]
		return packet.Refuse(packet.ProtocolError, "a second CONNECT packet")
	}
	return packet.Refuse(packet.ProtocolError, kind.String()+" is sent by servers only")
}

// handlePing answers PINGREQ [MQTT5-3.12.4-1] [MQTT311-3.12.4-1].
func (c *conn) handlePing(t *turn, body []byte) error {
	if err := packet.DecodeEmpty(body); err != nil {
		return err
	}
	c.send(t, packet.AppendPingresp)
	return nil
}

// send appends one control packet to the outbox.
func (c *conn) send(t *turn, encode func(dst []byte) []byte) {
	c.mu.Lock()
	c.sendLocked(t, encode)
	c.mu.Unlock()
}

func (c *conn) sendLocked(t *turn, encode func(dst []byte) []byte) {
	if c.closing {
		return
	}
	c.outbox.close(encode(c.outbox.open()))
	t.tally.packetsSent++
	t.touchLocked(c)
}

// checkFits refuses what the client asked for when the answer would be larger than it takes [MQTT5-3.1.2-24].
func (c *conn) checkFits(size int) error {
	if c.maxPacket != 0 && size > int(c.maxPacket) {
		return packet.Refuse(packet.PacketTooLarge, "the answer is larger than the client's maximum packet size")
	}
	return nil
}

// reasonLocked returns reason if a packet with it fits the client's maximum packet size and the client wants
// to hear it, else an empty string [MQTT5-3.1.2-29] [MQTT5-3.2.2-19] [MQTT5-3.4.2-2] [MQTT5-3.5.2-2]
// [MQTT5-3.14.2-3].
func (c *conn) reasonLocked(reason string) string {
	if c.b.hideReasons || (c.maxPacket != 0 && int64(len(reason))+64 > int64(c.maxPacket)) {
		return ""
	}
	return reason
}

// ackReasonLocked is a reason string for an acknowledgement: only where the client asked for problem
// information [MQTT5-3.1.2-29].
func (c *conn) ackReasonLocked(reason string) string {
	if !c.problemInfo {
		return ""
	}
	return c.reasonLocked(reason)
}

// fail ends the connection because of err, telling an MQTT 5 client why [MQTT5-4.13.1-1] [MQTT5-4.13.2-1].
func (c *conn) fail(t *turn, err error) {
	var refusal *packet.Refusal
	if !errors.As(err, &refusal) {
		refusal = packet.Refuse(packet.UnspecifiedError, "internal error")
	}
	if c.phase != open {
		c.refuseConnect(t, refusal)
		return
	}
	c.b.log.Info("client refused", "client", c.client.ID, "reason", refusal.Code.String(), "err", err)
	c.end(t, refusal.Code, refusal.Text, refusal.Code.String())
}

// end closes the connection from any goroutine. why is the label it is counted under. A code below 0x80 sends
// no DISCONNECT, nor does a connection that had no CONNACK [MQTT5-3.14.0-1]. Nothing follows it but the close
// [MQTT5-3.14.4-1] [MQTT5-3.14.4-2].
func (c *conn) end(t *turn, code packet.Code, text, why string) {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return
	}
	if c.opened && code.Failed() && c.version == packet.V5 {
		if c.b.hideReasons && code != packet.ServerShuttingDown && code != packet.SessionTakenOver {
			code = packet.UnspecifiedError
		}
		reason := c.reasonLocked(text)
		c.sendLocked(t, func(dst []byte) []byte { return packet.AppendDisconnect(dst, code, reason, "") })
	}
	c.closing = true
	c.endReason = why
	c.mu.Unlock()
	c.driver.flush(t)
	c.driver.shut()
}

// post hands an answer to the goroutine that feeds the connection.
func (c *conn) post(answer func(t *turn) error) {
	c.mu.Lock()
	c.answers = append(c.answers, answer)
	c.mu.Unlock()
	c.driver.resume()
}

func (c *conn) takeAnswers() []func(t *turn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
	if c.throttled && c.outbox.size <= c.b.limits.MaxOutboxBytes {
		c.throttled = false
		c.waits--
	}
	answers := c.answers
	c.answers = nil
	return answers
}

// lost is called by the driver when the socket failed or the client closed it.
func (c *conn) lost(why string) {
	c.mu.Lock()
	if !c.closing {
		c.closing = true
		c.endReason = why
	}
	c.mu.Unlock()
}

// ended is called once by the driver, on the feeding goroutine, when the socket is closed.
func (c *conn) ended() {
	c.mu.Lock()
	c.finished = true
	c.outbox = outbox{}
	why := c.endReason
	c.mu.Unlock()
	if c.deadline != nil {
		c.deadline.Stop()
	}
	defer c.b.connections.forget(c) // last: Shutdown closes the store after it
	if c.session == nil {
		c.b.log.Debug("connection ended", "reason", why)
		return
	}
	c.b.counters.connections.Add(-1)
	c.b.counters.disconnect(label(why))
	c.b.log.Debug("client disconnected", slog.String("client", c.client.ID), slog.String("reason", why))
	c.session.detach(c, why)
	if c.phase == open {
		c.b.hooks.OnDisconnect(c.client, why)
	}
}

// label makes a reason fit for a metric.
func label(why string) string { return strings.ReplaceAll(why, " ", "_") }
