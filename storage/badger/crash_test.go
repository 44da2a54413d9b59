package badger_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
	"github.com/penstockmq/penstock/test/setting"
)

const churnSessions = 5

// teller prints a line when a write is on disk.
type teller string

// Stored implements storage.Waiter.
func (w teller) Stored(err error) {
	if err == nil {
		fmt.Println(string(w))
	}
}

// playChurn writes and acknowledges until it is killed. It prints "sent id seq" and "done id seq" when that is on disk, and
// "doing id seq" before an acknowledgement is asked for. The payload of a message is its number. Each has a record of a hook with it that
// is the last number. Every fourth message is moved to another queue.
func playChurn(path string) error {
	s, err := badger.Open(badger.Restless(badger.Options{Path: path}))
	if err != nil {
		return err
	}
	for _, l := range s.Report().Losses {
		fmt.Println("lost", l)
	}
	v := &found{}
	if err := s.Load(v); err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Getenv(setting.SeedVariable), 10, 64)
	if err != nil {
		return err
	}
	next := make(map[string]uint64)
	for _, q := range v.queues {
		next[q.Session] = q.Next
	}
	var group sync.WaitGroup
	for i := range churnSessions {
		c := churner{
			store: s, id: fmt.Sprint(i), next: max(next[fmt.Sprint(i)], 1),
			random: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		group.Go(c.run)
	}
	group.Wait()
	return nil
}

// A churner writes to one session.
type churner struct {
	store  *badger.Store
	id     string
	next   uint64
	random *rand.Rand
}

func (c *churner) run() {
	s, id := c.store, c.id
	s.Update([]storage.Change{
		storage.PutSession{Session: storage.Session{ID: id}}, storage.PutSession{Session: storage.Session{ID: movedTo(id), Hook: "h"}},
	}, nil)
	for next := c.next; ; next++ {
		payload := fmt.Appendf(nil, "%d%s", next, strings.Repeat(" ", c.random.IntN(2000)))
		last := storage.PutHookRecord{Hook: "h", Key: id, Value: fmt.Append(nil, next)}
		e := &storage.Enqueue{
			Message: &packet.Message{Topic: "t", Payload: payload}, To: []storage.Entry{{Session: id, QoS: 1}}, Changes: []storage.Change{last},
		}
		s.Enqueue(e, teller(fmt.Sprint("sent ", id, " ", next)))
		if next <= 20 {
			continue
		}
		if seq := next - 20; seq%moveEvery == 0 {
			c.move(seq)
		}
		if seq := next - 20 + c.random.Uint64N(20); seq%moveEvery != 0 {
			w := newWaiter()
			fmt.Println("doing", id, seq)
			if _, err := s.Ack(storage.Ack{Session: id, Seq: seq, Progress: storage.Done}, w); err == nil && <-w == nil {
				fmt.Println("done", id, seq)
			}
		}
	}
}

// moveEvery is the distance between numbers that are moved, and not acknowledged otherwise.
const moveEvery = 4

func movedTo(id string) string { return "moved " + id }

// move sends a message on and is done with it in one step, as moving it to a dead letter does.
func (c *churner) move(seq uint64) {
	c.store.Enqueue(&storage.Enqueue{
		Message: &packet.Message{Topic: "t", Payload: fmt.Append(nil, seq)},
		To:      []storage.Entry{{Session: movedTo(c.id), QoS: 1}},
		Changes: []storage.Change{storage.Ack{Session: c.id, Seq: seq, Progress: storage.Done}},
	}, teller(fmt.Sprint("moved ", c.id, " ", seq)))
}

// A ledger is what a churning process told before it was killed.
type ledger struct {
	sent        map[string]uint64          // the last number on disk
	doing, done map[string]map[uint64]bool // acknowledgements asked for, and on disk
	moved       map[string]map[uint64]bool // moves on disk
}

func newLedger() *ledger {
	l := &ledger{
		sent: make(map[string]uint64), doing: make(map[string]map[uint64]bool), done: make(map[string]map[uint64]bool),
		moved: make(map[string]map[uint64]bool),
	}
	for i := range churnSessions {
		id := fmt.Sprint(i)
		l.doing[id], l.done[id], l.moved[id] = make(map[uint64]bool), make(map[uint64]bool), make(map[uint64]bool)
	}
	return l
}

