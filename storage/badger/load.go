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

// Load decodes in another goroutine than the Visitor's, this far ahead.
const (
	aheadBatches = 8
	aheadRecords = 256 // in each
)

// errNobodys has visitEach pass over a record.
var errNobodys = errors.New("of a session that is gone")

// visitEach hands over every record of a kind. They are read and decoded ahead, on a goroutine of their own. What cannot be read is reported
// and passed over.
func visitEach[T any](s *Store, kind byte, decode func(key, value []byte) (T, error), visit func(T) error) error {
	ahead, stop := make(chan []T, aheadBatches), make(chan struct{})
	var failed error // of the reader; to be looked at when ahead is closed
	go func() {
		defer close(ahead)
		failed = readAhead(s, kind, decode, ahead, stop)
	}()
	for batch := range ahead {
		for _, record := range batch {
			if err := visit(record); err != nil {
				close(stop)
				for range ahead { // until it has stopped
				}
				return err
			}
		}
	}
	return failed
}

// readAhead decodes every record of a kind, until stop is closed.
func readAhead[T any](s *Store, kind byte, decode func(key, value []byte) (T, error), ahead chan<- []T, stop <-chan struct{}) error {
	return s.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}})
		defer it.Close()
		var batch []T
		hand := func() {
			select {
			case ahead <- batch:
			case <-stop:
			}
			batch = make([]T, 0, aheadRecords)
		}
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(value []byte) error {
				record, err := decode(item.Key(), value)
				if err == nil {
					batch = append(batch, record)
				}
				return err
			})
			if err != nil && err != errNobodys {
				if err := s.unreadable(item.KeyCopy(nil), err); err != nil {
					return err
				}
			}
			if len(batch) == aheadRecords {
				hand()
			}
			select {
			case <-stop:
				return nil
			default:
			}
		}
		hand()
		return nil
	})
}

func (s *Store) visitSessions(v storage.Visitor) error {
	return visitEach(s, keySession, func(_, value []byte) (storage.Session, error) { return decodeSession(value) }, v.Session)
}

func (s *Store) visitSubscriptions(v storage.Visitor) error {
	return visitEach(s, keySubscription, func(key, value []byte) (storage.Subscription, error) {
		s.mu.Lock()
		q := s.handles[keyID(key)]
		s.mu.Unlock()
		if q == nil {
			return storage.Subscription{}, errNobodys
		}
		sub, err := decodeSubscription(value)
		sub.Session = q.id
		return sub, err
	}, v.Subscription)
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
	var n names
	return visitEach(s, keyRetained, func(_, value []byte) (*packet.Message, error) {
		m, p, err := n.decodeRetainedRecord(value)
		if err == nil && m == nil {
			return s.readPlace(p)
		}
		return m, err
	}, v.Retained)
}

// readPlace reads a large retained message.
func (s *Store) readPlace(p place) (*packet.Message, error) {
	data, err := s.readParts(p)
	if err != nil {
		return nil, err
	}
	return new(names).decodeRetained(data)
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
	return visitEach(s, keyHook, func(_, value []byte) (storage.PutHookRecord, error) { return decodeHookRecord(value) },
		func(p storage.PutHookRecord) error { return v.HookRecord(p.Hook, p.Key, p.Value) })
}

func (s *Store) visitCounters(v storage.Visitor) error {
	type counter struct {
		name  string
		value uint64
	}
	values := make(map[string]uint64)
	if err := visitEach(s, keyCounter, func(_, value []byte) (c counter, err error) {
		c.name, c.value, err = decodeCounter(value)
		return c, err
	}, func(c counter) error {
		values[c.name] = c.value
		return nil
	}); err != nil {
		return err
	}
	return v.Counters(values)
}
