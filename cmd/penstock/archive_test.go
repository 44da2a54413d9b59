package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/client"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/test/setting"
)

// asProgram, in the environment, makes the tests' binary behave as the program.
const asProgram = "PENSTOCK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// A program is the program as a process of its own.
type program struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
}

func launch(t *testing.T, args ...string) *program {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.Command(binary, args...)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stderr = &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // it may have ended
	return p
}

// kill ends the program as kill -9 does.
func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatalf("%v: %s", err, p.stderr.String())
	}
	if err := p.cmd.Wait(); p.cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("it had ended before: %v: %s", err, p.stderr.String())
	}
}

func (p *program) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, p.stderr.String())
	}
}

// archived counts the messages in the files of a folder, those of files that are not finished included.
func archived(t *testing.T, folder string, format string) (messages map[string]int, unfinished int) {
	t.Helper()
	messages = map[string]int{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			continue // it was finished meanwhile
		}
		done := strings.HasSuffix(entry.Name(), ".log") || strings.HasSuffix(entry.Name(), ".gz")
		if !done {
			unfinished++
		}
		if strings.Contains(entry.Name(), ".gz") {
			data = unpack(t, data, done)
		}
		for line := range strings.Lines(string(data)) {
			messages[payloadOf(t, strings.TrimSuffix(line, "\n"), format, done)]++
		}
	}
	return messages, unfinished
}

func payloadOf(t *testing.T, line, format string, done bool) string {
	t.Helper()
	if format != "json" {
		return line
	}
	var m struct{ Payload string }
	if err := json.Unmarshal([]byte(line), &m); err != nil && done {
		t.Errorf("%q: %v", line, err)
	}
	return m.Payload
}

// unpack unpacks a file as far as it goes; a finished one must go to its end.
func unpack(t *testing.T, data []byte, done bool) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		if done {
			t.Error(err)
		}
		return nil
	}
	text, err := io.ReadAll(z)
	if err != nil && done {
		t.Error(err)
	}
	return text
}

// Archives are killed again and again while messages come. In the end every message is in a finished
// file, whole; only those that were not acknowledged when a process died may be there twice.
func TestArchivesThatAreKilled(t *testing.T) {
	for _, c := range []struct {
		name, filter, format string
		workers              int
		args                 []string
	}{
		{"one, JSON, compressed", "t", "json", 1, []string{"--gzip", "--rotate-size", "5kB"}},
		{"two that share, lines", "$share/g/t", "raw", 2, []string{"--rotate-size", "20kB", "--sync-every", "50"}},
		{"one with MQTT 3.1.1", "t", "json", 1, []string{"-V", "311", "--rotate-interval", "100ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
			folder, random := t.TempDir(), setting.Random(t)
			command := func(worker int) []string {
				args := append([]string{"-t", c.filter, "--output-dir", folder, "--format", c.format, "-c", "-i", fmt.Sprint("archive", worker)}, c.args...)
				return s.at(t, "tcp", "archive", args...)
			}
			var workers []*program
			for w := range c.workers {
				succeed(t, "", s.at(t, "tcp", "sub", "-t", c.filter, "-q", "1", "-c", "-i", fmt.Sprint("archive", w), "-E")...)
				workers = append(workers, launch(t, command(w)...))
			}
			const count = 6000
			published := feed(t, s, count)
			for range 5 {
				before, _ := archived(t, folder, c.format)
				waitArchived(t, folder, c.format, min(len(before)+1, count)) // one at least is at work
				<-time.After(time.Duration(random.IntN(100)) * time.Millisecond)
				w := random.IntN(c.workers)
				workers[w].kill(t)
				workers[w] = launch(t, command(w)...)
			}
			if err := <-published; err != nil {
				t.Fatal(err)
			}
			waitArchived(t, folder, c.format, count)
			for _, w := range workers {
				w.end(t)
			}
			got, unfinished := archived(t, folder, c.format)
			if len(got) != count || unfinished > 0 {
				t.Errorf("%d messages of %d, %d files unfinished", len(got), count, unfinished)
			}
			copies := 0
			for _, n := range got {
				copies += n - 1
			}
			t.Logf("%d messages are there twice", copies)
		})
	}
}

// feed publishes count different messages in the background.
func feed(t *testing.T, s *started, count int) <-chan error {
	t.Helper()
	endpoint, _, _, err := client.ParseURL("mqtt://" + s.address["tcp"])
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for i := range count {
		fmt.Fprintf(&lines, "message %d\n", i)
	}
	result := make(chan error, 1)
	go func() {
		_, err := client.Publish(t.Context(), client.Options{
			Endpoint: endpoint, Version: client.MQTT5, ClientID: "feed", Clean: true, Timeout: 20 * time.Second,
		}, client.Publication{
			Message: client.Message{Topic: "t", QoS: 1}, Window: 100, Source: client.Paced(6000, client.Lines(strings.NewReader(lines.String()))),
		})
		result <- err
	}()
	return result
}

func waitArchived(t *testing.T, folder, format string, count int) {
	t.Helper()
	patience := time.After(60 * time.Second)
	for {
		got, _ := archived(t, folder, format)
		if len(got) >= count {
			return
		}
		select {
		case <-patience:
			t.Fatalf("%d of %d messages were archived", len(got), count)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// SIGHUP finishes the file that is open, and the next message begins another.
func TestArchiveRotatesOnSignal(t *testing.T) {
	s := start(t, source{flags: []configs.Flag{listenAt("tcp://127.0.0.1:0"), anyAdmin}})
	folder := t.TempDir()
	p := launch(t, s.at(t, "tcp", "archive", "-t", "t", "--output-dir", folder, "--filename-format", "f.log", "-c", "-i", "a")...)
	send := func(payload string, want int) {
		succeed(t, "", s.at(t, "tcp", "pub", "-t", "t", "-q", "1", "-m", payload)...)
		waitArchived(t, folder, "raw", want)
	}
	for waiting := true; waiting; { // until the archive has subscribed
		succeed(t, "", s.at(t, "tcp", "pub", "-t", "t", "-q", "1", "-m", "one")...)
		got, _ := archived(t, folder, "raw")
		waiting = len(got) == 0
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for waiting := true; waiting; {
		_, err := os.Stat(filepath.Join(folder, "f.log"))
		waiting = err != nil
	}
	send("two", 2)
	p.end(t)
	second, err := os.ReadFile(filepath.Join(folder, "f-000001.log"))
	if err != nil || !strings.HasSuffix(string(second), "two\n") {
		t.Errorf("got %q, %v", second, err)
	}
}
