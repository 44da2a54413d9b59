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
