package badger

import (
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

const (
	tidyPeriod  = time.Second // between looks at little work
	logsIdle    = 64          // acks records not worth a look
	tidyRecords = 500         // records that one group takes for this
)

// houseKeep does what is due behind the writers: it adds to the group that is filled, which then is written with
// what others write.
func (s *Store) houseKeep(now time.Time) {
	s.mu.Lock()
	stopped := s.closed || s.failed != nil
	s.mu.Unlock()
	if stopped {
		return
	}
	s.lookAtRoom(now)
	s.expire(now)
	s.copyTogether()
	s.sweepGarbage()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collectDueLocked(now)
	if !s.tidyDueLocked(now) {
		return
	}
	s.tidied = now
	g := s.openLocked()
	before := g.bytes
	s.freeLocked(g)
	s.waiting += g.bytes - before
}

func (s *Store) tidyDueLocked(now time.Time) bool {
	if s.deadBytes >= s.options.tuning.deadMax || len(s.logs) >= s.options.tuning.logsMax {
		return true
	}
	return now.Sub(s.tidied) >= tidyPeriod && s.untidyLocked()
}

func (s *Store) untidyLocked() bool {
	return len(s.dead) > 0 || len(s.logs) >= logsIdle
}

// idleLocked is how long the committer may sleep if nobody writes.
func (s *Store) idleLocked(now time.Time) time.Duration {
	wait := time.Hour
	if s.untidyLocked() || len(s.garbage) > 0 {
		wait = max(0, s.tidied.Add(tidyPeriod).Sub(now))
	}
	if len(s.expiry) > 0 {
		wait = min(wait, max(0, time.Unix(0, s.expiry[0].expires).Sub(now)))
	}
	if s.freedBytes >= collectLeast {
		wait = min(wait, max(0, s.collected.Add(collectPeriod).Sub(now)))
	}
	if s.full {
		wait = min(wait, roomPeriod)
	}
	if !s.carriedDue.IsZero() {
		wait = min(wait, max(0, s.carriedDue.Sub(now)))
	}
	return wait + time.Millisecond // never a spin
}

// checkpointLocked writes the state of queues that changed, the oldest change first, so that what the log says of them can go.
func (s *Store) checkpointLocked(g *group) {
	n := 0
	for begun := g.bytes; n < min(len(s.dirty), tidyRecords) && g.bytes-begun < s.options.tuning.groupBytes; n++ {
		q := s.dirty[n]
		q.dirtySince = 0
		if s.handles[q.handle] == q {
			g.put(idKey(keyQueue, q.handle), q.encodeState(g.id))
		}
	}
	s.dirty = s.dirty[n:]
	if len(s.dirty) == 0 {
		s.dirty = nil
	}
}

// horizonLocked is the id below which nothing on disk says what checkpoints do not say.
func (s *Store) horizonLocked() uint64 {
	if len(s.dirty) == 0 {
		return s.nextID
	}
	return s.dirty[0].dirtySince
}

// freeLocked deletes dead chunks and acknowledgements that checkpoints replace.
func (s *Store) freeLocked(g *group) {
	s.checkpointLocked(g)
	horizon := s.horizonLocked()
	kept := s.dead[:0]
	for _, c := range s.dead {
		if c.id >= horizon || len(g.dropped) >= tidyRecords {
			kept = append(kept, c)
			continue
		}
		s.deadBytes -= c.size
		s.dropLocked(g, c)
	}
	clear(s.dead[len(kept):])
	s.dead = kept
	n := 0
	for n < len(s.logs) && s.logs[n] < horizon && n < tidyRecords {
		g.put(idKey(keyAcks, s.logs[n]), nil)
		n++
	}
	s.logs = s.logs[n:]
}

// dropLocked deletes the records of a chunk.
func (s *Store) dropLocked(g *group, c *chunk) {
	g.put(idKey(keyHead, c.id), nil)
	for part := range c.parts {
		g.put(bodyKey(c.id, part), nil)
	}
	g.dropped = append(g.dropped, c)
}

// storedLocked makes a chunk that is on disk one like the others.
func (s *Store) storedLocked(c *chunk) {
	c.state = chunkStored
	s.stats.Chunks++
	s.stats.ChunkBytes += c.size
	c.sparse = c.total / 4
	if c.expires != 0 && c.live > 0 {
		s.expiry.add(c)
	}
	if c.size < smallBytes {
		s.small = append(s.small, c)
	}
	s.reviewLocked(c)
}

// reviewLocked looks at a chunk of which less is wanted than before.
func (s *Store) reviewLocked(c *chunk) {
	switch {
	case c.state != chunkStored:
	case c.live == 0:
		s.deadLocked(c)
		s.dead = append(s.dead, c)
		s.deadBytes += c.size
	case c.live <= c.sparse:
		c.sparse = -1
		s.sparse = append(s.sparse, c)
		s.sparseBytes += c.size
	}
}

func (s *Store) deadLocked(c *chunk) {
	c.state = chunkDead
	s.expiry.remove(c)
	s.cache.forget(c.id)
}

// sweepGarbage deletes what belonged to deleted sessions.
func (s *Store) sweepGarbage() {
	s.mu.Lock()
	var handles []uint64
	for _, gone := range s.garbage {
		if gone.group > s.committed || len(handles) == tidyRecords/2 {
			break // what it wrote last is not on disk yet
		}
		handles = append(handles, gone.handle)
	}
	s.mu.Unlock()
	var keys [][]byte
	done := 0
	for _, handle := range handles {
		keys = append(keys, idKey(keyQueue, handle))
		var more bool
		if keys, more = s.listKeys(keys, idKey(keySubscription, handle)); more {
			break
		}
		done++
	}
	if len(keys) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.garbage = s.garbage[done:]
	g := s.openLocked()
	before := g.bytes
	for _, key := range keys {
		g.put(key, nil)
	}
	s.waiting += g.bytes - before
}

// listKeys appends the keys with a prefix, up to tidyRecords in all, and reports whether there are more.
func (s *Store) listKeys(keys [][]byte, prefix []byte) (list [][]byte, more bool) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if len(keys) >= tidyRecords {
			return keys, true
		}
		keys = append(keys, it.Item().KeyCopy(nil))
	}
	return keys, false
}
