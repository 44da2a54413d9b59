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
	rows     []headRow
	uses     []int32     // the messages of each row, one row after the other
	entries  []headEntry // of each row, one row after the other
	total    int         // entries of all messages
}

// A headMessage is a message as a head knows it.
type headMessage struct {
	offset, length int // of its bytes in the body
	size           int // Message.Size
	expires        int64
	row            int32 // for whom it is
	use            int32 // how many messages of that row came before it
}

// A headRow is whom messages are for. Most go to the same queues as one before, and each queue has them under consecutive numbers.
type headRow struct {
	entries [2]int32 // where they begin and end in head.entries
	uses    [2]int32 // where they begin and end in head.uses
}

// A headEntry is the messages of one row in one queue: number seq is the first of them, seq+1 the next.
type headEntry struct {
	seq    uint64
	queue  int32 // index in head.queues
	row    int32 // index in head.rows
	qos    byte
	retain bool
	extra  *headExtra // nil for most
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

// headMax is how many bytes of entries one message adds to a head, about: a head must fit a value.
const headMax = 2 << 20

// A builder gathers the messages of one chunk.
type builder struct {
	chunk     *chunk
	queues    []builderQueue
	index     []byte // messages and entries as the head will have them
	body      []byte
	messages  int
	entries   int
	gathering *gathering // what it is made of; nil if it copies

	rows       []builderRow
	rowEntries []builderEntry // of each row, one row after the other
	// The message whose entries are being added.
	message headMessage
	count   int // entries that it will have
	added   int // and has
	row     int // that it repeats, as far as is known; less than 0 if none
}

// A builderQueue is a queue that has entries in a builder.
type builderQueue struct {
	handle uint64
	first  uint64
	row    int // the last one that begins with it, plus one
}

// A builderRow is a row that was written, and may be repeated.
type builderRow struct {
	from, count int // in builder.rowEntries
	uses        uint64
}

type builderEntry struct {
	word  uint64 // queue and flags
	first uint64 // number of its first use
}

// addMessage begins a message for which count calls of addEntry follow.
func (b *builder) addMessage(m *packet.Message, count int) {
	start := len(b.body)
	b.body = appendMessage(b.body, m)
	b.addIndex(headMessage{length: len(b.body) - start, size: m.Size(), expires: m.Expires}, count)
}

func (b *builder) addIndex(m headMessage, count int) {
	b.message, b.count, b.added = m, count, 0
	b.messages++
	if m.expires != 0 && (b.chunk.expires == 0 || m.expires < b.chunk.expires) {
		b.chunk.expires = m.expires
	}
}

// addQueue gives a queue its index; seq is its first number here.
func (b *builder) addQueue(handle, seq uint64) int {
	b.queues = append(b.queues, builderQueue{handle: handle, first: seq})
	return len(b.queues) - 1
}

// addEntry appends number seq of the queue with an index. Nothing is written while the message is for the same as one before it.
func (b *builder) addEntry(queue int, seq uint64, e *storage.Entry) {
	word := uint64(queue)<<entryBits | entryFlags(e)
	b.entries++
	if b.added == 0 {
		b.row = b.queues[queue].row - 1
		if b.row < 0 || b.rows[b.row].count != b.count {
			b.beginRow(queue)
		}
	}
	if b.row >= 0 {
		r := &b.rows[b.row]
		if like := &b.rowEntries[r.from+b.added]; like.word == word && like.first+r.uses == seq && word&(entryIDs|entryGroup) == 0 {
			if b.added++; b.added == b.count {
				b.addHeader(b.row + 1)
				r.uses++
			}
			return
		}
		b.leaveRow(queue)
	}
	b.addToRow(word, seq)
	if word&(entryIDs|entryGroup) != 0 {
		b.addExtra(e)
	}
	b.added++
}

func entryFlags(e *storage.Entry) uint64 {
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
	return bits
}

// addHeader writes what a message has in front of its entries. Row 0 is a new one.
func (b *builder) addHeader(row int) {
	m := &b.message
	b.index = binary.AppendUvarint(b.index, uint64(m.length))
	b.index = binary.AppendUvarint(b.index, uint64(m.length-m.size))
	b.index = binary.AppendUvarint(b.index, uint64(m.expires))
	b.index = binary.AppendUvarint(b.index, uint64(row))
}

// beginRow writes that the message has a row of its own, which begins with a queue.
func (b *builder) beginRow(queue int) {
	b.addHeader(0)
	b.index = binary.AppendUvarint(b.index, uint64(b.count))
	b.rows = append(b.rows, builderRow{from: len(b.rowEntries), count: b.count, uses: 1})
	b.queues[queue].row = len(b.rows)
	b.row = -1
}

// leaveRow begins a new row with what the message had in common with one.
func (b *builder) leaveRow(queue int) {
	r, first := b.rows[b.row], queue
	if b.added > 0 {
		first = int(b.rowEntries[r.from].word >> entryBits)
	}
	b.beginRow(first)
	for i := range b.added {
		e := b.rowEntries[r.from+i]
		b.addToRow(e.word, e.first+r.uses)
	}
}

func (b *builder) addToRow(word, seq uint64) {
	b.index = binary.AppendUvarint(b.index, word)
	b.index = binary.AppendVarint(b.index, int64(seq-b.queues[word>>entryBits].first))
	b.rowEntries = append(b.rowEntries, builderEntry{word: word, first: seq})
}

func (b *builder) addExtra(e *storage.Entry) {
	if len(e.SubscriptionIDs) > 0 {
		b.index = binary.AppendUvarint(b.index, uint64(len(e.SubscriptionIDs)))
		for _, id := range e.SubscriptionIDs {
			b.index = binary.AppendUvarint(b.index, uint64(id))
		}
	}
	if e.Group != "" {
		b.index = appendText(b.index, e.Group)
	}
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

// decode reads a head record into h. inline refers to the record.
func (h *head) decode(record []byte) error {
	*h = head{}
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
	first := h.decodeQueues(c)
	messages, total := c.count(4), c.uvarint()
	h.messages = make([]headMessage, 0, messages)
	offset := 0
	for range messages {
		m := headMessage{offset: offset, length: int(c.uvarint() & (1<<32 - 1))}
		m.size = m.length - int(c.uvarint()&(1<<32-1))
		m.expires = int64(c.uvarint())
		offset += m.length
		if m.size < 0 || offset > h.length {
			return errMalformed
		}
		h.decodeRow(c, &m, first)
		if c.bad {
			return errMalformed
		}
		h.messages = append(h.messages, m)
	}
	if c.bad || uint64(h.total) != total || offset != h.length {
		return errMalformed
	}
	h.listUses()
	if len(c.rest) > 0 {
		h.inline = c.rest
		if len(h.inline) != h.length {
			return errMalformed
		}
	}
	return nil
}

// decodeQueues returns the number that the first entry of each queue has.
func (h *head) decodeQueues(c *cursor) (first []uint64) {
	count := c.count(2)
	h.queues, first = make([]uint64, 0, count), make([]uint64, 0, count)
	for range count {
		h.queues = append(h.queues, c.uvarint())
		first = append(first, c.uvarint())
	}
	return first
}

// decodeRow reads which row a message has, and the row itself if it is a new one.
func (h *head) decodeRow(c *cursor, m *headMessage, first []uint64) {
	row := c.uvarint()
	if row > uint64(len(h.rows)) {
		c.fail()
		return
	}
	if row == 0 {
		h.decodeEntries(c, first)
		row = uint64(len(h.rows))
	}
	r := &h.rows[row-1]
	m.row, m.use = int32(row-1), r.uses[1]
	r.uses[1]++
	h.total += int(r.entries[1] - r.entries[0])
}

// decodeEntries reads a new row.
func (h *head) decodeEntries(c *cursor, first []uint64) {
	r := headRow{entries: [2]int32{int32(len(h.entries)), int32(len(h.entries))}}
	for range c.count(2) {
		bits := c.uvarint()
		queue := bits >> entryBits
		if queue >= uint64(len(first)) {
			c.fail()
			break
		}
		e := headEntry{
			seq: first[queue] + uint64(c.varint()), queue: int32(queue), row: int32(len(h.rows)),
			qos: byte(bits & entryQoS), retain: bits&entryRetain != 0,
		}
		if e.seq-1 >= 1<<62 { // zero, or below it
			c.fail()
			break
		}
		if bits&(entryIDs|entryGroup) != 0 {
			e.extra = decodeExtra(c, bits)
		}
		h.entries = append(h.entries, e)
	}
	r.entries[1] = int32(len(h.entries))
	h.rows = append(h.rows, r)
}

// listUses lists the messages of each row, of which uses says how many there are.
func (h *head) listUses() {
	end := int32(0)
	for i := range h.rows {
		u := &h.rows[i].uses
		u[0], u[1] = end, end+u[1]
		end = u[1]
	}
	h.uses = make([]int32, len(h.messages))
	for i, m := range h.messages {
		h.uses[h.rows[m.row].uses[0]+m.use] = int32(i)
	}
}

// messagesOf lists the messages that an entry stands for, of which the first has the entry's number.
func (h *head) messagesOf(e *headEntry) []int32 {
	u := h.rows[e.row].uses
	return h.uses[u[0]:u[1]]
}

// entriesOf lists the entries of a message. Their numbers are those of the first use of its row.
func (h *head) entriesOf(m *headMessage) []headEntry {
	of := h.rows[m.row].entries
	return h.entries[of[0]:of[1]]
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

// entry is number seq of a headEntry as the broker knows it.
func (h *head) entry(e *headEntry, seq uint64, session string) storage.Entry {
	out := storage.Entry{Session: session, Seq: seq, QoS: e.qos, Retain: e.retain}
	if e.extra != nil {
		out.SubscriptionIDs, out.Group = e.extra.ids, e.extra.group
	}
	return out
}
