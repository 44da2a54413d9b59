package badger

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4/table"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/test/setting"
)

// A crashed is a folder as a crash left it, with several tables, and what was acknowledged in it.
type crashed struct {
	path string
	want map[string][]string // payloads by session
}

const (
	crashedSessions = 24
	crashedRounds   = 4
)

// crashedStore fills a store in rounds, between which Badger writes its tables.
func crashedStore(t *testing.T) *crashed {
	t.Helper()
	c := &crashed{path: t.TempDir(), want: make(map[string][]string)}
	running := t.TempDir()
	s := openForTest(t, Options{Path: running})
	n := 0
	for round := range crashedRounds {
		for i := range crashedSessions / crashedRounds {
			id := fmt.Sprintf("session %d of round %d", i, round)
			c.want[id] = nil
			mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: id, ClientID: "client of " + id}},
				storage.PutSubscription{Subscription: storage.Subscription{Session: id, Filter: "t/" + id}})
		}
		for id := range c.want {
			n++
			payload := fmt.Sprint("message ", n, strings.Repeat("x", n%7*1000))
			c.want[id] = append(c.want[id], payload)
			mustSend(t, s, payload, id)
		}
		if round == 0 { // to the last level; what follows stays in the first
			mustDo(t, s.collect())
		}
		fillTable(t, s, round)
	}
	for logs := 0; logs != 1; <-time.After(10 * time.Millisecond) { // until Badger has written its tables
		found, err := filepath.Glob(filepath.Join(running, "*"+memSuffix))
		mustDo(t, err)
		logs = len(found)
	}
	copyCrashed(t, running, c.path)
	if n := len(c.files(t, "*.sst")); n < 2 {
		t.Fatalf("%d tables", n)
	}
	return c
}

// fillTable writes as much as Badger takes into memory before it writes a table: subscriptions of a session that is nobody's.
func fillTable(t *testing.T, s *Store, round int) {
	t.Helper()
	const size = 3000 // of a value that Badger keeps in a table
	changes := []storage.Change{storage.PutSession{Session: storage.Session{ID: "ballast"}}}
	for i := range memTableSize / size {
		filter := fmt.Sprint(round, "/", i, "/", strings.Repeat("f", size))
		changes = append(changes, storage.PutSubscription{Subscription: storage.Subscription{Session: "ballast", Filter: filter}})
	}
	mustUpdate(t, s, changes...)
}

func copyCrashed(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(to, "LOCK"))
}

// damaged opens a copy of the folder after something was done to it.
func (c *crashed) damaged(t *testing.T, damage func(path string)) *Store {
	t.Helper()
	path := t.TempDir()
	copyCrashed(t, c.path, path)
	damage(path)
	return openForTest(t, Options{Path: path})
}

// judge compares what a store has with what was acknowledged: in order, nothing else, and what is missing was told, by queue and number.
// It returns how many messages are missing.
func (c *crashed) judge(t *testing.T, s *Store) (missing int) {
	t.Helper()
	told, perhaps := make(map[string]int), make(map[string]int)
	for _, l := range s.Report().Losses {
		told[l.Session] += l.Count
		if l.Count == 0 && l.Last > 0 {
			perhaps[l.Session] += int(l.Last - l.First + 1)
		}
	}
	for id, want := range c.want {
		if s.sessions[id] == nil {
			missing += len(want)
			continue
		}
		var got []string
		err := s.Read(id, 1, storage.ReadLimit{Entries: 1000, Bytes: 1 << 30}, func(_ storage.Entry, _ storage.Progress, m *packet.Message) bool {
			got = append(got, string(m.Payload))
			return true
		})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		rest := want
		for _, payload := range got {
			i := slices.Index(rest, payload)
			if i < 0 {
				t.Fatalf("%s: %.20q was not sent, or is out of order", id, payload)
			}
			rest = rest[i+1:]
		}
		// What follows the last number that anything on disk names nobody can know of.
		next, least := int(s.sessions[id].next)-1, len(got)+told[id]
		if least > next || least+perhaps[id] < next || next > len(want) {
			t.Errorf("%s: %d of %d messages are there, %d are told to be lost, %d perhaps, next is %d", id, len(got), len(want), told[id], perhaps[id], next+1)
		}
		missing += len(want) - len(got)
	}
	if missing > 0 && len(s.Report().Losses) == 0 {
		t.Errorf("%d messages are missing without a word", missing)
	}
	return missing
}

