package ring

import "testing"

// A ring is as long as asked for, and empty although somebody filled it before.
func TestRingsAreEmpty(t *testing.T) {
	var p Pool[int]
	for _, length := range []int{0, 4, Shortest / 2, Shortest, 2 * Shortest, Longest, 2 * Longest} {
		for range 3 {
			r := p.Take(length)
			if len(r) != length {
				t.Fatalf("%d long, want %d", len(r), length)
			}
			for i := range r {
				if r[i] != 0 {
					t.Fatalf("of %d: %d at %d", length, r[i], i)
				}
				r[i] = i + 1
			}
			p.Give(r)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	var p Pool[[10]uint64]
	b.ReportAllocs()
	for b.Loop() {
		p.Give(p.Take(2 * Shortest))
	}
}
