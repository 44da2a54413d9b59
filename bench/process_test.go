package bench

import (
	"testing"
	"time"
)

// The name of a process may hold what separates fields.
func TestParseStat(t *testing.T) {
	const line = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 3 4 20 0 1 0 100 1 1 1\n"
	if got, err := parseStat([]byte(line)); err != nil || got != 2*time.Second {
		t.Errorf("got %v, error %v", got, err)
	}
	for _, bad := range []string{"", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 4194560 1 0 0 0 x 50 3 4 20"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: got %v and no error", bad, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const text = "Name:\tx\nVmRSS:\t    1234 kB\nRssAnon:\t     56 kB\nThreads:\t1\n"
	for key, want := range map[string]int64{"VmRSS": 1234 << 10, "RssAnon": 56 << 10} {
		if got, err := parseStatus([]byte(text), key); err != nil || got != want {
			t.Errorf("%s: got %d, error %v", key, got, err)
		}
	}
	for _, bad := range []string{"Name:\tx\n", "VmRSS:\tmuch\n"} {
		if got, err := parseStatus([]byte(bad), "VmRSS"); err == nil {
			t.Errorf("%q: got %d and no error", bad, got)
		}
	}
}
