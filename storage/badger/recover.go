package badger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/penstockmq/penstock/storage"
)

// verifyBytes is how much of the newest chunks is read whole by Open: what a crash or a cut file can have hurt. The
// rest is verified when it is read, and by Check.
const verifyBytes = 256 << 20

// A recovery is the state of Open while it builds the index.
type recovery struct {
	*Store
	as     map[*queue]uint64 // group that the queue's checkpoint stands in
	spans  map[*queue][]run  // consecutive live numbers, as the chunks come
	chunks []*chunk
	bodies map[uint64]bool // ids to which body records may belong
	stale  [][]byte        // keys of records that belong to nothing
	nobody map[uint64]int  // handles of sessions whose record is not whole, and their entries
	others int             // entries of sessions without a record: they have ended, unless records are lost
}

// recover builds the index from disk. It reads no body but those it verifies.
func (s *Store) recover() error {
	if err := s.finishJournal(); err != nil {
		return err
	}
	r := &recovery{
		Store: s, as: make(map[*queue]uint64), spans: make(map[*queue][]run), bodies: make(map[uint64]bool),
		nobody: make(map[uint64]int),
	}
	for _, step := range []struct {
		kind byte
		take func(key, value []byte) error
	}{
		{keyWatermark, r.watermark},
		{keySession, r.session},
		{keyQueue, r.state},
		{keyAcks, r.acks},
		{keyHead, r.head},
	} {
		if err := r.each(step.kind, step.take); err != nil {
			return err
		}
	}
	if err := r.findApart(); err != nil {
		return err
	}
	r.join()
	if r.verify() {
		if err := r.rescue(); err != nil {
			return err
		}
	}
	bodies, err := r.keysOf(keyBody, func(id uint64) bool { return !r.bodies[id] }) // whose group never came to its end
	if err != nil {
		return err
	}
	r.stale = append(r.stale, bodies...)
	return r.finish()
}

// each calls take with every record of a kind. What cannot be read is kept aside and passed over.
func (r *recovery) each(kind byte, take func(key, value []byte) error) error {
	return r.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}, PrefetchValues: false})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(value []byte) error { return take(item.Key(), value) })
			if err != nil {
				key := item.KeyCopy(nil)
				if err := r.unreadable(key, err); err != nil {
					return err
				}
				r.stale = append(r.stale, key) // its bytes are kept aside
			}
		}
		return nil
	})
}

