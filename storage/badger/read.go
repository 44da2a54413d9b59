package badger

import (
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// readBatch is how many numbers Read looks up while it holds the lock.
const readBatch = 256

// A stretch is some numbers of a queue that lie in one chunk and are not Done.
type stretch struct {
	handle  uint64
	chunk   *chunk
	numbers []number
}

type number struct {
	seq      uint64
	progress storage.Progress
}

// Read implements storage.Store. It loads whole chunks through the cache; no lock is held while visit runs.
func (s *Store) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(e storage.Entry, p storage.Progress, m *packet.Message) bool,
) error {
	r := reader{session: session, from: from, limit: limit, visit: visit}
	for r.count < limit.Entries {
		st, err := s.locate(session, r.from, min(readBatch, limit.Entries-r.count))
		if err != nil || st.chunk == nil {
			return err
		}
		l, err := s.cache.get(st.chunk.id, func() (*loaded, error) { return s.load(st.chunk.id) })
		if err != nil {
			if err := s.explain(st.chunk, err); err != nil {
				return err
			}
			continue // it lies elsewhere by now, or is lost
		}
		more, err := r.deliver(l, &st)
		if errors.Is(err, errMalformed) {
			if err := s.explain(st.chunk, err); err != nil {
				return err
			}
			continue
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// locate finds the next numbers of a queue from a number on, of those that are on disk.
func (s *Store) locate(session string, from uint64, limit int) (stretch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return stretch{}, storage.ErrClosed
	}
	q := s.sessions[session]
	if q == nil {
		return stretch{}, nil
	}
	from = max(from, q.marks.floor)
	for _, r := range q.runs[q.find(from):] {
		if r.chunk.state <= chunkWriting {
			break
		}
		st := stretch{handle: q.handle, chunk: r.chunk}
		for seq := max(from, r.first); seq <= r.last && len(st.numbers) < limit; seq++ {
			if p := q.marks.get(seq); p != storage.Done {
				st.numbers = append(st.numbers, number{seq, p})
			}
		}
		if len(st.numbers) > 0 {
			return st, nil
		}
	}
	return stretch{}, nil
}

// explain says why a chunk could not be read: nil if another look at the index helps.
func (s *Store) explain(c *chunk, cause error) error {
	s.mu.Lock()
	for c.state == chunkMoving && s.failed == nil && !s.closed {
		s.moved.Wait()
	}
	closed, dead, failed := s.closed, c.state == chunkDead, s.failed
	s.mu.Unlock()
	switch {
	case dead:
		return nil
	case closed:
		return storage.ErrClosed
	case failed != nil:
		return failed
	case !unreadable(cause):
		return fmt.Errorf("storage: read: %w", cause)
	}
	s.lose(c, cause)
	return nil
}

// unreadable reports whether an error is one of the record, which another try would find again: Badger reads mapped
// files and has no passing errors but being closed.
func unreadable(err error) bool {
	return !errors.Is(err, badger.ErrDBClosed) && !errors.Is(err, storage.ErrClosed)
}

// A reader is one call of Read.
type reader struct {
	session string
	from    uint64
	limit   storage.ReadLimit
	visit   func(e storage.Entry, p storage.Progress, m *packet.Message) bool
	count   int
	bytes   int64
}

// deliver visits the numbers of a stretch and reports whether there may be more.
func (r *reader) deliver(l *loaded, st *stretch) (more bool, err error) {
	for _, n := range st.numbers {
		e, at := l.find(st.handle, n.seq)
		if e == nil {
			return false, fmt.Errorf("storage: read: number %d of %q is not where the index says", n.seq, r.session)
		}
		m, err := l.message(at)
		if err != nil {
			return false, fmt.Errorf("storage: read: number %d of %q: %w", n.seq, r.session, err)
		}
		r.bytes += int64(m.Size())
		if r.count > 0 && r.bytes > r.limit.Bytes || !r.visit(l.head.entry(e, n.seq, r.session), n.progress, m) {
			return false, nil
		}
		r.count++
		r.from = n.seq + 1
	}
	return true, nil
}

// load reads a chunk from disk.
func (s *Store) load(id uint64) (*loaded, error) {
	var h head
	if err := s.readHead(id, &h); err != nil {
		return nil, err
	}
	var l *loaded
	err := s.withBody(id, &h, func(body []byte) error {
		l = newLoaded(&h, body)
		return nil
	})
	return l, err
}

// readHead reads the head of a chunk.
func (s *Store) readHead(id uint64, h *head) error {
	return s.view(func(txn *badger.Txn) error {
		record, err := value(txn, idKey(keyHead, id))
		if err != nil {
			return err
		}
		return h.decode(record)
	})
}

// readBody returns a copy of the messages of a chunk.
func (s *Store) readBody(id uint64, h *head) (body []byte, err error) {
	err = s.withBody(id, h, func(b []byte) error {
		body = append([]byte(nil), b...)
		return nil
	})
	return body, err
}

// withBody calls f with the messages of a chunk, which are only valid in it.
func (s *Store) withBody(id uint64, h *head, f func(body []byte) error) error {
	if h.inline != nil || h.length == 0 {
		return checkBody(h, h.inline, f)
	}
	return s.view(func(txn *badger.Txn) error {
		if partCount(h.length) > 1 {
			body, err := joinParts(txn, id, h.length)
			if err != nil {
				return err
			}
			return checkBody(h, body, f)
		}
		item, err := txn.Get(bodyKey(id, 0))
		if err != nil {
			return err
		}
		return item.Value(func(body []byte) error { return checkBody(h, body, f) })
	})
}

func checkBody(h *head, body []byte, f func(body []byte) error) error {
	if len(body) != h.length || checksum(body) != h.sum {
		return errChecksum
	}
	return f(body)
}

// joinParts reads a value that was written in parts.
func joinParts(txn *badger.Txn, id uint64, length int) ([]byte, error) {
	var data []byte
	for part := range partCount(length) {
		b, err := value(txn, bodyKey(id, part))
		if err != nil {
			return nil, err
		}
		data = append(data, b...)
	}
	return data, nil
}

// view reads Badger, unless the store is closed.
func (s *Store) view(f func(txn *badger.Txn) error) error {
	s.reading.RLock()
	defer s.reading.RUnlock()
	if s.db.IsClosed() {
		return storage.ErrClosed
	}
	return s.db.View(f)
}

func value(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}
