package script

import "fmt"

// A conduct watches what a server may never do on a connection, whatever the script is about.
type conduct struct {
	version    byte
	window     int    // the client's receive maximum
	maxPacket  uint32 // 0 is none
	aliasMax   uint32
	noProblems bool // request problem information is 0

	accepted bool // CONNACK came
	ended    bool // DISCONNECT came
	aliases  map[uint32]string
	inflight map[uint16]byte // by packet identifier: publish, or pubrel once PUBREC was sent
}

func newConduct(version byte) *conduct {
	return &conduct{version: version, window: 65535, aliases: map[uint32]string{}, inflight: map[uint16]byte{}}
}

// sent notes an acknowledgement that the client sends.
func (c *conduct) sent(kind byte, id uint16, failed bool) {
	switch {
	case kind == puback, kind == pubcomp, kind == pubrec && failed:
		delete(c.inflight, id)
	case kind == pubrec:
		c.inflight[id] = pubrel
	}
}

// received is what is wrong with the packet, or empty.
func (c *conduct) received(p *received) string {
	switch {
	case c.ended:
		return "packet after DISCONNECT [MQTT5-3.14.4-1]"
	case p.kind == connack && c.accepted:
		return "second CONNACK [MQTT5-3.2.0-2]"
	case p.kind != connack && p.kind != auth && !c.accepted:
		return "packet before CONNACK [MQTT5-3.2.0-1]"
	case c.maxPacket != 0 && p.size > int(c.maxPacket):
		return fmt.Sprintf("%d bytes, more than the client takes [MQTT5-3.1.2-24]", p.size)
	}
	if p.kind == connack {
		c.accepted = true
	}
	c.ended = p.kind == disconnect
	if c.noProblems && p.kind != publish && p.kind != connack && p.kind != disconnect {
		for _, name := range []string{"reason", "user"} {
			if _, ok := p.property(name); ok {
				return "problem information that was not requested [MQTT5-3.1.2-29]"
			}
		}
	}
	if p.kind == publish {
		return c.published(p)
	}
	return ""
}

func (c *conduct) published(p *received) string {
	alias, aliased := p.property("alias")
	switch {
	case aliased && (alias.number == 0 || alias.number > c.aliasMax):
		return "topic alias that the client does not take [MQTT5-3.1.2-26]"
	case aliased && p.topic != "":
		c.aliases[alias.number] = p.topic
	case p.topic == "" && c.aliases[alias.number] == "":
		return "unknown topic alias"
	}
	if p.qos == 0 {
		return ""
	}
	state, used := c.inflight[p.id]
	c.inflight[p.id] = publish
	switch {
	case used && state == pubrel:
		return "PUBLISH after its PUBREL [MQTT5-4.3.3-6]"
	case used:
		return "packet identifier in use [MQTT5-2.2.1-4]"
	case len(c.inflight) > c.window:
		return "more than the receive maximum in flight [MQTT5-3.3.4-9]"
	}
	return ""
}
