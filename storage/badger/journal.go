package badger

import (
	"encoding/binary"
	"errors"

	badger "github.com/dgraph-io/badger/v4"
)

// commitJournal writes records all or none although a transaction cannot take them: into a journal, which lies in parts under
// the id of the group, then the record that says so, then themselves. A crash before that record leaves nothing, one after it all.
func (s *Store) commitJournal(id uint64, records []record) error {
	journal := encodeJournal(records)
	if err := s.commitParts(blob{id, journal}); err != nil {
		return err
	}
	p := place{id: id, length: uint64(len(journal)), sum: checksum(journal)}
	if err := s.commitOnce([]record{{[]byte{keyJournal}, encodePlace(p)}}); err != nil {
		return err
	}
	return s.replay(p, records)
}

// replay writes records that a journal holds, and deletes it.
func (s *Store) replay(p place, records []record) error {
	const some = 1000
	for len(records) > 0 {
		n := min(some, len(records))
		if err := s.commitSome(records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	gone := []record{{key: []byte{keyJournal}}}
	for part := range partCount(int(p.length)) {
		gone = append(gone, record{key: bodyKey(p.id, part)})
	}
	return s.commitOnce(gone)
}

// encodeJournal writes records into one.
func encodeJournal(records []record) []byte {
	size := 16
	for _, r := range records {
		size += len(r.key) + len(r.value) + 16
	}
	b := newRecord(size)
	b = binary.AppendUvarint(b, uint64(len(records)))
	for _, r := range records {
		b = appendBytes(b, r.key)
		deleted := byte(0)
		if r.value == nil {
			deleted = 1
		}
		b = append(b, deleted)
		b = appendBytes(b, r.value)
	}
	return seal(b)
}

func decodeJournal(rec []byte) ([]record, error) {
	b, err := unseal(rec)
	if err != nil {
		return nil, err
	}
	c := &cursor{rest: b}
	var records []record
	for range c.count(3) {
		r := record{key: c.bytes()}
		deleted := c.byte()
		if r.value = c.bytes(); deleted != 0 {
			r.value = nil
		}
		records = append(records, r)
	}
	return records, c.end()
}

// finishJournal does again what a journal says that a crash left.
func (s *Store) finishJournal() error {
	var rec []byte
	err := s.db.View(func(txn *badger.Txn) (err error) {
		rec, err = value(txn, []byte{keyJournal})
		return err
	})
	if err == badger.ErrKeyNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	p, records, err := s.readJournal(rec)
	if err != nil { // it was whole when it was written, so its group was acknowledged, or a part of it
		s.keepAside([]byte{keyJournal})
		for part := range partCount(int(p.length)) {
			s.keepAside(bodyKey(p.id, part))
		}
		s.lostLocked(Loss{What: "journal: " + err.Error()})
		records = nil
	}
	return s.replay(p, records)
}

// readJournal reads the journal that a record says is there.
func (s *Store) readJournal(rec []byte) (p place, records []record, err error) {
	p, apart, err := retainedApart(rec)
	if err != nil || !apart {
		return place{}, nil, errors.Join(errMalformed, err)
	}
	data, err := s.readParts(p)
	if err != nil {
		return p, nil, err
	}
	records, err = decodeJournal(data)
	return p, records, err
}
