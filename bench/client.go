package bench

import (
	"encoding/binary"
	"fmt"
)

// A client is the protocol of one connection: it is handed bytes and appends frames.
type client struct {
	// Fixed when it is made.
	common
	id         string
	filters    int              // how many it subscribes to, one after the other
	filter     func(int) string // names them
	publisher  *publisher       // nil if it does not publish
	subscriber *subscriber      // nil if it expects no messages
	keeper     *keeper          // nil if it publishes nothing that is retained
	durable    bool             // its session outlives the connection

	purpose   purpose // of the connection it has, or will have next
	asked     int     // filters sent in a SUBSCRIBE
	confirmed int     // filters acknowledged
	ready     bool    // connected and subscribed
}

// common is what all clients of a run have in common.
type common struct {
	traffic            *traffic
	version            byte
	qos                byte
	username, password string
}

// A keeper publishes messages that are retained, on a topic each.
type keeper struct {
	count   int
	topic   func(int) string
	payload []byte
	sent    int
	kept    int // acknowledged
}

// A purpose says why a client connects.
type purpose byte

const (
	begin  purpose = iota // with a new session, to subscribe
	resume                // to get what waits in its session
	forget                // to end its session
)

// filtersMax is how many filters a SUBSCRIBE carries: few enough for any broker's packet size limit.
const filtersMax = 500

// connect appends the first packet.
func (c *client) connect(out []byte) []byte {
	h := hello{version: c.version, id: c.id, clean: true, username: c.username, password: c.password}
	if c.durable && c.purpose != forget {
		// A session that is begun is new without the flag, because no other run uses its identifier.
		h.clean, h.durable = false, true
	}
	return h.append(out)
}

// leave notes that the connection is closed, and what the next is for.
func (c *client) leave(next purpose) {
	if c.ready {
		c.traffic.ready--
	}
	c.ready, c.purpose = false, next
	c.asked, c.confirmed = 0, 0
	if c.keeper != nil {
		c.keeper.sent, c.keeper.kept = 0, 0
	}
}

// feed takes bytes from the broker. It returns those of an incomplete packet, and out with the answers.
func (c *client) feed(in, out []byte) (rest, answers []byte, err error) {
	for {
		first, body, rest, err := cut(in)
		if err != nil {
			return nil, out, c.fail("%w", err)
		}
		if body == nil {
			return rest, out, nil
		}
		if out, err = c.take(first, body, out); err != nil {
			return nil, out, err
		}
		in = rest
	}
}

func (c *client) fail(format string, args ...any) error {
	return fmt.Errorf("client "+c.id+": "+format, args...)
}

func (c *client) take(first byte, body, out []byte) ([]byte, error) {
	switch first & 0xF0 {
	case publishByte:
		return c.takePublish(first, body, out)
	case pubackByte, pubrecByte, pubrelByte & 0xF0, pubcompByte:
		return c.takeAck(first, body, out)
	case connackByte:
		return c.takeConnack(body, out)
	case subackByte:
		return c.takeSuback(body, out)
	case pingrespByte:
		c.traffic.pongs++
		return out, nil
	case disconnectByte:
		return out, c.fail("broker disconnects with %#x", body)
	}
	return out, c.fail("packet starts with %#x", first)
}

func (c *client) takePublish(first byte, body, out []byte) ([]byte, error) {
	qos := first >> 1 & 3
	at := 2
	if len(body) >= at {
		at += int(binary.BigEndian.Uint16(body))
	}
	var id uint16
	if qos > 0 && len(body) >= at+2 {
		id = binary.BigEndian.Uint16(body[at:])
		at += 2
	}
	if c.version == 5 && len(body) > at {
		n, width := readLength(body[at:])
		at += n + max(width, 0)
	}
	if len(body) < at || c.subscriber == nil || !c.traffic.deliver(c.subscriber, body[at:]) {
		return out, c.fail("got a message that it did not subscribe to, or that is no one's")
	}
	switch qos {
	case 1:
		out = appendAck(out, pubackByte, id)
	case 2:
		out = appendAck(out, pubrecByte, id)
	}
	return out, nil
}

// takeAck takes a step of an exchange: as a sender [MQTT5-4.3.2-3, 4.3.3-4], or PUBREL as a receiver [MQTT5-4.3.3-11].
func (c *client) takeAck(first byte, body, out []byte) ([]byte, error) {
	if len(body) < 2 {
		return out, c.fail("an acknowledgement of %d bytes", len(body))
	}
	if len(body) > 2 && body[2] >= 0x80 {
		return out, c.fail("broker answers %#x with reason code %#x", first, body[2])
	}
	id := binary.BigEndian.Uint16(body)
	if first == pubrelByte {
		return appendAck(out, pubcompByte, id), nil
	}
	if c.keeper != nil && first == pubackByte {
		return c.keep(out, id), nil
	}
	place := int(id) - 1
	if c.publisher == nil || place < 0 || place >= len(c.publisher.missing) {
		return out, c.fail("broker acknowledges packet identifier %d, which was not used", id)
	}
	if first == pubrecByte {
		return appendAck(out, pubrelByte, id), nil
	}
	c.traffic.acknowledge(c.publisher, place)
	return out, nil
}

