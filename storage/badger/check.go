package badger

import (
	"fmt"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// Check opens a store that no broker has open, reads everything in it and reports what cannot be read. What Open does at a
// start it does, too: it ends a write that a crash interrupted, and keeps aside what it cannot read.
func Check(path string) (Report, error) {
	s, err := Open(Options{Path: path, Existing: true})
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	if err := s.Load(nobody{}); err != nil {
		return s.Report(), err
	}
	if err := s.checkTables(); err != nil {
		return s.Report(), err
	}
	for _, c := range s.chunksNow() {
		if err := s.verifyChunk(c); err != nil {
			s.suspect(c, err)
		}
	}
	return s.Report(), s.Close()
}

// checkTables has Badger verify its own checksums.
func (s *Store) checkTables() error {
	if err := s.db.VerifyChecksum(); err != nil {
		return fmt.Errorf("storage: tables: %w", err)
	}
	return nil
}

// chunksNow lists the chunks in which anything is wanted.
func (s *Store) chunksNow() []*chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := make(map[*chunk]bool)
	var list []*chunk
	for _, q := range s.handles {
		for _, r := range q.runs {
			if !seen[r.chunk] {
				seen[r.chunk] = true
				list = append(list, r.chunk)
			}
		}
	}
	return list
}

// suspect reports a chunk that cannot be read, and leaves it alone.
func (s *Store) suspect(c *chunk, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state != chunkStored {
		return // what was live in it lies elsewhere now, and copying reads and reports as well
	}
	for _, q := range s.handles {
		l := Loss{Session: q.id, What: fmt.Sprintf("chunk %d: %v", c.id, cause)}
		if q.eachIn(c, l.add); l.Count > 0 {
			s.lostLocked(l)
		}
	}
}

// nobody is a Visitor that wants to know nothing.
type nobody struct{}

// Session implements storage.Visitor.
func (nobody) Session(storage.Session) error { return nil }

// Subscription implements storage.Visitor.
func (nobody) Subscription(storage.Subscription) error { return nil }

// Received implements storage.Visitor.
func (nobody) Received(storage.Received) error { return nil }

// Queue implements storage.Visitor.
func (nobody) Queue(storage.Queue) error { return nil }

// Retained implements storage.Visitor.
func (nobody) Retained(*packet.Message) error { return nil }

// Counters implements storage.Visitor.
func (nobody) Counters(map[string]uint64) error { return nil }

// HookRecord implements storage.Visitor.
func (nobody) HookRecord(string, string, []byte) error { return nil }
