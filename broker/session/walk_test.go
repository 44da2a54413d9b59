package session

import (
	"math/rand/v2"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// A chooser takes the decisions of a walk: a number below n each time, and at last that it is over.
type chooser struct {
	choose func(n int) int
	over   func() bool
}

// chance is true once in n times.
func (c chooser) chance(n int) bool { return c.choose(n) == 0 }

// randomly decides by a seed, for so many steps.
func randomly(r *rand.Rand, steps int) chooser {
	return chooser{choose: r.IntN, over: func() bool { steps--; return steps < 0 }}
}

// byBytes decides by bytes, until they are used up.
func byBytes(b []byte) chooser {
	choose := func(n int) (v int) {
		for width := 1; width < n && len(b) > 0; width *= 256 {
			v = v*256 + int(b[0])
			b = b[1:]
		}
		return v % n
	}
	return chooser{choose: choose, over: func() bool { return len(b) == 0 }}
}

// Outbound and Inbound do what the models do, step by step, whatever happens in whatever order.
func TestRandomWalk(t *testing.T) {
	r := setting.Random(t)
	walks := 40
	if testing.Short() {
		walks = 5
	}
	for range walks {
		walkOutbound(t, randomly(r, 2000))
		walkInbound(t, randomly(r, 2000))
	}
}

// FuzzSession is the random walk with bytes for dice.
func FuzzSession(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, out, in []byte) {
		walkOutbound(t, byBytes(out[:min(len(out), 4096)]))
		walkInbound(t, byBytes(in[:min(len(in), 4096)]))
	})
}
