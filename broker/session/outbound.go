package session

import (
	"fmt"

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
	// Tag is of whoever delivered it, and given back with it.
	Tag    any
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

// Outbound is the queue of messages for one client and its in-flight window. The zero value is an
// empty queue with no window: Resume opens one.
//
// The numbers below reach are those that a connection was given, this one or one before. From the oldest of
// them that is not done on, each has a slot, found by its number; they span less than the packet identifiers
// do. The others wait in line.
type Outbound struct {
	slots    []slot // ring: number n is at n & (len-1), for head <= n < reach
	head     uint64 // oldest number with a slot; it is not done, or there is none and head == reach
	next     uint64 // next number to hand to this connection, or reach
	resumed  uint64 // up to here PUBREL was sent again; at least next
	reach    uint64 // number after the last that a connection was given
	line     line   // from reach on
	tail     uint64 // number after the last; numbers start at 1
	window   int    // most messages in flight on this connection
	inflight int    // in flight on this connection
	open     int    // deliveries not done
	bytes    int64  // their size
	// MaxAge, in nanoseconds, is how long a message may wait to be sent; 0 is for ever. Set it before the
	// first Put.
	MaxAge int64
	// extras are deliveries outside of the queue, by packet identifier.
	extras    map[uint16]*extra
	turns     uint64 // the turn of the last of them
	lastExtra uint64 // the number whose identifier the last of them got
}

// Len is the number of deliveries that are not done.
func (o *Outbound) Len() int { return o.open }

// Bytes is the size of the deliveries that are not done.
func (o *Outbound) Bytes() int64 { return o.bytes }

// Inflight is the number of deliveries sent on this connection and not acknowledged.
func (o *Outbound) Inflight() int { return o.inflight }

// Room reports whether one more message could be sent at once.
func (o *Outbound) Room() bool {
	return o.inflight < o.window && o.next == o.reach && o.line.length == 0 && o.fits(o.tail)
}

// Idle reports whether Next would have nothing to give, however large the window.
func (o *Outbound) Idle() bool {
	return o.next == o.reach && o.resumed >= o.reach && o.line.length == 0
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
// publishers overtake each other between the store and here; nothing is sent past a number that is missing,
// so what one publisher sent leaves in its order [MQTT5-4.6.0-5] [MQTT5-4.6.0-6].
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
	o.slots = slotRings.Take(length)
	for n := o.head; n < o.reach; n++ {
		*o.at(n) = *from.at(n)
	}
	slotRings.Give(from.slots)
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
	o.next, o.resumed = o.head, o.head
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
