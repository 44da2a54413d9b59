//go:build !linux

package badger_test

import (
	"os"
	"time"
)

func dataSync(f *os.File) error { return f.Sync() }

var begun = time.Now()

// cpuTime is the time since the process began, where no other is known.
func cpuTime() time.Duration { return time.Since(begun) }
