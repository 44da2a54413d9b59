package bridge

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// The keys of what is kept in the broker's store. A bridge's name has no slash.
const (
	identityKey = "identity" // random, made once
	numberKey   = "number"   // messages are numbered from here on after a start
	seenPrefix  = "seen/"    // and the origin: seen
	peerPrefix  = "peer/"    // and the client identifier of a bridge that subscribed here
)

func pausedKey(name string) string   { return "paused/" + name }
func lastKey(name string) string     { return "last/" + name }     // address that it was connected to last
func releasedKey(name string) string { return "released/" + name } // numbers whose PUBREC came

// sessionKey is that of the client identifier with which the other broker at an address keeps a session.
func (l *link) sessionKey(target string) string { return "session/" + l.config.Name + "/" + target }

// leftKey is that of the numbers that were on their way when the link moved to another address.
func (l *link) leftKey(target string) string { return "left/" + l.config.Name + "/" + target }

// filtersKey is that of the filters that the session at an address subscribes to.
func (l *link) filtersKey(target string) string { return "filters/" + l.config.Name + "/" + target }

// noteFilters writes down what is going to be subscribed to, and returns what the session subscribes to and is not wanted any more.
func (l *link) noteFilters(c *crossing, filters []subscription) (gone []string, err error) {
	key := l.filtersKey(c.target)
	var names []string
	for _, f := range filters {
		names = append(names, f.filter)
	}
	text := strings.Join(names, "\x00") // which no filter contains
	before := string(l.hook.record(key))
	if before != "" && c.terms.sessionPresent {
		for old := range strings.SplitSeq(before, "\x00") {
			if !slices.Contains(names, old) {
				gone = append(gone, old)
			}
		}
	}
	if text == before || l.config.Session == configs.SessionClean {
		return gone, nil
	}
	if len(gone) > 0 { // until they are given up both are
		text = strings.Join(append(names, gone...), "\x00")
	}
	return gone, l.hook.saveNow(hooks.Record{Key: key, Value: []byte(text)})
}

func (l *link) takenPrefix(target string) string {
	return "taken/" + l.config.Name + "/" + target + "/"
}

// takenKey is that of a message of QoS 2 that came from an address and was not released.
func (l *link) takenKey(target string, id uint16) string {
	return l.takenPrefix(target) + strconv.Itoa(int(id))
}

// record is what the store has under a key, nil if nothing.
func (h *Hook) record(key string) []byte {
	h.recordMu.Lock()
	defer h.recordMu.Unlock()
	return h.records[key]
}

// recordsBelow are the keys with a prefix.
func (h *Hook) recordsBelow(prefix string) []string {
	h.recordMu.Lock()
	defer h.recordMu.Unlock()
	var keys []string
	for key := range maps.Keys(h.records) {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}

// noteRecords notes what the store has now.
func (h *Hook) noteRecords(records []hooks.Record) {
	h.recordMu.Lock()
	defer h.recordMu.Unlock()
	for _, r := range records {
		if r.Value == nil {
			delete(h.records, r.Key)
		} else {
			h.records[r.Key] = r.Value
		}
	}
}

// save writes records and tells done, if there is one, once they are on disk.
func (h *Hook) save(records []hooks.Record, done func(error)) {
	h.api.Save(hookName, records, func(err error) {
		if err == nil {
			h.noteRecords(records)
		}
		if done != nil {
			done(err)
		}
	})
}

// saveNow waits until records are on disk.
func (h *Hook) saveNow(records ...hooks.Record) error {
	saved := make(chan error, 1)
	h.save(records, func(err error) { saved <- err })
	if err := <-saved; err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// encodeNumbers writes numbers in order, as the distances between them.
func encodeNumbers(numbers map[uint64]bool) []byte {
	b, last := []byte{}, uint64(0)
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		b = binary.AppendUvarint(b, n-last)
		last = n
	}
	return b
}

func decodeNumbers(b []byte) map[uint64]bool {
	numbers, last := make(map[uint64]bool), uint64(0)
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		last += gap
		numbers[last] = true
		b = b[n:]
	}
	return numbers
}

// isReleased reports whether PUBREC came for a message: PUBREL is to be sent, not PUBLISH.
func (l *link) isReleased(number uint64) bool { return l.releases[number] }

// saveReleased notes that PUBREC came for messages. done is told when that is on disk.
func (l *link) saveReleased(numbers []uint64, done func(error)) {
	for _, n := range numbers {
		l.releases[n] = true
	}
	l.saving.Add(1)
	l.hook.save([]hooks.Record{{Key: releasedKey(l.config.Name), Value: encodeNumbers(l.releases)}}, func(err error) {
		defer l.saving.Done()
		done(err)
	})
}

// takenAt are the identifiers of QoS 2 that an address has not released.
func (l *link) takenAt(target string) (ids []uint16) {
	prefix := l.takenPrefix(target)
	for _, key := range l.hook.recordsBelow(prefix) {
		if id, err := strconv.ParseUint(strings.TrimPrefix(key, prefix), 10, 16); err == nil {
			ids = append(ids, uint16(id))
		}
	}
	return ids
}

func (l *link) rememberSession(target string) error {
	return l.hook.saveNow(hooks.Record{Key: l.sessionKey(target), Value: []byte(l.clientID)})
}

// forgetSession drops what belongs to a session that the other broker does not have: it will use its identifiers anew, and
// what it had of ours is to be published again.
func (l *link) forgetSession(target string) {
	var gone []hooks.Record
	for _, id := range l.takenAt(target) {
		gone = append(gone, hooks.Record{Key: l.takenKey(target, id)})
	}
	if l.hook.record(l.leftKey(target)) != nil {
		gone = append(gone, hooks.Record{Key: l.leftKey(target)})
	}
	if len(l.releases) > 0 {
		clear(l.releases)
		gone = append(gone, hooks.Record{Key: releasedKey(l.config.Name)})
	}
	if len(gone) > 0 {
		l.hook.save(gone, nil)
	}
}

// moveTo notes which address the link is connected to. What was on its way to another one is sent to this one, and the other is told
// to forget it when the link comes back.
func (l *link) moveTo(target string) error {
	last := string(l.hook.record(lastKey(l.config.Name)))
	if last == target {
		return nil
	}
	records := []hooks.Record{{Key: lastKey(l.config.Name), Value: []byte(target)}}
	if top := max(l.high, l.suspect); last != "" && top >= l.head {
		left := encodeNumbers(map[uint64]bool{l.head: true, top: true})
		records = append(records, hooks.Record{Key: l.leftKey(last), Value: left})
	}
	if last != "" && len(l.releases) > 0 {
		clear(l.releases)
		records = append(records, hooks.Record{Key: releasedKey(l.config.Name)})
	}
	return l.hook.saveNow(records...)
}

// settleLeft has the other broker forget the messages of QoS 2 that it got before the link moved away, and that another one has
// since: their identifiers will be used again.
func (l *link) settleLeft(c *crossing) {
	key := l.leftKey(c.target)
	value := l.hook.record(key)
	if value == nil {
		return
	}
	bounds := slices.Sorted(maps.Keys(decodeNumbers(value)))
	low, high := bounds[0], bounds[len(bounds)-1]
	high = min(high, l.head-1, low+spreadMax)
	for n := low; n <= high; n++ {
		if c.answer(packet.PUBREL, identifierOf(n)) != nil {
			return // the connection is gone; next time
		}
	}
	l.hook.save([]hooks.Record{{Key: key}}, nil)
}
