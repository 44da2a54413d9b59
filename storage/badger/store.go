package badger

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/penstockmq/penstock/storage"
)

// A Store implements storage.Store.
type Store struct {
	// Fixed when Open returns.
	options   Options
	db        *badger.DB
	swallowed *swallowed
	folder    *os.File // fsynced when files come, which Badger does not do
	cache     *cache

	wake    chan struct{} // something waits for the committer
	freed   chan struct{} // something waits for the collector
	stop    chan struct{} // closed by Close
	told    chan *group   // from the committer to the teller
	workers sync.WaitGroup
	fsyncs  atomic.Uint64
	serving atomic.Bool // Open has returned

	roomNoted atomic.Int64 // when somebody who writes looked at free space last, Unix nanoseconds

	telling sync.Mutex // held while the Waiters of a group are told; taken after mu only while nothing is taken

	reading sync.RWMutex // held for reading while Badger is read, so that Close can wait

	writing      sync.Mutex // held during a transaction; taken before mu; guards what follows
	folderSynced time.Time  // changes of the folder before it are durable

	mu     sync.Mutex // guards what follows
	moved  sync.Cond  // chunks that were chunkMoving are not any more
	groups []*group   // waiting for the disk, the oldest first; the last is filled
	notify func()
	fatal  func(err error)
	closed bool
	failed error // a write failed: nothing is written after it
	full   bool
	report Report
	index
	work
	stats Stats
}

// An index is what memory knows of the disk.
type index struct {
	sessions  map[string]*queue
	latest    *queue // that was asked for last; nil if it is gone
	handles   map[uint64]*queue
	retained  map[string]place // large retained messages, by topic
	nextID    uint64           // for chunks, groups and sessions; never given twice
	watermark uint64           // what the disk says of nextID: it is never larger
	waiting   int              // bytes in groups
	queued    int              // numbers that are not Done, of all queues
	hooked    int              // queues of hooks
}

// work is what is to be done behind the writers.
type work struct {
	dirty           []*queue // changed since their checkpoint, the oldest first
	dead            []*chunk // to be deleted
	deadBytes       int64
	logs            []uint64 // ids of acks records on disk
	garbage         []gone   // deleted sessions with records left
	committed       uint64   // id of the last group on disk
	small           []*chunk // candidates for being copied together
	sparse          []*chunk // the same, because most in them is done
	sparseBytes     int64
	expiry          expiryHeap
	collected       time.Time // when the collector ended last
	tidied          time.Time // when housekeeping was last looked at
	roomSeen        time.Time // when free space was last looked at
	freedBytes      int64     // deleted and not yet given back
	spare           [][]byte  // buffers of builders
	spareGatherings []*gathering
	company         company   // of the group that is filled
	gathered        int       // entries in gatherings that are not Done
	taken           int       // groups that are being written or told of
	prompt          bool      // who acknowledges now looks after the oldest group himself
	carried         []ackItem // acknowledgements that the next group written has to say
	carriedDue      time.Time // when one is written for them alone; zero if they can wait for ever
}

// A gone session was deleted by a group; records that belong to it are left.
type gone struct{ handle, group uint64 }

// waitingMax bounds what waits for the disk in memory. Whoever respects the windows of its clients never gets
// there: 4096 publishers with 64 messages of 1 KiB do. Acknowledgements and deletions pass.
const waitingMax = 256 << 20

// Notify implements storage.Store.
func (s *Store) Notify(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notify = f
}

// OnExpired implements storage.Expirer.
func (s *Store) OnExpired(f func(session string, messages int, bytes int64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Expired = f
}

// OnFailure implements storage.Failer.
func (s *Store) OnFailure(f func(err error)) {
	s.mu.Lock()
	s.fatal = f
	err := s.failed
	s.mu.Unlock()
	if err != nil {
		f(err)
	}
}

// refuse says why a write cannot be accepted.
func (s *Store) refuseLocked(needsRoom bool) error {
	switch {
	case s.failed != nil:
		return s.failed
	case s.closed:
		return storage.ErrClosed
	case needsRoom && (s.full || s.waiting > waitingMax):
		return storage.ErrFull
	}
	return nil
}

// openLocked is the group that takes the next write.
func (s *Store) openLocked() *group {
	if n := len(s.groups); n > 0 && !s.groups[n-1].full(&s.options.tuning) {
		return s.groups[n-1]
	}
	return s.appendGroupLocked()
}

func (s *Store) appendGroupLocked() *group {
	g := &group{id: s.takeIDLocked(), due: time.Now().Add(unawaitedDelay)}
	if s.nextID+idsAhead/2 > s.watermark {
		s.watermark = s.nextID + idsAhead
		g.put([]byte{keyWatermark}, encodeWatermark(s.watermark))
	}
	s.groups = append(s.groups, g)
	return g
}

// fillLocked is the group that takes the next message. One that waits takes none for long.
func (s *Store) fillLocked(now time.Time) *group {
	if n := len(s.groups); n > 0 && s.groups[n-1].lazy() && now.Sub(s.groups[n-1].begun) > gatherTime {
		return s.appendGroupLocked()
	}
	return s.openLocked()
}

// idsAhead is how many ids are reserved on disk at a time; half of it is far more than a group can take.
const idsAhead = 1 << 20

func (s *Store) takeIDLocked() uint64 {
	id := s.nextID
	s.nextID++
	return id
}

// addedLocked ends a write to g, which had so many bytes before. Whoever waits waits for the disk.
func (s *Store) addedLocked(g *group, before int, w storage.Waiter) {
	s.waiting += g.bytes - before
	if w != nil {
		s.awaitLocked(g, true, time.Time{})
		s.waitLocked(g, w, true)
	}
}

// wakeLocked has the committer look what there is to do.
func (s *Store) wakeLocked() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		close(s.stop)
	}
	s.workers.Wait()
	if !first {
		return nil
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	err := s.checkRoom()
	if err != nil {
		// Badger would write its tables, and end the process. Its log has what is in them, as after a crash.
		s.options.Log.Warn("storage: left as after a crash", "err", err)
		err = nil
	} else {
		err = s.closeBadger()
	}
	err = errors.Join(err, s.folder.Close())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	return err
}

// fail makes err the reason of every refusal from now on.
func (s *Store) fail(err error) {
	s.mu.Lock()
	first := s.failed == nil
	if first {
		s.failed = err
	}
	fatal := s.fatal
	s.mu.Unlock()
	if !first {
		return
	}
	s.options.Log.Error("storage: a write failed; nothing is acknowledged any more", "err", err)
	if fatal != nil {
		fatal(err)
	}
}
