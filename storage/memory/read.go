package memory

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
)

// readBatch is how many entries Read copies while it holds a shard's lock.
const readBatch = 64

// Read implements storage.Store. No lock is held while visit runs.
func (s *Store) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(e storage.Entry, p storage.Progress, m *packet.Message) bool,
) error {
	if s.closed.Load() {
		return storage.ErrClosed
	}
	var bytes int64
	for count := 0; count < limit.Entries; {
		batch := s.records.read(session, from, min(readBatch, limit.Entries-count))
		for _, q := range batch {
			bytes += int64(q.message.Size())
			if count > 0 && bytes > limit.Bytes || !visit(q.entry, q.progress, q.message) {
				return nil
			}
			count++
			from = q.entry.Seq + 1
		}
		if len(batch) == 0 {
			return nil
		}
	}
	return nil
}

func (r *records) read(id string, from uint64, limit int) (batch []queued) {
	r.withSession(id, func(n *session) { batch = n.queue.from(id, from, limit) })
	return batch
}
