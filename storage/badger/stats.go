package badger

import "time"

// Stats are what a store holds and what it cost.
type Stats struct {
	Sessions   int
	HookQueues int
	Queued     int   // entries of queues that are not Done
	Chunks     int   // places on disk with messages
	ChunkBytes int64 // what they take
	Waiting    int   // bytes waiting for the disk
	Writes     int   // writes whose Waiter was not told yet
	CacheBytes int64
	Full       bool

	Commits      uint64
	Fsyncs       uint64 // times that writes were made durable; each is of every file that was written to
	Messages     uint64 // committed; each once, however many queues it is for
	Bytes        uint64 // of records committed, those of copies among them
	CacheHits    uint64
	CacheMisses  uint64
	CommitTime   time.Duration
	Moved        uint64 // chunks whose rest was copied elsewhere
	MovedBytes   int64
	Expired      uint64 // entries
	Lost         uint64 // entries
	Unreadable   int    // records and places found unreadable: the length of Report.Losses
	Collections  uint64
	CollectTime  time.Duration
	CollectStall time.Duration // the longest time for which a collection stopped writes

	DiskBytes int64 // of the folder, by Stats only
}

// Stats returns what the store holds and what it cost since Open. It looks at the files.
func (s *Store) Stats() Stats {
	disk := folderBytes(s.options.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.DiskBytes = disk
	st.HookQueues = s.hooked
	st.Sessions = len(s.sessions) - s.hooked
	st.Waiting = s.waiting
	st.Queued = s.queued
	st.Unreadable = len(s.report.Losses)
	st.Fsyncs = s.fsyncs.Load()
	st.Full = s.full
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	st.CacheBytes, st.CacheHits, st.CacheMisses = s.cache.bytes, s.cache.hits, s.cache.misses
	return st
}
