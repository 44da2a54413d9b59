package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// A Store is what operators may ask of the store of a broker that keeps things on disk.
type Store interface {
	// Stats takes a snapshot.
	Stats() StoreStats
	// Backup writes a backup, until w fails.
	Backup(w io.Writer) error
}

// StoreStats are what a store holds and what that cost since it was opened.
type StoreStats struct {
	Path           string `json:"path"`            // its folder
	Sessions       int    `json:"sessions"`        //
	HookQueues     int    `json:"hook_queues"`     // of channels and other hooks
	QueuedMessages int    `json:"queued_messages"` // in all queues together
	Chunks         int    `json:"chunks"`          // places on disk with messages
	ChunkBytes     int64  `json:"chunk_bytes"`     //
	DiskBytes      int64  `json:"disk_bytes"`      // of the folder
	WaitingWrites  int    `json:"waiting_writes"`  // that were not told that they are safe
	WaitingBytes   int    `json:"waiting_bytes"`   // not handed to the disk
	CacheBytes     int64  `json:"cache_bytes"`     //
	Full           bool   `json:"full"`            // messages are refused

	Commits           uint64        `json:"commits"`            // groups of writes
	CommitTime        time.Duration `json:"commit_time_ns"`     //
	Fsyncs            uint64        `json:"fsyncs"`             //
	CommittedMessages uint64        `json:"committed_messages"` // each once
	WrittenBytes      uint64        `json:"written_bytes"`      //
	RewrittenChunks   uint64        `json:"rewritten_chunks"`   // whose rest was copied, to give the disk back
	RewrittenBytes    uint64        `json:"rewritten_bytes"`    //
	CacheHits         uint64        `json:"cache_hits"`         //
	CacheMisses       uint64        `json:"cache_misses"`       //
	ExpiredMessages   uint64        `json:"expired_messages"`   // dropped from queues
	LostMessages      uint64        `json:"lost_messages"`      // that could not be read
	UnreadableRecords uint64        `json:"unreadable_records"` // and places on disk
	Collections       uint64        `json:"collections"`        // that gave the disk back
	CollectTime       time.Duration `json:"collect_time_ns"`    //
	CollectStall      time.Duration `json:"collect_stall_ns"`   // the longest time for which one stopped writes
}

// The paths of what a store is asked.
const (
	StatsPath  = "/api/storage/stats"
	BackupPath = "/api/storage/backup"
)

const (
	// backupsMax is how many backups are written at once. Each reads the whole store.
	backupsMax = 1
	// backupPatience is how long a client may take none of the next backupPiece bytes.
	backupPatience = 2 * time.Minute
	backupPiece    = 64 << 10
	// memoryOnly is said where there is no store to look at.
	memoryOnly = "this broker keeps everything in memory: storage.path is empty"
)

// storeRoutes serves what a store is asked.
func (s *Server) storeRoutes(mux *http.ServeMux, store Store, log *slog.Logger) {
	if store == nil {
		absent := s.private(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusNotFound, memoryOnly+"\n") }))
		mux.Handle("GET "+StatsPath, absent)
		mux.Handle("GET "+BackupPath, absent)
		return
	}
	mux.Handle("GET "+StatsPath, s.private(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { sayJSON(w, http.StatusOK, store.Stats()) })))
	backups := &backups{store: store, log: log, lasting: s.lasting, running: make(chan struct{}, backupsMax)}
	mux.Handle("GET "+BackupPath, s.private(backups))
}

// backups answers with a backup, a stream of unknown length.
type backups struct {
	store   Store
	log     *slog.Logger
	lasting context.Context // ends what would outlast the broker
	running chan struct{}   // holds one for each backup that is written
}

// ServeHTTP implements http.Handler. A backup that fails ends the connection before the stream does, which is how a client
// knows that it has only a part.
func (b *backups) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case b.running <- struct{}{}:
		defer func() { <-b.running }()
	default:
		w.Header().Set("Retry-After", "10")
		say(w, http.StatusServiceUnavailable, "another backup is being written\n")
		return
	}
	if r.Method == http.MethodHead { // the mux sends it here; it is not worth reading a store for
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-store")
	to := &patientWriter{w: w, control: http.NewResponseController(w), lasting: b.lasting}
	defer context.AfterFunc(b.lasting, to.interrupt)()
	begun := time.Now()
	if err := b.store.Backup(to); err != nil {
		b.log.Error("backup not completed", "err", err)
		panic(http.ErrAbortHandler)
	}
	b.log.Info("backup written", "bytes", to.count, "seconds", time.Since(begun).Seconds())
}

// A patientWriter writes a response for as long as its client keeps reading, and no longer than its context lasts.
type patientWriter struct {
	w       io.Writer
	control *http.ResponseController
	lasting context.Context
	count   int64
}

var errEnding = errors.New("the broker is shutting down")

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var took int
		took, err = p.writePiece(b[n:min(len(b), n+backupPiece)])
		n += took
	}
	p.count += int64(n)
	return n, err
}

func (p *patientWriter) writePiece(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(backupPatience)); err != nil {
		return 0, fmt.Errorf("answer: %w", err)
	}
	if p.lasting.Err() != nil { // asked after the deadline was set, so that interrupt has the last word on it
		return 0, errEnding
	}
	return p.w.Write(b)
}

// interrupt ends a Write that waits for its client.
func (p *patientWriter) interrupt() {
	_ = p.control.SetWriteDeadline(time.Now()) // if it cannot be set, Write has failed with that
}
