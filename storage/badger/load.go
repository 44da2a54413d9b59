package badger

import (
	"errors"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// Load implements storage.Store.
func (s *Store) Load(v storage.Visitor) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return storage.ErrClosed
	}
	for _, visit := range []func(storage.Visitor) error{
		s.visitSessions, s.visitSubscriptions, s.visitReceived, s.visitQueues, s.visitRetained, s.visitCounters,
		s.visitHookRecords,
	} {
		if err := visit(v); err != nil {
			return err
		}
	}
	return nil
}

// errVisitor carries an error of a Visitor out of a loop that passes over what it cannot read.
type errVisitor struct{ error }

// visitEach decodes every record of a kind. What cannot be read is reported and passed over.
func (s *Store) visitEach(kind byte, visit func(key, value []byte) error) error {
	var stop errVisitor
	err := s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(value []byte) error { return visit(item.Key(), value) })
			if errors.As(err, &stop) {
				return stop.error
			}
			if err != nil {
				if err := s.unreadable(item.KeyCopy(nil), err); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return err
}

func passOn(err error) error {
	if err != nil {
		return errVisitor{err}
	}
	return nil
}

func (s *Store) visitSessions(v storage.Visitor) error {
	return s.visitEach(keySession, func(_, value []byte) error {
		record, err := decodeSession(value)
		if err != nil {
			return err
		}
		return passOn(v.Session(record))
	})
}

func (s *Store) visitSubscriptions(v storage.Visitor) error {
	return s.visitEach(keySubscription, func(key, value []byte) error {
		s.mu.Lock()
		q := s.handles[keyID(key)]
		s.mu.Unlock()
		if q == nil {
			return nil
		}
		sub, err := decodeSubscription(value)
		if err != nil {
			return err
		}
		sub.Session = q.id
		return passOn(v.Subscription(sub))
	})
}

// queuesNow lists the queues. Load comes before every write, so nothing changes in them.
func (s *Store) queuesNow() []*queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*queue
	for _, q := range s.handles {
		list = append(list, q)
	}
	return list
}

func (s *Store) visitReceived(v storage.Visitor) error {
	for _, q := range s.queuesNow() {
		for id := range q.received {
			if err := v.Received(storage.Received{Session: q.id, ID: id}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) visitQueues(v storage.Visitor) error {
	for _, q := range s.queuesNow() {
		s.mu.Lock()
		told := storage.Queue{Session: q.id, Head: q.marks.floor, Next: q.next, Len: q.live, Bytes: q.bytes}
		s.mu.Unlock()
		if err := v.Queue(told); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) visitRetained(v storage.Visitor) error {
	return s.visitEach(keyRetained, func(_, value []byte) error {
		m, p, err := decodeRetainedRecord(value)
		if err != nil {
			return err
		}
		if m == nil {
			if m, err = s.readPlace(p); err != nil {
				return err
			}
		}
		return passOn(v.Retained(m))
	})
}

// readPlace reads a large retained message.
func (s *Store) readPlace(p place) (*packet.Message, error) {
	data, err := s.readParts(p)
	if err != nil {
		return nil, err
	}
	return decodeRetained(data)
}

// readParts reads a value that was too large for one record.
func (s *Store) readParts(p place) ([]byte, error) {
	var data []byte
	if err := s.db.View(func(txn *badger.Txn) (err error) {
		data, err = joinParts(txn, p.id, int(p.length))
		return err
	}); err != nil {
		return nil, err
	}
	if uint64(len(data)) != p.length || checksum(data) != p.sum {
		return nil, errChecksum
	}
	return data, nil
}

func (s *Store) placeTopic(p place) (string, error) {
	m, err := s.readPlace(p)
	if err != nil {
		return "", err
	}
	return m.Topic, nil
}

func (s *Store) visitHookRecords(v storage.Visitor) error {
	return s.visitEach(keyHook, func(_, value []byte) error {
		p, err := decodeHookRecord(value)
		if err != nil {
			return err
		}
		return passOn(v.HookRecord(p.Hook, p.Key, p.Value))
	})
}

func (s *Store) visitCounters(v storage.Visitor) error {
	values := make(map[string]uint64)
	if err := s.visitEach(keyCounter, func(_, value []byte) error {
		name, n, err := decodeCounter(value)
		values[name] = n
		return err
	}); err != nil {
		return err
	}
	return v.Counters(values)
}
