package badger_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
)

func send(t testing.TB, s storage.Store, payload string, sessions ...string) error {
	t.Helper()
	e := &storage.Enqueue{Message: &packet.Message{Topic: "t", Payload: []byte(payload), QoS: 1}}
	for _, id := range sessions {
		e.To = append(e.To, storage.Entry{Session: id, QoS: 1})
	}
	w := newWaiter()
	if pending, err := s.Enqueue(e, w); err != nil || !pending {
		return err
	}
	return w.wait(t)
}

func mustSend(t testing.TB, s storage.Store, payload string, sessions ...string) {
	t.Helper()
	if err := send(t, s, payload, sessions...); err != nil {
		t.Fatal(err)
	}
}

func ack(t testing.TB, s storage.Store, id string, seq uint64) error {
	t.Helper()
	w := newWaiter()
	if _, err := s.Ack(storage.Ack{Session: id, Seq: seq, Progress: storage.Done}, w); err != nil {
		return err
	}
	return w.wait(t)
}

func payloads(t testing.TB, s storage.Store, id string) []string {
	t.Helper()
	var list []string
	err := s.Read(id, 1, storage.ReadLimit{Entries: 1 << 30, Bytes: 1 << 40}, func(_ storage.Entry, _ storage.Progress, m *packet.Message) bool {
		list = append(list, string(m.Payload))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// After an error of writing or of fsync nothing is acknowledged, and what was before is there.
func TestFailureIsFinal(t *testing.T) {
	broken := errors.New("input/output error")
	for name, faults := range map[string]func(fail *atomic.Bool) badger.Faults{
		"write": func(fail *atomic.Bool) badger.Faults { return badger.Faults{BeforeCommit: failing(fail, broken)} },
		"fsync": func(fail *atomic.Bool) badger.Faults { return badger.Faults{AfterCommit: failing(fail, broken)} },
	} {
		t.Run(name, func(t *testing.T) {
			var fail atomic.Bool
			options := badger.Options{Path: t.TempDir(), Faults: faults(&fail)}
			s := open(t, options)
			put(t, s, "a")
			mustSend(t, s, "kept", "a")
			fail.Store(true)
			if err := send(t, s, "failed", "a"); !errors.Is(err, broken) {
				t.Errorf("the write that failed: %v", err)
			}
			fail.Store(false) // the disk seems well again: too late
			if err := send(t, s, "later", "a"); !errors.Is(err, broken) || errors.Is(err, storage.ErrFull) {
				t.Errorf("a later write: %v", err)
			}
			if err := ack(t, s, "a", 1); !errors.Is(err, broken) {
				t.Errorf("a later acknowledgement: %v", err)
			}
			if err := s.Close(); !errors.Is(err, broken) {
				t.Errorf("Close: %v", err)
			}
			found := payloads(t, open(t, badger.Options{Path: options.Path}), "a")
			if len(found) == 0 || found[0] != "kept" || slices.Contains(found, "later") {
				t.Errorf("found %q", found)
			}
		})
	}
}

// A failure that nobody waits for is told all the same, once; and to whoever asks later.
func TestFailureIsTold(t *testing.T) {
	broken := errors.New("input/output error")
	var fail atomic.Bool
	s := open(t, badger.Options{Path: t.TempDir(), Faults: badger.Faults{AfterCommit: failing(&fail, broken)}})
	told := make(chan error, 10)
	s.OnFailure(func(err error) { told <- err })
	fail.Store(true)
	if _, err := s.Update([]storage.Change{storage.PutCounters{Values: map[string]uint64{"n": 1}}}, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-told:
		if !errors.Is(err, broken) {
			t.Errorf("told %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing was told")
	}
	s.OnFailure(func(err error) { told <- err })
	if err := <-told; !errors.Is(err, broken) || len(told) > 0 {
		t.Errorf("told later %v, and %d more", err, len(told))
	}
}

func failing(fail *atomic.Bool, err error) func() error {
	return func() error {
		if fail.Load() {
			return err
		}
		return nil
	}
}

// A full disk refuses messages, takes acknowledgements and deletions, and is forgotten when there is room.
func TestFull(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	s := open(t, badger.Options{Path: t.TempDir(), Reserve: 1 << 20, Faults: badger.Faults{
		Free: func() (int64, error) { return free.Load(), nil },
	}})
	put(t, s, "a")
	mustSend(t, s, "one", "a")
	free.Store(900 << 10)
	until(t, func() bool { return errors.Is(send(t, s, "more", "a"), storage.ErrFull) })
	subscription := storage.PutSubscription{Subscription: storage.Subscription{Session: "a", Filter: "f"}}
	if _, err := s.Update([]storage.Change{subscription}, nil); !errors.Is(err, storage.ErrFull) {
		t.Errorf("a new subscription: %v", err)
	}
	if err := ack(t, s, "a", 1); err != nil {
		t.Errorf("acknowledgement: %v", err)
	}
	update(t, s, storage.DeleteSubscription{Session: "a", Filter: "t"}, storage.PutSession{Session: storage.Session{ID: "a"}})
	if found := payloads(t, s, "a"); slices.Contains(found, "one") {
		t.Errorf("found %q", found)
	}
	if s.Stalled() {
		t.Error("stalled, though there is room for acknowledgements")
	}
	free.Store(1 << 30)
	until(t, func() bool { return send(t, s, "again", "a") == nil })
}

// A disk that somebody else filled is noticed before anything is written: who asks hears of it, a new session and a new subscription
// are refused at once, and nothing waits for room.
func TestStalled(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	s := open(t, badger.Options{Path: t.TempDir(), Reserve: 1 << 20, Faults: badger.Faults{
		Free: func() (int64, error) { return free.Load(), nil },
	}})
	put(t, s, "a")
	free.Store(200 << 10)
	if !s.Stalled() {
		t.Error("not stalled on a disk without room")
	}
	subscription := storage.PutSubscription{Subscription: storage.Subscription{Session: "a", Filter: "f"}}
	if _, err := s.Update([]storage.Change{subscription}, newWaiter()); !errors.Is(err, storage.ErrFull) {
		t.Errorf("a new subscription: %v", err)
	}
	until(t, func() bool { return s.Stats().Writes == 0 }) // a write that was told of is counted for a moment longer
	free.Store(1 << 30)
	if s.Stalled() {
		t.Error("still stalled")
	}
	until(t, func() bool { return send(t, s, "again", "a") == nil })
}

// A disk without any room is refused at the start, in words: files mapped into memory would end the process.
func TestNoRoomToStart(t *testing.T) {
	free := int64(16 << 10)
	options := badger.Options{Path: t.TempDir(), Reserve: 1 << 20, Faults: badger.Faults{
		Free: func() (int64, error) { return free, nil },
	}}
	if _, err := badger.Open(options); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fmt.Sprint(err), "262144 are needed") {
		t.Errorf("got %v", err)
	}
	free = 1 << 30
	open(t, options)
}

// Closed on a disk without any room, a store is left as after a crash: Badger would have to write. Nothing is lost.
func TestCloseWithoutRoom(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 30)
	path := t.TempDir()
	s := open(t, badger.Options{Path: path, Reserve: 1 << 20, Faults: badger.Faults{
		Free: func() (int64, error) { return free.Load(), nil },
	}})
	put(t, s, "a")
	mustSend(t, s, "one", "a")
	free.Store(0)
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := os.Stat(filepath.Join(path, "00001.mem")); err != nil {
		t.Errorf("Badger has written its tables: %v", err)
	}
	after := t.TempDir()
	copyFolder(t, path, after)
	same(t, "after that", payloads(t, open(t, badger.Options{Path: after}), "a"), []string{"one"})
}

// until repeats a write, each of which takes the disk some time, until it does what is expected.
func until(t *testing.T, done func() bool) {
	t.Helper()
	for begun := time.Now(); !done(); {
		if time.Since(begun) > 30*time.Second {
			t.Fatal("it never came to that")
		}
		<-time.After(time.Millisecond)
	}
}

// MaxBytes bounds the folder.
func TestMaxBytes(t *testing.T) {
	s := open(t, badger.Options{Path: t.TempDir(), MaxBytes: 64 << 20, Sync: badger.SyncNever})
	put(t, s, "a")
	payload := strings.Repeat("x", 1<<20)
	until(t, func() bool { return errors.Is(send(t, s, payload, "a"), storage.ErrFull) })
	if size := s.Stats().DiskBytes; size > 160<<20 {
		t.Errorf("%d bytes", size)
	}
	update(t, s, storage.DeleteSession{ID: "a"})
	put2 := func() bool {
		_, err := s.Update([]storage.Change{storage.PutSession{Session: storage.Session{ID: "b"}}}, nil)
		return err == nil
	}
	until(t, put2)
}

// Folders that are in use, foreign, or of a newer version are refused with a reason.
func TestRefusedFolders(t *testing.T) {
	used := t.TempDir()
	open(t, badger.Options{Path: used})
	newer := t.TempDir()
	write(t, filepath.Join(newer, "FORMAT"), "penstock store 2\n")
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "MANIFEST"), "anything")
	for _, c := range []struct {
		path string
		want error
	}{{used, badger.ErrInUse}, {newer, badger.ErrNewer}, {foreign, badger.ErrForeign}} {
		_, err := badger.Open(badger.Options{Path: c.path})
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.path) {
			t.Errorf("got %v, want %v", err, c.want)
		}
	}
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyFolder copies the files of a store as a crash would leave them.
func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "LOCK" && !e.IsDir() {
			copyFile(t, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
		}
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
}

