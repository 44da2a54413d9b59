package bridge

import (
	"fmt"
	"slices"
)

const (
	// identifiers is how many packet identifiers there are; 0 is none [MQTT5-2.2.1-2] [MQTT311-2.3.1-1].
	identifiers = 65535
	// spreadMax bounds the numbers from the first to the last on its way, so that no identifier is in use twice and some are left
	// for SUBSCRIBE. Messages that expired leave gaps.
	spreadMax = identifiers - 100
)

// identifierOf is the packet identifier of a message of the queue. It needs no memory, and so outlives a restart.
func identifierOf(number uint64) uint16 { return uint16((number-1)%identifiers) + 1 }

// A step is how far the exchange of a message is.
type step byte

// The steps of a flight.
const (
	published step = iota // PUBLISH was sent
	received              // PUBREC came; that it did is being written to disk
	releasing             // PUBREL was sent
	over                  // nothing is expected any more
)

// A flight is a message on its way to the other broker.
type flight struct {
	number uint64
	size   int64
	sent   int64 // Unix nanoseconds
	qos    byte
	step   step
}

// A window is what is on its way to the other broker, in the order of the numbers. It does no I/O.
type window struct {
	flights []flight
	count   int // of those that are not over
	max     int
}

// fits reports whether the message may be sent now.
func (w *window) fits(number uint64) bool {
	return w.count < w.max && (len(w.flights) == 0 || number-w.flights[0].number < spreadMax)
}

// add notes a message that is sent now. Numbers only grow.
func (w *window) add(f flight) {
	if n := len(w.flights); n > 0 && w.flights[n-1].number >= f.number {
		panic(fmt.Sprintf("bridge: message %d sent after %d", f.number, w.flights[n-1].number))
	}
	w.flights = append(w.flights, f)
	w.count++
}

// find is the flight of a packet identifier, nil if it is not in use.
func (w *window) find(id uint16) *flight {
	if len(w.flights) == 0 || id == 0 {
		return nil
	}
	low := w.flights[0].number
	number := low + (uint64(id)-uint64(identifierOf(low))+identifiers)%identifiers
	if w.flights[0].number == number && w.flights[0].step != over { // in order, as a rule
		return &w.flights[0]
	}
	i, ok := slices.BinarySearchFunc(w.flights, number, func(f flight, n uint64) int {
		switch {
		case f.number < n:
			return -1
		case f.number > n:
			return 1
		}
		return 0
	})
	if !ok || w.flights[i].step == over {
		return nil
	}
	return &w.flights[i]
}

// end notes that a flight is over. The pointer is invalid afterwards.
func (w *window) end(f *flight) {
	f.step = over
	w.count--
	gone := 0
	for gone < len(w.flights) && w.flights[gone].step == over {
		gone++
	}
	if gone == len(w.flights) {
		w.flights = w.flights[:0]
	} else if gone > 0 {
		w.flights = w.flights[gone:] // append moves the rest to a new array when this one ends
	}
}

// reset forgets all: they will be sent again.
func (w *window) reset() { w.flights, w.count = nil, 0 }
