package badger

import (
	"encoding/binary"

	badger "github.com/dgraph-io/badger/v4"
)

// encodeJournal writes records into one, so that they are all written or none although a transaction cannot take them.
func encodeJournal(records []record) []byte {
	b := newRecord(0)
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
	records, err := decodeJournal(rec)
	if err != nil { // it was whole when it was written, so its group was acknowledged, or a part of it
		s.keepAside([]byte{keyJournal})
		s.lostLocked(Loss{What: "journal: " + err.Error()})
		records = nil
	}
	return s.replay(records)
}
