package bridge

import (
	"encoding/binary"
	"encoding/json"
	"sync"
	"time"
)

// Bounds of what is remembered of messages from bridges. Beyond them the oldest is forgotten, and what comes then is taken
// for new: a duplicate rather than a loss.
const (
	spansMax   = 2048 // of one sender of one origin
	sendersMax = 32   // of one origin
	originsMax = 65536
)

// A seen remembers which messages came, by origin and by who brought them, so that a message is taken once whatever number of
// ways lead here. Each sender vouches for what it brought: if that could not be stored, it brings it again.
type seen struct {
	mu      sync.Mutex // guards what follows
	origins map[string]*originSeen
}

// An originSeen is what came of the messages of one broker.
type originSeen struct {
	senders map[string]spans
	used    time.Time
	changed bool // since it was saved
}

func newSeen() *seen { return &seen{origins: make(map[string]*originSeen)} }

// take reports whether a message is new. sender is a client identifier; if again is set, the sender may have brought it before
// without knowing what became of it, and only what others brought counts.
func (s *seen) take(t *trace, sender string, again bool) (fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.originLocked(t.origin)
	if o.hasLocked(t.number, sender, again) {
		return false
	}
	o.addLocked(t.number, sender)
	return true
}

// forget takes back what take remembered: the message could not be stored.
func (s *seen) forget(t *trace, sender string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.originLocked(t.origin)
	o.senders[sender] = o.senders[sender].remove(t.number)
	o.changed = true
}

func (s *seen) originLocked(name string) *originSeen {
	o := s.origins[name]
	if o == nil {
		if len(s.origins) >= originsMax {
			s.forgetOldestLocked()
		}
		o = &originSeen{senders: make(map[string]spans)}
		s.origins[name] = o
	}
	o.used = time.Now()
	return o
}

func (s *seen) forgetOldestLocked() {
	oldest := ""
	for name, o := range s.origins {
		if oldest == "" || o.used.Before(s.origins[oldest].used) {
			oldest = name
		}
	}
	delete(s.origins, oldest)
}

func (o *originSeen) hasLocked(number uint64, sender string, again bool) bool {
	for name, set := range o.senders {
		if (name != sender || !again) && set.has(number) {
			return true
		}
	}
	return false
}

func (o *originSeen) addLocked(number uint64, sender string) {
	if _, known := o.senders[sender]; !known && len(o.senders) >= sendersMax {
		for name := range o.senders { // any: who has so many has no few that matter
			delete(o.senders, name)
			break
		}
	}
	o.senders[sender] = o.senders[sender].add(number, spansMax)
	o.changed = true
}

// remove takes a number out of the set.
func (s spans) remove(n uint64) spans {
	i := s.at(n)
	if i == len(s) || s[i].low > n {
		return s
	}
	whole := s[i]
	var parts []span
	if whole.low < n {
		parts = append(parts, span{whole.low, n - 1})
	}
	if whole.high > n {
		parts = append(parts, span{n + 1, whole.high})
	}
	return append(s[:i:i], append(parts, s[i+1:]...)...)
}

// save returns what changed since it was asked last, ready for the store.
func (s *seen) save() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string][]byte)
	for name, o := range s.origins {
		if o.changed {
			o.changed = false
			out[name] = o.encode()
		}
	}
	return out
}

// load takes what save returned.
func (s *seen) load(origin string, value []byte) {
	var packed map[string][]byte
	if json.Unmarshal(value, &packed) != nil {
		return // of a later version: a duplicate may pass
	}
	o := &originSeen{senders: make(map[string]spans), used: time.Now()}
	for sender, b := range packed {
		o.senders[sender] = decodeSpans(b)
	}
	s.origins[origin] = o
}

func (o *originSeen) encode() []byte {
	packed := make(map[string][]byte, len(o.senders))
	for sender, set := range o.senders {
		packed[sender] = encodeSpans(set)
	}
	b, err := json.Marshal(packed)
	if err != nil {
		panic(err) // of strings and bytes
	}
	return b
}

// encodeSpans writes the distances between the ends, as varints.
func encodeSpans(set spans) []byte {
	var b []byte
	last := uint64(0)
	for _, s := range set {
		b = binary.AppendUvarint(b, s.low-last)
		b = binary.AppendUvarint(b, s.high-s.low)
		last = s.high
	}
	return b
}

func decodeSpans(b []byte) spans {
	var set spans
	last := uint64(0)
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		length, k := binary.Uvarint(b[n:])
		if k <= 0 {
			break
		}
		b = b[n+k:]
		set = append(set, span{last + gap, last + gap + length})
		last += gap + length
	}
	return set
}
