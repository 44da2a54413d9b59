package crash

import (
	"cmp"
	"os"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/setting"
)

// needBites skips what takes minutes and says nothing of the broker. make crash-bites runs it.
func needBites(t *testing.T) {
	t.Helper()
	if os.Getenv("BITES") == "" {
		t.Skip("BITES is not set: it shows that these tests find what they are there for")
	}
}

// A broker with a fault is found out, each fault by the violation that it is.
func TestFaultsAreFound(t *testing.T) {
	needBites(t)
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			n := setting.Seed(t)
			f.judge(t, func() *run {
				n++
				h := newProcess(faultyCommand(t.TempDir(), f.name))
				return play(options{host: h, seed: n, kills: cmp.Or(f.kills, 6), pause: 400 * time.Millisecond, stopAtFirst: f.kills == 0})
			})
		})
	}
}

// Without a fault the same broker passes, so that it is the fault that is found.
func TestNoFaultIsFound(t *testing.T) {
	needBites(t)
	h := newProcess(faultyCommand(t.TempDir(), "none"))
	judge(t, play(options{host: h, seed: setting.Seed(t), kills: 20, pause: 400 * time.Millisecond}))
}
