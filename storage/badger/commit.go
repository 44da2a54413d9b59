package badger

import (
	"errors"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/penstockmq/penstock/storage"
)

const (
	// unawaitedDelay is how long writes nobody waits for may wait for company.
	unawaitedDelay = 50 * time.Millisecond
	// unawaitedBytes ends that wait.
	unawaitedBytes = 1 << 20
	// partBytes is the largest value: Badger writes a transaction into a mapped value log file of twice
	// valueLogFileSize, and must never have to remap it under its readers.
	partBytes = 4 << 20
	// transactionBytes is the most that one transaction writes, for the same reason.
	transactionBytes = valueLogFileSize - 1<<20
)

func partCount(length int) int { return (length + partBytes - 1) / partBytes }

// commitGroups is the committer: it writes groups until the store is closed and nothing waits.
func (s *Store) commitGroups() {
	defer close(s.told)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.houseKeep(time.Now())
		g, wait := s.takeGroup(time.Now())
		if g != nil {
			s.write(g)
			s.told <- g
			continue
		}
		if wait < 0 {
			return
		}
		timer.Reset(wait)
		select {
		case <-s.wake:
		case <-timer.C:
		case <-s.stop:
		}
	}
}

// takeGroup returns the group to write now, or how long to wait; less than nothing if the store was closed.
func (s *Store) takeGroup(now time.Time) (*group, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.carried) > 0 && len(s.groups) == 0 && (s.closed || !s.carriedDue.IsZero() && !s.carriedDue.After(now)) {
		s.openLocked().due = now
	}
	if len(s.groups) == 0 {
		if s.closed {
			return nil, -1
		}
		return nil, s.idleLocked(now)
	}
	g := s.groups[0]
	if left := s.leftLocked(g, now); left > 0 {
		return nil, left
	}
	s.company.goes(g.writes)
	s.takeLocked(g)
	return g, 0
}

// takeLocked takes the oldest group. Whoever takes it tells of it, and then notes that it is told.
func (s *Store) takeLocked(g *group) {
	s.groups[0] = nil
	s.groups = s.groups[1:]
	s.waiting -= g.bytes
	s.taken++
}

func (s *Store) toldLocked(g *group) {
	s.taken--
	s.stats.Writes -= len(g.waiters)
}

// leftLocked is how long the oldest group may still wait to be written.
func (s *Store) leftLocked(g *group, now time.Time) time.Duration {
	switch {
	case s.closed, g.awaited && g.live == 0:
		return 0
	case !g.awaited && (len(s.groups) > 1 || g.bytes >= unawaitedBytes):
		return 0
	}
	if g.urgent && len(s.groups) == 1 && !g.full(&s.options.tuning) {
		return s.company.left(g.writes, now)
	}
	for _, later := range s.groups {
		if later.urgent {
			return 0
		}
	}
	if g.lazy() {
		return g.begun.Add(s.patienceLocked()).Sub(now)
	}
	return g.due.Sub(now)
}

// write makes a group durable, or the store fail.
func (s *Store) write(g *group) {
	s.mu.Lock()
	g.err = s.failed
	due := s.prepareLocked(g, time.Now())
	s.mu.Unlock()
	if g.err == nil && due {
		begun := time.Now()
		if err := s.commit(g); err != nil {
			s.fail(fmt.Errorf("storage: %w", err))
		}
		s.written(g, time.Since(begun))
	}
}

