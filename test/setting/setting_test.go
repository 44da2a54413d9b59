package setting

import (
	"fmt"
	"runtime"
	"testing"
)

// An attempt is a test that may fail, and what it said.
type attempt struct {
	testing.TB
	said   string
	failed bool
}

// Helper implements testing.TB.
func (a *attempt) Helper() {}

// Logf implements testing.TB.
func (a *attempt) Logf(format string, args ...any) { a.said += fmt.Sprintf(format, args...) }

// Fatalf implements testing.TB.
func (a *attempt) Fatalf(format string, args ...any) {
	a.failed = true
	a.Logf(format, args...)
	runtime.Goexit()
}

// try runs f to its end, be it a failure.
func try(f func(t testing.TB)) *attempt {
	a := &attempt{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(a)
	}()
	<-ended
	return a
}

// A seed is printed so that it can be set, and then repeats what is random.
func TestSeed(t *testing.T) {
	t.Setenv(SeedVariable, "")
	var first, second uint64
	said := try(func(t testing.TB) { first = Random(t).Uint64() }).said
	var printed string
	if _, err := fmt.Sscanf(said, SeedVariable+"=%s", &printed); err != nil {
		t.Fatalf("%q: %v", said, err)
	}
	if try(func(t testing.TB) { second = Random(t).Uint64() }); second == first {
		t.Error("two tests got the same numbers")
	}
	t.Setenv(SeedVariable, printed)
	if try(func(t testing.TB) { second = Random(t).Uint64() }); second != first {
		t.Error("the seed that was printed does not repeat the numbers")
	}
	t.Setenv(SeedVariable, "x")
	if a := try(func(t testing.TB) { Seed(t) }); !a.failed {
		t.Errorf("x is a seed: %q", a.said)
	}
}

// A count is what is set, which must be one, or what it is otherwise.
func TestCount(t *testing.T) {
	const name = "PENSTOCK_TEST_COUNT"
	for _, c := range []struct {
		set  string
		want int // 0 fails
	}{{"", 7}, {"12", 12}, {"0", 0}, {"-1", 0}, {"many", 0}} {
		t.Setenv(name, c.set)
		got := 0
		if a := try(func(t testing.TB) { got = Count(t, name, 7) }); got != c.want || a.failed != (c.want == 0) {
			t.Errorf("%q: %d, %q, want %d", c.set, got, a.said, c.want)
		}
	}
}
