package faults

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/binary"
)

// patience bounds every wait; it only matters when a test fails.
const patience = time.Minute

// program is the broker's binary.
var program string

// TestMain builds the binary.
func TestMain(m *testing.M) { os.Exit(binary.Run(m, &program)) }

// A broker is a running process.
type broker struct {
	tcp, http string // addresses
	cmd       *exec.Cmd
	ended     chan struct{} // closed when the process is gone
	log       []string      // all of it, once ended is closed
	err       error         // the same
}

var listening = regexp.MustCompile(`msg=listening .*type=(tcp|http) address=(\S+)`)

// serve starts the broker on a folder and returns when it is ready or has ended.
func serve(t *testing.T, folder string, flags ...string) *broker {
	t.Helper()
	b := &broker{ended: make(chan struct{})}
	b.cmd = exec.Command(program, append([]string{
		"serve", "--listen", "tcp://127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--storage-path", folder,
	}, flags...)...)
	log, err := b.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go b.follow(log, ready)
	t.Cleanup(func() {
		b.kill()
		if t.Failed() {
			t.Logf("log of the broker:\n%s", strings.Join(b.log, "\n"))
		}
	})
	select {
	case <-ready:
	case <-b.ended:
	case <-time.After(patience):
		t.Fatal("the broker is neither ready nor gone")
	}
	return b
}

// mustServe starts a broker that has to come up.
func mustServe(t *testing.T, folder string, flags ...string) *broker {
	t.Helper()
	b := serve(t, folder, flags...)
	if b.tcp == "" {
		t.Fatalf("the broker did not start: %v", b.err)
	}
	return b
}

func (b *broker) follow(log io.Reader, ready chan<- struct{}) {
	defer close(b.ended)
	addresses := make(map[string]string)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		line := lines.Text()
		b.log = append(b.log, line)
		if m := listening.FindStringSubmatch(line); m != nil {
			addresses[m[1]] = m[2]
		}
		if strings.Contains(line, "msg=ready") {
			b.tcp, b.http = addresses["tcp"], addresses["http"]
			close(ready)
		}
	}
	b.err = b.cmd.Wait()
}

// kill ends the process as a crash does.
func (b *broker) kill() {
	_ = b.cmd.Process.Kill() // it may be gone
	<-b.ended
}

// terminate asks the process to end, and returns its exit code.
func (b *broker) terminate(t *testing.T) int {
	t.Helper()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-b.ended:
	case <-time.After(patience):
		t.Fatal("the broker does not end")
	}
	return b.cmd.ProcessState.ExitCode()
}

// metric reads one number of the broker's.
func (b *broker) metric(t *testing.T, name string) float64 {
	t.Helper()
	response, err := http.Get("http://" + b.http + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("there is no %s", name)
	}
	value, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// until repeats something that asks the broker, until it does what is expected.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); {
		if time.Since(begun) > patience {
			t.Fatalf("never: %s", what)
		}
	}
}
