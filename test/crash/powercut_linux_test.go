package crash

import (
	"os/exec"
	"testing"
	"time"
)

// Every promise holds for the broker itself when power is cut at random moments and only what was fsynced is left for sure.
func TestPowerCut(t *testing.T) {
	n := seed(t)
	h := newPowercut(t.TempDir(), n, func(folder string) *exec.Cmd { return penstock(t, folder, "always")() })
	judge(t, play(options{host: h, seed: n, kills: number(t, "CUTS", 20), pause: time.Second}))
}

// storage.sync: never and interval lose acknowledged messages in a power cut, as their documentation says: and this test finds it.
func TestPowerCutWithoutSyncIsFound(t *testing.T) {
	for _, sync := range []string{"never", "interval"} {
		t.Run(sync, func(t *testing.T) {
			n := seed(t)
			h := newPowercut(t.TempDir(), n, func(folder string) *exec.Cmd { return penstock(t, folder, sync)() })
			f := fault{says: "storage.sync: " + sync, finds: []kind{kindLost, kindSessionLost, kindRetained, kindSubscription, kindTwice}}
			f.judge(t, play(options{host: h, seed: n, kills: 10, pause: time.Second, stopAtFirst: true}))
		})
	}
}
