package badger

const (
	// smallBytes is the size below which chunks are worth being copied together.
	smallBytes = 32 << 10
	// moveChunks is how many chunks are copied at a time.
	moveChunks = 64
	// moveBytes is how much is read for it, about: it is all in memory at once.
	moveBytes = 2 << 20
)

// copyTogether takes what is live out of small and sparse chunks into one, if there are too many of them.
func (s *Store) copyTogether() {
	from := s.pickMoves()
	if len(from) == 0 {
		return
	}
	var sources []source
	for _, c := range from {
		if src, ok := s.readSource(c); ok {
			sources = append(sources, src)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.moved.Broadcast()
	if len(sources) == 0 {
		return
	}
	g := s.openLocked()
	before := g.bytes
	b := &builder{chunk: &chunk{id: s.takeIDLocked()}}
	slots := make(map[uint64]int)
	m := movedTo{to: b}
	for i := range sources {
		src := &sources[i]
		b.copyLocked(s, src, slots)
		s.dropLocked(g, src.chunk)
		s.stats.Moved++
		m.from = append(m.from, src.chunk)
	}
	b.chunk.total = b.entries
	s.stats.MovedBytes += int64(len(b.body))
	if b.entries > 0 {
		g.builders = append(g.builders, b)
	}
	g.moved = append(g.moved, m)
	g.bytes += b.bytes()
	s.waiting += g.bytes - before
}

// pickMoves takes chunks whose deletion loses no number. They are chunkMoving until the copy is on disk.
func (s *Store) pickMoves() []*chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.options.tuning
	if len(s.small) >= t.smallMax {
		s.small = stored(s.small)
	}
	list := &s.small
	switch {
	case s.sparseBytes >= t.sparseMax:
		list = &s.sparse
	case len(s.small) < t.smallMax:
		return nil
	}
	g := s.openLocked()
	before := g.bytes
	s.checkpointLocked(g)
	s.waiting += g.bytes - before
	horizon := s.horizonLocked()
	var from, kept []*chunk
	bytes, read := int64(0), int64(0)
	for i, c := range *list {
		if len(from) == moveChunks || bytes >= int64(t.chunkBytes) || read >= moveBytes {
			kept = append(kept, (*list)[i:]...)
			break
		}
		switch {
		case c.state != chunkStored:
		case c.id >= horizon:
			kept = append(kept, c)
			continue
		default:
			c.state = chunkMoving
			from = append(from, c)
			bytes += c.size * int64(c.live) / int64(max(c.total, 1))
			read += c.size
		}
		if list == &s.sparse {
			s.sparseBytes -= c.size
		}
	}
	*list = kept
	return from
}

// stored lists those that are still chunkStored.
func stored(list []*chunk) []*chunk {
	kept := list[:0]
	for _, c := range list {
		if c.state == chunkStored {
			kept = append(kept, c)
		}
	}
	clear(list[len(kept):])
	return kept
}

// A source is a chunk read to be copied.
type source struct {
	chunk *chunk
	head  head
	body  []byte
}

// readSource reads a chunk, unless too much of it is live for a copy to give anything back.
func (s *Store) readSource(c *chunk) (source, bool) {
	src := source{chunk: c}
	if err := s.readHead(c.id, &src.head); err != nil {
		s.lose(c, err)
		return src, false
	}
	if c.size >= smallBytes && !s.worthMoving(c, &src.head) {
		return src, false
	}
	var err error
	if src.body, err = s.readBody(c.id, &src.head); err != nil {
		s.lose(c, err)
		return src, false
	}
	return src, true
}

// worthMoving reports whether less than half of a chunk's bytes are live. If not, it is stored as before.
func (s *Store) worthMoving(c *chunk, h *head) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make([]bool, len(h.messages))
	live := 0
	for i := range h.entries {
		e := &h.entries[i]
		q := s.liveLocked(h, e)
		if q == nil {
			continue
		}
		for k, at := range h.messagesOf(e) {
			if !seen[at] && q.marks.get(e.seq+uint64(k)) != progressDone {
				seen[at] = true
				live += h.messages[at].length
			}
		}
		if live > h.length/2 {
			break
		}
	}
	if live <= h.length/2 {
		return true
	}
	c.state = chunkStored
	c.sparse = c.live / 2
	s.reviewLocked(c) // it may be dead by now
	return false
}

// liveLocked is the queue of an entry, or nil if it is done with all the messages: what is below the floor is most of what is Done.
func (s *Store) liveLocked(h *head, e *headEntry) *queue {
	q := s.handles[h.queues[e.queue]]
	if q == nil || e.seq+uint64(len(h.messagesOf(e))) <= q.marks.floor {
		return nil
	}
	return q
}

// A liveEntry is an entry of which something may be live.
type liveEntry struct {
	*headEntry
	of *queue
}

// copyLocked appends what is live in a source.
func (b *builder) copyLocked(s *Store, src *source, slots map[uint64]int) {
	h := &src.head
	rows := make([][]liveEntry, len(h.rows))
	for i := range h.entries {
		if e := &h.entries[i]; s.liveLocked(h, e) != nil {
			rows[e.row] = append(rows[e.row], liveEntry{e, s.liveLocked(h, e)})
		}
	}
	var live []liveEntry
	for i := range h.messages {
		m := &h.messages[i]
		live = live[:0]
		for _, e := range rows[m.row] {
			if e.of.marks.get(e.seq+uint64(m.use)) != progressDone {
				live = append(live, e)
			}
		}
		if len(live) == 0 {
			continue
		}
		b.body = append(b.body, src.body[m.offset:m.offset+m.length]...)
		b.addIndex(headMessage{length: m.length, size: m.size, expires: m.expires}, len(live))
		for _, e := range live {
			b.copyEntry(h, e, e.seq+uint64(m.use), slots)
		}
	}
}

func (b *builder) copyEntry(h *head, e liveEntry, seq uint64, slots map[uint64]int) {
	slot, ok := slots[e.of.handle]
	if !ok {
		slot = b.addQueue(e.of.handle, seq)
		slots[e.of.handle] = slot
	}
	entry := h.entry(e.headEntry, seq, "")
	b.addEntry(slot, seq, &entry)
}

// movedLocked lets the queues find the copy, which was committed together with the deletion of the originals.
func (s *Store) movedLocked(m movedTo) {
	to := m.to.chunk
	gone := make(map[*chunk]bool, len(m.from))
	for _, c := range m.from {
		gone[c] = true
		s.deadLocked(c)
	}
	for i := range m.to.queues {
		q := s.handles[m.to.queues[i].handle]
		if q == nil {
			continue
		}
		for i := range q.runs {
			if r := &q.runs[i]; gone[r.chunk] {
				r.chunk = to
				to.live += q.marks.count(r.first, r.last)
			}
		}
	}
}
