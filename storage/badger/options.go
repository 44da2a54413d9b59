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
	Existing  bool // refuse a folder without a store instead of making one
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

	tuning tuning // tests set it
}

// A tuning is when work is done that could wait. Its defaults are measured; tests make everything happen all the time.
type tuning struct {
	groupBytes   int   // closes a group: larger ones share an fsync no better, and everyone in one waits for all of it
	groupRecords int   // closes one too, so that its small records fit a transaction
	chunkBytes   int   // closes a chunk: a reader takes a whole one
	chunkEntries int   // closes one too, so that no work on a chunk keeps the lock for long
	smallMax     int   // small chunks that are left alone: those of a slow publisher are mostly done before they are that many
	sparseMax    int64 // bytes of sparse chunks that are left alone
	deadMax      int64 // bytes of dead chunks that are deleted at once
	logsMax      int   // acks records that are deleted at once
	collectBytes int64 // bytes deleted that wake the collector at once
}

var tuned = tuning{
	groupBytes:   4 << 20,
	groupRecords: 1000,
	chunkBytes:   256 << 10,
	chunkEntries: 512 << 10,
	smallMax:     512,
	sparseMax:    8 << 20,
	deadMax:      4 << 20,
	logsMax:      4096,
	collectBytes: 64 << 20,
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
	if o.tuning == (tuning{}) {
		o.tuning = tuned
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
