package channel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// messageIDProperty names a message for the channels that look for duplicates.
const messageIDProperty = "message-id"

// messageIDMax is the longest message-id, in bytes.
const messageIDMax = 256

// A sum stands for a message-id.
type sum [16]byte

// String is the sum as keys of records write it.
func (s sum) String() string { return hex.EncodeToString(s[:]) }

func parseSum(text string) (s sum, err error) {
	if len(text) != hex.EncodedLen(len(s)) {
		return s, errSize([]byte(text), hex.EncodedLen(len(s)))
	}
	_, err = hex.Decode(s[:], []byte(text))
	return s, err
}

// A sighting is when a message-id was taken.
type sighting struct {
	sum sum
	at  int64
}

// seen remembers message-ids for a time, up to a number of them.
type seen struct {
	window int64
	max    int
	at     map[sum]int64
	order  []sighting // oldest first; those withdrawn or taken again later do not agree with at
	head   int
}

func newSeen(window time.Duration, most int) *seen {
	return &seen{window: int64(window), max: most, at: make(map[sum]int64)}
}

// restore takes what an earlier run noted.
func (s *seen) restore(old []sighting) {
	slices.SortFunc(old, func(a, b sighting) int { return int(min(1, max(-1, a.at-b.at))) })
	for _, o := range old {
		s.at[o.sum] = o.at
	}
	s.order = old
}

// holds reports whether a message-id was taken within the window.
func (s *seen) holds(id sum, now int64) bool {
	at, ok := s.at[id]
	return ok && now-at < s.window
}

// add remembers a message-id. It returns the records that keep it and forget those that are too many or too old.
func (s *seen) add(id sum, now int64, channel string) []hooks.Record {
	records := []hooks.Record{{Key: seenKey + channel + "/" + id.String(), Value: binary.BigEndian.AppendUint64(nil, uint64(now))}}
	s.at[id] = now
	s.order = append(s.order, sighting{id, now})
	for s.head < len(s.order) && (len(s.at) > s.max || now-s.order[s.head].at >= s.window) {
		old := s.order[s.head]
		s.head++
		if at, ok := s.at[old.sum]; ok && at == old.at && old.sum != id {
			delete(s.at, old.sum)
			records = append(records, hooks.Record{Key: seenKey + channel + "/" + old.sum.String()})
		}
	}
	if s.head >= 1024 && s.head*2 >= len(s.order) {
		s.order = append([]sighting(nil), s.order[s.head:]...)
		s.head = 0
	}
	return records
}

// withdraw forgets a message-id whose message was not stored.
func (s *seen) withdraw(id sum) { delete(s.at, id) }

// records forget everything.
func (s *seen) records(channel string) (records []hooks.Record) {
	for id := range s.at {
		records = append(records, hooks.Record{Key: seenKey + channel + "/" + id.String()})
	}
	return records
}

// messageID is what stands for the message's id, nil if it has none or the channel does not look.
func (c *channel) messageID(m *packet.Message) (*sum, error) {
	if c.settings().DedupWindow == 0 {
		return nil, nil
	}
	text, ok := userProperty(m, messageIDProperty)
	if !ok {
		return nil, nil
	}
	if text == "" || len(text) > messageIDMax || !utf8.ValidString(text) {
		return nil, fmt.Errorf("%s: expected 1 to %d bytes, got %d", messageIDProperty, messageIDMax, len(text))
	}
	full := sha256.Sum256([]byte(text))
	id := sum(full[:len(sum{})])
	return &id, nil
}
