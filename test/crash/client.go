package crash

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// A client is what every client of a run has: its identity, its connection, and what it knows of its session.
type client struct {
	// Fixed when it is made.
	r       *run
	id      string
	version packet.Version
	rng     *rand.Rand

	// Only the client's goroutine touches these.
	link   *link
	links  int // connections that were accepted
	exists existence
}

// An existence says whether the broker has a session for the client.
type existence byte

const (
	existsNot existence = iota
	existsMaybe
	existsSurely
)

// Pauses of a client: between connections, and between two things it does.
const (
	reconnectPauseMax = 60 * time.Millisecond
	actionPauseMax    = 20 * time.Millisecond
)

// connect opens a connection and waits for CONNACK. A connection that was still open is closed after that: it is taken over.
// The span is that of CONNECT; the error is nil once the broker has accepted.
func (c *client) connect(h hello) (present bool, at span, err error) {
	h.id, h.version = c.id, c.version
	address, ok := c.r.door.wait()
	if !ok {
		return false, at, errLost
	}
	l, err := dial(address, c.version)
	if err != nil {
		return false, at, err
	}
	at.begun = c.r.clock.now()
	ack, err := c.exchange(l, h.encode())
	if err != nil {
		l.close()
		if c.exists == existsNot && !h.volatile {
			c.exists = existsMaybe
		}
		return false, at, err
	}
	at.done = c.r.clock.now()
	if old := c.link; old != nil {
		old.close()
	}
	c.link = l
	c.links++
	c.judgePresence(h, ack.SessionPresent)
	c.exists = existsSurely
	return ack.SessionPresent, at, nil
}

// exchange sends CONNECT and reads CONNACK.
func (c *client) exchange(l *link, connect []byte) (ack packets.Packet, err error) {
	if err := l.write(connect); err != nil {
		return ack, err
	}
	ack, err = l.next()
	switch {
	case errors.Is(err, errPatience):
		c.r.report(kindStalled, "%s: no CONNACK", c.id)
		return ack, err
	case err != nil:
		return ack, err
	case packet.Type(ack.FixedHeader.Type) != packet.CONNACK:
		c.r.report(kindAck, "%s: packet type %d instead of CONNACK", c.id, ack.FixedHeader.Type)
		return ack, errLost
	case ack.ReasonCode != 0:
		c.r.report(kindRefused, "%s: CONNACK 0x%02x", c.id, ack.ReasonCode)
		return ack, errLost
	}
	return ack, nil
}

// judgePresence compares Session Present with what was acknowledged before.
func (c *client) judgePresence(h hello, present bool) {
	switch {
	case present && h.clean:
		c.r.report(kindSessionBack, "%s: Session Present after a clean start", c.id)
	case present && c.exists == existsNot:
		c.r.report(kindSessionBack, "%s: Session Present, but its last session had ended", c.id)
	case !present && !h.clean && c.exists == existsSurely:
		c.r.report(kindSessionLost, "%s: connection %d: no Session Present", c.id, c.links)
	}
}

// disconnect says goodbye and waits until the broker has closed the connection.
func (c *client) disconnect() {
	if c.link == nil {
		return
	}
	if c.link.write(encodeDisconnect()) == nil {
		c.link.awaitEnd()
	}
	c.drop()
}

// drop closes the connection without a word.
func (c *client) drop() {
	if c.link != nil {
		c.link.close()
		if err := c.link.malformed; err != nil {
			c.r.report(kindCorrupt, "%s: %v", c.id, err)
		}
		c.link = nil
	}
}

// pause waits for a random time, or until the run is over.
func (c *client) pause(most time.Duration) {
	timer := time.NewTimer(time.Duration(c.rng.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.r.over:
	}
}

// chance is true with probability p.
func (c *client) chance(p float64) bool { return c.rng.Float64() < p }

// A breakOff is how a client leaves a connection.
type breakOff byte

const (
	stay       breakOff = iota
	leave               // with DISCONNECT
	vanish              // without a word
	takeOver            // with a second connection
	brokenLink          // the broker is gone
)

// mood decides whether a client leaves its connection now. It is asked at every action.
func (c *client) mood(p float64) breakOff {
	if c.r.isDraining() || !c.chance(p) {
		return stay
	}
	return []breakOff{leave, vanish, takeOver}[c.rng.IntN(3)]
}

// part carries out a breakOff. What was in flight stays so.
func (c *client) part(how breakOff) {
	switch how {
	case leave:
		c.disconnect()
	case vanish, brokenLink:
		c.drop()
	case takeOver, stay: // connect closes the old link
	}
}
