package session

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/penstockmq/penstock/broker/packet"
)

// WindowMax is the largest number of queue positions that may be open at once, so that every open
// position has a packet identifier of its own [MQTT5-2.2.1-4] [MQTT5-4.3.2-1] [MQTT5-4.3.3-1].
const WindowMax = 65534

// A Delivery is one message on its way to the client.
type Delivery struct {
	Message         *packet.Message
	SubscriptionIDs []uint32 // shared, never changed
	Group           string   // "group/filter" of the shared subscription it came through, or empty
	// Done, if not nil, is for whoever delivered it outside of a subscription.
	Done   func(code packet.Code, acked bool)
	QoS    byte // granted: 1 or 2
	Retain bool
}

// A phase is how far one delivery came.
type phase byte

const (
	absent   phase = iota // numbered, but not here yet: an earlier number may arrive after a later one
	queued                // never handed to a connection
	sent                  // PUBLISH sent, PUBACK or PUBREC owed to us [MQTT5-4.3.2-3]
	released              // QoS 2: PUBREC came, PUBCOMP owed to us [MQTT5-4.3.3-5]
	done
)

type slot struct {
	Delivery
	phase phase
}

// An extra is a delivery outside of the queue.
type extra struct {
	slot
	turn uint64 // when it took its phase: it grows from extra to extra
}

// Outbound is the queue of messages for one client and its in-flight window. The zero value is an
// empty queue with no window: Resume opens one.
//
// The numbers up to reach are those that a connection was given, on the last connection or before: each of them from the
// oldest that is not done has a slot, found by its number, and these span less than the packet identifiers.
// The others wait in line. All of a number's life is in its phase.
type Outbound struct {
	slots    []slot // ring: number n is at n & (len-1), for head <= n < reach
	head     uint64 // oldest number with a slot; it is not done, or there is none and head == reach
	next     uint64 // next number to hand to this connection, or reach
	reach    uint64 // number after the last that a connection was given
	line     line   // from reach on
	tail     uint64 // number after the last; numbers start at 1
	window   int    // most messages in flight on this connection
	inflight int    // in flight on this connection
	open     int    // deliveries not done
	bytes    int64  // their size
	// MaxAge, in nanoseconds, is how long a message may wait to be sent; 0 is for ever. Set it before the first Put.
	MaxAge int64
	// extras are deliveries outside of the queue, by packet identifier.
	extras    map[uint16]*extra
	turns     uint64 // the turn of the last of them
	lastExtra uint64 // the number whose identifier the last of them got
}

// Len is the number of deliveries that are not done, Bytes their size.
func (o *Outbound) Len() int { return o.open }

// Bytes is the size of the deliveries that are not done.
func (o *Outbound) Bytes() int64 { return o.bytes }

// Inflight is the number of deliveries sent on this connection and not acknowledged.
func (o *Outbound) Inflight() int { return o.inflight }

// Room reports whether one more message could be sent at once.
func (o *Outbound) Room() bool {
	return o.inflight < o.window && o.next == o.reach && o.line.length == 0 && o.fits(o.tail)
}

// PacketID is the packet identifier of a number.
func PacketID(number uint64) uint16 { return uint16((number-1)%65535) + 1 }

// Push appends a delivery and returns its number.
func (o *Outbound) Push(d Delivery) uint64 {
	number := max(o.tail, 1)
	o.Put(number, d)
	return number
}

// Put takes the delivery with a number given by the store. Numbers may arrive out of order by as much as
// publishers overtake each other between the store and here; nothing is sent past a number that is missing, so what
// one publisher sent leaves in its order [MQTT5-4.6.0-5] [MQTT5-4.6.0-6].
func (o *Outbound) Put(number uint64, d Delivery) { o.put(number, d, queued) }

// Restore takes a delivery read from the store, in the place after the last.
// sentBefore says that it was handed to a connection, releasedBefore that its PUBREC came.
// Numbers must ascend; those left out are done.
func (o *Outbound) Restore(number uint64, d Delivery, sentBefore, releasedBefore bool) {
	o.Skip(number)
	at := queued
	switch {
	case releasedBefore:
		at = released
	case sentBefore:
		at = sent
	}
	o.put(number, d, at)
}

