package badger

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/penstockmq/penstock/storage"
)

// A Report says what of a store could not be read. The zero Report is a whole store's.
type Report struct {
	Losses []Loss
	// Aside are the files in which bytes that could not be read are kept.
	Aside []string
}

// A Loss is something that was acknowledged and cannot be read.
type Loss struct {
	Session string // whose queue it is; empty if it is none's or not known
	Client  string // whose session that is, or what its hook calls it; empty if the session is gone
	Hook    string // whose queue it is, if it is a hook's
	Count   int    // messages; 0 if there are none or it is not known
	First   uint64 // the lowest and the highest number lost
	Last    uint64
	What    string // what was found
}

// String is a line for a person.
func (l Loss) String() string {
	switch {
	case l.Session == "":
		return l.What
	case l.Count == 0:
		return fmt.Sprintf("client %q, session %q: %s", l.Client, l.Session, l.What)
	}
	if l.Hook != "" {
		return fmt.Sprintf("queue %q of hook %q: %d messages lost, numbers %d to %d: %s", l.Client, l.Hook, l.Count, l.First, l.Last, l.What)
	}
	return fmt.Sprintf("client %q, session %q: %d messages lost, numbers %d to %d: %s", l.Client, l.Session, l.Count, l.First, l.Last, l.What)
}

// Report says what was found unreadable since Open.
func (s *Store) Report() Report {
	s.mu.Lock()
	r := Report{Losses: slices.Clone(s.report.Losses), Aside: slices.Clone(s.report.Aside)}
	s.mu.Unlock()
	s.nameClients(r.Losses)
	return r
}

// nameClients looks up whose the sessions are: memory does not hold it.
func (s *Store) nameClients(losses []Loss) {
	records := make(map[string]storage.Session)
	for i := range losses {
		l := &losses[i]
		record, known := records[l.Session]
		if !known {
			record = s.recordOf(l.Session)
			records[l.Session] = record
		}
		l.Client, l.Hook = record.ClientID, record.Hook
	}
}

// recordOf is the record of a session; an empty one if there is none.
func (s *Store) recordOf(session string) storage.Session {
	s.mu.Lock()
	q := s.sessions[session]
	s.mu.Unlock()
	if q == nil {
		return storage.Session{}
	}
	var record storage.Session
	err := s.view(func(txn *badger.Txn) error {
		data, err := value(txn, idKey(keySession, q.handle))
		if err != nil {
			return err
		}
		record, err = decodeSession(data)
		return err
	})
	if err != nil {
		return storage.Session{}
	}
	return record
}

// lostLocked adds to the report. It does not log: whoever opened the store reads the report.
func (s *Store) lostLocked(l Loss) {
	s.report.Losses = append(s.report.Losses, l)
	s.stats.Lost += uint64(l.Count)
}

// lose gives up a chunk that cannot be read: it says whose messages were in it and keeps its bytes aside. What is found
// while the store serves is logged; nobody would read the report for it.
func (s *Store) lose(c *chunk, cause error) {
	lost := s.giveUp(c, cause)
	if !s.serving.Load() {
		return
	}
	s.nameClients(lost)
	for _, l := range lost {
		s.options.Log.Error("storage: lost", "client", l.Client, "reason", l.String())
	}
}

func (s *Store) giveUp(c *chunk, cause error) (lost []Loss) {
	s.keepAside(idKey(keyHead, c.id))
	for part := range max(c.parts, 1) {
		s.keepAside(bodyKey(c.id, part))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.state == chunkDead {
		return nil
	}
	g := s.openLocked()
	what := fmt.Sprintf("chunk %d: %v", c.id, cause)
	for _, q := range s.handles {
		if l := s.loseNumbersLocked(g, q, c); l.Count > 0 {
			l.What = what
			s.lostLocked(l)
			lost = append(lost, l)
		}
	}
	c.live = 0
	s.deadLocked(c)
	s.dead = append(s.dead, c)
	s.deadBytes += c.size
	s.moved.Broadcast()
	return lost
}

// loseNumbersLocked makes Done what a queue has in a chunk.
func (s *Store) loseNumbersLocked(g *group, q *queue, c *chunk) Loss {
	l := Loss{Session: q.id}
	q.eachIn(c, func(seq uint64) {
		q.marks.set(seq, storage.Done)
		l.add(seq)
	})
	if l.Count > 0 {
		q.live -= l.Count
		s.queued -= l.Count
		q.trim()
		s.dirtyLocked(g, q)
	}
	return l
}

// eachIn calls f with every number in a chunk that is not Done.
func (q *queue) eachIn(c *chunk, f func(seq uint64)) {
	for _, r := range q.runs {
		if r.chunk != c {
			continue
		}
		for seq := r.first; seq <= r.last; seq++ {
			if q.marks.get(seq) != storage.Done {
				f(seq)
			}
		}
	}
}

func (l *Loss) add(seq uint64) {
	if l.Count == 0 || seq < l.First {
		l.First = seq
	}
	l.Last = max(l.Last, seq)
	l.Count++
}

// asideFolder is where bytes are kept that could not be read.
const asideFolder = "unreadable"

// keepAside writes what is under a key to a file of its own. What Badger cannot read itself is not there to keep.
func (s *Store) keepAside(key []byte) {
	var data []byte
	if err := s.view(func(txn *badger.Txn) (err error) {
		data, err = value(txn, key)
		return err
	}); err != nil {
		return
	}
	if err := s.writeAside(hex.EncodeToString(key), data); err != nil {
		s.options.Log.Error("storage: cannot keep an unreadable record aside", "err", err)
	}
}

// writeAside keeps bytes in a file whose name begins with the one given.
func (s *Store) writeAside(name string, data []byte) error {
	folder := filepath.Join(s.options.Path, asideFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, name+"-*")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.Aside = append(s.report.Aside, f.Name())
	return nil
}
