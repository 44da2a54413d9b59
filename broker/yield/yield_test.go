package yield

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// Who waits for the processor gets it.
func TestOthersRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const others, often = 10, 100
	var ran atomic.Int32
	for range others {
		go ran.Add(1)
	}
	for range often { // once is enough, unless the system held one of them up so long that it had to wait again
		if Processor(); ran.Load() == others {
			return
		}
	}
	t.Errorf("%d of %d goroutines ran", ran.Load(), others)
}
