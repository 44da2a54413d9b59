package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	"github.com/penstockmq/penstock/admin"
	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
	"github.com/penstockmq/penstock/storage/memory"
)

// syncModes are the values of storage.sync.
var syncModes = map[string]badger.SyncMode{
	configs.SyncAlways: badger.SyncAlways, configs.SyncInterval: badger.SyncInterval, configs.SyncNever: badger.SyncNever,
}

// An openedStore is the broker's store.
type openedStore struct {
	storage.Store
	disk  *diskStore // nil if everything is in memory
	begun time.Time  // when opening it began
}

// openStore opens the store that the configuration names. The faults are for tests.
func openStore(cfg configs.Storage, faults badger.Faults, log *slog.Logger) (*openedStore, error) {
	s := &openedStore{begun: time.Now()}
	if cfg.Path == "" {
		log.Warn("storage.path is empty: sessions and messages are kept in memory and end with the process")
		s.Store = memory.New()
		return s, nil
	}
	store, err := badger.Open(badger.Options{
		Path: cfg.Path, Sync: syncModes[cfg.Sync], Interval: cfg.SyncInterval, CacheSize: cfg.CacheSize, Log: log, Faults: faults,
	})
	if err != nil {
		return nil, explainStore(err)
	}
	s.Store, s.disk = store, &diskStore{Store: store, path: cfg.Path}
	return s, nil
}

// explainStore says what to do about a folder that cannot be opened. What another start would only find again is a
// mistake in the configuration.
func explainStore(err error) error {
	switch {
	case errors.Is(err, badger.ErrInUse):
		return fmt.Errorf("%w: a broker runs on this folder", err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: make room on that disk", err)
	case errors.Is(err, badger.ErrNewer):
		return usageError{fmt.Errorf("%w: use that version, or another storage.path", err)}
	case errors.Is(err, badger.ErrForeign), errors.Is(err, badger.ErrAbsent):
		return usageError{fmt.Errorf("%w: is storage.path right?", err)}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return usageError{fmt.Errorf("%w: storage.path must be a folder that the broker may write to", err)}
	}
	return err
}

// operated is what the admin side may ask; nil if nothing is on disk.
func (s *openedStore) operated() admin.Store {
	if s.disk == nil {
		return nil
	}
	return s.disk
}

// announce logs what the broker found in the store, and what it did not.
func (s *openedStore) announce(b *broker.Broker, log *slog.Logger) {
	if s.disk == nil {
		return
	}
	found := b.Found()
	log.Info("store is open", "path", s.disk.path, "sessions", found.Sessions, "queued", found.QueuedMessages, "retained", found.RetainedMessages,
		"bytes", s.disk.Stats().DiskBytes, "seconds", time.Since(s.begun).Seconds())
	warnOfLosses(s.disk.Report(), log)
}

// lossesShown bounds the lines about what cannot be read.
const lossesShown = 100

// warnOfLosses logs a line for each queue that lost something, and for each other thing that cannot be read.
func warnOfLosses(r badger.Report, log *slog.Logger) {
	losses := perQueue(r.Losses)
	for _, l := range losses[:min(lossesShown, len(losses))] {
		if l.Session == "" {
			log.Warn("lost from the store", "reason", l.What)
			continue
		}
		if l.Count == 0 {
			log.Warn("messages may be lost from the store", "client", l.Client, "session", l.Session, "reason", l.What)
			continue
		}
		log.Warn("messages lost from the store", "client", l.Client, "session", l.Session, "count", l.Count, "first", l.First, "last", l.Last,
			"reason", l.What)
	}
	if more := len(losses) - lossesShown; more > 0 {
		log.Warn("lost from the store, without a line for each", "count", more)
	}
	if len(r.Aside) > 0 {
		log.Warn("what could not be read is kept", "path", filepath.Dir(r.Aside[0]), "files", len(r.Aside))
	}
}

// perQueue adds up what each queue lost. The numbers are the lowest and the highest; the reason is the first.
func perQueue(losses []badger.Loss) []badger.Loss {
	var sums []badger.Loss
	at := make(map[string]int)
	for _, l := range losses {
		i, known := at[l.Session]
		if l.Session == "" || !known {
			at[l.Session] = len(sums)
			sums = append(sums, l)
			continue
		}
		sums[i].Count += l.Count
		sums[i].First, sums[i].Last = min(sums[i].First, l.First), max(sums[i].Last, l.Last)
	}
	return sums
}

// A diskStore is a store as the admin side sees it.
type diskStore struct {
	*badger.Store
	path string
}

// Stats implements admin.Store.
func (d *diskStore) Stats() admin.StoreStats {
	s := d.Store.Stats()
	return admin.StoreStats{
		Path: d.path, Sessions: s.Sessions, HookQueues: s.HookQueues, QueuedMessages: s.Queued, Chunks: s.Chunks, ChunkBytes: s.ChunkBytes, DiskBytes: s.DiskBytes,
		WaitingWrites: s.Writes, WaitingBytes: s.Waiting, CacheBytes: s.CacheBytes, Full: s.Full,
		Commits: s.Commits, CommitTime: s.CommitTime, Fsyncs: s.Fsyncs, CommittedMessages: s.Messages, WrittenBytes: s.Bytes,
		RewrittenChunks: s.Moved, RewrittenBytes: uint64(s.MovedBytes), CacheHits: s.CacheHits, CacheMisses: s.CacheMisses,
		ExpiredMessages: s.Expired, LostMessages: s.Lost, UnreadableRecords: uint64(s.Unreadable),
		Collections: s.Collections, CollectTime: s.CollectTime, CollectStall: s.CollectStall,
	}
}
