package readme

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/binary"
)

// patience bounds every program; it only matters when a test fails.
const patience = time.Minute

// program is the broker's binary.
var program string

// TestMain builds the binary.
func TestMain(m *testing.M) { os.Exit(binary.Run(m, &program)) }

var listening = regexp.MustCompile(`msg=listening .*type=(tcp|ws|http) address=(\S+)`)

// startBroker runs the broker for one test and returns its addresses by the type of listener.
func startBroker(t *testing.T, args ...string) map[string]string {
	t.Helper()
	c := exec.Command(program, append([]string{"serve", "--listen", "tcp://127.0.0.1:0", "--listen", "ws://127.0.0.1:0/mqtt",
		"--admin-address", "127.0.0.1:0"}, args...)...)
	c.Dir = t.TempDir()
	log, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	rest := make(chan struct{}) // closed when the log has ended
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		<-rest
		if err := c.Wait(); err != nil {
			t.Errorf("the broker ended with %v", err)
		}
	})
	addresses := make(map[string]string)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			addresses[m[1]] = m[2]
		}
		if strings.Contains(lines.Text(), "msg=ready") {
			go func() {
				defer close(rest)
				_, _ = io.Copy(io.Discard, log)
			}()
			return addresses
		}
	}
	close(rest)
	t.Fatal("the broker ended before it was ready")
	return nil
}

// output runs a program to its end and returns what it printed.
func output(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	var errors strings.Builder
	c.Stderr = &errors
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", c, err, out, errors.String())
	}
	return string(out)
}