// goOn shows that the store works, and that the next start has nothing to tell.
func (c *crashed) goOn(t *testing.T, s *Store) {
	t.Helper()
	mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: "new"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := openForTest(t, Options{Path: s.options.Path})
	if lost := again.Report().Losses; len(lost) > 0 || again.sessions["new"] == nil {
		t.Errorf("at the next start: lost %v", lost)
	}
}

func (c *crashed) files(t *testing.T, pattern string) (names []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(c.path, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s (%v)", pattern, err)
	}
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A byte changes.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	mustDo(t, err)
	data[at] ^= 0x20
	mustDo(t, os.WriteFile(path, data, 0o600))
}

// Whatever of Badger's files is cut, damaged or missing, the store opens, has what is whole, and says what it has not.
func TestMend(t *testing.T) {
	c := crashedStore(t)
	for name, test := range map[string]func(t *testing.T, c *crashed){
		"manifest": testDamagedManifest, "table": testDamagedTable, "index": testDamagedIndex, "value log": testMissingValueLog,
		"log": testMissingLog, "useless": testDamagedUselessFiles, "unlisted": testUnlistedTable,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

// deceptiveEnds are where the sets of changes of a manifest end, so that it looks whole if it is cut there: those behind which tables
// are deleted that it lists up to there, and the last but one.
func (c *crashed) deceptiveEnds(t *testing.T, data []byte) (ends []int) {
	t.Helper()
	tables := c.files(t, "*.sst")
	absent := func(id uint64) bool { return !slices.Contains(tables, table.IDToFilename(id)) }
	last := 0
	for at := len(manifestHeader); at < len(data); at += 8 + int(binary.BigEndian.Uint32(data[at:])) {
		if slices.ContainsFunc(slices.Collect(maps.Keys(parseManifest(data[:at]).levels)), absent) {
			ends = append(ends, at)
		}
		last = at
	}
	if len(ends) == 0 {
		t.Error("no table was deleted")
	}
	return append(ends, last)
}

// Without its manifest, or with one that is cut or damaged anywhere, nothing is lost: the tables are there.
func testDamagedManifest(t *testing.T, c *crashed) {
	data, err := os.ReadFile(filepath.Join(c.path, manifestFile))
	mustDo(t, err)
	rng := rand.New(rand.NewPCG(setting.Seed(t), 1))
	damages := map[string]func(path string){"missing": func(path string) { mustDo(t, os.Remove(path)) }}
	for _, at := range c.deceptiveEnds(t, data) {
		damages[fmt.Sprint("cut at ", at)] = func(path string) { mustDo(t, os.Truncate(path, int64(at))) }
	}
	for _, at := range []int{0, rng.IntN(len(data))} {
		damages[fmt.Sprint("cut at ", at)] = func(path string) { mustDo(t, os.Truncate(path, int64(at))) }
		damages[fmt.Sprint("damaged at ", at)] = func(path string) { flip(t, path, min(at, len(data)-1)) }
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			s := c.damaged(t, func(path string) { damage(filepath.Join(path, manifestFile)) })
			if missing := c.judge(t, s); missing > 0 || len(s.Report().Losses) > 0 {
				t.Errorf("%d messages are missing, lost: %v", missing, s.Report().Losses)
			}
			c.goOn(t, s)
		})
	}
}

