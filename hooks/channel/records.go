package channel

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel/spread"
)

// The records of the hook, by what their keys begin with:
//
//	channel/<name>           a declaration, as JSON
//	attempt/<id>/<number>    what happened to a message of the channel with this id that failed
//	seen/<id>/<sum>          when a message-id was taken, in a channel that looks for duplicates
//
// The id is a channel's own, so that the records of a deleted one mean nothing to another of its name.
const (
	channelKey = "channel/"
	attemptKey = "attempt/"
	seenKey    = "seen/"
)

// Where a channel comes from.
const (
	originConfig  = "config"      // declared in the configuration
	originRuntime = "runtime"     // made by an operator
	originAuto    = "auto"        // made by a client
	originDead    = "dead_letter" // made to keep the dead messages of another
	originRetired = "retired"     // was declared in the configuration, and is no longer
)

// A declaration is what is kept of a channel beside its messages.
type declaration struct {
	Settings configs.Channel `json:"settings"`
	Origin   string          `json:"origin"`
	ID       string          `json:"id"`
	Created  time.Time       `json:"created"`
	Paused   bool            `json:"paused"`

	done func(error) // told when the channel is on disk
}

func newDeclaration(s configs.Channel, origin string) declaration {
	now := time.Now()
	return declaration{Settings: s, Origin: origin, ID: strconv.FormatInt(now.UnixNano(), 36) + "." + s.Name, Created: now.UTC()}
}

func (d *declaration) record() (hooks.Record, error) {
	value, err := json.Marshal(d)
	return hooks.Record{Key: channelKey + d.Settings.Name, Value: value}, err
}

// saved is what the hook kept before the broker started.
type saved struct {
	declarations map[string]declaration
	attempts     map[string]map[uint64]spread.Attempt // by id
	seen         map[string][]sighting                // by id
}

func readSaved(b hooks.Broker) (*saved, error) {
	s := &saved{
		declarations: make(map[string]declaration), attempts: make(map[string]map[uint64]spread.Attempt), seen: make(map[string][]sighting),
	}
	var errs []error
	b.Saved(hookName, func(key string, value []byte) {
		if err := s.read(key, value); err != nil {
			errs = append(errs, fmt.Errorf("record %s: %w", key, err))
		}
	})
	return s, errors.Join(errs...)
}

func (s *saved) read(key string, value []byte) error {
	if name, ok := strings.CutPrefix(key, channelKey); ok {
		var d declaration
		err := json.Unmarshal(value, &d)
		d.Settings.Fill() // a key that came later
		s.declarations[name] = d
		return err
	}
	if rest, ok := strings.CutPrefix(key, attemptKey); ok {
		id, text, _ := strings.Cut(rest, "/")
		number, err := strconv.ParseUint(text, 36, 64)
		if err != nil {
			return err
		}
		if s.attempts[id] == nil {
			s.attempts[id] = make(map[uint64]spread.Attempt)
		}
		s.attempts[id][number], err = parseAttempt(value)
		return err
	}
	if rest, ok := strings.CutPrefix(key, seenKey); ok {
		id, text, _ := strings.Cut(rest, "/")
		sum, err := parseSum(text)
		if err != nil || len(value) != 8 {
			return errors.Join(err, errSize(value, 8))
		}
		s.seen[id] = append(s.seen[id], sighting{sum, int64(binary.BigEndian.Uint64(value))})
		return nil
	}
	return errors.New("unknown kind")
}

func errSize(value []byte, want int) error {
	if len(value) == want {
		return nil
	}
	return fmt.Errorf("%d bytes, want %d", len(value), want)
}

// strayRecords deletes the records that no channel took: theirs is gone, or looks for duplicates no more.
func (s *saved) strayRecords() (records []hooks.Record) {
	for id, attempts := range s.attempts {
		for number := range attempts {
			records = append(records, attemptRecord(id, number, nil))
		}
	}
	for id, seen := range s.seen {
		for _, sight := range seen {
			records = append(records, hooks.Record{Key: seenKey + id + "/" + sight.sum.String()})
		}
	}
	return records
}

// attemptRecord notes an attempt; nil forgets it.
func attemptRecord(id string, number uint64, a *spread.Attempt) hooks.Record {
	r := hooks.Record{Key: attemptKey + id + "/" + strconv.FormatUint(number, 36)}
	if a != nil {
		r.Value = binary.AppendUvarint(nil, uint64(a.Deliveries))
		r.Value = binary.AppendUvarint(r.Value, uint64(a.Failures))
		r.Value = binary.AppendVarint(r.Value, a.First)
		r.Value = binary.AppendVarint(r.Value, a.Last)
		r.Value = binary.AppendVarint(r.Value, a.Due)
	}
	return r
}

func parseAttempt(value []byte) (a spread.Attempt, err error) {
	var counts [2]uint64
	for i := range counts {
		n, size := binary.Uvarint(value)
		if size <= 0 {
			return a, errors.New("cut short")
		}
		counts[i], value = n, value[size:]
	}
	a.Deliveries, a.Failures = uint32(counts[0]), uint32(counts[1])
	for _, field := range []*int64{&a.First, &a.Last, &a.Due} {
		n, size := binary.Varint(value)
		if size <= 0 {
			return a, errors.New("cut short")
		}
		*field, value = n, value[size:]
	}
	return a, errSize(value, 0)
}

// saveAll writes records in steps that a store takes at once.
func (h *Channels) saveAll(records []hooks.Record) {
	for part := range slices.Chunk(records, 1000) {
		h.broker.Save(hookName, part, nil)
	}
}
