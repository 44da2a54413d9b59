package crash

import (
	"slices"
	"testing"
	"time"
)

// A broker with a fault is found out, each fault by the violation that it is.
func TestFaultsAreFound(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			h := newProcess(faultyCommand(t.TempDir(), f.name))
			r := play(options{host: h, seed: seed(t), kills: number(t, "KILLS", 30), pause: 500 * time.Millisecond, stopAtFirst: true})
			t.Logf("%s: %s", f.says, r.summary())
			f.judge(t, r)
		})
	}
}

// judge wants a violation of one of the kinds that the fault is expected to cause, and shows the first.
func (f *fault) judge(t *testing.T, r *run) {
	t.Helper()
	for _, v := range r.violations {
		if slices.Contains(f.finds, v.kind) {
			t.Logf("found: %v", v)
			return
		}
	}
	t.Errorf("%s, and no violation of the kinds %v was found, but %v", f.says, f.finds, r.violations)
}
