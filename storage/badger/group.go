package badger

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/penstockmq/penstock/storage"
)

// A group is what shares a transaction and an fsync, in the order of the calls. While it is the last of
// Store.groups it is filled under Store.mu; then it belongs to the committer, then to the teller.
type group struct {
	id         uint64 // of its acks record; the chunks in it have larger ones
	waiters    []storage.Waiter
	writes     int  // that somebody waits for
	awaited    bool // somebody waits, or it must not be delayed
	formal     bool // one of the waiters must be told by Stored
	records    []record
	acks       []ackItem
	received   []receivedItem
	gatherings []*gathering // the last one is filled
	builders   []*builder
	blobs      []blob    // written before it
	bytes      int       // about what it takes in memory
	urgent     bool      // somebody waits for the disk, not only for receivers
	live       int       // entries in gatherings that are not Done
	settled    []ackItem // numbers that were Done before they were written
	due        time.Time // when it is written if nothing else has it written
	begun      time.Time // when its first message came, if it is lazy
	written    int       // bytes of its records, once they are encoded

	// What becomes of the index when it is committed.
	dropped []*chunk  // deleted by it
	moved   []movedTo // copied by it

	err error // what the teller says
}

// A blob is a value too large for a transaction: it is written in parts.
type blob struct {
	id   uint64
	data []byte
}

// movedTo says that what was live in chunks is now in another.
type movedTo struct {
	from []*chunk
	to   *builder
}

// A record is a key with its value; without one it is deleted.
type record struct {
	key   []byte
	value []byte
}

// An ackItem says that count numbers from first on came to a progress.
type ackItem struct {
	handle   uint64
	first    uint64
	count    uint64
	progress storage.Progress
}

// A receivedItem is a QoS 2 identifier that came or went.
type receivedItem struct {
	handle uint64
	id     uint16
	put    bool
}

// recordCost is what an item or record takes in memory beside its contents.
const recordCost = 64

func (g *group) full(t *tuning) bool {
	return g.bytes >= t.groupBytes || len(g.records) >= t.groupRecords
}

func (g *group) empty() bool {
	return len(g.records)+len(g.acks)+len(g.received)+len(g.gatherings)+len(g.builders) == 0
}

// lazy reports whether those who wait for the group may not need the disk: their receivers may be quicker.
func (g *group) lazy() bool { return g.awaited && !g.urgent }

// spared reports whether nobody needs the disk for what the group has, apart from what is still gathered.
func (g *group) spared() bool { return g.lazy() && len(g.records)+len(g.received)+len(g.builders) == 0 }

// done reports whether nothing of the group is to be written: all its receivers were quicker, and it has nothing else to say.
func (g *group) done() bool {
	return g.spared() && !g.formal && g.live == 0 &&
		!slices.ContainsFunc(g.gatherings, func(a *gathering) bool { return a.chunk.pinned })
}

func (g *group) put(key, value []byte) {
	g.records = append(g.records, record{key, value})
	g.bytes += len(key) + len(value) + recordCost
}

// ack adds an acknowledgement; it joins the last of its queue with that progress if it is the next number.
func (g *group) ack(q *queue, seq uint64, p storage.Progress) {
	if q.group != g {
		q.group, q.tails = g, [progressCount]int{}
	}
	if at := q.tails[p]; at > 0 {
		if item := &g.acks[at-1]; item.first+item.count == seq {
			item.count++
			return
		}
	}
	g.acks = append(g.acks, ackItem{handle: q.handle, first: seq, count: 1, progress: p})
	q.tails[p] = len(g.acks)
	g.bytes += recordCost
}

func (g *group) receive(q *queue, id uint16, put bool) {
	g.received = append(g.received, receivedItem{q.handle, id, put})
	g.bytes += recordCost
}

// encodeAcks is the record of acknowledgements and received identifiers.
func (g *group) encodeAcks() []byte {
	b := newRecord(16 + 8*len(g.acks) + 8*len(g.received))
	b = binary.AppendUvarint(b, uint64(len(g.acks)))
	for _, a := range g.acks {
		b = binary.AppendUvarint(b, a.handle)
		b = binary.AppendUvarint(b, a.first)
		b = binary.AppendUvarint(b, a.count<<2|uint64(a.progress))
	}
	b = binary.AppendUvarint(b, uint64(len(g.received)))
	for _, r := range g.received {
		b = binary.AppendUvarint(b, r.handle)
		put := uint64(0)
		if r.put {
			put = 1
		}
		b = binary.AppendUvarint(b, uint64(r.id)<<1|put)
	}
	return seal(b)
}

// decodeAcks reads what encodeAcks wrote.
func decodeAcks(rec []byte) (acks []ackItem, received []receivedItem, err error) {
	b, err := unseal(rec)
	if err != nil {
		return nil, nil, err
	}
	c := &cursor{rest: b}
	for range c.count(3) {
		a := ackItem{handle: c.uvarint(), first: c.uvarint()}
		n := c.uvarint()
		a.count, a.progress = n>>2, storage.Progress(n&3)
		if a.count > marksMax {
			return nil, nil, errMalformed
		}
		acks = append(acks, a)
	}
	for range c.count(2) {
		r := receivedItem{handle: c.uvarint()}
		n := c.uvarint()
		r.id, r.put = uint16(n>>1), n&1 != 0
		received = append(received, r)
	}
	return acks, received, c.end()
}