// A damaged table costs what is in its damaged blocks, a missing one what was in it: the store opens, says so, and keeps the bytes.
func testDamagedTable(t *testing.T, c *crashed) {
	rng := rand.New(rand.NewPCG(setting.Seed(t), 2))
	tables := c.files(t, "*.sst")
	for _, name := range []string{tables[0], tables[len(tables)-1]} { // of the last level and of the first
		info, err := os.Stat(filepath.Join(c.path, name))
		mustDo(t, err)
		size := int(info.Size())
		damages := map[string]func(path string){"missing": func(path string) { mustDo(t, os.Remove(path)) }}
		cut, bad := rng.IntN(size), rng.IntN(size)
		damages[fmt.Sprint("cut at ", cut)] = func(path string) { mustDo(t, os.Truncate(path, int64(cut))) }
		damages[fmt.Sprint("damaged at ", bad)] = func(path string) { flip(t, path, bad) }
		for damage, do := range damages {
			t.Run(name+"/"+damage, func(t *testing.T) {
				s := c.damaged(t, func(path string) { do(filepath.Join(path, name)) })
				t.Logf("%d messages are missing", c.judge(t, s))
				r := s.Report()
				if len(r.Losses) == 0 || !strings.Contains(r.Losses[0].What, name) {
					t.Errorf("lost: %v", r.Losses)
				}
				if damage != "missing" && damage != "cut at 0" && !slices.ContainsFunc(r.Aside, func(path string) bool { return strings.Contains(path, name) }) {
					t.Errorf("kept aside: %v", r.Aside)
				}
				c.goOn(t, s)
			})
		}
	}
}

// If only the index of a table is damaged, or what follows it, nothing is lost.
func testDamagedIndex(t *testing.T, c *crashed) {
	for _, name := range c.files(t, "*.sst")[:1] {
		s := c.damaged(t, func(path string) { flip(t, filepath.Join(path, name), int(size(t, filepath.Join(path, name)))-1) })
		if missing := c.judge(t, s); missing > 0 {
			t.Errorf("%s: %d messages are missing", name, missing)
		}
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	mustDo(t, err)
	return info.Size()
}

// A missing value log costs the messages in it, and each is told.
func testMissingValueLog(t *testing.T, c *crashed) {
	all := 0
	for _, name := range c.files(t, "*.vlog") {
		s := c.damaged(t, func(path string) { mustDo(t, os.Remove(filepath.Join(path, name))) })
		missing, told := c.judge(t, s), 0
		for _, l := range s.Report().Losses {
			told += l.Count
		}
		if missing != told {
			t.Errorf("%s: %d messages are missing, %d are told", name, missing, told)
		}
		all += missing
		c.goOn(t, s)
	}
	if all == 0 {
		t.Error("no message was in any of the value logs")
	}
}

// A missing log of what is not in tables yet is told, though nothing on disk refers to what was in it; after a store was closed there is none.
func testMissingLog(t *testing.T, c *crashed) {
	s := c.damaged(t, func(path string) {
		for _, name := range c.files(t, "*"+memSuffix) {
			mustDo(t, os.Remove(filepath.Join(path, name)))
		}
	})
	c.judge(t, s)
	if lost := s.Report().Losses; len(lost) == 0 || !strings.Contains(lost[0].What, "the log is missing") {
		t.Errorf("lost: %v", lost)
	}
	c.goOn(t, s)
}

// Files that hold nothing that is needed are made anew.
func testDamagedUselessFiles(t *testing.T, c *crashed) {
	for _, name := range []string{"DISCARD", "KEYREGISTRY"} {
		s := c.damaged(t, func(path string) { mustDo(t, os.Truncate(filepath.Join(path, name), 7)) })
		if missing := c.judge(t, s); missing > 0 || len(s.Report().Losses) > 0 {
			t.Errorf("%s: %d messages are missing, lost %v", name, missing, s.Report().Losses)
		}
		c.goOn(t, s)
	}
}

// A table that the manifest does not list yet, because the process ended while it was being written, is not taken up: what is in it is
// elsewhere.
func testUnlistedTable(t *testing.T, c *crashed) {
	name := c.files(t, "*.sst")[0]
	s := c.damaged(t, func(path string) {
		data, err := os.ReadFile(filepath.Join(path, name))
		mustDo(t, err)
		mustDo(t, os.WriteFile(filepath.Join(path, "000900.sst"), data, 0o600))
		mustDo(t, os.WriteFile(filepath.Join(path, "000901.sst"), data[:len(data)/2], 0o600))
	})
	for _, unlisted := range []string{"000900.sst", "000901.sst"} {
		if _, err := os.Stat(filepath.Join(s.options.Path, unlisted)); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", unlisted, err)
		}
	}
	if missing := c.judge(t, s); missing > 0 || len(s.Report().Losses) > 0 {
		t.Errorf("%d messages are missing, lost: %v", missing, s.Report().Losses)
	}
}
