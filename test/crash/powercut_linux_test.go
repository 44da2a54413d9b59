package crash

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// Every promise holds for the broker itself when power is cut at random moments and only what was fsynced is left for sure.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	needWatch(t)
	rounds(t, setting.Count(t, "CUTS", 20), func(t *testing.T, cuts int, seed uint64) *run {
		return playPowercuts(t, "always", options{seed: seed, kills: cuts})
	})
}

// storage.sync: interval and never lose acknowledged messages in a power cut, as their documentation says: and this test finds it.
func TestPowerCutWithoutSyncIsFound(t *testing.T) {
	needBites(t)
	needWatch(t)
	for _, sync := range []string{"interval", "never"} {
		t.Run(sync, func(t *testing.T) {
			n := setting.Seed(t)
			f := fault{says: "storage.sync: " + sync, finds: []kind{kindLost, kindSessionLost}}
			f.judge(t, func() *run {
				n++
				return playPowercuts(t, sync, options{seed: n, kills: 1})
			})
		})
	}
}

func playPowercuts(t *testing.T, sync string, o options) *run {
	t.Helper()
	o.pause = pause
	o.host = newPowercut(t.TempDir(), o.seed, func(folder string) *exec.Cmd { return penstock(t, folder, sync)() })
	return play(o)
}

// needWatch skips where a process cannot be watched: a container may forbid it.
func needWatch(t *testing.T) {
	t.Helper()
	h := newPowercut(t.TempDir(), 0, func(string) *exec.Cmd { return exec.Command(os.Args[0], "-test.run=^$") })
	err := h.launch()
	if errors.Is(err, errNoWatch) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	<-h.gone
	<-h.watch.ended
	if err := errors.Join(h.watch.err, h.disk.close()); err != nil {
		t.Fatal(err)
	}
}
