package bridge

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// Bounds of what twins remembers.
const (
	twinsSpan = 10 * time.Second
	twinsMax  = 65536
)

// twins find messages that came another way before where nothing but their contents tells: MQTT 3.1.1 carries no trace. The
// k-th message of one content on one way is taken for the k-th of that content on any other, for as long as both are within
// twinsSpan. So messages that are equal on purpose all pass, and each once; but one of two that are equal by chance, and were
// published at two brokers within twinsSpan, is lost. So they look only where there are two ways without a trace: with one
// there is no ring.
type twins struct {
	seed    maphash.Seed
	looking atomic.Bool // there are two ways

	mu       sync.Mutex // guards what follows
	known    map[string]bool
	contents map[uint64]*content
}

// A content is how often it came, and on which way.
type content struct {
	count int // messages that passed
	ways  map[string]int
	last  time.Time
}

func newTwins() *twins {
	return &twins{seed: maphash.MakeSeed(), known: make(map[string]bool), contents: make(map[uint64]*content)}
}

// open notes a way without a trace, in or out.
func (t *twins) open(way string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.openLocked(way)
}

// close notes that a way is gone.
func (t *twins) close(way string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, way)
	t.looking.Store(len(t.known) > 1)
}

func (t *twins) openLocked(way string) {
	if len(t.known) < twinsMax {
		t.known[way] = true
	}
	t.looking.Store(len(t.known) > 1)
}

func (t *twins) hash(m *packet.Message) uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	h.WriteString(m.Topic)
	h.WriteByte(0)
	h.Write(m.Payload)
	return h.Sum64()
}

// repeated notes a message that came over a bridge without a trace, and reports whether it came another way before.
func (t *twins) repeated(way string, m *packet.Message, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.openLocked(way)
	c := t.contentLocked(t.hash(m), now)
	c.ways[way]++
	if c.ways[way] <= c.count && len(t.known) > 1 {
		return true
	}
	c.count = max(c.count, c.ways[way])
	return false
}

// note notes a message that may come back without a trace.
func (t *twins) note(m *packet.Message, now time.Time) {
	if !t.looking.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.contentLocked(t.hash(m), now)
	c.ways[""]++
	c.count = max(c.count, c.ways[""])
}

func (t *twins) contentLocked(hash uint64, now time.Time) *content {
	c := t.contents[hash]
	if c != nil && now.Sub(c.last) > twinsSpan {
		c = nil
	}
	if c == nil {
		if len(t.contents) >= twinsMax {
			t.forgetLocked(now, twinsSpan/2)
		}
		c = &content{ways: make(map[string]int)}
		t.contents[hash] = c
	}
	c.last = now
	return c
}

// forget drops what is too old.
func (t *twins) forget(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(now, twinsSpan)
}

func (t *twins) forgetLocked(now time.Time, span time.Duration) {
	for hash, c := range t.contents {
		if now.Sub(c.last) > span {
			delete(t.contents, hash)
		}
	}
	if len(t.contents) >= twinsMax {
		clear(t.contents)
	}
}
