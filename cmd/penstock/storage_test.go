package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/client"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage/badger"
	"github.com/penstockmq/penstock/test/loopback"
)

func storeAt(path string) configs.Flag {
	return configs.Flag{Name: "--storage-path", Key: "storage.path", Value: path}
}

// stop ends a broker in order.
func (s *started) stop(t *testing.T) {
	t.Helper()
	s.signals <- syscall.SIGTERM
	select {
	case err := <-s.result:
		s.result <- err
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the broker did not stop")
	}
}

// onDisk runs a broker on a folder that holds a session of logger with two messages, and a retained one.
func onDisk(t *testing.T, path string, flags ...configs.Flag) *started {
	t.Helper()
	s := start(t, source{flags: append([]configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin, storeAt(path)}, flags...)})
	succeed(t, "", s.at(t, "tcp", "sub", "-t", "a", "-q", "1", "-i", "logger", "-c", "-E")...)
	succeed(t, "one\ntwo\n", s.at(t, "tcp", "pub", "-t", "a", "-q", "1", "-l")...)
	succeed(t, "", s.at(t, "tcp", "pub", "-t", "state", "-q", "1", "-r", "-m", "kept")...)
	return s
}

var (
	stockLines  = regexp.MustCompile(`(?s)sessions +1\nsubscriptions +1\nqueues of hooks, records +1, 0\nqueued messages +2, 8 B\nretained messages +1, 9 B\n`)
	onlineLines = regexp.MustCompile(`(?s)sessions +1\nqueues of hooks +1\nqueued messages +2\n.*messages committed +2\n`)
)