func (c *client) takeConnack(body, out []byte) ([]byte, error) {
	if len(body) < 2 || body[1] != 0 {
		return out, c.fail("broker refuses the connection: CONNACK %#x", body)
	}
	c.traffic.greeted++
	if c.version == 5 {
		maximum, err := receiveMaximum(body[2:])
		if err != nil {
			return out, c.fail("CONNACK: %w", err)
		}
		if p := c.publisher; p != nil && c.qos > 0 && int(maximum) < len(p.missing) {
			p.missing = p.missing[:maximum] // [MQTT5-3.3.4-9]
		}
	}
	if k := c.keeper; k != nil {
		// No more are on their way than a broker takes by default, each with an identifier of its own.
		for id := range uint16(min(keptMax, k.count)) {
			out = c.retain(out, 1+id)
		}
		return out, nil
	}
	if c.purpose == begin {
		return c.subscribe(out), nil
	}
	if c.purpose == resume && body[0]&sessionPresent == 0 {
		c.traffic.forgotten++
	}
	c.becomeReady()
	return out, nil
}

// sessionPresent is a flag of CONNACK [MQTT5-3.2.2.1.1].
const sessionPresent = 0x01

func (c *client) becomeReady() {
	c.ready = true
	c.traffic.ready++
}

func (c *client) takeSuback(body, out []byte) ([]byte, error) {
	at := 2
	if c.version == 5 && len(body) > at {
		n, width := readLength(body[at:])
		at += n + max(width, 0)
	}
	if len(body) < at || len(body)-at != c.asked-c.confirmed {
		return out, c.fail("SUBACK of %d bytes for %d filters", len(body), c.asked-c.confirmed)
	}
	for _, code := range body[at:] {
		if code != c.qos {
			return out, c.fail("broker answers a subscription with %#x", code)
		}
	}
	c.traffic.subscribed += c.asked - c.confirmed
	c.confirmed = c.asked
	return c.subscribe(out), nil
}

// subscribe appends the next SUBSCRIBE, or notes that the client is ready.
func (c *client) subscribe(out []byte) []byte {
	if c.asked == c.filters {
		c.becomeReady()
		return out
	}
	var filters []string
	for len(filters) < filtersMax && c.asked < c.filters {
		filters = append(filters, c.filter(c.asked))
		c.asked++
	}
	return appendSubscribe(out, c.version, 1, c.qos, filters)
}

// keptMax is how many retained messages are on their way at once: within any broker's receive maximum that is usual.
const keptMax = 16

// keep takes the acknowledgement of a retained message and sends the next under its identifier. One by one, because a broker that
// lets Nagle's algorithm work would hold back acknowledgements until there is a packet for them to follow.
func (c *client) keep(out []byte, id uint16) []byte {
	k := c.keeper
	k.kept++
	c.traffic.kept++
	if k.kept == k.count {
		c.becomeReady()
	}
	if k.sent == k.count {
		return out
	}
	return c.retain(out, id)
}

// retain appends the next retained message, or has the broker forget it.
func (c *client) retain(out []byte, id uint16) []byte {
	k := c.keeper
	payload := k.payload
	if c.purpose == forget {
		payload = nil
	}
	k.sent++
	return appendRetained(out, c.version, id, k.topic(k.sent-1), payload)
}

// receiveMaximum reads the CONNACK property of that name (MQTT 5, 3.2.2.3.3). in starts with the property length.
func receiveMaximum(in []byte) (uint16, error) {
	const property = 0x21
	n, width := readLength(in)
	if width <= 0 || len(in) < width+n {
		return 0, fmt.Errorf("properties are incomplete: %#x", in)
	}
	for in = in[width : width+n]; len(in) > 0; {
		length := propertyLen(in)
		if length == 0 || length > len(in) {
			return 0, fmt.Errorf("unknown or incomplete property %#x", in)
		}
		if in[0] == property {
			return binary.BigEndian.Uint16(in[1:]), nil
		}
		in = in[length:]
	}
	return windowMax, nil
}

// propertyLen is the length of the CONNACK property that in starts with, identifier included (MQTT 5, 3.2.2.3), or 0.
func propertyLen(in []byte) int {
	text := func(at int) int {
		if len(in) < at+2 {
			return len(in) + 1
		}
		return at + 2 + int(binary.BigEndian.Uint16(in[at:]))
	}
	switch in[0] {
	case 0x24, 0x25, 0x28, 0x29, 0x2A: // maximum QoS, and what is available
		return 2
	case 0x13, 0x21, 0x22: // server keep alive, receive maximum, topic alias maximum
		return 3
	case 0x11, 0x27: // session expiry interval, maximum packet size
		return 5
	case 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F: // strings and binary data
		return text(1)
	case 0x26: // user property
		return text(text(1))
	}
	return 0
}
