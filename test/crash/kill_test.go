package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// buildPenstock builds the broker once. PENSTOCK_PROGRAM names one that is built already.
var buildPenstock = sync.OnceValues(func() (program string, err error) {
	if program = os.Getenv("PENSTOCK_PROGRAM"); program != "" {
		return program, nil
	}
	program = filepath.Join(scratch, "penstock")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/penstock")
	build.Dir = filepath.Join("..", "..")
	out, err := build.CombinedOutput()
	if err != nil {
		return string(out), err
	}
	return program, nil
})

// pause is the mean time between two kills of the broker itself: some thousand messages.
const pause = 800 * time.Millisecond

// penstock makes commands that run the broker that people run.
func penstock(t testing.TB, folder, sync string) func() *exec.Cmd {
	t.Helper()
	program, err := buildPenstock()
	if err != nil {
		t.Fatalf("building the broker: %v\n%s", err, program)
	}
	return func() *exec.Cmd {
		return exec.Command(program, "serve", "--listen", "tcp://127.0.0.1:0", "--admin-address", "",
			"--set", "storage.path="+folder, "--set", "storage.sync="+sync)
	}
}

// Every promise holds for the broker itself, ended with kill -9 at random moments.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds(t, number(t, "KILLS", 20), func(t *testing.T, kills int, seed uint64) *run {
		h := newProcess(penstock(t, t.TempDir(), "always"))
		return play(options{host: h, seed: seed, kills: kills, pause: pause})
	})
}
