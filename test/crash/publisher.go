package crash

import (
	"slices"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// A publisher sends the messages of its streams with a window, and sends again what was not acknowledged when its
// connection broke [MQTT5-4.4.0-1].
type publisher struct {
	*client
	streams []*stream
	window  int
	dress   func(o *outbound, out *packet.Outgoing) // changes what is sent; nil leaves it

	inflight []*outbound // in the order of their first PUBLISH
	lastID   uint16
}

// An outbound is a message that is not acknowledged in full.
type outbound struct {
	id       uint16
	stream   *stream
	counter  int
	released bool // QoS 2: PUBREC came
}

const (
	publisherBreaks = 0.01 // how probable it is, at each action, that a publisher leaves its connection
	deletes         = 0.3  // of the messages that set a retained message, how many delete it
)

// run publishes until the run drains and everything is acknowledged.
func (p *publisher) run() {
	defer p.drop()
	for !p.r.isOver() {
		present, _, err := p.connect(hello{})
		if err != nil {
			p.pause(reconnectPauseMax)
			continue
		}
		if !present { // nobody knows of the identifiers any more
			p.inflight = nil
		}
		how, done := p.serve()
		if done {
			p.disconnect()
			return
		}
		p.part(how)
		if how != takeOver {
			p.pause(reconnectPauseMax)
		}
	}
}

// serve sends and takes acknowledgements until the connection is left, or everything is done.
func (p *publisher) serve() (how breakOff, done bool) {
	if p.resend() != nil {
		return brokenLink, false
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if p.r.isDraining() && len(p.inflight) == 0 {
			return stay, true
		}
		select {
		case in, ok := <-p.link.packets:
			if !ok || p.take(in) != nil {
				return brokenLink, false
			}
		case <-timer.C:
			timer.Reset(time.Duration(p.rng.Int64N(int64(actionPauseMax))))
			if how := p.mood(publisherBreaks); how != stay {
				return how, false
			}
			if !p.r.isDraining() && p.publish() != nil {
				return brokenLink, false
			}
		case <-p.r.over:
			return vanish, true
		}
	}
}

// resend sends everything that is in flight again, in the order in which it was sent first.
func (p *publisher) resend() error {
	var b []byte
	for _, o := range p.inflight {
		if o.released {
			b = append(b, encodeAck(packet.PUBREL, p.version, o.id)...)
			continue
		}
		o.stream.change(o.counter, func(pub *publication) { pub.sends++ })
		b = p.appendPublish(b, o, true)
	}
	if len(b) == 0 {
		return nil
	}
	return p.link.write(b)
}

// publish sends some messages at once, as many as the window leaves at most.
func (p *publisher) publish() error {
	free := p.window - len(p.inflight)
	if free <= 0 {
		return nil
	}
	var b []byte
	for range 1 + p.rng.IntN(free) {
		s := p.streams[p.rng.IntN(len(p.streams))]
		o := &outbound{id: p.takeID(), stream: s}
		o.counter = s.add(publication{
			span: span{begun: p.r.clock.now()}, sends: 1, deletes: s.retain && p.chance(deletes),
		})
		p.inflight = append(p.inflight, o)
		b = p.appendPublish(b, o, false)
	}
	return p.link.write(b)
}

func (p *publisher) appendPublish(b []byte, o *outbound, dup bool) []byte {
	s := o.stream
	out := packet.Outgoing{Topic: s.topic, Payload: s.payload(o.counter), QoS: s.qos, Retain: s.retain, Dup: dup, ID: o.id}
	s.change(o.counter, func(pub *publication) {
		if pub.deletes {
			out.Payload = nil
		}
	})
	if p.dress != nil {
		p.dress(o, &out)
	}
	return packet.AppendPublish(b, p.version, &out)
}

// takeID is the next packet identifier that is not in use [MQTT5-2.2.1-3].
func (p *publisher) takeID() uint16 {
	for {
		p.lastID++
		used := slices.ContainsFunc(p.inflight, func(o *outbound) bool { return o.id == p.lastID })
		if p.lastID != 0 && !used {
			return p.lastID
		}
	}
}

// take handles a packet. The error says that the connection is of no more use.
func (p *publisher) take(in packets.Packet) error {
	kind := packet.Type(in.FixedHeader.Type)
	if in.ReasonCode >= 0x80 && kind != packet.DISCONNECT && kind != packet.PUBCOMP {
		p.r.report(kindRefused, "%s: %s %d with 0x%02x", p.id, kind, in.PacketID, in.ReasonCode)
	}
	switch kind {
	case packet.PUBACK:
		p.acknowledged(in.PacketID, 1)
	case packet.PUBREC:
		if p.acknowledged(in.PacketID, 2) {
			return p.link.write(encodeAck(packet.PUBREL, p.version, in.PacketID))
		}
	case packet.PUBCOMP:
		p.completed(in.PacketID)
	default:
		return errLost
	}
	return nil
}

// acknowledged takes PUBACK or PUBREC, which come in the order of the PUBLISH packets.
func (p *publisher) acknowledged(id uint16, qos byte) bool {
	due := func(o *outbound) bool { return o.stream.qos == qos && !o.released }
	at := slices.IndexFunc(p.inflight, due)
	if at < 0 || p.inflight[at].id != id {
		p.r.report(kindAck, "%s: QoS %d identifier %d is acknowledged, which is not the oldest in flight", p.id, qos, id)
		at = slices.IndexFunc(p.inflight, func(o *outbound) bool { return o.id == id && due(o) })
		if at < 0 {
			return false
		}
	}
	o := p.inflight[at]
	now := p.r.clock.now()
	o.stream.change(o.counter, func(pub *publication) { pub.done = now })
	p.r.counts.acknowledged.Add(1)
	if qos == 2 {
		o.released = true
	} else {
		p.inflight = slices.Delete(p.inflight, at, at+1)
	}
	return true
}

// completed takes PUBCOMP.
func (p *publisher) completed(id uint16) {
	at := slices.IndexFunc(p.inflight, func(o *outbound) bool { return o.id == id && o.released })
	if at < 0 {
		p.r.report(kindAck, "%s: PUBCOMP %d without a PUBREL", p.id, id)
		return
	}
	p.inflight = slices.Delete(p.inflight, at, at+1)
}