// Skip makes number the next one: all before it that are not here are done.
func (o *Outbound) Skip(number uint64) { o.tail = max(o.tail, number) }

func (o *Outbound) put(number uint64, d Delivery, at phase) {
	o.tail = max(o.tail, 1)
	if number < o.tail && !o.Awaits(number) {
		panic(fmt.Sprintf("session: number %d put twice (head %d, reach %d, tail %d)", number, o.head, o.reach, o.tail))
	}
	o.open++
	o.bytes += int64(d.Message.Size())
	for ; o.tail < number; o.tail++ {
		o.line.push(o.tail).phase = absent
	}
	var p *place
	if number == o.tail {
		p = o.line.push(number)
		o.tail++
	} else {
		p = o.line.find(number)
	}
	p.Delivery, p.phase = d, at
}

func (o *Outbound) at(number uint64) *slot { return &o.slots[number&uint64(len(o.slots)-1)] }

// resize moves the slots to a ring of another length, which must hold them.
func (o *Outbound) resize(length int) {
	from := *o
	o.slots = make([]slot, length)
	for n := o.head; n < o.reach; n++ {
		*o.at(n) = *from.at(n)
	}
}

// extend gives the number reach a slot, to be filled.
func (o *Outbound) extend() *slot {
	if int(o.reach-o.head) == len(o.slots) {
		o.resize(max(ringMin, 2*len(o.slots)))
	}
	o.reach++
	return o.at(o.reach - 1)
}

// fits reports whether a number is close enough to the oldest open one to have an identifier of its own.
func (o *Outbound) fits(number uint64) bool { return o.head == o.reach || number-o.head < WindowMax }

// rest gives the memory of what is empty back.
func (o *Outbound) rest() {
	if o.head == o.reach {
		o.slots = nil
	}
	if o.line.length == 0 {
		o.line = line{}
	}
}

// Tail is the number after the last that is here.
func (o *Outbound) Tail() uint64 { return max(o.tail, 1) }

// Has reports whether the delivery with a number is here, or was.
func (o *Outbound) Has(number uint64) bool { return number < o.tail && !o.Awaits(number) }

// Awaits reports whether a number is missing among those that are here.
func (o *Outbound) Awaits(number uint64) bool {
	p := o.line.find(number)
	return p != nil && p.phase == absent
}

// DropOldest ends the oldest delivery that was never handed to a connection.
func (o *Outbound) DropOldest() (number uint64, d Delivery, ok bool) {
	for i := range o.line.length {
		if p := o.line.at(i); p.phase == queued {
			number, d = p.number, p.Delivery
			o.line.remove(i)
			o.settle(d.Message)
			return number, d, true
		}
	}
	return 0, Delivery{}, false
}

// Evict takes out what was never handed to a connection; the store has it. The numbers are free to be put again.
func (o *Outbound) Evict() (deliveries int, bytes int64) {
	for o.line.length > 0 {
		p := o.line.at(o.line.length - 1)
		if p.phase == sent || p.phase == released {
			break
		}
		if p.phase == queued {
			deliveries++
			bytes += int64(p.Message.Size())
		}
		o.tail = p.number
		o.line.popLast()
	}
	o.open -= deliveries
	o.bytes -= bytes
	o.rest()
	return deliveries, bytes
}

// Resume opens a window for a new connection: everything in flight will be sent again, in the
// original order and with the original identifiers [MQTT5-4.4.0-1] [MQTT311-4.4.0-1] [MQTT311-4.6.0-1].
// window is the client's receive maximum or our own limit, whichever is less
// [MQTT5-3.3.4-9] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2].
func (o *Outbound) Resume(window int) {
	o.window = min(window, WindowMax)
	o.inflight = len(o.extras)
	o.next = o.head
}

