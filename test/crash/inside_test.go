package crash

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
)

// Every promise holds for a broker that is cut off from its clients and its store at random moments.
func TestCutInside(t *testing.T) {
	records := memory.New()
	h := newInside(func() (storage.Store, error) {
		return storagetest.HoldAsync(records.Reopen()), nil
	})
	judge(t, play(options{host: h, seed: seed(t), kills: number(t, "KILLS", 10), pause: 200 * time.Millisecond}))
}

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
