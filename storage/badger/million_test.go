package badger_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
)

// roleVariable makes the test binary play a process that is killed or measured.
const (
	roleVariable = "PENSTOCK_BADGER_ROLE"
	pathVariable = "PENSTOCK_BADGER_PATH"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		if err := roles[role](os.Getenv(pathVariable)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Each role prints lines of a name and a number.
var roles = map[string]func(path string) error{
	"idle":  playIdle,
	"fill":  playFill,
	"drain": playDrain,
	"churn": playChurn,
}

const (
	million     = 1_000_000
	millionSize = 200
)

// play runs a role in a process of its own and returns what it printed.
func play(t *testing.T, role, path string) map[string]int64 {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, pathVariable+"="+path)
	out, err := cmd.Output()
	t.Logf("%s:\n%s", role, out)
	if err != nil && !strings.Contains(err.Error(), "killed") {
		t.Fatalf("%s: %v", role, err)
	}
	found := make(map[string]int64)
	for scanner := bufio.NewScanner(bytes.NewReader(out)); scanner.Scan(); {
		name, number, _ := strings.Cut(scanner.Text(), " ")
		found[name], _ = strconv.ParseInt(number, 10, 64)
	}
	return found
}

// memory prints what the process has of it, in kB.
func memory(prefix string) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		if name == "RssAnon" || name == "VmRSS" {
			fmt.Println(prefix+name, strings.Fields(rest)[0])
		}
	}
}

func playIdle(path string) error {
	s, err := badger.Open(badger.Options{Path: path})
	if err != nil {
		return err
	}
	memory("idle")
	return s.Close()
}

// playFill writes a million messages, and is killed.
func playFill(path string) error {
	s, err := badger.Open(badger.Options{Path: path})
	if err != nil {
		return err
	}
	put := storage.PutSession{Session: storage.Session{ID: "a"}}
	if _, err := s.Update([]storage.Change{put}, nil); err != nil {
		return err
	}
	w := &window{slots: make(chan struct{}, 1000)}
	m := message(millionSize - len("bench/topic"))
	begun := time.Now()
	for range million {
		w.slots <- struct{}{}
		e := &storage.Enqueue{Message: m, To: []storage.Entry{{Session: "a", QoS: 1}}}
		if _, err := s.Enqueue(e, slot{window: w}); err != nil {
			return err
		}
		w.mu.Lock()
		w.took = w.took[:0]
		w.mu.Unlock()
	}
	w.drain()
	fmt.Println("fill-ms", time.Since(begun).Milliseconds())
	memory("filled")
	fmt.Printf("%+v\n", s.Stats())
	p, _ := os.FindProcess(os.Getpid())
	return p.Kill()
}

// playDrain opens what was killed, reads and acknowledges everything and waits for the disk to be given back.
func playDrain(path string) error {
	begun := time.Now()
	s, err := badger.Open(badger.Options{Path: path})
	if err != nil {
		return err
	}
	if err := s.Load(nobody{}); err != nil {
		return err
	}
	fmt.Println("open-ms", time.Since(begun).Milliseconds())
	fmt.Println("lost", len(s.Report().Losses))
	memory("opened")
	begun = time.Now()
	count, err := drain(s)
	if err != nil {
		return err
	}
	fmt.Println("drained", count)
	fmt.Println("drain-ms", time.Since(begun).Milliseconds())
	memory("drained")
	begun = time.Now()
	for s.Stats().DiskBytes > 50<<20 && time.Since(begun) < time.Minute {
		runtime.Gosched()
		<-time.After(100 * time.Millisecond)
	}
	fmt.Println("back-ms", time.Since(begun).Milliseconds())
	fmt.Println("disk", s.Stats().DiskBytes)
	memory("back")
	fmt.Printf("%+v\n", s.Stats())
	return s.Close()
}

// drain reads a queue from its head on and acknowledges each message.
func drain(s *badger.Store) (count int, err error) {
	for next := uint64(1); ; {
		before := next
		err := s.Read("a", next, storage.ReadLimit{Entries: 1000, Bytes: 1 << 20}, func(e storage.Entry, _ storage.Progress, _ *packet.Message) bool {
			next = e.Seq + 1
			count++
			return true
		})
		if err != nil || next == before {
			return count, err
		}
		for seq := before; seq < next; seq++ {
			for _, p := range []storage.Progress{storage.Sent, storage.Done} {
				if _, err := s.Ack(storage.Ack{Session: "a", Seq: seq, Progress: p}, nil); err != nil {
					return count, err
				}
			}
		}
	}
}

// nobody is a Visitor that wants nothing.
type nobody struct{}

func (nobody) Session(storage.Session) error           { return nil }
func (nobody) Subscription(storage.Subscription) error { return nil }
func (nobody) Received(storage.Received) error         { return nil }
func (nobody) Queue(storage.Queue) error               { return nil }
func (nobody) Retained(*packet.Message) error          { return nil }
func (nobody) Counters(map[string]uint64) error        { return nil }
func (nobody) HookRecord(_, _ string, _ []byte) error  { return nil }

// A million messages stay on disk, not in memory; they are there soon after a kill, and their room comes back while
// the store runs.
func TestMillion(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("takes half a minute, and reads /proc")
	}
	path := t.TempDir()
	idle := play(t, "idle", t.TempDir())
	fill := play(t, "fill", path)
	after := play(t, "drain", path)
	limits := []struct {
		name       string
		value, max int64
	}{
		{"losses", after["lost"], 0},
		{"disk after the drain", after["disk"], 50 << 20},
		// The race detector needs memory of its own: what follows holds without it.
		{"RSS of an empty store, kB", idle["idleVmRSS"], 40 << 10},
		{"anonymous memory when filled, kB", fill["filledRssAnon"], 100 << 10},
		{"anonymous memory when opened again, kB", after["openedRssAnon"], 100 << 10},
		{"anonymous memory when drained, kB", after["drainedRssAnon"], 100 << 10},
	}
	if raceEnabled {
		limits = limits[:2]
	}
	for _, limit := range limits {
		if limit.value > limit.max {
			t.Errorf("%s: %d, at most %d", limit.name, limit.value, limit.max)
		}
	}
	if after["drained"] != million {
		t.Errorf("%d messages came back", after["drained"])
	}
}
