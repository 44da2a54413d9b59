package bridge

import (
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// Identifiers are never 0, and every one of them comes once in 65535 messages.
func TestIdentifiers(t *testing.T) {
	seen := make(map[uint16]bool)
	for n := uint64(1<<40 + 1); n <= 1<<40+identifiers; n++ {
		id := identifierOf(n)
		if id == 0 || seen[id] {
			t.Fatalf("message %d has identifier %d", n, id)
		}
		seen[id] = true
	}
}

// The window finds what a map would, for messages with gaps between them that are acknowledged in any order, over several rounds
// of the identifiers.
func TestWindowAgainstAMap(t *testing.T) {
	random := setting.Random(t)
	w := window{max: 50}
	simple := make(map[uint16]uint64)
	number := 1 + random.Uint64N(100_000)
	for range 200_000 {
		if random.IntN(2) == 0 {
			next := number + 1
			if random.IntN(10) == 0 {
				next += random.Uint64N(5000)
			}
			if w.fits(next) != (len(simple) < w.max && within(simple, next)) {
				t.Fatalf("fits(%d) with %v", next, simple)
			}
			if w.fits(next) {
				if other, twice := simple[identifierOf(next)]; twice {
					t.Fatalf("%d and %d have one identifier", other, next)
				}
				w.add(flight{number: next})
				simple[identifierOf(next)] = next
				number = next
			}
			continue
		}
		id := uint16(random.IntN(identifiers + 1))
		for known := range simple { // any
			if random.IntN(10) > 0 {
				id = known
			}
			break
		}
		f, want := w.find(id), simple[id]
		if (f == nil) != (want == 0) || f != nil && f.number != want {
			t.Fatalf("find(%d): %+v, want %d", id, f, want)
		}
		if f != nil {
			w.end(f)
			delete(simple, id)
		}
		if w.count != len(simple) {
			t.Fatalf("%d on their way, want %d", w.count, len(simple))
		}
	}
}

// within reports whether all numbers up to next are less than spreadMax apart.
func within(numbers map[uint16]uint64, next uint64) bool {
	for _, n := range numbers {
		if next-n >= spreadMax {
			return false
		}
	}
	return true
}

// Spans are a set: compared with a map, and they survive being written down.
func TestSpansAgainstAMap(t *testing.T) {
	random := setting.Random(t)
	var s spans
	simple := make(map[uint64]bool)
	for range 50_000 {
		n := random.Uint64N(2000)
		switch random.IntN(4) {
		case 0:
			s = s.remove(n)
			delete(simple, n)
		default:
			s = s.add(n, spansMax)
			simple[n] = true
		}
		if probe := random.Uint64N(2000); s.has(probe) != simple[probe] {
			t.Fatalf("has(%d) is %t in %v", probe, !simple[probe], s)
		}
	}
	again := decodeSpans(encodeSpans(s))
	for n := range uint64(2000) {
		if again.has(n) != simple[n] {
			t.Fatalf("written down, has(%d) is %t", n, !simple[n])
		}
	}
	for i := 1; i < len(s); i++ {
		if s[i].low <= s[i-1].high+1 {
			t.Fatalf("%v and %v touch", s[i-1], s[i])
		}
	}
}

// What is forgotten at the bound is the oldest.
func TestSpansForgetTheOldest(t *testing.T) {
	var s spans
	for n := range uint64(1000) {
		s = s.add(2*n, 100)
	}
	if len(s) > 100 || !s.has(1998) || s.has(0) {
		t.Errorf("%d spans, from %v to %v", len(s), s[0], s[len(s)-1])
	}
}
