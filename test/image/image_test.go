//go:build linux

package image

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/loopback"
)

const (
	repository = "../.."
	// Bounds of a wait; the second is the promise of an orderly end and what it needs to start.
	startTimeout = 30 * time.Second
	stopTimeout  = 6 * time.Second
)

// The image runs as nobody in particular, keeps its data in a volume, and offers the ports it listens on.
func TestImageDeclares(t *testing.T) {
	stages := readDockerfile(t, filepath.Join(repository, "Dockerfile"))
	final := stages[len(stages)-1]
	if uid, gid := ids(t, final.last(t, "USER").text); uid != 65532 || gid != 65532 {
		t.Errorf("USER is %d:%d, want 65532:65532", uid, gid)
	}
	if got := final.last(t, "VOLUME").text; got != "/data" {
		t.Errorf("VOLUME is %s, want /data", got)
	}
	health := strings.Fields(strings.NewReplacer("[", "", "]", "", ",", "", `"`, "").Replace(final.last(t, "HEALTHCHECK").text))
	if len(health) < 3 || !slices.Equal(health[:3], []string{"CMD", "/penstock", "health"}) {
		t.Errorf("HEALTHCHECK is %v, want CMD /penstock health", health)
	}
	for _, in := range final.instructions {
		for _, port := range final.last(t, "EXPOSE").words {
			if strings.HasSuffix(in.text, "/penstock.yaml") && !strings.Contains(in.here, `":`+port+`"`) {
				t.Errorf("EXPOSE %s, but nothing listens there:\n%s", port, in.here)
			}
		}
	}
}

// The image's root file system has all that the broker needs: it starts there as the image's
// user, becomes healthy, serves MQTT, and ends in good order on SIGTERM.
func TestImageRuns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root")
	}
	stages := readDockerfile(t, filepath.Join(repository, "Dockerfile"))
	ports := freePorts(t, stages[len(stages)-1].last(t, "EXPOSE").words)
	r := newRoot(t, stages, ports.replace)
	expectStatic(t, filepath.Join(r.dir, "penstock"))
	expectOwner(t, filepath.Join(r.dir, "data"), r.uid)

	final := stages[len(stages)-1]
	broker := r.command(slices.Concat(final.last(t, "ENTRYPOINT").words, final.last(t, "CMD").words))
	log := newLogFile(t, broker)
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- broker.Wait() }()
	t.Cleanup(func() { _ = broker.Process.Kill() })

	expectHealthy(t, r, final, ended, log)
	expectConnack(t, ports["1883"])
	if err := broker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after SIGTERM: %v, want exit 0; log:\n%s", err, log)
		}
	case <-time.After(stopTimeout):
		t.Errorf("still running %v after SIGTERM; log:\n%s", stopTimeout, log)
	}
}

// command runs a program of the image in its root file system, as its user.
func (r root) command(words []string) *exec.Cmd {
	return &exec.Cmd{
		Path: words[0], Args: words, Dir: "/data", Env: []string{"PATH=/"},
		SysProcAttr: &syscall.SysProcAttr{
			Chroot:     r.dir,
			Credential: &syscall.Credential{Uid: uint32(r.uid), Gid: uint32(r.gid)},
			Pdeathsig:  syscall.SIGKILL,
		},
	}
}

// expectHealthy runs the image's HEALTHCHECK until it succeeds.
func expectHealthy(t *testing.T, r root, final stage, ended <-chan error, log logFile) {
	t.Helper()
	_, text, _ := strings.Cut(final.last(t, "HEALTHCHECK").text, "CMD ")
	in, _, err := nextInstruction([]string{"CMD " + text})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(startTimeout)
	for {
		check := r.command(in.words)
		out, err := check.CombinedOutput()
		if err == nil {
			return
		}
		select {
		case err := <-ended:
			t.Fatalf("the broker ended: %v; log:\n%s", err, log)
		case <-deadline:
			t.Fatalf("unhealthy after %v: %v: %s; log:\n%s", startTimeout, err, out, log)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// expectConnack connects by MQTT 3.1.1 and wants to be accepted [MQTT311-3.2.0-1].
func expectConnack(t *testing.T, port string) {
	t.Helper()
	nc, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != "\x20\x02\x00\x00" {
		t.Errorf("CONNECT was answered with %x, %v, want 20020000", got, err)
	}
}

func expectOwner(t *testing.T, file string, uid int) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Sys().(*syscall.Stat_t).Uid; int(got) != uid {
		t.Errorf("%s belongs to %d, want %d", file, got, uid)
	}
}

// A portMap has free ports of this machine for those of the image.
type portMap map[string]string

func freePorts(t *testing.T, exposed []string) portMap {
	t.Helper()
	m := make(portMap)
	for _, port := range exposed {
		_, m[port], _ = strings.Cut(loopback.FreeAddress(t), ":")
	}
	return m
}

// replace puts free ports in the place of the image's, in a file of the image.
func (m portMap) replace(file string) string {
	for from, to := range m {
		file = strings.ReplaceAll(file, `":`+from+`"`, `":`+to+`"`)
	}
	return file
}

// A logFile holds what a program says.
type logFile string

func newLogFile(t *testing.T, cmd *exec.Cmd) logFile {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	cmd.Stdout, cmd.Stderr = f, f
	return logFile(f.Name())
}

// String is what was said so far.
func (l logFile) String() string {
	b, err := os.ReadFile(string(l))
	if err != nil {
		return err.Error()
	}
	return string(b)
}
