package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
)

// A stock is what a store holds, counted. It implements storage.Visitor.
type stock struct {
	path                              string
	sessions, subscriptions, received int
	hookQueues, hookRecords           int // of channels, bridges and other hooks
	messages                          int
	bytes                             int64
	retained                          int
	retainedBytes                     int64
	disk                              int64
}

// takeStock counts what is in a folder on which no broker runs.
func takeStock(path string) (*stock, error) {
	s, err := badger.Open(badger.Options{Path: path, Existing: true})
	if err != nil {
		return nil, err
	}
	found := &stock{path: path}
	err = s.Load(found)
	found.disk = s.Stats().DiskBytes
	return found, errors.Join(err, s.Close())
}

// Session implements storage.Visitor.
func (s *stock) Session(found storage.Session) error {
	if found.Hook != "" {
		s.hookQueues++
		return nil
	}
	s.sessions++
	return nil
}

// Subscription implements storage.Visitor.
func (s *stock) Subscription(storage.Subscription) error {
	s.subscriptions++
	return nil
}

// Received implements storage.Visitor.
func (s *stock) Received(storage.Received) error {
	s.received++
	return nil
}

// Queue implements storage.Visitor.
func (s *stock) Queue(q storage.Queue) error {
	s.messages += q.Len
	s.bytes += q.Bytes
	return nil
}

// Retained implements storage.Visitor.
func (s *stock) Retained(m *packet.Message) error {
	s.retained++
	s.retainedBytes += int64(m.Size())
	return nil
}

// Counters implements storage.Visitor.
func (s *stock) Counters(map[string]uint64) error { return nil }

// HookRecord implements storage.Visitor.
func (s *stock) HookRecord(string, string, []byte) error {
	s.hookRecords++
	return nil
}

func (s *stock) print(w io.Writer) error {
	return printTable(w, [][2]string{
		{"folder", s.path},
		{"sessions", fmt.Sprint(s.sessions)},
		{"subscriptions", fmt.Sprint(s.subscriptions)},
		{"queues of hooks, records", fmt.Sprintf("%d, %d", s.hookQueues, s.hookRecords)},
		{"queued messages", fmt.Sprintf("%d, %s", s.messages, inBytes(s.bytes))},
		{"retained messages", fmt.Sprintf("%d, %s", s.retained, inBytes(s.retainedBytes))},
		{"QoS 2 exchanges open", fmt.Sprint(s.received)},
		{"on disk", inBytes(s.disk)},
	})
}

// printStats prints what a running broker says of its store.
func printStats(w io.Writer, s *admin.StoreStats) error {
	full := "no"
	if s.Full {
		full = "yes: messages that would have to be stored are refused"
	}
	return printTable(w, [][2]string{
		{"folder", s.Path},
		{"sessions", fmt.Sprint(s.Sessions)},
		{"queues of hooks", fmt.Sprint(s.HookQueues)},
		{"queued messages", fmt.Sprint(s.QueuedMessages)},
		{"on disk", inBytes(s.DiskBytes)},
		{"disk full", full},
		{"chunks of messages", fmt.Sprintf("%d, %s", s.Chunks, inBytes(s.ChunkBytes))},
		{"writes waiting", fmt.Sprintf("%d, %s", s.WaitingWrites, inBytes(int64(s.WaitingBytes)))},
		{"cache", inBytes(s.CacheBytes)},
		{"since the start", ""},
		{"  commits", fmt.Sprintf("%d, %s each", s.Commits, s.CommitTime/time.Duration(max(1, s.Commits)))},
		{"  fsyncs", fmt.Sprint(s.Fsyncs)},
		{"  messages committed", fmt.Sprint(s.CommittedMessages)},
		{"  written", inBytes(int64(s.WrittenBytes))},
		{"  rewritten to give the disk back", fmt.Sprintf("%d chunks, %s", s.RewrittenChunks, inBytes(int64(s.RewrittenBytes)))},
		{"  disk given back", fmt.Sprintf("%d times, %s in all, writes stopped for %s at most", s.Collections, s.CollectTime, s.CollectStall)},
		{"  cache hits, misses", fmt.Sprintf("%d, %d", s.CacheHits, s.CacheMisses)},
		{"  messages expired", fmt.Sprint(s.ExpiredMessages)},
		{"  messages lost", fmt.Sprint(s.LostMessages)},
		{"  unreadable records", fmt.Sprint(s.UnreadableRecords)},
	})
}

func printTable(w io.Writer, rows [][2]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		if _, err := fmt.Fprintf(table, "%s\t%s\n", row[0], row[1]); err != nil {
			return err
		}
	}
	return table.Flush()
}

// inBytes writes a size for a person.
func inBytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), "KiB"
	for _, larger := range []string{"MiB", "GiB", "TiB"} {
		if value < 1<<10 {
			break
		}
		value, unit = value/(1<<10), larger
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}