// Sent visits the numbers of the messages that were sent, on this connection or before, and are not
// acknowledged: a resend must have DUP [MQTT5-3.3.1-1].
func (o *Outbound) Sent(visit func(number uint64)) {
	for n := o.head; n < o.reach; n++ {
		if o.at(n).phase == sent {
			visit(n)
		}
	}
	for i := range o.line.length {
		if p := o.line.at(i); p.phase == sent {
			visit(p.number)
		}
	}
}

// Suspend closes the window: the connection is gone, and nothing is acknowledged until Resume. Deliveries
// outside of the queue whose message the client has not taken are given back, in the order they were sent.
// The identifiers of those with QoS 2 stay taken: the client may know them already, and would take
// another message for a repeat of this one [MQTT5-4.3.3-10]. A PUBREL frees them on both sides.
func (o *Outbound) Suspend() (dropped []Delivery) {
	o.window, o.inflight = 0, 0
	for _, id := range o.extrasInOrder() {
		e := o.extras[id]
		if e.phase == released {
			continue
		}
		dropped = append(dropped, e.Delivery)
		if e.QoS == 2 {
			o.releaseExtra(id)
		} else {
			delete(o.extras, id)
		}
	}
	if len(o.extras) == 0 {
		o.extras = nil
	}
	o.rest()
	return dropped
}

// extrasInOrder lists the identifiers of the extras in the order of their turns.
func (o *Outbound) extrasInOrder() []uint16 {
	if len(o.extras) == 0 {
		return nil
	}
	return slices.SortedFunc(maps.Keys(o.extras), func(a, b uint16) int {
		return cmp.Compare(o.extras[a].turn, o.extras[b].turn)
	})
}

// releaseExtra notes that an extra's PUBREL is due. Whoever delivered it has been told by then.
func (o *Outbound) releaseExtra(id uint16) {
	e := o.extras[id]
	o.turns++
	e.phase, e.Done, e.turn = released, nil, o.turns
}

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
		step = Step{ID: PacketID(n), Number: n, Delivery: &s.Delivery}
		switch s.phase {
		case done:
			continue
		case queued:
			s.phase = sent // without DUP [MQTT5-4.3.2-2] [MQTT5-4.3.3-2]
		case sent: // though it may have expired since [MQTT5-4.3.3-7]
			step.Dup = true
		case released: // never the PUBLISH again [MQTT5-4.3.3-6]
			step.Kind = SendPubrel
		}
		o.inflight++
		return step, true
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
	p := o.line.at(0)
	if o.head == o.reach {
		o.head, o.reach = p.number, p.number
	}
	for o.reach < p.number {
		o.extend().phase = done
	}
	o.next = o.reach
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

// find returns the open slot with a packet identifier that was sent on this connection.
func (o *Outbound) find(id uint16) (number uint64, s *slot) {
	if e := o.extras[id]; e != nil {
		return 0, &e.slot
	}
	if o.open == 0 || id == 0 {
		return 0, nil
	}
	number = o.head + uint64((int(id)-int(PacketID(o.head))+65535)%65535)
	if number >= o.next {
		return 0, nil
	}
	if s = o.at(number); s.phase == done {
		return 0, nil
	}
	return number, s
}

// An Outcome says what an acknowledgement did.
type Outcome byte

// The outcomes.
const (
	Unknown   Outcome = iota // no such identifier in flight
	Completed                // the delivery is done
	Released                 // QoS 2: the client has the message, PUBREL is to be sent
	Repeated                 // QoS 2: a second PUBREC, PUBREL is to be sent again
	Violation                // the wrong kind of acknowledgement for the message's QoS
)

// Puback takes a PUBACK. number is 0 for a delivery outside of the queue.
func (o *Outbound) Puback(id uint16) (outcome Outcome, number uint64, d Delivery) {
	number, s := o.find(id)
	switch {
	case s == nil:
		return Unknown, 0, Delivery{}
	case s.QoS != 1:
		return Violation, number, Delivery{}
	}
	return Completed, number, o.complete(id, number, s)
}

