package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A storeCollector turns snapshots of a store into metrics.
type storeCollector struct {
	store   Store
	numbers numbers[StoreStats]
}

func newStoreCollector(s Store) *storeCollector {
	return &storeCollector{store: s, numbers: newNumbers(append(storeGauges(), storeCounters()...))}
}

// Describe sends the metrics' descriptions.
func (c *storeCollector) Describe(to chan<- *prometheus.Desc) {
	c.numbers.describe(to)
}

// Collect sends the metrics of one snapshot.
func (c *storeCollector) Collect(to chan<- prometheus.Metric) {
	s := c.store.Stats()
	c.numbers.collect(to, &s)
}

func storeGauges() []number[StoreStats] {
	return []number[StoreStats]{
		gauge("storage_sessions", "Sessions with a record in the store.",
			func(s *StoreStats) float64 { return float64(s.Sessions) }),
		gauge("storage_hook_queues", "Durable queues of hooks in the store.",
			func(s *StoreStats) float64 { return float64(s.HookQueues) }),
		gauge("storage_queued_messages", "Messages in the queues of the store, each as often as it is queued.",
			func(s *StoreStats) float64 { return float64(s.QueuedMessages) }),
		gauge("storage_chunks", "Places on disk with messages.",
			func(s *StoreStats) float64 { return float64(s.Chunks) }),
		gauge("storage_chunk_bytes", "Bytes of penstock_storage_chunks.",
			func(s *StoreStats) float64 { return float64(s.ChunkBytes) }),
		gauge("storage_disk_bytes", "Bytes that the store's folder takes on disk.",
			func(s *StoreStats) float64 { return float64(s.DiskBytes) }),
		gauge("storage_waiting_writes", "Writes whose acknowledgement waits for the disk.",
			func(s *StoreStats) float64 { return float64(s.WaitingWrites) }),
		gauge("storage_waiting_bytes", "Bytes that wait to be handed to the disk.",
			func(s *StoreStats) float64 { return float64(s.WaitingBytes) }),
		gauge("storage_cache_bytes", "Bytes of stored messages kept in memory.",
			func(s *StoreStats) float64 { return float64(s.CacheBytes) }),
		whether("storage_full", "1 while messages are refused because the disk is full.",
			func(s *StoreStats) bool { return s.Full }),
		gauge("storage_collect_stall_seconds_max", "The longest time for which giving the disk back stopped writes.",
			func(s *StoreStats) float64 { return s.CollectStall.Seconds() }),
	}
}

func storeCounters() []number[StoreStats] {
	return []number[StoreStats]{
		counter("storage_commits_total", "Groups of writes committed.",
			func(s *StoreStats) uint64 { return s.Commits }),
		seconds("storage_commit_seconds_total", "Time that commits took.",
			func(s *StoreStats) time.Duration { return s.CommitTime }),
		counter("storage_fsyncs_total", "Times that writes were made durable.",
			func(s *StoreStats) uint64 { return s.Fsyncs }),
		counter("storage_committed_messages_total", "Messages committed, each once.",
			func(s *StoreStats) uint64 { return s.CommittedMessages }),
		counter("storage_written_bytes_total", "Bytes of records committed.",
			func(s *StoreStats) uint64 { return s.WrittenBytes }),
		counter("storage_rewritten_chunks_total", "Chunks whose rest was copied so that they could be deleted.",
			func(s *StoreStats) uint64 { return s.RewrittenChunks }),
		counter("storage_rewritten_bytes_total", "Bytes copied so that chunks could be deleted.",
			func(s *StoreStats) uint64 { return s.RewrittenBytes }),
		counter("storage_cache_hits_total", "Chunks read that were in memory.",
			func(s *StoreStats) uint64 { return s.CacheHits }),
		counter("storage_cache_misses_total", "Chunks read from disk.",
			func(s *StoreStats) uint64 { return s.CacheMisses }),
		counter("storage_expired_messages_total", "Messages that the store dropped from a queue because they expired.",
			func(s *StoreStats) uint64 { return s.ExpiredMessages }),
		counter("storage_lost_messages_total", "Queued messages that could not be read any more.",
			func(s *StoreStats) uint64 { return s.LostMessages }),
		counter("storage_unreadable_records_total", "Records and places on disk found unreadable.",
			func(s *StoreStats) uint64 { return s.UnreadableRecords }),
		counter("storage_collections_total", "Times that disk space was given back.",
			func(s *StoreStats) uint64 { return s.Collections }),
		seconds("storage_collect_seconds_total", "Time that giving disk space back took.",
			func(s *StoreStats) time.Duration { return s.CollectTime }),
	}
}
