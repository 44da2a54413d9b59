package crash

import (
	"os/exec"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// Every promise of channels holds when power is cut at random moments and only what was fsynced is left for sure.
func TestChannelPowerCut(t *testing.T) {
	t.Parallel()
	needWatch(t)
	channelRounds(t, setting.Count(t, "CHANNEL_CUTS", 3), func(t *testing.T, seed uint64) host {
		return newPowercut(t.TempDir(), seed, func(folder string) *exec.Cmd { return channelCommand(folder, "none")() })
	})
}
