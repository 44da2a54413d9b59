package badger

import (
	"encoding/binary"
	"maps"
	"slices"
	"sort"

	"github.com/penstockmq/penstock/storage"
)

// A queue is what memory knows of a session: its numbers, not its messages. Store.mu guards it.
type queue struct {
	// Fixed when it is made.
	id     string
	handle uint64 // names it on disk; never given twice

	hooked bool // it is a hook's, and no session's

	next     uint64 // number the next message gets
	runs     []run  // where the numbers lie, in order
	marks    marks
	live     int                 // numbers that are not Done
	bytes    int64               // their size when the store was opened
	received map[uint16]struct{} // QoS 2 identifiers; nil until the first
	// dirtySince is the id of the group that first changed it after its last checkpoint; 0 if there was none.
	dirtySince uint64

	// Where it stands in the group and the builder that are filled now; worthless once they are others.
	group   *group
	tails   [progressCount]int // index in group.acks of its last of each progress, plus one
	slot    int                // in gathering.queues, if it is in it
	settled int                // index in group.settled, plus one
	carried int                // index in Store.carried, plus one

	brisk bool // it acknowledges faster than patience, so that waiting for it is worth while
}

// progressDone is the last step of a delivery, and progressCount how many there are.
const (
	progressDone  = storage.Done
	progressCount = progressDone + 1
)

// A run says that the numbers from first to last lie in a chunk. Those between that do not are Done.
type run struct {
	chunk       *chunk
	first, last uint64
}

// A chunk is a place on disk with messages in it. Store.mu guards it.
type chunk struct {
	id      uint64
	size    int64  // bytes of its records
	parts   int    // of its body; 0 if that stands in the head
	live    int    // entries that are not Done
	total   int    // entries it was made with
	sparse  int    // at this many live entries or fewer it is worth copying
	expires int64  // when a message in it expires next, Unix nanoseconds; 0 is never
	heap    int    // place in the expiry heap, plus one
	group   *group // in which it waits to be written, or nil
	// pinned: what is Done in it is written all the same. The group that says so comes later, and must not take effect before.
	pinned bool
	born   int64 // when its first message came, Unix nanoseconds; 0 if that is not known
	state  chunkState
}

// chunkState goes from new on, never back; moving ends in dead.
type chunkState byte

const (
	chunkNew     chunkState = iota // waits to be written
	chunkWriting                   // what is written of it is decided
	chunkStored                    // committed: can be read
	chunkMoving                    // what is live in it is copied elsewhere
	chunkDead                      // nothing in it is wanted
)

// append gives the next number to an entry in a chunk.
func (q *queue) append(c *chunk) uint64 {
	seq := q.next
	q.next++
	q.live++
	c.live++
	c.total++
	if n := len(q.runs); n > 0 && q.runs[n-1].chunk == c {
		q.runs[n-1].last = seq
		return seq
	}
	q.runs = append(q.runs, run{chunk: c, first: seq, last: seq})
	return seq
}

// skip makes the next n numbers Done.
func (q *queue) skip(n uint64) {
	first := q.next
	q.next += n
	if q.marks.floor == first {
		q.marks = marks{floor: q.next}
		return
	}
	q.marks.fill(first, q.next, storage.Done)
}

// find is the index of the first run that ends at seq or later.
func (q *queue) find(seq uint64) int {
	if len(q.runs) > 0 && q.runs[0].last >= seq {
		return 0 // nearly always, when messages are done in order
	}
	return sort.Search(len(q.runs), func(i int) bool { return q.runs[i].last >= seq })
}

// trim forgets the runs below the floor.
func (q *queue) trim() {
	q.marks.trim(q.next)
	n := 0
	for n < len(q.runs) && q.runs[n].last < q.marks.floor {
		n++
	}
	q.runs = q.runs[n:]
	if len(q.runs) == 0 {
		q.runs = nil
	}
}

// encodeState is the record of a checkpoint: everything that the log said of the queue up to the group as.
func (q *queue) encodeState(as uint64) []byte {
	b := newRecord(32 + 3*len(q.received))
	b = binary.AppendUvarint(b, as)
	b = binary.AppendUvarint(b, q.next)
	b = binary.AppendUvarint(b, uint64(len(q.received)))
	for _, id := range slices.Sorted(maps.Keys(q.received)) {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return seal(q.marks.appendTo(b))
}

// decodeState reads what encodeState wrote into q and returns the group.
func (q *queue) decodeState(record []byte) (as uint64, err error) {
	b, err := unseal(record)
	if err != nil {
		return 0, err
	}
	c := &cursor{rest: b}
	as, q.next = c.uvarint(), c.uvarint()
	for range c.count(1) {
		q.receive(uint16(c.uvarint()), true)
	}
	q.marks = decodeMarks(c, q.next)
	return as, c.end()
}

// receive adds or removes a QoS 2 identifier.
func (q *queue) receive(id uint16, put bool) {
	if !put {
		delete(q.received, id)
		return
	}
	if q.received == nil {
		q.received = make(map[uint16]struct{})
	}
	q.received[id] = struct{}{}
}
