package badger

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

const (
	// collectLeast were deleted when it begins after collectPeriod, or because the disk is full.
	collectLeast  = 1 << 20
	collectPeriod = 10 * time.Second
	// discardRatio is how much of a value log file must be garbage for the rest to be copied.
	discardRatio = 0.7
)

// collectDueLocked wakes the collector when there is something for it.
func (s *Store) collectDueLocked(now time.Time) {
	early := s.full || now.Sub(s.collected) >= collectPeriod
	if s.freedBytes >= s.options.tuning.collectBytes || s.freedBytes >= collectLeast && early {
		select {
		case s.freed <- struct{}{}:
		default:
		}
	}
}

// collectGarbage is the collector: it makes Badger give back the room of what was deleted.
func (s *Store) collectGarbage() {
	for {
		select {
		case <-s.stop:
			return
		case <-s.freed:
		}
		if err := s.collect(); err != nil {
			s.fail(fmt.Errorf("storage: collect: %w", err))
			return
		}
	}
}

// collect gives room back. A value log file is collected when Badger's statistics say that most of it is garbage, and these
// come from compactions only. So the tables in memory are flushed and all levels compacted; they are small.
func (s *Store) collect() error {
	if s.checkRoom() != nil {
		return nil // it writes before it gives back
	}
	begun := time.Now()
	s.mu.Lock()
	s.freedBytes = 0
	s.mu.Unlock()
	stall, err := s.flush()
	if err != nil {
		return err
	}
	if err := s.db.Flatten(1); err != nil {
		return err
	}
	for {
		err := s.collectFile()
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			break
		}
		if err != nil {
			return err
		}
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collected = now
	s.stats.Collections++
	s.stats.CollectTime += now.Sub(begun)
	s.stats.CollectStall = max(s.stats.CollectStall, stall)
	return nil
}

// collectFile has Badger collect one value log file. Writes wait: Badger reads its newest version number there without
// a lock (valueLog.rewrite calls DB.MaxVersion), and one file of mostly garbage takes it a moment.
func (s *Store) collectFile() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.db.RunValueLogGC(discardRatio)
}

// flush makes Badger write its tables in memory to disk, for which it has no call: dropping a prefix does it. It
// returns for how long nothing else could be written.
func (s *Store) flush() (time.Duration, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	begun := time.Now()
	if err := s.commitOnce([]record{{[]byte{keyFlush}, []byte{recordVersion}}}); err != nil {
		return 0, err
	}
	if err := s.markFlushing(); err != nil {
		return 0, err
	}
	if err := s.db.DropPrefix([]byte{keyFlush}); err != nil {
		return 0, err
	}
	err := errors.Join(syncFolder(s.folder), s.markOpen())
	runtime.GC() // each table that was dropped is 10 MB of garbage, and the next flush may come before the next collection
	return time.Since(begun), err
}