// cutStore is a folder as a crash left it, with small messages in the tables' log and large ones in the value log.
func cutStore(t *testing.T) (path string, sent []string) {
	t.Helper()
	running := t.TempDir()
	s := open(t, badger.Options{Path: running, Sync: badger.SyncNever})
	put(t, s, "a", "b")
	for i := range 60 {
		payload := fmt.Sprintf("%04d", i)
		if i%3 == 0 {
			payload += strings.Repeat("x", 5000)
		}
		mustSend(t, s, payload, "a", "b")
		sent = append(sent, payload)
	}
	path = t.TempDir()
	copyFolder(t, running, path)
	return path, sent
}

// Cut at any byte, the newest files leave a store that opens: what it has is in order and whole, and what it knows to have lost it says.
func TestTruncated(t *testing.T) {
	crashed, sent := cutStore(t)
	for _, name := range []string{"00001.mem", "000001.vlog"} {
		data, err := os.ReadFile(filepath.Join(crashed, name))
		if err != nil {
			t.Fatal(err)
		}
		used := len(bytes.TrimRight(data, "\x00"))
		for _, at := range []int{0, 1, 19, 20, 21, used / 5, used / 3, used / 2, used * 2 / 3, used * 4 / 5, used - 1000, used - 1, used} {
			t.Run(fmt.Sprint(name, "/", at), func(t *testing.T) { openCut(t, crashed, name, at, sent) })
		}
	}
}

