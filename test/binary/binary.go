// Package binary builds the broker's binary, for tests that run it as people do.
//
// It builds, and neither starts nor stops what it built: every test has its own idea of that. Its noun is the Log of a process. It
// is tested by all that depend on it, which fail without a program to start.
package binary

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Build builds the binary in a folder and returns its path.
func Build(folder string) (string, error) {
	path := filepath.Join(folder, "penstock")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/penstockmq/penstock/cmd/penstock")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	return path, nil
}

// Run is a TestMain that builds the binary, tells its path, and removes it after the tests.
func Run(m *testing.M, path *string) int {
	folder, err := os.MkdirTemp("", "penstock-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil { // a test may start it as another user
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if *path, err = Build(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
