package badger

import (
	"log/slog"
	"time"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// A SyncMode says when a write is as safe as it gets.
type SyncMode byte

// The modes. A crash of the process loses nothing in any of them; a power cut differs.
const (
	// SyncAlways tells a Waiter after the fsync: nothing acknowledged is lost.
	SyncAlways SyncMode = iota
	// SyncInterval tells it before: a power cut loses what was written since the last interval, and what was moved in it to save room.
	SyncInterval
	// SyncNever leaves it to the operating system: a power cut can lose the last half minute or more.
	SyncNever
)

// Options say where a store lies and how it works. Zero values mean the defaults.
type Options struct {
	Path      string
	Sync      SyncMode
	Interval  time.Duration // between fsyncs with SyncInterval; default one second
	CacheSize int64         // bytes of messages kept in memory for Read; default 8 MiB
	MaxBytes  int64         // of the folder: beyond it the store is full; 0 is no limit
	// Reserve is how much of the disk must be free, so that acknowledgements and deletions can still be written; default 64 MiB.
	Reserve int64
	Log     *slog.Logger // default discards
	// Expired is told how many messages of a session the store dropped because they expired, and their bytes. It must not block or call the store. May be nil.
	Expired func(session string, count int, bytes int64)
	Faults  Faults
}

// Faults are the places where a test makes the disk fail. Nil functions do nothing.
type Faults struct {
	BeforeCommit func() error          // an error is one of writing: nothing is written
	AfterCommit  func() error          // an error is one of fsync: it is not known what is on disk
	Free         func() (int64, error) // replaces the free bytes of the file system
}

const (
	intervalDefault = time.Second
	cacheDefault    = 8 << 20
	reserveDefault  = 64 << 20
)

func (o Options) withDefaults() Options {
	if o.Interval <= 0 {
		o.Interval = intervalDefault
	}
	if o.CacheSize <= 0 {
		o.CacheSize = cacheDefault
	}
	if o.Reserve <= 0 {
		o.Reserve = reserveDefault
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// What Badger is told, by measurement: docs/decisions/badger-log.md.
const (
	memTableSize     = 8 << 20
	valueThreshold   = 4 << 10
	valueLogFileSize = 16 << 20
	badgerCacheSize  = 1 << 20
)

func badgerOptions(path string, sync bool, log badger.Logger) badger.Options {
	return badger.DefaultOptions(path).
		WithLogger(log).
		WithSyncWrites(sync).
		WithDetectConflicts(false). // one goroutine writes
		WithMetricsEnabled(false).
		WithMemTableSize(memTableSize).
		WithNumMemtables(2).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLogFileSize).
		WithBlockCacheSize(badgerCacheSize).
		WithIndexCacheSize(badgerCacheSize).
		WithCompression(options.None).
		WithNumCompactors(2)
}