// A backup taken while the broker runs has what was acknowledged, and a broker on its copy goes on with it. What can be
// asked of a folder is asked of the broker that runs on it.
func TestBackupAndRestore(t *testing.T) {
	t.Chdir(t.TempDir())
	s := onDisk(t, "data")
	write(t, "p.yaml", fmt.Sprintf("admin: {address: %q}\n", s.address["admin"]))
	for _, args := range [][]string{{"--config", "p.yaml"}, {"--address", s.address["admin"]}} {
		if out := succeed(t, "", append([]string{"storage", "stats"}, args...)...); !onlineLines.MatchString(out) {
			t.Errorf("%q: got %s", args, out)
		}
	}
	if out := succeed(t, "", "storage", "backup", "b", "--config", "p.yaml"); !regexp.MustCompile(`^b: \d+ B\n$`).MatchString(out) {
		t.Errorf("got %q", out)
	}
	piped := succeed(t, "", "storage", "backup", "-", "--address", s.address["admin"])
	if saved := read(t, "b"); piped != saved {
		t.Errorf("the pipe has %d bytes, the file %d", len(piped), len(saved))
	}
	succeed(t, "", s.at(t, "tcp", "pub", "-t", "a", "-q", "1", "-m", "after the backup")...)
	s.stop(t)

	if out := succeed(t, "", "storage", "restore", "b", "--path", "copy"); !stockLines.MatchString(out) {
		t.Errorf("restored: got %s", out)
	}
	if out := succeed(t, piped, "storage", "restore", "-", "--path", "second copy"); !stockLines.MatchString(out) {
		t.Errorf("restored from a pipe: got %s", out)
	}
	if out := succeed(t, "", "storage", "check", "copy"); !stockLines.MatchString(out) || !strings.HasSuffix(out, "\ncopy: ok\n") {
		t.Errorf("checked: got %s", out)
	}
	succeed(t, "", "storage", "backup", "again", "--path", "copy")
	if read(t, "again") != read(t, "b") {
		t.Log("a backup of the copy has other bytes") // it may: ids go on
	}
	s = start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin, storeAt("copy")}})
	if out := succeed(t, "", s.at(t, "tcp", "sub", "-t", "a", "-q", "1", "-i", "logger", "-c", "-C", "2")...); out != "one\ntwo\n" {
		t.Errorf("got %q", out)
	}
	if out := succeed(t, "", s.at(t, "tcp", "sub", "-t", "state", "-C", "1")...); out != "kept\n" {
		t.Errorf("got %q", out)
	}
	if files, err := filepath.Glob("*.part"); err != nil || len(files) > 0 {
		t.Errorf("left behind: %q, %v", files, err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What storage commands cannot do is one line, with the code that says whose mistake it is, and leaves nothing behind.
func TestStorageMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	s := onDisk(t, "used", configs.Flag{Name: "--set", Key: "admin.token", Value: "secret"})
	memory := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin, storeAt("")}})
	write(t, "memory.yaml", "storage: {path: ''}\n")
	write(t, "quiet.yaml", "admin: {address: ''}\nstorage: {path: used}\n")
	write(t, "file", "x")
	if err := os.Mkdir("empty", 0o700); err != nil {
		t.Fatal(err)
	}
	replace := strings.NewReplacer("BROKER", s.address["admin"], "MEMORY", memory.address["admin"], "NOBODY", loopback.FreeAddress(t))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"storage check used", exitError, "storage used: in use by another process: a broker runs on this folder"},
		{"storage check none", exitUsage, "storage none: no store is there: is storage.path right?"},
		{"storage check empty", exitUsage, "storage empty: no store is there: is storage.path right?"},
		{"storage check file", exitUsage, "storage file: stat file/FORMAT: not a directory: storage.path must be a folder that the broker may write to"},
		{"storage check --config memory.yaml", exitUsage, "storage.path is empty: nothing is on disk"},
		{"storage check a b", exitUsage, "accepts at most 1 arg(s), received 2"},
		{"storage stats used", exitError, "storage used: in use by another process: a broker runs on this folder"},
		{"storage stats none", exitUsage, "storage none: no store is there: is storage.path right?"},
		{"storage stats used --address BROKER", exitUsage, "PATH and --address exclude each other"},
		{"storage stats --address BROKER", exitError, "BROKER answered 401 Unauthorized: a bearer token is needed"},
		{"storage stats --address MEMORY", exitError, "MEMORY answered 404 Not Found: this broker keeps everything in memory: storage.path is empty"},
		{"storage stats --address NOBODY", exitError, `Get "http://NOBODY/api/storage/stats"`},
		{"storage stats --config quiet.yaml", exitError, "admin.address is empty: this broker cannot be asked"},
		{"storage backup b --address BROKER", exitError, "BROKER answered 401 Unauthorized: a bearer token is needed"},
		{"storage backup b --address MEMORY", exitError, "MEMORY answered 404 Not Found: this broker keeps everything in memory: storage.path is empty"},
		{"storage backup b --address x", exitError, "address x: missing port in address"},
		{"storage backup b --path none", exitUsage, "storage none: no store is there: is storage.path right?"},
		{"storage backup b --path used", exitError, "storage used: in use by another process: a broker runs on this folder"},
		{"storage backup b --path used --address BROKER", exitUsage, "--path and --address exclude each other"},
		{"storage backup none/b --address BROKER", exitError, "open none/b."},
		{"storage backup", exitUsage, "accepts 1 arg(s), received 0"},
		{"storage restore file", exitUsage, "restore needs a folder: --path FOLDER"},
		{"storage restore none --path new", exitError, "open none: no such file or directory"},
		{"storage restore file --path new", exitError, "storage: restore to new: not a backup: malformed record"},
		{"storage restore file --path used", exitError, "storage: restore to used: folder is not empty"},
	} {
		args, want := replace.Replace(c.args), "penstock: "+replace.Replace(c.want)
		code, out, errs := command(t, "", strings.Fields(args)...)
		if code != c.code || !strings.HasPrefix(errs, want) || strings.Count(errs, "\n") != 1 || out != "" {
			t.Errorf("%s: exit code %d, %q, %q\nwant %d, %q", args, code, out, errs, c.code, want)
		}
	}
	t.Setenv("PENSTOCK_ADMIN_TOKEN", "secret")
	succeed(t, "", "storage", "backup", "b", "--address", s.address["admin"])
	for name, want := range map[string]bool{"b": true, "none": false, "new": false, "new.restoring": false, "empty/FORMAT": false} {
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A folder that no broker can run on is refused with one line, before a client is served.
func TestStoresRefusedAtStart(t *testing.T) {
	t.Chdir(t.TempDir())
	onDisk(t, "used")
	for name, text := range map[string]string{"newer/FORMAT": "penstock store 99\n", "foreign/MANIFEST": "x", "file": "x"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, name, text)
	}
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{"used", exitError, "storage used: in use by another process: a broker runs on this folder\n"},
		{"newer", exitUsage, "storage newer: written by a newer version of Penstock: its format is 99, this one knows up to 1: use that version, or another storage.path\n"},
		{"foreign", exitUsage, "storage foreign: not a Penstock store: it has no file FORMAT: is storage.path right?\n"},
		{"file", exitUsage, "storage file: mkdir file: not a directory: storage.path must be a folder that the broker may write to\n"},
		{"file/below", exitUsage, "storage file/below: mkdir file: not a directory: storage.path must be a folder that the broker may write to\n"},
	} {
		code, _, errs := command(t, "", "serve", "--listen", "tcp://127.0.0.1:0", "--admin-address", "", "--storage-path", c.path)
		if code != c.code || errs != "penstock: "+c.want {
			t.Errorf("%s: exit code %d, %q\nwant %d, %q", c.path, code, errs, c.code, c.want)
		}
	}
}