func openCut(t *testing.T, crashed, name string, at int, sent []string) {
	path := t.TempDir()
	copyFolder(t, crashed, path)
	if err := os.Truncate(filepath.Join(path, name), int64(at)); err != nil {
		t.Fatal(err)
	}
	s := open(t, badger.Options{Path: path})
	v := &found{}
	if err := s.Load(v); err != nil {
		t.Fatal(err)
	}
	lost := make(map[string]int)
	for _, l := range s.Report().Losses {
		lost[l.Session] += l.Count
	}
	for _, q := range v.queues {
		got := payloads(t, s, q.Session)
		if len(got) != q.Len || len(got)+lost[q.Session] != int(q.Next-1) {
			t.Errorf("%s: %d read, %d told, %d lost, next %d", q.Session, len(got), q.Len, lost[q.Session], q.Next)
		}
		rest := sent
		for _, payload := range got {
			i := slices.Index(rest, payload)
			if i < 0 {
				t.Fatalf("%s: %.10q is not a message, or out of order", q.Session, payload)
			}
			rest = rest[i+1:]
		}
	}
	for _, q := range v.queues {
		mustSend(t, s, "after", q.Session)
	}
}

// found keeps what Load tells of queues.
type found struct {
	nobody
	queues   []storage.Queue
	sessions []storage.Session
	hooks    map[string]string // values of hooks' records, by key; nil if nobody wants them
}

// Session implements storage.Visitor.
func (f *found) Session(r storage.Session) error {
	f.sessions = append(f.sessions, r)
	return nil
}

// HookRecord implements storage.Visitor.
func (f *found) HookRecord(_, key string, value []byte) error {
	if f.hooks != nil {
		f.hooks[key] = string(value)
	}
	return nil
}

// hookOf is the hook whose queue it is; "?" if it was not found.
func (f *found) hookOf(id string) string {
	for _, r := range f.sessions {
		if r.ID == id {
			return r.Hook
		}
	}
	return "?"
}

// Queue implements storage.Visitor.
func (f *found) Queue(q storage.Queue) error {
	f.queues = append(f.queues, q)
	return nil
}

// A chunk with a wrong byte costs exactly its messages: the report names queue and numbers, the bytes are kept, and the
// next start has nothing to report.
func TestDamagedChunk(t *testing.T) {
	running := t.TempDir()
	s := open(t, badger.Options{Path: running})
	put(t, s, "a", "b")
	for i := range 5 {
		mustSend(t, s, fmt.Sprint(i, strings.Repeat("y", 5000)), "a")
		mustSend(t, s, fmt.Sprint("small ", i), "a", "b")
	}
	path := t.TempDir()
	copyFolder(t, running, path)
	name := filepath.Join(path, "000001.vlog")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("2yyyyyyyy"))
	if at < 0 {
		t.Fatal("the message is not where it is looked for")
	}
	data[at] ^= 1
	write(t, name, string(data))
	damaged := open(t, badger.Options{Path: path})
	report := damaged.Report()
	if len(report.Losses) != 1 || len(report.Aside) == 0 {
		t.Fatalf("report: %+v", report)
	}
	if l := report.Losses[0]; l.Session != "a" || l.Count != 1 || l.First != 5 || l.Last != 5 {
		t.Errorf("loss: %+v", l)
	}
	if got := payloads(t, damaged, "a"); len(got) != 9 {
		t.Errorf("%d messages left", len(got))
	}
	same(t, "the other queue", payloads(t, damaged, "b"), []string{"small 0", "small 1", "small 2", "small 3", "small 4"})
	mustSend(t, damaged, "after", "a")
	if err := damaged.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, badger.Options{Path: path}).Report(); len(again.Losses) > 0 {
		t.Errorf("reported again: %+v", again)
	}
}