func (l *ledger) read(t *testing.T, r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) != 3 {
			t.Errorf("the process said %q", lines.Text())
			continue
		}
		seq, _ := strconv.ParseUint(words[2], 10, 64)
		switch words[0] {
		case "sent":
			l.sent[words[1]] = max(l.sent[words[1]], seq)
		case "doing":
			l.doing[words[1]][seq] = true
		case "done":
			l.done[words[1]][seq] = true
		case "moved":
			l.moved[words[1]][seq] = true
		default:
			t.Errorf("the process said %q", lines.Text())
		}
	}
}

// check compares a store that was killed with what it had promised.
func (l *ledger) check(t *testing.T, s *badger.Store) {
	t.Helper()
	for _, loss := range s.Report().Losses {
		t.Errorf("reported: %v", loss)
	}
	v := &found{hooks: make(map[string]string)}
	if err := s.Load(v); err != nil {
		t.Fatal(err)
	}
	for i := range churnSessions {
		id := fmt.Sprint(i)
		there := make(map[uint64]bool)
		l.visit(t, s, id, func(e storage.Entry, payload string) {
			there[e.Seq] = true
			if payload != fmt.Sprint(e.Seq) {
				t.Errorf("session %s: number %d is message %s", id, e.Seq, payload)
			}
		})
		l.checkMoves(t, s, id, there)
		for seq := uint64(1); seq <= l.sent[id]; seq++ {
			if l.done[id][seq] && there[seq] {
				t.Errorf("session %s: number %d came back", id, seq)
			}
			if !l.doing[id][seq] && !there[seq] && seq%moveEvery != 0 {
				t.Errorf("session %s: number %d is lost", id, seq)
			}
		}
	}
	for _, q := range v.queues {
		if last := fmt.Sprint(q.Next - 1); v.hooks[q.Session] != last && !strings.HasPrefix(q.Session, movedTo("")) && q.Next > 1 {
			t.Errorf("session %s: the last number is %s, and the record that was written with it says %s", q.Session, last, v.hooks[q.Session])
		}
	}
}

// visit reads a whole queue.
func (l *ledger) visit(t *testing.T, s *badger.Store, id string, take func(e storage.Entry, payload string)) {
	t.Helper()
	all := storage.ReadLimit{Entries: 1 << 30, Bytes: 1 << 40}
	if err := s.Read(id, 1, all, func(e storage.Entry, _ storage.Progress, m *packet.Message) bool {
		take(e, strings.TrimRight(string(m.Payload), " "))
		return true
	}); err != nil {
		t.Error(err)
	}
}

// checkMoves compares what is in a queue with what was moved from it: each number is in one of the two.
func (l *ledger) checkMoves(t *testing.T, s *badger.Store, id string, there map[uint64]bool) {
	t.Helper()
	came := make(map[uint64]bool)
	l.visit(t, s, movedTo(id), func(e storage.Entry, payload string) {
		seq, _ := strconv.ParseUint(payload, 10, 64)
		if came[seq] || there[seq] {
			t.Errorf("session %s: number %d was moved, and is there twice", id, seq)
		}
		came[seq] = true
	})
	for seq := uint64(moveEvery); seq <= l.sent[id]; seq += moveEvery {
		if !came[seq] && !there[seq] {
			t.Errorf("session %s: number %d was moved and is nowhere", id, seq)
		}
		if !came[seq] && l.moved[id][seq] {
			t.Errorf("session %s: number %d was moved and is not where it should be", id, seq)
		}
	}
}

// Killed at any moment, also while it copies, deletes and collects, a store has what it acknowledged.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds")
	}
	path := t.TempDir()
	seed := setting.Seed(t) // the moments of the kills differ by what the machine does
	random := rand.New(rand.NewPCG(seed, 0))
	l := newLedger()
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), roleVariable+"=churn", pathVariable+"="+path, fmt.Sprint(setting.SeedVariable, "=", seed+uint64(round)))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Duration(200+random.IntN(600))*time.Millisecond, func() { cmd.Process.Kill() })
		l.read(t, out)
		cmd.Wait()
		s, err := badger.Open(badger.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		l.check(t, s)
		s.Close()
		if t.Failed() {
			t.Fatalf("after round %d", round)
		}
	}
	t.Logf("numbers on disk: %v", l.sent)
}