// unreadable notes a record that is not whole. One of a newer version ends Open.
func (s *Store) unreadable(key []byte, cause error) error {
	if errors.Is(cause, ErrNewer) {
		return cause
	}
	s.keepAside(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Loss{What: fmt.Sprintf("record %x: %v", key, cause)}
	if q := s.handles[keyID(key)]; q != nil && key[0] == keySubscription {
		l.What = fmt.Sprintf("a subscription of session %q: %v", q.id, cause)
	}
	s.lostLocked(l)
	return nil
}

func (r *recovery) watermark(_, value []byte) error {
	id, err := decodeWatermark(value)
	r.nextID = max(r.nextID, id)
	return err
}

func (r *recovery) session(key, value []byte) error {
	handle := keyID(key)
	r.seenID(handle)
	record, err := decodeSession(value)
	if err != nil {
		r.nobody[handle] = 0
		return err
	}
	q := newQueue(record.ID, handle)
	r.sessions[q.id], r.handles[handle] = q, q
	r.hookedLocked(q, record.Hook != "")
	return nil
}

// seenID keeps ids from being given twice should the watermark be lost.
func (r *recovery) seenID(id uint64) { r.nextID = max(r.nextID, id+1) }

func (r *recovery) state(key, value []byte) error {
	q := r.handles[keyID(key)]
	if q == nil {
		r.stale = append(r.stale, bytes.Clone(key))
		return nil
	}
	found := newQueue(q.id, q.handle)
	as, err := found.decodeState(value)
	if err != nil {
		return err
	}
	found.hooked = q.hooked
	*q = *found
	r.as[q] = as
	return nil
}

// acks replays one group's acknowledgements. Again is harmless: progress is never taken back, and of received identifiers the
// last word counts, if all from the group of the checkpoint on are replayed.
func (r *recovery) acks(key, value []byte) error {
	id := keyID(key)
	r.seenID(id)
	r.logs = append(r.logs, id)
	acks, received, err := decodeAcks(value)
	if err != nil {
		return err
	}
	for _, a := range acks {
		q := r.handles[a.handle]
		if q == nil {
			continue
		}
		r.changed(q, id)
		for seq := max(a.first, q.marks.floor); seq < a.first+a.count; seq++ {
			q.marks.set(seq, a.progress)
		}
		if a.progress == storage.Done { // it had this number, even if its chunk is gone
			q.next = max(q.next, a.first+a.count)
		}
	}
	for _, rec := range received {
		if q := r.handles[rec.handle]; q != nil && id >= r.as[q] {
			r.changed(q, id)
			q.receive(rec.id, rec.put)
		}
	}
	return nil
}

// changed notes that a queue's next checkpoint must replace a record of the log.
func (r *recovery) changed(q *queue, id uint64) {
	if q.dirtySince == 0 {
		q.dirtySince = id
		r.dirty = append(r.dirty, q)
	}
	q.dirtySince = min(q.dirtySince, id)
}

func (r *recovery) head(key, value []byte) error {
	c := &chunk{id: keyID(key), size: int64(len(value)), state: chunkNew}
	r.seenID(c.id)
	r.bodies[c.id] = true // also if the head is not whole: its body can be kept aside
	var h head
	if err := h.decode(value); err != nil {
		return err
	}
	if h.inline == nil && h.length > 0 {
		c.size += int64(h.length)
		c.parts = partCount(h.length)
	}
	c.total = h.total
	for i := range h.entries {
		r.entry(c, &h, &h.entries[i])
	}
	r.chunks = append(r.chunks, c)
	return nil
}

func (r *recovery) entry(c *chunk, h *head, e *headEntry) {
	messages := h.messagesOf(e)
	q := r.handles[h.queues[e.queue]]
	if q == nil {
		if _, lost := r.nobody[h.queues[e.queue]]; lost {
			r.nobody[h.queues[e.queue]] += len(messages)
		} else {
			r.others += len(messages)
		}
		return
	}
	if end := e.seq + uint64(len(messages)); end > q.next {
		q.next = end
		r.changed(q, c.id)
	}
	for i, at := range messages {
		if seq := e.seq + uint64(i); q.marks.get(seq) != storage.Done {
			r.live(c, q, seq, &h.messages[at])
		}
	}
}

// live takes a number that is not Done into the index.
func (r *recovery) live(c *chunk, q *queue, seq uint64, m *headMessage) {
	c.live++
	q.live++
	r.queued++
	q.bytes += int64(m.size)
	if m.expires != 0 && (c.expires == 0 || m.expires < c.expires) {
		c.expires = m.expires
	}
	spans := r.spans[q]
	if n := len(spans); n > 0 && spans[n-1].chunk == c && spans[n-1].last+1 == seq {
		spans[n-1].last = seq
		return
	}
	r.spans[q] = append(spans, run{chunk: c, first: seq, last: seq})
}

func (r *recovery) retainedPlace(_, value []byte) error {
	p, apart, err := retainedApart(value)
	if err != nil || !apart {
		return nil // Load tells of what cannot be read
	}
	topic, err := r.placeTopic(p)
	if err == nil {
		r.retained[topic] = p
	}
	r.bodies[p.id] = true
	return nil
}

// join orders what each queue has, and finds the numbers that are nowhere although nobody was done with them.
func (r *recovery) join() {
	damaged := len(r.report.Losses) > 0
	if damaged && r.others > 0 {
		r.lostLocked(Loss{Count: r.others, What: fmt.Sprintf("up to %d messages of sessions that are lost, or had ended", r.others)})
	}
	for _, q := range r.handles {
		spans := r.spans[q]
		slices.SortFunc(spans, func(a, b run) int { return cmp.Compare(a.first, b.first) })
		if _, known := r.as[q]; damaged && !known && len(spans) > 0 {
			r.unsure(q, spans[0].first)
		}
		missing := Loss{Session: q.id, What: "no chunk has them"}
		seq := q.marks.floor
		for _, span := range spans {
			r.missing(q, &missing, seq, span.first)
			seq = span.last + 1
			if n := len(q.runs); n > 0 && q.runs[n-1].chunk == span.chunk {
				q.runs[n-1].last = span.last
				continue
			}
			q.runs = append(q.runs, span)
		}
		r.missing(q, &missing, seq, q.next)
		q.marks.trim(q.next)
		if missing.Count > 0 {
			r.changed(q, r.nextID)
			r.lostLocked(missing)
		}
	}
	for handle, count := range r.nobody {
		r.lostLocked(Loss{Count: count, What: fmt.Sprintf("session %x, whose record is lost, had up to %d messages", handle, count)})
	}
	slices.SortFunc(r.dirty, func(a, b *queue) int { return cmp.Compare(a.dirtySince, b.dirtySince) })
}

// unsure gives up the numbers of a queue below the first that is there. Its checkpoint may be what is lost, and with it
// which of them were done.
func (r *recovery) unsure(q *queue, first uint64) {
	var l Loss
	r.missing(q, &l, q.marks.floor, first)
	if l.Count > 0 {
		l.What = fmt.Sprintf("up to %d of its first messages, unless they were done: its checkpoint is lost", l.Count)
		l.Session, l.Count = q.id, 0
		r.lostLocked(l)
	}
}

// missing makes Done what is not, of the numbers from one up to another.
func (r *recovery) missing(q *queue, l *Loss, from, to uint64) {
	for seq := from; seq < to; seq++ {
		if q.marks.get(seq) != storage.Done {
			q.marks.set(seq, storage.Done)
			l.add(seq)
		}
	}
}

// verify reads the newest chunks and takes all into the index. It reports whether one was damaged.
func (r *recovery) verify() (damaged bool) {
	left := int64(verifyBytes)
	for _, c := range slices.Backward(r.chunks) {
		if left -= c.size; left > 0 && c.live > 0 && c.parts > 0 {
			if err := r.verifyChunk(c); err != nil {
				r.lose(c, err)
				r.stats.Chunks++
				r.stats.ChunkBytes += c.size
				damaged = true
			}
		}
	}
	for _, c := range r.chunks {
		if c.state == chunkNew {
			r.storedLocked(c)
		}
	}
	return damaged
}

// rescue writes the bodies of all chunks anew: when Badger collects the file with the damage it would not look behind it.
func (r *recovery) rescue() error {
	for _, c := range r.chunks {
		if c.state != chunkStored || c.parts == 0 {
			continue
		}
		for part := range c.parts {
			key := bodyKey(c.id, part)
			var body []byte
			if err := r.view(func(txn *badger.Txn) (err error) {
				body, err = value(txn, key)
				return err
			}); err != nil {
				break // Read will tell
			}
			if err := r.commitOnce([]record{{key, body}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) verifyChunk(c *chunk) error {
	var h head
	if err := s.readHead(c.id, &h); err != nil {
		return err
	}
	return s.withBody(c.id, &h, func([]byte) error { return nil })
}

// findApart finds the retained messages that are not in their records and, at the same time, the subscriptions of deleted sessions: there
// may be millions of both.
func (r *recovery) findApart() error {
	var orphans [][]byte
	found := make(chan error, 1)
	go func() {
		var err error
		orphans, err = r.keysOf(keySubscription, func(handle uint64) bool { return r.handles[handle] == nil })
		found <- err
	}()
	err := r.each(keyRetained, r.retainedPlace)
	if err = errors.Join(err, <-found); err != nil {
		return err
	}
	r.stale = append(r.stale, orphans...)
	return nil
}

// keysOf lists the keys of a kind whose id belongs to nothing.
func (r *recovery) keysOf(kind byte, nobodys func(id uint64) bool) (keys [][]byte, err error) {
	err = r.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if key := it.Item().Key(); nobodys(keyID(key)) {
				keys = append(keys, bytes.Clone(key))
			}
		}
		return nil
	})
	return keys, err
}

// finish reserves ids, deletes what is stale, and has what was lost forgotten, so that the next Open does not tell of it again.
func (r *recovery) finish() error {
	r.nextID = max(r.nextID, 1)
	r.Store.index.watermark = r.nextID + idsAhead
	records := []record{{[]byte{keyWatermark}, encodeWatermark(r.Store.index.watermark)}}
	for _, key := range r.stale {
		records = append(records, record{key: key})
	}
	if len(r.report.Losses) > 0 {
		for _, q := range r.dirty {
			records = append(records, record{idKey(keyQueue, q.handle), q.encodeState(r.nextID)})
			q.dirtySince = 0
		}
		r.dirty = nil
	}
	r.tidied, r.collected = time.Now(), time.Now()
	return r.commitSome(records)
}
