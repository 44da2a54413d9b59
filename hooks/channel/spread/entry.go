package spread

import "github.com/penstockmq/penstock/broker/packet"

// An entry is a message that was read from the queue and is not done.
type entry struct {
	number  uint64
	message *packet.Message // nil where it has to be read again
	lane    *lane           // of its key, nil without one
	state   state
	attempt Attempt
	saved   bool // the attempt is on disk
	size    int  // of the message, once it was read

	given  *Delivery // in state given
	index  int       // in the heap that state says
	avoid  *Member   // it let the message time out
	barred []*Member // that may not receive the message
}

// A state says where an entry is.
type state byte

const (
	ready   state = iota // in Spread.ready: never handed out since it was read
	again                // in Spread.again: to be handed out once more, or the next of a lane
	loading              // in Spread.loading: its message is to be read again
	delayed              // in Spread.delayed: until its due time
	given                // in flight to a member
	moving               // being moved to the dead letter
	gone                 // done, or forgotten
)

// An Attempt is what happened to a message so far.
type Attempt struct {
	Deliveries uint32 // times it was handed out
	Failures   uint32 // of these: refused, timed out or impossible
	First      int64  // when it was first handed out, Unix nanoseconds
	Last       int64  // when it last failed
	Due        int64  // not to be handed out again before; 0 is now
}

// entries is a first in, first out queue.
type entries struct {
	items []*entry
	head  int
}

func (q *entries) len() int { return len(q.items) - q.head }

func (q *entries) push(e *entry) { q.items = append(q.items, e) }

// front is the first; there must be one.
func (q *entries) front() *entry { return q.items[q.head] }

func (q *entries) pop() *entry {
	e := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
	case q.head >= 512 && q.head*2 >= len(q.items):
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return e
}
