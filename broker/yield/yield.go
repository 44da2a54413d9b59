// Package yield is for goroutines that are never idle in the eyes of Go's scheduler, because all they wait in is system calls.
//
// One that has not gone through the scheduler for 10 ms counts as running too long (forcePreemptNS in Go's runtime/proc.go). From then
// on its processor is taken away in each system call by a thread that looks for such calls every 20 µs, and it has to find another one.
package yield

import (
	"time"
	_ "unsafe" // for linkname
)

// Every is how often such a goroutine should yield.
const Every = 5 * time.Millisecond

// Processor lets the goroutines that wait for the calling one's processor run, and comes back behind them.
//
// runtime.Gosched would do that too, but it puts the caller where every processor looks, and wakes a thread to look there: the
// goroutine goes from thread to thread, and from one sleeping processor to the next. The runtime promises to keep what is linked to here
// (see goyield in runtime/proc.go, https://go.dev/issue/67401).
//
//go:linkname Processor runtime.goyield
func Processor()
