package crash

import (
	"fmt"
	"slices"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// judge shows a run and fails the test with every violation of it.
func judge(t *testing.T, r *run) {
	t.Helper()
	t.Log(r.summary())
	blame(t, r)
}

// blame fails the test with every violation of a run, or if nothing happened in it.
func blame(t *testing.T, r *run) {
	t.Helper()
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
	first := setting.Seed(t)
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