// A broker starts on a store with unreadable places. It says what it found, and of each queue what was lost, with numbers and
// the client's name, and where the bytes are. The check says the same of a folder, and that something is wrong.
func TestLossesAreTold(t *testing.T) {
	t.Chdir(t.TempDir())
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin, storeAt("data")}})
	for _, id := range []string{"first", "second"} {
		succeed(t, "", s.at(t, "tcp", "sub", "-t", "a/"+id, "-t", "b", "-q", "1", "-i", id, "-c", "-E")...)
	}
	for i, name := range []string{"a/first", "b", "a/second", "b", "b"} {
		succeed(t, strings.Repeat(fmt.Sprint("word", i), 3000), s.at(t, "tcp", "pub", "-t", name, "-q", "1", "-s")...)
	}
	s.stop(t)
	damage(t, "data/000001.vlog", "word0word0") // for the first
	damage(t, "data/000001.vlog", "word3word3") // for both
	if err := os.CopyFS("other", os.DirFS("data")); err != nil {
		t.Fatal(err)
	}

	s = start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin, storeAt("data")}})
	told := strings.Join(s.startup, "")
	for _, want := range []string{
		`msg="store is open" path=data sessions=2 queued=5 retained=0 bytes=`,
		`level=WARN msg="messages lost from the store" client=first session=\S+ count=2 first=1 last=3 reason="chunk`,
		`level=WARN msg="messages lost from the store" client=second session=\S+ count=1 first=3 last=3 reason="chunk`,
		`level=WARN msg="what could not be read is kept" path=data/unreadable files=`,
	} {
		if found := regexp.MustCompile(want).FindAllString(told, -1); len(found) != 1 {
			t.Errorf("%s: %d times in\n%s", want, len(found), told)
		}
	}
	if n := strings.Count(told, "lost"); n != 2 { // nobody tells it a second time
		t.Errorf("%d words of losses in\n%s", n, told)
	}
	succeed(t, "", s.at(t, "tcp", "pub", "-t", "b", "-q", "1", "-m", "after")...)

	code, out, errs := command(t, "", "storage", "check", "other")
	if code != exitError || !regexp.MustCompile(`^penstock: other: unreadable places: \d+\n$`).MatchString(errs) {
		t.Errorf("check: %d, %q", code, errs)
	}
	if !strings.Contains(out, `lost: client "first", session "`) || !strings.Contains(out, "\nkept: other/unreadable/") || strings.Contains(out, ": ok") {
		t.Errorf("check: %s", out)
	}
	succeed(t, "", "storage", "check", "other") // what is lost has been told, and is not there any more
}

// damage changes a byte where a file has text.
func damage(t *testing.T, name, text string) {
	t.Helper()
	before, after, found := strings.Cut(read(t, name), text)
	if !found {
		t.Fatalf("%s does not have %q", name, text)
	}
	write(t, name, before+strings.ToUpper(text)+after)
}

