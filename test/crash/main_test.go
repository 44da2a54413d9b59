package crash

import (
	"fmt"
	"os"
	"testing"
)

// scratch is a folder that lives as long as the tests.
var scratch string

// TestMain runs the tests, or what a test started this program for.
func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if os.Getenv(watchVariable) != "" {
		os.Unsetenv(watchVariable)
		fmt.Fprintln(os.Stderr, startWatched(os.Args[1:]))
		return 1
	}
	if os.Getenv(faultVariable) != "" {
		fmt.Fprintln(os.Stderr, serveFaulty(os.Stderr))
		return 1
	}
	if os.Getenv(channelVariable) != "" {
		fmt.Fprintln(os.Stderr, serveChannels(os.Stderr))
		return 1
	}
	var err error
	if scratch, err = os.MkdirTemp("", "penstock-crash-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return m.Run()
}
