//go:build !linux

package crash

import "errors"

// watchVariable makes the test program start another under a watch, on Linux.
const watchVariable = "PENSTOCK_CRASH_WATCH"

func startWatched([]string) error { return errors.New("a process can be watched on Linux only") }