// Pubrec takes a PUBREC. A failed one ends the exchange: no PUBREL follows [MQTT5-4.3.3-4].
func (o *Outbound) Pubrec(id uint16, failed bool) (outcome Outcome, number uint64, d Delivery) {
	number, s := o.find(id)
	switch {
	case s == nil:
		return Unknown, 0, Delivery{}
	case s.QoS != 2:
		return Violation, number, Delivery{}
	case failed:
		return Completed, number, o.complete(id, number, s)
	case s.phase == released:
		return Repeated, number, s.Delivery
	}
	d = s.Delivery
	if s.phase = released; number == 0 {
		o.releaseExtra(id)
	}
	return Released, number, d
}

// Pubcomp takes a PUBCOMP.
func (o *Outbound) Pubcomp(id uint16) (outcome Outcome, number uint64, d Delivery) {
	number, s := o.find(id)
	switch {
	case s == nil:
		return Unknown, 0, Delivery{}
	case s.QoS != 2 || s.phase != released:
		return Violation, number, Delivery{}
	}
	return Completed, number, o.complete(id, number, s)
}

func (o *Outbound) complete(id uint16, number uint64, s *slot) Delivery {
	d := s.Delivery
	o.inflight--
	if number == 0 {
		delete(o.extras, id)
		return d
	}
	o.finish(number)
	return d
}

// PushExtra takes a delivery outside of the queue, to be sent now. It fails when the window is full,
// or the queue so long that no identifier is left. The identifier is none that the queue uses, and as far
// as possible from those it will use next; one that was freed is not used again soon.
func (o *Outbound) PushExtra(d Delivery) (id uint16, ok bool) {
	oldest := max(o.tail, 1)
	if o.head < o.reach {
		oldest = o.head
	} else if o.line.length > 0 {
		oldest = o.line.at(0).number
	}
	first, end := max(oldest+WindowMax/2, o.tail), oldest+WindowMax
	if o.inflight >= o.window || first >= end {
		return 0, false
	}
	if o.extras == nil {
		o.extras = make(map[uint16]*extra)
	}
	for range min(int(end-first), len(o.extras)+1) { // among so many one is free
		if o.lastExtra++; o.lastExtra < first || o.lastExtra >= end {
			o.lastExtra = first
		}
		if id = PacketID(o.lastExtra); o.extras[id] == nil {
			o.turns++
			o.extras[id] = &extra{slot: slot{Delivery: d, phase: sent}, turn: o.turns}
			o.inflight++
			return id, true
		}
	}
	return 0, false
}

// ReleasedExtras lists the deliveries outside of the queue whose PUBREL must be sent again after Resume,
// in the order of their PUBRECs [MQTT311-4.6.0-4].
func (o *Outbound) ReleasedExtras() (ids []uint16) {
	return slices.DeleteFunc(o.extrasInOrder(), func(id uint16) bool { return o.extras[id].phase != released })
}

// Drain takes every delivery that is not done out of the queue, oldest first: the session ends.
// wasSent tells whether the client may have seen it. Tail stays what it was. Deliveries outside of the queue
// follow, except those the client has taken.
func (o *Outbound) Drain(visit func(d Delivery, wasSent bool)) {
	for n := o.head; n < o.reach; n++ {
		if s := o.at(n); s.phase != done {
			visit(s.Delivery, true)
		}
	}
	for i := range o.line.length {
		if p := o.line.at(i); p.phase != absent {
			visit(p.Delivery, p.phase != queued)
		}
	}
	for _, id := range o.extrasInOrder() {
		if e := o.extras[id]; e.phase != released {
			visit(e.Delivery, true)
		}
	}
	*o = Outbound{MaxAge: o.MaxAge, tail: o.tail}
}

// DropExtra takes back a delivery outside of the queue that could not be sent.
func (o *Outbound) DropExtra(id uint16) {
	if o.extras[id] != nil {
		delete(o.extras, id)
		o.inflight--
	}
}
