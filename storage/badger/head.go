package badger

import (
	"encoding/binary"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// A head says what is in a chunk, and for whom: enough to know every queue without reading a message.
type head struct {
	length   int    // bytes of the body
	sum      uint32 // its checksum
	inline   []byte // the body itself, if it is small
	queues   []uint64
	messages []headMessage
	entries  []headEntry // in the order of the messages
}

// A headMessage is a message as a head knows it.
type headMessage struct {
	offset, length int // of its bytes in the body
	size           int // Message.Size
	expires        int64
}

// A headEntry is one message in one queue.
type headEntry struct {
	seq     uint64
	queue   int32 // index in head.queues
	message int32 // index in head.messages
	qos     byte
	retain  bool
	extra   *headExtra // nil for most
}

type headExtra struct {
	ids   []uint32
	group string
}

// The bits in front of an entry; the queue's index stands above them.
const (
	entryQoS    = 3
	entryRetain = 1 << (iota + 1)
	entryIDs
	entryGroup
	entryBits = 5
)

// inlineMax is the largest body that stands in its head: with it the record stays below valueThreshold, so that a small
// write touches one file.
const inlineMax = 3 << 10

// A builder gathers the messages of one chunk.
type builder struct {
	chunk    *chunk
	queues   []builderQueue
	index    []byte // messages and entries as the head will have them
	body     []byte
	messages int
	entries  int
	copied   bool // made by copying: takes no new message
}

// A builderQueue is a queue that has entries in a builder.
type builderQueue struct {
	handle uint64
	first  uint64
	last   uint64
}

// addMessage begins a message for which count calls of addEntry follow.
func (b *builder) addMessage(m *packet.Message, count int) {
	start := len(b.body)
	b.body = appendMessage(b.body, m)
	b.addIndex(headMessage{length: len(b.body) - start, size: m.Size(), expires: m.Expires}, count)
}

func (b *builder) addIndex(m headMessage, count int) {
	b.index = binary.AppendUvarint(b.index, uint64(m.length))
	b.index = binary.AppendUvarint(b.index, uint64(m.length-m.size))
	b.index = binary.AppendUvarint(b.index, uint64(m.expires))
	b.index = binary.AppendUvarint(b.index, uint64(count))
	b.messages++
	if m.expires != 0 && (b.chunk.expires == 0 || m.expires < b.chunk.expires) {
		b.chunk.expires = m.expires
	}
}

// addQueue gives a queue its index; seq is its first number here.
func (b *builder) addQueue(handle, seq uint64) int {
	b.queues = append(b.queues, builderQueue{handle: handle, first: seq, last: seq - 1})
	return len(b.queues) - 1
}

// addEntry appends number seq of the queue with an index.
func (b *builder) addEntry(queue int, seq uint64, e *storage.Entry) {
	bits := uint64(e.QoS & entryQoS)
	if e.Retain {
		bits |= entryRetain
	}
	if len(e.SubscriptionIDs) > 0 {
		bits |= entryIDs
	}
	if e.Group != "" {
		bits |= entryGroup
	}
	b.index = binary.AppendUvarint(b.index, uint64(queue)<<entryBits|bits)
	q := &b.queues[queue]
	b.index = binary.AppendVarint(b.index, int64(seq-q.last-1))
	q.last = seq
	if bits&entryIDs != 0 {
		b.index = binary.AppendUvarint(b.index, uint64(len(e.SubscriptionIDs)))
		for _, id := range e.SubscriptionIDs {
			b.index = binary.AppendUvarint(b.index, uint64(id))
		}
	}
	if bits&entryGroup != 0 {
		b.index = appendText(b.index, e.Group)
	}
	b.entries++
}

// bytes is what the chunk will take on disk, nearly.
func (b *builder) bytes() int { return len(b.body) + len(b.index) + 16*len(b.queues) }

// head encodes the head record. A small body stands in it.
func (b *builder) head() []byte {
	r := newRecord(32 + 16*len(b.queues) + len(b.index) + inlineMax)
	r = binary.AppendUvarint(r, uint64(len(b.body)))
	r = binary.LittleEndian.AppendUint32(r, checksum(b.body))
	r = binary.AppendUvarint(r, uint64(len(b.queues)))
	for _, q := range b.queues {
		r = binary.AppendUvarint(r, q.handle)
		r = binary.AppendUvarint(r, q.first)
	}
	r = binary.AppendUvarint(r, uint64(b.messages))
	r = binary.AppendUvarint(r, uint64(b.entries))
	r = append(r, b.index...)
	if b.inlined() {
		r = append(r, b.body...)
	}
	return seal(r)
}

func (b *builder) inlined() bool { return b.bytes() <= inlineMax }

// decode reads a head record into h, using its slices again. inline refers to the record.
func (h *head) decode(record []byte) error {
	*h = head{queues: h.queues[:0], messages: h.messages[:0], entries: h.entries[:0]}
	b, err := unseal(record)
	if err != nil {
		return err
	}
	c := &cursor{rest: b}
	length := c.uvarint()
	if length > 1<<31 {
		return errMalformed
	}
	h.length = int(length)
	h.sum = c.uint32()
	next := h.decodeQueues(c)
	messages, entries := c.count(4), c.count(2)
	offset := 0
	for range messages {
		m := headMessage{offset: offset, length: int(c.uvarint() & (1<<32 - 1))}
		m.size = m.length - int(c.uvarint()&(1<<32-1))
		m.expires = int64(c.uvarint())
		offset += m.length
		if m.size < 0 || offset > h.length {
			return errMalformed
		}
		h.messages = append(h.messages, m)
		h.decodeEntries(c, next)
	}
	if c.bad || len(h.entries) != entries || offset != h.length {
		return errMalformed
	}
	if len(c.rest) > 0 {
		h.inline = c.rest
		if len(h.inline) != h.length {
			return errMalformed
		}
	}
	return nil
}

// decodeQueues returns the number that each queue's next entry has.
func (h *head) decodeQueues(c *cursor) (next []uint64) {
	for range c.count(2) {
		h.queues = append(h.queues, c.uvarint())
		next = append(next, c.uvarint())
	}
	return next
}

// decodeEntries reads the entries of the last message.
func (h *head) decodeEntries(c *cursor, next []uint64) {
	for range c.count(2) {
		bits := c.uvarint()
		queue := bits >> entryBits
		if queue >= uint64(len(next)) {
			c.fail()
			return
		}
		e := headEntry{
			seq: next[queue] + uint64(c.varint()), queue: int32(queue), message: int32(len(h.messages) - 1),
			qos: byte(bits & entryQoS), retain: bits&entryRetain != 0,
		}
		if e.seq-1 >= 1<<63 { // zero, or below it
			c.fail()
			return
		}
		next[queue] = e.seq + 1
		if bits&(entryIDs|entryGroup) != 0 {
			e.extra = decodeExtra(c, bits)
		}
		h.entries = append(h.entries, e)
	}
}

func decodeExtra(c *cursor, bits uint64) *headExtra {
	x := &headExtra{}
	if bits&entryIDs != 0 {
		for range c.count(1) {
			x.ids = append(x.ids, uint32(c.uvarint()))
		}
	}
	if bits&entryGroup != 0 {
		x.group = c.text()
	}
	return x
}

// entry is a headEntry as the broker knows it.
func (h *head) entry(e *headEntry, session string) storage.Entry {
	out := storage.Entry{Session: session, Seq: e.seq, QoS: e.qos, Retain: e.retain}
	if e.extra != nil {
		out.SubscriptionIDs, out.Group = e.extra.ids, e.extra.group
	}
	return out
}
