package crash

import (
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/binary"
	"github.com/penstockmq/penstock/test/setting"
)

// buildPenstock builds the broker once. PENSTOCK_PROGRAM names one that is built already.
var buildPenstock = sync.OnceValues(func() (string, error) {
	if built := os.Getenv("PENSTOCK_PROGRAM"); built != "" {
		return built, nil
	}
	return binary.Build(scratch)
})

// pause is the mean time between two kills of the broker itself: some thousand messages.
const pause = 800 * time.Millisecond

// penstock makes commands that run the broker that people run.
func penstock(t testing.TB, folder, sync string) func() *exec.Cmd {
	t.Helper()
	program, err := buildPenstock()
	if err != nil {
		t.Fatal(err)
	}
	return func() *exec.Cmd {
		return exec.Command(program, "serve", "--listen", "tcp://127.0.0.1:0", "--admin-address", "",
			"--set", "storage.path="+folder, "--set", "storage.sync="+sync)
	}
}

// Every promise holds for the broker itself, ended with kill -9 at random moments.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds(t, setting.Count(t, "KILLS", 20), func(t *testing.T, kills int, seed uint64) *run {
		h := newProcess(penstock(t, t.TempDir(), "always"))
		return play(options{host: h, seed: seed, kills: kills, pause: pause})
	})
}
