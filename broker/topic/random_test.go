package topic

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// newRandom gives the random numbers of one test, the same ones again with PENSTOCK_SEED set to the printed seed.
func newRandom(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PENSTOCK_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("PENSTOCK_SEED: %v", err)
		}
	}
	t.Logf("PENSTOCK_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// randomName is a valid name of up to six levels from a small alphabet.
func randomName(r *rand.Rand) string { return randomLevels(r, []string{"", "a", "b", "$SYS"}) }

// randomFilter is a valid filter of up to six levels, and one more that may be #.
func randomFilter(r *rand.Rand) string {
	filter := randomLevels(r, []string{"", "a", "b", "$SYS", "+", "+"})
	switch r.IntN(8) {
	case 0, 1:
		return filter + "/#"
	case 2:
		return "#"
	}
	return filter
}

func randomLevels(r *rand.Rand, alphabet []string) string {
	for {
		levels := make([]string, 1+r.IntN(6))
		for i := range levels {
			levels[i] = alphabet[r.IntN(len(alphabet))]
		}
		if s := strings.Join(levels, "/"); s != "" {
			return s
		}
	}
}
