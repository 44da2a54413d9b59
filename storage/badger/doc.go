// Package badger is the Store that keeps every record on disk, in Badger.
//
// A write is appended to the group that is waiting for the disk; one goroutine, the committer, takes a whole group, writes
// it in one transaction, and one fsync serves everyone who waits for it. The messages of a group lie together in a
// chunk, each once, however many queues it is for. Memory holds where the numbers of a queue lie, and how far each
// delivery came, but no message; Read takes chunks through a bounded cache. Behind the writers the committer drops chunks in
// which nothing is wanted, copies what is left of sparse ones together, and expires; the collector makes Badger give the disk back.
//
// It knows nothing of MQTT beyond the records of package storage, and makes no decision that a broker should: it
// has no limits per session. What lies on disk is drawn in FORMAT.md, and why it is so in docs/decisions/badger-log.md.
//
// What every receiver has acknowledged before its group is written is not written at all; a group whose receivers are online waits a moment for that.
//
// Its nouns are the Store, the group (writes that share an fsync), the gathering (messages that will be a chunk), the chunk (messages that
// share a place on disk), the queue (a session's numbers) and the marks (how far each number came).
//
// It is tested by the suite in storage/storagetest, by faults of every kind (errors of commit and fsync, a full
// disk, files cut at any byte), by a fuzz test of the decoders, and its speed by benchmarks.
//
// # Locks
//
// Store.mu guards the index and the group that is filled; nobody holds it during I/O. Store.writing is held around each
// transaction and while the collector stops writes. writing is taken before mu. The cache has a lock of its own and takes no other.
package badger
