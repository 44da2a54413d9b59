package script

import (
	"fmt"
	"strconv"
	"testing/synctest"
)

// A client is one name in a script, with at most one connection.
type client struct {
	name   string
	player *player
	wire   *wire
	lastID uint16   // packet identifiers count up within a session
	corked bool     // packets are gathered
	held   [][]byte // while corked
}

// step does one thing; whatever needs a session connects first.
func (c *client) step(verb string, list []string) error {
	switch verb {
	case "connect":
		return c.connect(newOptions(list))
	case "open":
		o := newOptions(list)
		c.open(c.player.versionOf(o))
		return o.done()
	case "raw", "raw10":
		return c.raw(verb, list)
	case "cork":
		c.corked = true
		return nil
	case "uncork":
		return c.uncork()
	}
	if err := c.connected(); err != nil {
		return err
	}
	if verb == "subscribe" {
		b, err := encodeSubscribe(c.wire.version, c.next, list)
		c.send(b)
		return err
	}
	o := newOptions(list)
	c.simple(verb, o)
	return o.done()
}

// simple does the steps that are one packet, or none.
func (c *client) simple(verb string, o *options) {
	switch verb {
	case "publish":
		c.send(encodePublish(c.wire.version, c.next, o))
	case "unsubscribe":
		c.send(encodeUnsubscribe(c.wire.version, c.next, o))
	case "puback":
		c.acknowledge(puback, o)
	case "pubrec":
		c.acknowledge(pubrec, o)
	case "pubrel":
		c.acknowledge(pubrel, o)
	case "pubcomp":
		c.acknowledge(pubcomp, o)
	case "ping":
		c.send(frame(pingreq<<4, nil))
	case "auth":
		c.send(encodeDisconnect(auth, c.wire.version, o))
	case "disconnect":
		c.disconnect(o)
	case "drop":
		c.close()
	case "stall":
		c.wire.stall()
	case "resume":
		c.wire.release()
	default:
		o.fail(fmt.Errorf("no step %q", verb))
	}
}

// next is the next packet identifier.
func (c *client) next() uint16 {
	c.lastID++
	return c.lastID
}

func (c *client) acknowledge(kind byte, o *options) {
	id, err := strconv.ParseUint(o.next("packet identifier"), 0, 16)
	if err != nil {
		o.fail(err)
		return
	}
	code := byte(o.number("code", 8, 0))
	c.wire.sent(kind, uint16(id), code >= 0x80)
	c.send(encodeAck(kind, uint16(id), code, encodeProperties(kind, "", o)))
}

// disconnect leaves the closing to the broker [MQTT311-3.14.4-1].
func (c *client) disconnect(o *options) {
	c.send(encodeDisconnect(disconnect, c.wire.version, o))
	if c.corked {
		return
	}
	synctest.Wait()
	if !c.wire.isEnded() {
		c.player.lines = append(c.player.lines, c.name+" < still open")
		c.wire.close()
		return
	}
	lines := c.wire.collect()
	if len(lines) > 1 { // more than the close
		for _, line := range lines {
			c.player.lines = append(c.player.lines, c.name+" < "+line)
		}
	}
	c.wire.close()
}

// connected opens a connection with a clean start, unless there is one.
func (c *client) connected() error {
	if c.wire != nil && !c.wire.isEnded() {
		return nil
	}
	if c.wire != nil {
		return fmt.Errorf("%s is not connected any more", c.name)
	}
	corked := c.corked
	c.corked = false // the CONNECT does not wait
	if err := c.connect(newOptions([]string{"clean"})); err != nil {
		return err
	}
	c.corked = corked
	synctest.Wait()
	for _, line := range c.wire.collect() {
		if line != "CONNACK success" {
			c.player.lines = append(c.player.lines, c.name+" < "+line)
		}
	}
	return nil
}

// connect sends CONNECT, on the open connection or on a new one.
func (c *client) connect(o *options) error {
	version := c.player.versionOf(o)
	if c.wire == nil || c.wire.isEnded() {
		c.open(version)
		c.lastID = 0
	}
	version = c.wire.version
	c.wire.manual, c.wire.show = o.flag("manual"), o.flag("show")
	id := c.name
	if s, ok := o.text("id"); ok {
		id = c.player.identifier(s)
	}
	c.expect(o)
	c.send(encodeConnect(version, o.flag("clean"), id, o))
	return o.done()
}

// expect tells the rules what the client announces in CONNECT.
func (c *client) expect(o *options) {
	probe := &options{list: append([]option{}, o.list...)} // leaves the words for encodeConnect
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if c.wire.version != 5 || c.wire.rules.accepted {
		return
	}
	r := c.wire.rules
	r.window = int(probe.number("receive_maximum", 16, 65535))
	r.maxPacket = uint32(probe.number("max_packet", 32, 0))
	r.aliasMax = uint32(probe.number("alias_maximum", 16, 0))
	r.noProblems = probe.number("request_problem", 8, 1) == 0
}

// open opens a connection without sending anything.
func (c *client) open(version byte) {
	if c.wire != nil {
		c.wire.close()
	}
	c.wire = newWire(c.player.dial(), version, newConduct(version), c.player.nameAssigned)
	c.wire.start()
}

func (c *client) raw(verb string, list []string) error {
	if c.wire == nil || c.wire.isEnded() {
		c.open(c.player.version)
	}
	b, err := rawBytes(list)
	if err != nil || len(b) == 0 {
		return err
	}
	if verb == "raw" {
		c.send(b)
		return nil
	}
	for i := range b {
		c.wire.send(b[i : i+1])
	}
	return nil
}

func (c *client) send(b []byte) {
	if c.corked {
		c.held = append(c.held, b)
		return
	}
	c.wire.send(b)
}

func (c *client) uncork() error {
	if !c.corked {
		return fmt.Errorf("%s is not corked", c.name)
	}
	c.corked = false
	var all []byte
	for _, b := range c.held {
		all = append(all, b...)
	}
	c.held = nil
	c.wire.send(all)
	return nil
}

func (c *client) collect() []string {
	if c.wire == nil {
		return nil
	}
	return c.wire.collect()
}

// close closes the connection without a word, if there is one.
func (c *client) close() {
	if c.wire != nil {
		c.wire.close()
	}
}