// commit writes a group: what is too large first, the rest in one transaction.
func (s *Store) commit(g *group) error {
	if err := s.awaitRoom(); err != nil { // before the lock: the collector needs it to make room
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	begun := time.Now()
	if before := s.options.Faults.BeforeCommit; before != nil {
		if err := before(); err != nil {
			return err
		}
	}
	records := g.encode()
	g.count(records)
	for _, b := range g.blobs {
		if err := s.commitParts(b); err != nil {
			return err
		}
	}
	if err := s.commitRecords(g.id, records); err != nil {
		return err
	}
	if s.options.Sync == SyncAlways {
		if err := s.syncNames(begun); err != nil {
			return err
		}
	}
	if after := s.options.Faults.AfterCommit; after != nil {
		return after()
	}
	return nil
}

// encode lists the records of a group. Bodies that are too large become blobs.
func (g *group) encode() []record {
	records := g.records
	if len(g.acks)+len(g.received) > 0 {
		records = append(records, record{idKey(keyAcks, g.id), g.encodeAcks()})
	}
	for _, b := range g.builders {
		if b.gathering != nil {
			b.gather()
		}
		h := b.head()
		b.chunk.size = int64(len(h))
		records = append(records, record{idKey(keyHead, b.chunk.id), h})
		if b.inlined() {
			continue
		}
		b.chunk.size += int64(len(b.body))
		b.chunk.parts = partCount(len(b.body))
		if b.chunk.parts > 1 {
			g.blobs = append(g.blobs, blob{b.chunk.id, b.body})
			continue
		}
		records = append(records, record{bodyKey(b.chunk.id, 0), b.body})
	}
	return records
}

// count notes how many bytes are about to be written.
func (g *group) count(records []record) {
	for _, r := range records {
		g.written += len(r.key) + len(r.value)
	}
	for _, b := range g.blobs {
		g.written += len(b.data)
	}
}

// commitParts writes a blob, a part in a transaction. Until a record refers to them nobody knows of the parts.
func (s *Store) commitParts(b blob) error {
	for part := range partCount(len(b.data)) {
		value := b.data[part*partBytes : min((part+1)*partBytes, len(b.data))]
		if err := s.commitOnce([]record{{bodyKey(b.id, part), value}}); err != nil {
			return err
		}
	}
	return nil
}

// commitRecords writes the records of group id all or none: in a transaction, or, where they are too many, with a journal before.
func (s *Store) commitRecords(id uint64, records []record) error {
	err := s.commitOnce(records)
	if !errors.Is(err, badger.ErrTxnTooBig) {
		return err
	}
	return s.commitJournal(id, records)
}

// commitSome writes records in as many transactions as it takes.
func (s *Store) commitSome(records []record) error {
	err := s.commitOnce(records)
	if !errors.Is(err, badger.ErrTxnTooBig) || len(records) == 1 {
		return err
	}
	half := len(records) / 2
	if err := s.commitSome(records[:half]); err != nil {
		return err
	}
	return s.commitSome(records[half:])
}

// commitOnce writes records in one transaction, and returns when they are as safe as the sync mode says.
func (s *Store) commitOnce(records []record) error {
	bytes := 0
	for _, r := range records {
		bytes += len(r.key) + len(r.value)
	}
	if bytes > transactionBytes {
		return badger.ErrTxnTooBig
	}
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	for _, r := range records {
		var err error
		if r.value == nil {
			err = txn.Delete(r.key)
		} else {
			err = txn.SetEntry(badger.NewEntry(r.key, r.value))
		}
		if err != nil {
			return err
		}
	}
	if err := txn.Commit(); err != nil {
		return err
	}
	if s.options.Sync == SyncAlways {
		s.fsyncs.Add(1)
	}
	// Badger only logs it when the fsync of a value log file fails.
	return s.swallowed.get()
}

// syncNames makes new files durable, which Badger leaves to luck. It does so only if the folder was changed since it
// last did, because even an fsync with nothing to do makes the disk flush its cache.
func (s *Store) syncNames(begun time.Time) error {
	info, err := s.folder.Stat()
	if err != nil {
		return err
	}
	if info.ModTime().Before(s.folderSynced) {
		return nil
	}
	// The clock of files is coarse: a change after this fsync may bear a time a little before it.
	s.folderSynced = begun.Add(-folderClock)
	s.fsyncs.Add(1)
	return syncFolder(s.folder)
}

// folderClock is more than a tick of the clock that files get their times from.
const folderClock = 50 * time.Millisecond

// written tells the index what a group that is on disk, or not, means for it.
func (s *Store) written(g *group, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.err = s.failed; g.err != nil {
		return
	}
	s.stats.Commits++
	s.stats.Bytes += uint64(g.written)
	s.stats.CommitTime += took
	s.committed = g.id
	s.company.ends(took)
	if len(g.acks)+len(g.received) > 0 {
		s.logs = append(s.logs, g.id)
	}
	for _, m := range g.moved {
		s.movedLocked(m) // before storedLocked: it counts what is live in the copy
	}
	for _, b := range g.builders {
		if b.gathering != nil {
			s.stats.Messages += uint64(b.messages)
			s.spareGatheringLocked(b.gathering)
		}
		s.storedLocked(b.chunk)
		s.spareLocked(b)
	}
	for _, c := range g.dropped {
		s.freedBytes += c.size
		s.stats.Chunks--
		s.stats.ChunkBytes -= c.size
	}
	s.moved.Broadcast()
}

// takeSpareLocked is a buffer that spareLocked kept, if there is one.
func (s *Store) takeSpareLocked() []byte {
	n := len(s.spare)
	if n == 0 {
		return nil
	}
	b := s.spare[n-1][:0]
	s.spare = s.spare[:n-1]
	return b
}

// spareLocked keeps the buffer of a builder for another, if it is of the usual size.
func (s *Store) spareLocked(b *builder) {
	const spareMax = 4
	usual := s.options.tuning.chunkBytes
	if len(s.spare) < spareMax && cap(b.body) <= 2*usual && cap(b.body) >= usual/4 {
		s.spare = append(s.spare, b.body)
	}
	b.body, b.index, b.rows, b.rowEntries, b.gathering = nil, nil, nil, nil, nil
}

// tellGroups is the teller: it tells Waiters in order while the committer writes the next group.
func (s *Store) tellGroups() {
	for g := range s.told {
		s.telling.Lock()
		for _, w := range g.waiters {
			w.Stored(g.err)
		}
		s.telling.Unlock()
		s.mu.Lock()
		s.toldLocked(g)
		notify := s.notify
		s.mu.Unlock()
		if notify != nil && len(g.waiters) > 0 {
			notify()
		}
	}
}

// tellDoneLocked tells of the oldest groups if nothing of them is to be written and all before them are told of. Else the
// committer looks after them. It releases the lock while it tells.
func (s *Store) tellDoneLocked(w storage.Teller) {
	for len(s.groups) > 0 && s.groups[0].awaited && s.groups[0].live == 0 {
		g, now := s.groups[0], time.Now()
		if s.taken > 0 || !g.done() || !s.mayCarryLocked(now) {
			s.wakeLocked()
			return
		}
		s.takeLocked(g)
		s.prepareLocked(g, now)
		s.telling.Lock()
		s.mu.Unlock()
		for _, waiter := range g.waiters {
			w.Tell(waiter)
		}
		s.telling.Unlock()
		s.mu.Lock()
		s.toldLocked(g)
	}
}
