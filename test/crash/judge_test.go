package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// judge fails the test with every violation of a run.
func judge(t *testing.T, r *run) {
	t.Helper()
	t.Log(r.summary())
	if r.counts.acknowledged.Load() == 0 || r.counts.received.Load() == 0 {
		t.Error("nothing was published, or nothing received")
	}
	for _, v := range r.violations {
		t.Error(v)
	}
}

// runMax is how many kills one run has at most: its whole history is kept until it is checked.
const runMax = 100

// rounds splits many kills into runs with a seed each.
func rounds(t *testing.T, kills int, play func(t *testing.T, kills int, seed uint64) *run) {
	t.Helper()
	first := seed(t)
	for done := 0; done < kills; done += runMax {
		n := min(runMax, kills-done)
		t.Run(fmt.Sprintf("%d-%d", done+1, done+n), func(t *testing.T) {
			judge(t, play(t, n, first+uint64(done)))
		})
	}
}

// judge wants one of several runs to have a violation of a kind that the fault is expected to cause, and shows it.
func (f *fault) judge(t *testing.T, play func() *run) {
	t.Helper()
	const runsMax = 12
	var others []violation
	for range runsMax {
		r := play()
		for _, v := range r.violations {
			if slices.Contains(f.finds, v.kind) {
				t.Logf("%s; found after %d kills: %v", f.says, r.counts.kills.Load(), v)
				return
			}
		}
		others = append(others, r.violations...)
	}
	t.Errorf("%s, and in %d runs no violation of the kinds %v was found, but %v", f.says, runsMax, f.finds, others)
}

// seed is the seed of a random test, from PENSTOCK_SEED if it is set.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := rand.Uint64()
	if s := os.Getenv("PENSTOCK_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("PENSTOCK_SEED: %v", err)
		}
	}
	t.Logf("PENSTOCK_SEED=%d", n)
	return n
}

// number is a count from the environment, or what it is otherwise.
func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s: %q is not a count", name, s)
	}
	return n
}
