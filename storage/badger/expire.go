package badger

import (
	"container/heap"
	"time"

	"github.com/penstockmq/penstock/storage"
)

// An expiryHeap has the chunk on top in which a message expires first.
type expiryHeap []*chunk

// Len implements heap.Interface.
func (h expiryHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h expiryHeap) Less(i, j int) bool { return h[i].expires < h[j].expires }

// Swap implements heap.Interface.
func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i+1, j+1
}

// Push implements heap.Interface.
func (h *expiryHeap) Push(x any) {
	c := x.(*chunk)
	*h = append(*h, c)
	c.heap = len(*h)
}

// Pop implements heap.Interface.
func (h *expiryHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.heap = 0
	return c
}

func (h *expiryHeap) add(c *chunk) { heap.Push(h, c) }

func (h *expiryHeap) remove(c *chunk) {
	if c.heap > 0 {
		heap.Remove(h, c.heap-1)
	}
}

const (
	// expiryPeriod is the least time between two looks into one chunk.
	expiryPeriod = time.Second
	// expiryChunks is how many chunks are looked into at a time.
	expiryChunks = 16
)

// A loss of one session's messages by expiry.
type expired struct {
	count int
	bytes int64
}

// expire drops messages whose time has come and of which no delivery was begun. One that was sent is the receiver's
// to acknowledge.
func (s *Store) expire(now time.Time) {
	for range expiryChunks {
		s.mu.Lock()
		if len(s.expiry) == 0 || s.expiry[0].expires > now.UnixNano() {
			s.mu.Unlock()
			return
		}
		c := s.expiry[0]
		s.expiry.remove(c)
		s.mu.Unlock()
		var h head
		if err := s.readHead(c.id, &h); err != nil {
			s.lose(c, err)
			continue
		}
		sum := s.expireIn(c, &h, now)
		s.mu.Lock()
		tell := s.options.Expired
		s.mu.Unlock()
		for session, e := range sum {
			if tell != nil {
				tell(session, e.count, e.bytes)
			}
		}
	}
}

// expireIn drops what expired in a chunk and says for whom.
func (s *Store) expireIn(c *chunk, h *head, now time.Time) map[string]expired {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := make(map[string]expired)
	g := s.openLocked()
	before := g.bytes
	next := int64(0)
	for i := range h.entries {
		e := &h.entries[i]
		q := s.handles[h.queues[e.queue]]
		if q == nil {
			continue
		}
		for k, at := range h.messagesOf(e) {
			seq, m := e.seq+uint64(k), &h.messages[at]
			if m.expires == 0 || q.marks.get(seq) != storage.Queued {
				continue
			}
			if m.expires > now.UnixNano() {
				if next == 0 || m.expires < next {
					next = m.expires
				}
				continue
			}
			s.ackLocked(g, q, seq, storage.Done)
			x := sum[q.id]
			sum[q.id] = expired{x.count + 1, x.bytes + int64(m.size)}
			s.stats.Expired++
		}
	}
	s.waiting += g.bytes - before
	if next != 0 && c.live > 0 {
		c.expires = max(next, now.Add(expiryPeriod).UnixNano())
		s.expiry.add(c)
	}
	return sum
}