// After an fsync that failed nothing is acknowledged, whatever the version and QoS; the broker ends, and says why in one line
// and with its exit code. What it had acknowledged is there at the next start.
func TestAFailedFsyncEndsTheBroker(t *testing.T) {
	t.Chdir(t.TempDir())
	var broken atomic.Bool
	fsync := func() error {
		if broken.Load() {
			return errors.New("fsync 000001.vlog: input/output error")
		}
		return nil
	}
	s := start(t, source{
		flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin, storeAt("data")}, faults: badger.Faults{AfterCommit: fsync},
	})
	succeed(t, "", s.at(t, "tcp", "sub", "-t", "a", "-q", "2", "-i", "logger", "-c", "-E")...)
	succeed(t, "1\n2\n", s.at(t, "tcp", "pub", "-t", "a", "-q", "1", "-l")...)
	succeed(t, "3\n", s.at(t, "tcp", "pub", "-t", "a", "-q", "2", "-l", "-V", "311")...)
	broken.Store(true)
	var publishers sync.WaitGroup
	for i := range 8 {
		version, qos := []byte{client.MQTT311, client.MQTT5}[i%2], byte(1+i/2%2)
		publishers.Go(func() {
			n, err := s.publish(t, version, qos)
			if n > 0 || err == nil {
				t.Errorf("MQTT %d, QoS %d: %d acknowledged, %v", version, qos, n, err)
			}
		})
	}
	publishers.Wait()
	err := <-s.result
	s.result <- err
	want := "the store failed, and nothing was acknowledged since: storage: fsync 000001.vlog: input/output error"
	if err == nil || oneLine(err) != want || exitCode(err) != exitError {
		t.Errorf("exit code %d, %v\nwant 1, %s", exitCode(err), err, want)
	}
	for _, line := range s.linesWith("level=ERROR") {
		if !strings.Contains(line, "nothing is acknowledged any more") && !strings.Contains(line, `msg=stopping reason="the store failed"`) {
			t.Error("also logged:", line)
		}
	}

	s = start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin, storeAt("data")}})
	succeed(t, "", s.at(t, "tcp", "pub", "-t", "a", "-q", "1", "-m", "end")...)
	out := succeed(t, "", s.at(t, "tcp", "sub", "-t", "a", "-q", "2", "-i", "logger", "-c", "-W", "500ms")...)
	if !strings.HasPrefix(out, "1\n2\n3\n") || !strings.HasSuffix(out, "end\n") {
		t.Errorf("after the restart: %q", out)
	}
}

// A store that fails while nobody waits for it, here when it notes that a client has left, ends an idle broker too.
func TestAnIdleBrokerEndsWhenItsStoreFails(t *testing.T) {
	var broken atomic.Bool
	write := func() error {
		if broken.Load() {
			return errors.New("write 000001.vlog: input/output error")
		}
		return nil
	}
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0")}, faults: badger.Faults{BeforeCommit: write}})
	ctx, leave := context.WithTimeout(t.Context(), 20*time.Second)
	defer leave()
	_, err := client.Subscribe(ctx, client.Options{
		Endpoint: client.Endpoint{Scheme: "mqtt", Address: s.address["tcp"]}, Version: client.MQTT311, ClientID: "logger", Timeout: 20 * time.Second,
	}, client.Subscription{
		Filters: []client.Filter{{Filter: "a", QoS: 1}}, Handle: func(*client.Message) error { return nil },
		Ready: func() { broken.Store(true); leave() },
	})
	if err != nil || !broken.Load() {
		t.Fatal("the client did not come and go:", err)
	}
	select {
	case err := <-s.result:
		s.result <- err
		want := "the store failed, and nothing was acknowledged since: storage: write 000001.vlog: input/output error"
		if err == nil || oneLine(err) != want || exitCode(err) != exitError {
			t.Errorf("exit code %d, %v\nwant 1, %s", exitCode(err), err, want)
		}
	case <-time.After(20 * time.Second):
		t.Error("the broker goes on")
	}
}

// publish sends twenty messages with a window of ten and returns how many were acknowledged.
func (s *started) publish(t *testing.T, version, qos byte) (int, error) {
	o := client.Options{ // paho may sit out the timeout when its connection ends
		Endpoint: client.Endpoint{Scheme: "mqtt", Address: s.address["tcp"]}, Version: version, Clean: true, Timeout: 3 * time.Second,
	}
	return client.Publish(t.Context(), o, client.Publication{
		Message: client.Message{Topic: "a", QoS: qos}, Source: client.Lines(strings.NewReader(strings.Repeat("late\n", 20))), Window: 10,
	})
}

// linesWith takes what is left of the log of a broker that ended.
func (s *started) linesWith(text string) (found []string) {
	for {
		select {
		case line := <-s.lines:
			if strings.Contains(line, text) {
				found = append(found, line)
			}
		default:
			return found
		}
	}
}
