package badger

import (
	"bytes"
	"cmp"
	"container/list"
	"slices"
	"sync"

	"github.com/penstockmq/penstock/broker/packet"
)

// A cache keeps the chunks that were read last, decoded. Readers of one chunk wait for the first of them to decode it.
type cache struct {
	max int64

	mu    sync.Mutex // guards what follows
	byID  map[uint64]*list.Element
	order list.List // of *cached; the last used in front
	bytes int64

	hits, misses uint64
}

// A cached chunk is being loaded, or was.
type cached struct {
	id    uint64
	once  sync.Once
	chunk *loaded // fixed by once
	err   error   // the same
	bytes int64   // what it counts for; 0 until it was loaded
}

// A loaded chunk is a chunk in memory.
type loaded struct {
	// Fixed when newLoaded returns.
	head  head // entries sorted by queue and number
	body  []byte
	spans map[uint64][2]int // where the entries of each queue begin and end

	mu       sync.Mutex        // guards what follows
	messages []*packet.Message // nil until they were asked for
	names    names
}

func newCache(max int64) *cache {
	return &cache{max: max, byID: make(map[uint64]*list.Element)}
}

// get returns a chunk, by load if need be.
func (c *cache) get(id uint64, load func() (*loaded, error)) (*loaded, error) {
	entry := c.entry(id)
	entry.once.Do(func() { entry.chunk, entry.err = load() })
	if entry.err != nil {
		c.forget(id)
		return nil, entry.err
	}
	c.account(entry)
	return entry.chunk, nil
}

func (c *cache) entry(id uint64) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.hits++
		c.order.MoveToFront(e)
		return e.Value.(*cached)
	}
	c.misses++
	entry := &cached{id: id}
	c.byID[id] = c.order.PushFront(entry)
	return entry
}

// account counts a chunk that was loaded, and forgets the oldest if there are too many bytes. One stays whatever its size.
func (c *cache) account(entry *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[entry.id]; e == nil || e.Value.(*cached) != entry || entry.bytes > 0 {
		return
	}
	entry.bytes = entry.chunk.size()
	c.bytes += entry.bytes
	for c.bytes > c.max && c.order.Len() > 1 {
		c.removeLocked(c.order.Back())
	}
}

func (c *cache) removeLocked(e *list.Element) {
	entry := c.order.Remove(e).(*cached)
	delete(c.byID, entry.id)
	c.bytes -= entry.bytes
}

func (c *cache) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byID[id]; e != nil {
		c.removeLocked(e)
	}
}

// What decoded things take beside their bytes.
const (
	messageCost = 200
	entryCost   = 40
	queueCost   = 40
)

// size counts a chunk with all its messages decoded, so that it need not be counted again.
func (l *loaded) size() int64 {
	return int64(2*l.head.length + messageCost*len(l.head.messages) + entryCost*len(l.head.entries) + queueCost*len(l.head.queues))
}

// newLoaded takes a chunk, whose body is copied.
func newLoaded(h *head, body []byte) *loaded {
	l := &loaded{
		head: *h, body: bytes.Clone(body), spans: make(map[uint64][2]int, len(h.queues)), messages: make([]*packet.Message, len(h.messages)),
	}
	l.head.inline = nil
	l.sort()
	return l
}

// message decodes a message when it is first asked for. It shares nothing with the body, which may go before it.
func (l *loaded) message(i int32) (*packet.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.messages[i]; m != nil {
		return m, nil
	}
	at := &l.head.messages[i]
	m, err := l.names.decodeMessage(l.body[at.offset : at.offset+at.length])
	if err != nil {
		return nil, err
	}
	m.Expires = at.expires
	l.messages[i] = m
	return m, nil
}

// sort puts the entries of each queue together, in order. Rows know theirs no longer.
func (l *loaded) sort() {
	entries := l.head.entries
	slices.SortFunc(entries, func(a, b headEntry) int {
		return cmp.Or(cmp.Compare(a.queue, b.queue), cmp.Compare(a.seq, b.seq))
	})
	for from := 0; from < len(entries); {
		to := from
		for to < len(entries) && entries[to].queue == entries[from].queue {
			to++
		}
		l.spans[l.head.queues[entries[from].queue]] = [2]int{from, to}
		from = to
	}
}

// find is the entry of a queue in whose row a number is, and its message; nil if there is none.
func (l *loaded) find(handle, seq uint64) (e *headEntry, message int32) {
	span := l.spans[handle]
	entries := l.head.entries[span[0]:span[1]]
	i, ok := slices.BinarySearchFunc(entries, seq, func(e headEntry, seq uint64) int { return cmp.Compare(e.seq, seq) })
	if !ok {
		i--
	}
	if i < 0 {
		return nil, 0
	}
	e = &entries[i]
	messages := l.head.messagesOf(e)
	if seq-e.seq >= uint64(len(messages)) {
		return nil, 0
	}
	return e, messages[seq-e.seq]
}
