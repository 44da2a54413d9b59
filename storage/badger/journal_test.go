package badger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// A large write is there whole or not at all, wherever in its journal the process dies. It has records of every kind, in number and in size more
// than a transaction takes.
func TestJournal(t *testing.T) {
	for name, crash := range map[string]struct {
		at    func(s *Store, g *group, records []record) error
		whole bool
	}{
		"after the journal's parts": {func(s *Store, g *group, records []record) error {
			return s.commitParts(blob{g.id, encodeJournal(records)})
		}, false},
		"after the journal": {func(s *Store, g *group, records []record) error {
			journal := encodeJournal(records)
			p := place{id: g.id, length: uint64(len(journal)), sum: checksum(journal)}
			return errors.Join(s.commitParts(blob{g.id, journal}), s.commitOnce([]record{{[]byte{keyJournal}, encodePlace(p)}}))
		}, true},
		"in the middle of the records": {func(s *Store, g *group, records []record) error {
			journal := encodeJournal(records)
			p := place{id: g.id, length: uint64(len(journal)), sum: checksum(journal)}
			return errors.Join(s.commitParts(blob{g.id, journal}), s.commitOnce([]record{{[]byte{keyJournal}, encodePlace(p)}}),
				s.commitSome(records[len(records)/2:]))
		}, true},
		"after it all": {func(s *Store, g *group, records []record) error { return s.commitRecords(g.id, records) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			s := openForTest(t, Options{Path: path, Sync: SyncNever})
			before := fillForJournal(t, s)
			dieDuring(t, s, crash.at)
			s = openForTest(t, Options{Path: path})
			if lost := s.Report().Losses; len(lost) > 0 {
				t.Errorf("lost: %v", lost)
			}
			want := before
			if crash.whole {
				want = journalAfter()
			}
			found := takeJournalState(t, s)
			if found.subscriptions != want.subscriptions || !maps.Equal(found.hooks, want.hooks) || !slices.Equal(found.queue, want.queue) {
				t.Errorf("%d subscriptions, %d records, queue %q", found.subscriptions, len(found.hooks), found.queue)
			}
			if n := bodies(t, s); n != 0 {
				t.Errorf("%d parts are left", n)
			}
		})
	}
}

const (
	journalSubscriptions = 15_000
	journalHooks         = 20
	journalMessages      = 10
)

// fillForJournal makes session a with messages, and a record of a hook.
func fillForJournal(t *testing.T, s *Store) *journalState {
	t.Helper()
	changes := []storage.Change{
		storage.PutSession{Session: storage.Session{ID: "a"}}, storage.PutHookRecord{Hook: "h", Key: "old", Value: []byte("old")},
	}
	if _, err := s.Update(changes, nil); err != nil {
		t.Fatal(err)
	}
	for i := range journalMessages {
		mustSend(t, s, fmt.Sprint(i), "a")
	}
	return takeJournalState(t, s)
}

// dieDuring makes the group of a large write and has it written as far as at goes. Then the store is as after a crash.
func dieDuring(t *testing.T, s *Store, at func(*Store, *group, []record) error) {
	t.Helper()
	s.writing.Lock()
	s.mu.Lock()
	g := &group{id: s.takeIDLocked()}
	s.enqueueLocked(g, &storage.Enqueue{Message: &packet.Message{Topic: "t", Payload: []byte("new")}, To: []storage.Entry{{Session: "a"}}})
	for _, c := range journalChanges() {
		s.applyLocked(g, c)
	}
	s.prepareLocked(g, time.Now())
	err := at(s, g, g.encode())
	s.failed = errors.New("died")
	s.mu.Unlock()
	s.writing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// journalChanges acknowledge every message that is there but the first, and write much.
func journalChanges() []storage.Change {
	changes := []storage.Change{storage.DeleteHookRecord{Hook: "h", Key: "old"}}
	for i := range journalSubscriptions {
		changes = append(changes, storage.PutSubscription{Subscription: storage.Subscription{Session: "a", Filter: fmt.Sprint("filter/", i)}})
	}
	for i := range journalHooks {
		changes = append(changes, storage.PutHookRecord{Hook: "h", Key: fmt.Sprint(i), Value: slices.Repeat([]byte{byte(i)}, 1<<20)})
	}
	for i := range journalMessages - 1 {
		changes = append(changes, storage.Ack{Session: "a", Seq: uint64(i + 2), Progress: storage.Done})
	}
	return changes
}

// journalAfter is what is there when the large write is.
func journalAfter() *journalState {
	after := &journalState{subscriptions: journalSubscriptions, hooks: make(map[string]int), queue: []string{"0", "new"}}
	for i := range journalHooks {
		after.hooks[fmt.Sprint(i)] = 1 << 20
	}
	return after
}

// A journalState is what the test looks at. As a Visitor it takes what Load finds.
type journalState struct {
	nobody
	subscriptions int
	hooks         map[string]int // lengths, by key
	queue         []string
}

func (f *journalState) Subscription(storage.Subscription) error {
	f.subscriptions++
	return nil
}

func (f *journalState) HookRecord(_, key string, value []byte) error {
	f.hooks[key] = len(value)
	return nil
}

func takeJournalState(t *testing.T, s *Store) *journalState {
	t.Helper()
	f := &journalState{hooks: make(map[string]int)}
	if err := s.Load(f); err != nil {
		t.Fatal(err)
	}
	all := storage.ReadLimit{Entries: 1 << 20, Bytes: 1 << 40}
	if err := s.Read("a", 1, all, func(_ storage.Entry, _ storage.Progress, m *packet.Message) bool {
		f.queue = append(f.queue, string(m.Payload))
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return f
}

// bodies counts the records under b: here none is a chunk's, since small ones stand in their heads.
func bodies(t *testing.T, s *Store) int {
	t.Helper()
	keys, _ := s.listKeys(nil, []byte{keyBody})
	return len(keys)
}
