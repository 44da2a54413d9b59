package badger

import (
	"testing"

	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/storagetest"
)

// restless makes everything happen all the time that could wait.
var restless = tuning{
	groupBytes: 2000, groupRecords: 5, chunkBytes: 500, chunkEntries: 20, smallMax: 4, sparseMax: 1000, deadMax: 1, logsMax: 1, collectBytes: 20000,
}

// The suite holds while chunks are tiny and each write is followed by checkpoints, copies, deletions and collections.
func TestStoreRestless(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Fixture {
		options := Options{Path: t.TempDir(), Sync: SyncNever, CacheSize: 1, tuning: restless}
		reopen := func(t *testing.T) storage.Store {
			s := openForTest(t, options)
			if lost := s.Report().Losses; len(lost) > 0 {
				t.Errorf("lost: %v", lost)
			}
			return s
		}
		return storagetest.Fixture{Store: reopen(t), Reopen: reopen}
	})
}

func openForTest(t testing.TB, options Options) *Store {
	t.Helper()
	s, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