// What expired goes without being asked for, and is told; what has time stays.
func TestExpiry(t *testing.T) {
	told := make(chan string, 10)
	s := open(t, badger.Options{Path: t.TempDir(), Expired: func(session string, count int, bytes int64) {
		told <- fmt.Sprint(session, " ", count, " ", bytes)
	}})
	put(t, s, "a", "b")
	soon := time.Now().Add(50 * time.Millisecond).UnixNano()
	later := time.Now().Add(time.Hour).UnixNano()
	for _, m := range []*packet.Message{
		{Topic: "t", Payload: []byte("soon"), Expires: soon}, {Topic: "t", Payload: []byte("later"), Expires: later},
		{Topic: "t", Payload: []byte("never")},
	} {
		w := newWaiter()
		s.Enqueue(&storage.Enqueue{Message: m, To: []storage.Entry{{Session: "a", QoS: 1}}}, w)
		if err := w.wait(t); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case got := <-told:
		if got != "a 1 5" {
			t.Errorf("told %q", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing expired")
	}
	same(t, "left", payloads(t, s, "a"), []string{"later", "never"})
}

// A backup taken while the store is written has everything that was acknowledged before, and restores to an equal store.
func TestBackup(t *testing.T) {
	s := open(t, badger.Options{Path: t.TempDir()})
	put(t, s, "a", "b")
	large := strings.Repeat("z", 5<<20)
	retained := storage.PutRetained{Message: &packet.Message{Topic: "r", Payload: []byte(large), Retain: true}}
	update(t, s, retained, storage.PutCounters{Values: map[string]uint64{"n": 7}},
		storage.PutSession{Session: storage.Session{ID: "q", Hook: "channel", ClientID: "orders"}},
		storage.PutHookRecord{Hook: "channel", Key: "k", Value: []byte("v")})
	mustSend(t, s, "queued", "q")
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
		mustSend(t, s, want[i], "a", "b")
	}
	if err := ack(t, s, "a", 1); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if err := s.Backup(&backup); err != nil {
		t.Fatal(err)
	}
	mustSend(t, s, "too late", "a")
	path := filepath.Join(t.TempDir(), "restored")
	if err := badger.Restore(bytes.NewReader(backup.Bytes()), path); err != nil {
		t.Fatal(err)
	}
	if report, err := badger.Check(path); err != nil || len(report.Losses) > 0 {
		t.Errorf("Check: %+v, %v", report, err)
	}
	restored := open(t, badger.Options{Path: path})
	same(t, "a", payloads(t, restored, "a"), want[1:])
	same(t, "b", payloads(t, restored, "b"), want)
	same(t, "q", payloads(t, restored, "q"), []string{"queued"})
	v := &found{hooks: make(map[string]string)}
	if err := restored.Load(v); err != nil || v.hooks["k"] != "v" || v.hookOf("q") != "channel" {
		t.Errorf("Load: %v, records %v, sessions %+v", err, v.hooks, v.sessions)
	}
	if st := restored.Stats(); st.Sessions != 2 || st.HookQueues != 1 {
		t.Errorf("%d sessions, %d queues of hooks", st.Sessions, st.HookQueues)
	}
	if err := badger.Restore(bytes.NewReader(backup.Bytes()), path); !errors.Is(err, badger.ErrNotEmpty) {
		t.Errorf("Restore over a store: %v", err)
	}
	for _, damage := range [][]byte{backup.Bytes()[:backup.Len()-5], backup.Bytes()[:backup.Len()/2], flipped(backup.Bytes(), 100), nil} {
		path := filepath.Join(t.TempDir(), "damaged")
		if err := badger.Restore(bytes.NewReader(damage), path); err == nil {
			t.Error("a damaged backup was restored")
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("a failed Restore leaves something: %v", err)
		}
	}
}

func flipped(data []byte, at int) []byte {
	data = slices.Clone(data)
	data[at] ^= 0x10
	return data
}
