package session

import "github.com/penstockmq/penstock/broker/packet"

// A Kind says what a Step is.
type Kind byte

// The kinds of Step.
const (
	SendPublish Kind = iota
	SendPubrel       // a PUBREL that the last connection may have lost
	DropExpired      // not sent: the message expired while it waited [MQTT5-3.3.2-5]
)

// A Step is one thing to do for the connection.
type Step struct {
	Kind     Kind
	Dup      bool // the PUBLISH was sent before [MQTT5-3.3.1-1] [MQTT5-3.3.1-3]
	ID       uint16
	Number   uint64
	Delivery *Delivery // valid until the next call
}

// Next returns the next step the window allows. now is in Unix nanoseconds.
func (o *Outbound) Next(now int64) (step Step, ok bool) {
	if step, ok = o.nextPubrel(); ok {
		return step, true
	}
	for o.inflight < o.window {
		if o.next == o.reach {
			if !o.mayTake() {
				break
			}
			if p := o.line.at(0); p.phase == queued && o.expired(p.Message, now) {
				return o.dropExpired(), true
			}
			o.take()
		}
		n, s := o.next, o.at(o.next)
		o.next++
		o.resumed = max(o.resumed, o.next)
		step = Step{ID: PacketID(n), Number: n, Delivery: &s.Delivery}
		switch s.phase {
		case done, released: // PUBREL was sent, and never the PUBLISH again [MQTT5-4.3.3-6]
			continue
		case queued:
			s.phase = sent // without DUP [MQTT5-4.3.2-2] [MQTT5-4.3.3-2]
		case sent: // though it may have expired since [MQTT5-4.3.3-7]
			step.Dup = true
		}
		o.inflight++
		return step, true
	}
	return Step{}, false
}

// nextPubrel returns the next PUBREL that the last connection may have lost. They come first, in their order,
// however small the window is now: it is for PUBLISH alone [MQTT5-3.3.4-10].
func (o *Outbound) nextPubrel() (step Step, ok bool) {
	if o.window == 0 {
		return Step{}, false
	}
	for o.line.length > 0 && o.line.at(0).phase > queued && o.mayTake() { // the store had them
		o.take()
	}
	for o.resumed = max(o.resumed, o.head); o.resumed < o.reach; {
		n := o.resumed
		o.resumed++
		if s := o.at(n); s.phase == released {
			o.inflight++
			return Step{Kind: SendPubrel, ID: PacketID(n), Number: n, Delivery: &s.Delivery}, true
		}
	}
	return Step{}, false
}

// mayTake reports whether the first in line is here and its identifier free.
func (o *Outbound) mayTake() bool {
	if o.line.length == 0 {
		return false
	}
	p := o.line.at(0)
	return p.phase != absent && o.fits(p.number) && o.extras[PacketID(p.number)] == nil
}

// take gives the first in line a slot. The numbers passed over are done.
func (o *Outbound) take() {
	p, last := o.line.at(0), o.next == o.reach
	if o.head == o.reach {
		o.head, o.reach = p.number, p.number
	}
	for o.reach < p.number {
		o.extend().phase = done
	}
	if last {
		o.next = o.reach
	}
	*o.extend() = p.slot
	o.line.pop()
}

func (o *Outbound) expired(m *packet.Message, now int64) bool {
	return m.Expired(now) || (o.MaxAge > 0 && now-m.Received > o.MaxAge)
}

// dropExpired takes the first out of the line.
func (o *Outbound) dropExpired() Step {
	p := *o.line.at(0)
	o.line.pop()
	o.settle(p.Message)
	return Step{Kind: DropExpired, ID: PacketID(p.number), Number: p.number, Delivery: &p.Delivery}
}

// Finish ends a delivery that was just stepped to but cannot be sent, for instance because
// it is larger than the client's maximum packet size [MQTT5-3.1.2-25].
func (o *Outbound) Finish(number uint64) {
	if number < o.head || number >= o.reach || o.at(number).phase == done {
		return
	}
	o.inflight--
	o.finish(number)
}

// finish ends a delivery that has a slot.
func (o *Outbound) finish(number uint64) {
	s := o.at(number)
	o.settle(s.Message)
	*s = slot{phase: done}
	for o.head < o.reach && o.at(o.head).phase == done {
		o.head++
	}
	o.next = max(o.next, o.head)
	if shorter := ringFor(len(o.slots), int(o.reach-o.head)); shorter < len(o.slots) {
		o.resize(shorter)
	}
}

// settle counts a message that is done.
func (o *Outbound) settle(m *packet.Message) {
	o.open--
	o.bytes -= int64(m.Size())
}
