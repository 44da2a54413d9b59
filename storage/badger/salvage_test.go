package badger

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

const (
	firstLog  = "00001" + memSuffix
	tornSends = 20
)

// tornStore is a folder as a kill left it, with the contents of its log and the offsets behind its transactions.
func tornStore(t *testing.T) (path string, data []byte, ends []int) {
	t.Helper()
	running := t.TempDir()
	s := openForTest(t, Options{Path: running})
	mustUpdate(t, s, storage.PutSession{Session: storage.Session{ID: "a"}})
	for i := range tornSends {
		mustSend(t, s, fmt.Sprint("message ", i), "a")
	}
	path = t.TempDir()
	copyCrashed(t, running, path)
	mustDo(t, withFile(filepath.Join(path, firstLog), func(mapped []byte) error {
		data = append(bytes.Clone(mapped[:usedBytes(mapped)]), make([]byte, 4*headMost)...) // the zeros behind are many
		return nil
	}))
	for at := logHeader; ; {
		n := entrySize(data[at:])
		if n == 0 {
			break
		}
		entry := data[at : at+n]
		if at += n; bytes.Contains(entry, txnEnd) {
			ends = append(ends, at)
		}
	}
	if len(ends) < tornSends {
		t.Fatalf("%d transactions", len(ends))
	}
	return path, data, ends
}

// A process that is killed while it copies an entry to its log leaves the beginning of one, wherever that ends. Nobody was told that it is
// on disk, so it is no loss.
func TestUnfinishedWrite(t *testing.T) {
	path, data, ends := tornStore(t)
	size := size(t, filepath.Join(path, firstLog))
	before, used := ends[len(ends)-2], ends[len(ends)-1]
	for at := before; at < used; at++ {
		torn := bytes.Clone(data)
		clear(torn[at:])
		end, left := logEnd(torn), usedBytes(torn)
		if left > end && !unfinished(torn, end, left, size) {
			t.Errorf("cut off at %d of %d to %d: taken for damage", at, before, used)
		}
		if hole := torn[:at]; left > end && !unfinished(hole, end, usedBytes(hole), size) {
			t.Errorf("cut off at %d of %d to %d, with a hole behind it: taken for damage", at, before, used)
		}
		if file := data[:at]; left > end && unfinished(file, end, left, int64(at)) {
			t.Errorf("the file ends at %d of %d to %d: taken for a write that had not ended", at, before, used)
		}
	}
	for _, at := range []int{before, before + 1, before + 7, (before + used) / 2, used - 1} {
		torn := bytes.Clone(data)
		clear(torn[at:])
		s, got := openLog(t, path, torn)
		if lost, aside := s.Report().Losses, s.Report().Aside; len(got) != tornSends-1 || len(lost)+len(aside) > 0 {
			t.Errorf("cut off at %d: %d messages, lost %v, kept %v", at, len(got), lost, aside)
		}
	}
}

// A byte that changed in front of the last transaction is damage, for more was written behind it; and so is one in an entry that is there
// to its end.
func TestDamagedLog(t *testing.T) {
	path, data, ends := tornStore(t)
	size := size(t, filepath.Join(path, firstLog))
	for at := logHeader; at < ends[len(ends)-2]; at++ {
		for bit := range 8 {
			data[at] ^= 1 << bit
			if end, used := logEnd(data), usedBytes(data); end >= used || unfinished(data, end, used, size) {
				t.Errorf("bit %d of the byte at %d changed, not noticed", bit, at)
			}
			data[at] ^= 1 << bit
		}
	}
	last := ends[len(ends)-1] - 1
	was := data[last]
	data[last] = was%255 + 1 // another one, and not zero
	if end, used := logEnd(data), usedBytes(data); end >= used || unfinished(data, end, used, size) {
		t.Error("the last byte changed, not noticed")
	}
	data[last] = was
	key := &data[ends[3]+logMeta]
	was, *key = *key, 0
	if end, used := logEnd(data), usedBytes(data); end >= used || unfinished(data, end, used, size) {
		t.Error("the length of a key became 0, not noticed")
	}
	*key = was
	data[ends[3]+5] ^= 1
	s, got := openLog(t, path, data)
	if r := s.Report(); len(got) >= tornSends || len(r.Losses) == 0 || len(r.Aside) == 0 {
		t.Errorf("%d messages, lost %v, kept %v", len(got), r.Losses, r.Aside)
	}
}

// openLog opens a copy of the folder with another log, which ends in a hole, and reads the queue.
func openLog(t *testing.T, path string, data []byte) (s *Store, payloads []string) {
	t.Helper()
	folder := t.TempDir()
	copyCrashed(t, path, folder)
	name := filepath.Join(folder, firstLog)
	long := size(t, name)
	mustDo(t, os.WriteFile(name, bytes.TrimRight(data, "\x00"), 0o600))
	mustDo(t, os.Truncate(name, long))
	s = openForTest(t, Options{Path: folder})
	mustDo(t, s.Load(nobody{}))
	all := storage.ReadLimit{Entries: 1000, Bytes: 1 << 30}
	mustDo(t, s.Read("a", 1, all, func(_ storage.Entry, _ storage.Progress, m *packet.Message) bool {
		payloads = append(payloads, string(m.Payload))
		return true
	}))
	return s, payloads
}
