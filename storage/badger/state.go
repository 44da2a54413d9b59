package badger

import (
	"bytes"
	"encoding/binary"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// The bits of a will's first byte.
const (
	willPresent = 1 << iota
	willExpires
)

func encodeSession(s *storage.Session) []byte {
	b := newRecord(64 + len(s.ID) + len(s.ClientID))
	for _, text := range []string{s.ID, s.ClientID, s.Username, s.CommonName} {
		b = appendText(b, text)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Groups)))
	for _, group := range s.Groups {
		b = appendText(b, group)
	}
	b = append(b, s.Version)
	b = binary.LittleEndian.AppendUint32(b, s.ExpiryInterval)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Disconnected))
	b = appendText(b, s.Hook)
	return seal(appendWill(b, s.Will))
}

func appendWill(b []byte, w *storage.Will) []byte {
	if w == nil {
		return append(b, 0)
	}
	flags := byte(willPresent)
	if w.HasExpiry {
		flags |= willExpires
	}
	b = append(b, flags)
	b = binary.LittleEndian.AppendUint32(b, w.DelayInterval)
	b = binary.LittleEndian.AppendUint32(b, w.Expiry)
	return appendRetained(b, w.Message)
}

func decodeSession(record []byte) (storage.Session, error) {
	b, err := unseal(record)
	if err != nil {
		return storage.Session{}, err
	}
	c := cursor{rest: b}
	s := storage.Session{ID: c.text(), ClientID: c.text(), Username: c.text(), CommonName: c.text()}
	for range c.count(1) {
		s.Groups = append(s.Groups, c.text())
	}
	s.Version = c.byte()
	s.ExpiryInterval = c.uint32()
	s.Disconnected = int64(c.uint64())
	s.Hook = c.text()
	flags := c.byte()
	if flags&willPresent == 0 {
		return s, c.end()
	}
	w := &storage.Will{DelayInterval: c.uint32(), Expiry: c.uint32(), HasExpiry: flags&willExpires != 0}
	if c.bad {
		return s, errMalformed
	}
	if w.Message, err = new(names).decodeRetained(c.rest); err != nil {
		return s, err
	}
	s.Will = w
	return s, nil
}

// The bits of a subscription's first byte; QoS and RETAIN handling take two each.
const (
	subscriptionQoS         = 3
	subscriptionHandling    = 2 // bits to the left
	subscriptionNoLocal     = 1 << 4
	subscriptionAsPublished = 1 << 5
)

func encodeSubscription(s *storage.Subscription) []byte {
	flags := s.QoS&subscriptionQoS | s.RetainHandling&3<<subscriptionHandling
	if s.NoLocal {
		flags |= subscriptionNoLocal
	}
	if s.RetainAsPublished {
		flags |= subscriptionAsPublished
	}
	b := append(newRecord(16+len(s.Filter)), flags)
	b = binary.AppendUvarint(b, uint64(s.ID))
	return seal(append(b, s.Filter...))
}

// decodeSubscription reads a subscription without its session, which the key names.
func decodeSubscription(record []byte) (storage.Subscription, error) {
	b, err := unseal(record)
	if err != nil {
		return storage.Subscription{}, err
	}
	c := cursor{rest: b}
	flags, id := c.byte(), c.uvarint()
	if c.bad {
		return storage.Subscription{}, errMalformed
	}
	return storage.Subscription{
		Filter: string(c.rest), ID: uint32(id), QoS: flags & subscriptionQoS, RetainHandling: flags >> subscriptionHandling & 3,
		NoLocal: flags&subscriptionNoLocal != 0, RetainAsPublished: flags&subscriptionAsPublished != 0,
	}, nil
}

// A retained record is the message itself, or says under which id the parts of a large one lie.
const (
	retainedHere = iota
	retainedParts
)

func encodeRetained(m *packet.Message) []byte {
	b := newRecord(32 + len(m.Publisher) + m.Size())
	return seal(appendRetained(append(b, retainedHere), m))
}

// A place says where a value lies that is too large for one record.
type place struct {
	id     uint64
	length uint64
	sum    uint32
}

func encodePlace(p place) []byte {
	b := append(newRecord(24), retainedParts)
	b = binary.AppendUvarint(b, p.id)
	b = binary.AppendUvarint(b, p.length)
	return seal(binary.LittleEndian.AppendUint32(b, p.sum))
}

// decodeRetainedRecord returns the message, or where it lies.
func (n *names) decodeRetainedRecord(record []byte) (*packet.Message, place, error) {
	p, apart, err := retainedApart(record)
	if err != nil || apart {
		return nil, p, err
	}
	b, err := unseal(record)
	if err != nil {
		return nil, place{}, err
	}
	m, err := n.decodeRetained(b[1:])
	return m, place{}, err
}

// retainedApart returns where the message lies, if it is apart from its record. Of one that is in the record it looks at nothing.
func retainedApart(record []byte) (p place, apart bool, err error) {
	if len(record) > sealedBytes && record[sealedBytes] == retainedHere {
		return place{}, false, nil
	}
	b, err := unseal(record)
	if err != nil {
		return place{}, false, err
	}
	c := cursor{rest: b}
	if c.byte() != retainedParts {
		return place{}, false, errMalformed
	}
	p = place{id: c.uvarint(), length: c.uvarint(), sum: c.uint32()}
	return p, true, c.end()
}

func encodeCounter(name string, value uint64) []byte {
	b := binary.LittleEndian.AppendUint64(newRecord(8+len(name)), value)
	return seal(append(b, name...))
}

func decodeCounter(record []byte) (name string, value uint64, err error) {
	b, err := unseal(record)
	if err != nil {
		return "", 0, err
	}
	c := cursor{rest: b}
	value = c.uint64()
	if c.bad {
		return "", 0, errMalformed
	}
	return string(c.rest), value, nil
}

func encodeHookRecord(p *storage.PutHookRecord) []byte {
	b := newRecord(16 + len(p.Hook) + len(p.Key) + len(p.Value))
	b = appendText(appendText(b, p.Hook), p.Key)
	return seal(append(b, p.Value...))
}

// decodeHookRecord reads what encodeHookRecord wrote. The value shares nothing with the record.
func decodeHookRecord(record []byte) (p storage.PutHookRecord, err error) {
	b, err := unseal(record)
	if err != nil {
		return p, err
	}
	c := cursor{rest: b}
	p.Hook, p.Key = c.text(), c.text()
	if c.bad {
		return p, errMalformed
	}
	p.Value = bytes.Clone(c.rest)
	return p, nil
}

func encodeWatermark(id uint64) []byte {
	return seal(binary.LittleEndian.AppendUint64(newRecord(8), id))
}

func decodeWatermark(record []byte) (uint64, error) {
	b, err := unseal(record)
	if err != nil {
		return 0, err
	}
	c := cursor{rest: b}
	id := c.uint64()
	return id, c.end()
}
