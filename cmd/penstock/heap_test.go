package main

import (
	"runtime/debug"
	"testing"
)

// The collector works half as often for a while, and then as the user said; not at all, if he said so.
func TestCollectSeldom(t *testing.T) {
	percent := func() int {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		return now
	}
	before := percent()
	defer debug.SetGCPercent(before)
	for users, seldom := range map[int]int{100: 200, 50: 100, -1: -1} {
		debug.SetGCPercent(users)
		restore := collectSeldom()
		if got := percent(); got != seldom {
			t.Errorf("GOGC %d is %d meanwhile, want %d", users, got, seldom)
		}
		restore()
		if got := percent(); got != users {
			t.Errorf("GOGC %d is %d afterwards", users, got)
		}
	}
}
