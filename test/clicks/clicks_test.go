package clicks

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/binary"
	"github.com/penstockmq/penstock/test/setting"
)

// workVariable makes the test program a worker: its name, broker, channel and folder with spaces between.
const workVariable = "PENSTOCK_CLICKS_WORK"

// TestMain runs the tests, or a worker.
func TestMain(m *testing.M) {
	if what := strings.Fields(os.Getenv(workVariable)); len(what) == 4 {
		fmt.Fprintln(os.Stderr, work(what[0], what[1], what[2], what[3]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A case has three channels of the topic clicks: two with workers, one that is archived.
const (
	topic        = "clicks"
	archive      = "archive"
	workersEach  = 3
	killPauseMax = 600 * time.Millisecond
)

// windows are how many messages a worker of a channel may have and not have acknowledged. One that has each group of them synced takes more.
var windows = map[string]int{"metrics": window, "spam": window, archive: 1000}

var channels = []string{"metrics", "spam", archive}

// Of a million messages on one topic every channel gets each, whatever happens to the workers.
func TestClicks(t *testing.T) {
	t.Parallel()
	count := setting.Count(t, "CLICKS", 20_000)
	c := &stage{T: t, rng: setting.Random(t), program: build(t), folder: t.TempDir(), died: map[string]bool{}}
	c.serve()
	for _, channel := range channels {
		for range workersEach {
			c.hire(channel)
		}
	}
	fed := c.feed(count)
	kills := c.killUntil(func() bool { return closed(fed) && c.emptied(false) })
	c.emptied(true)
	c.dismiss()
	for _, channel := range channels {
		copies, wrong := judge(c.lives(channel), windows[channel], count)
		for _, w := range wrong {
			t.Errorf("%s: %s", channel, w)
		}
		t.Logf("%s: %d messages, %d missing or wrong, %d twice after %d kills of workers", channel, count, len(wrong), copies, kills[channel])
	}
}

// A stage is where the case is played.
type stage struct {
	*testing.T
	rng     *rand.Rand
	program string
	folder  string
	address string

	workers []*worker
	hired   int
	died    map[string]bool // journals of workers that were killed
}

// A worker is one process.
type worker struct {
	*exec.Cmd
	channel string
	journal string // what the names of its files begin with
	log     binary.Log
}

func (c *stage) path(name string) string { return filepath.Join(c.folder, name) }

// start starts a process that ends with the test.
func (c *stage) start(cmd *exec.Cmd) {
	c.Helper()
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if cmd.ProcessState == nil {
			err := cmd.Process.Kill()
			if werr := cmd.Wait(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				c.Error(err, werr)
			}
		}
	})
}

// hire starts a worker of a channel.
func (c *stage) hire(channel string) {
	c.hired++
	id := fmt.Sprint("w", c.hired)
	w := &worker{channel: channel, journal: channel + "." + id}
	if channel == archive {
		w.Cmd = exec.Command(c.program, "archive", "--url", "mqtt://"+c.address, "--channel", channel, "--output-dir", c.path(""),
			"-i", id, "--filename-format", archive+".<ID>.log", "--rotate-size", "200kB", "--max-in-flight", strconv.Itoa(windows[archive]))
	} else {
		w.Cmd = exec.Command(os.Args[0])
		w.Env = append(os.Environ(), workVariable+"="+strings.Join([]string{id, c.address, channel, c.folder}, " "))
	}
	w.Stderr = &w.log
	c.start(w.Cmd)
	c.workers = append(c.workers, w)
}

// kill ends a worker without warning and hires another.
func (c *stage) kill(i int) {
	w := c.workers[i]
	if err := w.Process.Kill(); err != nil {
		c.Fatal(err, w.log.String())
	}
	if err := w.Wait(); w.ProcessState.ExitCode() != -1 {
		c.Fatalf("a worker of %s had ended before: %v: %s", w.channel, err, w.log.String())
	}
	c.died[w.journal] = true
	c.workers = append(c.workers[:i], c.workers[i+1:]...)
	c.hire(w.channel)
}

// killUntil kills workers at random, and tells how many of each channel.
func (c *stage) killUntil(done func() bool) map[string]int {
	kills := map[string]int{}
	for !done() {
		<-time.After(time.Duration(c.rng.Int64N(int64(killPauseMax))))
		i := c.rng.IntN(len(c.workers))
		kills[c.workers[i].channel]++
		c.kill(i)
	}
	return kills
}

// dismiss ends the workers: archives finish their files, once they are at work.
func (c *stage) dismiss() {
	for _, w := range c.workers {
		end := w.Process.Kill
		if w.channel == archive {
			c.awaitWork(w)
			end = func() error { return w.Process.Signal(os.Interrupt) }
		}
		if err := end(); err != nil {
			c.Fatal(err, w.log.String())
		}
		if err := w.Wait(); w.channel == archive && err != nil {
			c.Errorf("%v: %s", err, w.log.String())
		}
	}
}

// awaitWork waits until an archive has subscribed.
func (c *stage) awaitWork(w *worker) {
	c.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for begun := time.Now(); !strings.Contains(w.log.String(), "msg=subscribed"); <-look.C {
		if time.Since(begun) > patience {
			c.Fatalf("an archive does not begin to work: %s", w.log.String())
		}
	}
}

// feed has "penstock pub" publish the numbers from 1 to count.
func (c *stage) feed(count int) (done <-chan struct{}) {
	lines, in := io.Pipe()
	go func() {
		var b []byte
		var err error
		for n := 1; n <= count && err == nil; n++ {
			if b = fmt.Appendln(b, n); len(b) > 1<<16 || n == count {
				_, err = in.Write(b)
				b = b[:0]
			}
		}
		in.CloseWithError(cmp.Or(err, io.EOF))
	}()
	pub := exec.Command(c.program, "pub", "--url", "mqtt://"+c.address, "-t", topic, "-q", "1", "-l")
	pub.Stdin = lines
	var said binary.Log
	pub.Stderr = &said
	c.start(pub)
	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := pub.Wait(); err != nil {
			c.Errorf("publishing: %v: %s", err, said.String())
		}
	}()
	return over
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func build(t *testing.T) string {
	t.Helper()
	program, err := binary.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return program
}
