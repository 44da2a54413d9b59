// Package setting reads what a test is told from outside: the seed of what it does at random, and how much of it.
//
// It reads the environment and nothing else, and depends on nothing of ours, so that the tests of every package may use it.
// Its nouns are the seed, which is printed and taken back, and the count. It is tested by setting the environment.
package setting

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// SeedVariable names the environment variable that repeats a random test.
const SeedVariable = "PENSTOCK_SEED"

// Seed is the seed of a random test: the one that is set, or a new one. It is printed.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64() // no clock, which in a bubble always shows the same
	if text := os.Getenv(SeedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", SeedVariable, err)
		}
	}
	t.Logf("%s=%d", SeedVariable, seed)
	return seed
}

// Random is a source of randomness with that seed.
func Random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := Seed(t)
	return rand.New(rand.NewPCG(seed, seed))
}

// Count is a number from 1 on in the environment, or what it is otherwise.
func Count(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s: %q is not a count", name, text)
	}
	return n
}
