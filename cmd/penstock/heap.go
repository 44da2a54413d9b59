package main

import "runtime/debug"

// heapFloor is counted by the garbage collector as if it was in use: a small heap is then collected a third as
// often, for at most that much more memory. It is never touched, so it takes no memory itself. More would be felt by
// a broker with many idle connections (docs/performance.md, Steps).
const heapFloor = 8 << 20

// collectSeldom doubles GOGC until restore is called. While what is stored is loaded the heap grows, and hardly anything in it becomes
// garbage: each collection marks all of it for little.
func collectSeldom() (restore func()) {
	users := debug.SetGCPercent(-1)
	if users >= 0 {
		debug.SetGCPercent(2 * users)
	}
	return func() { debug.SetGCPercent(users) }
}
