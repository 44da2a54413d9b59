package main

import (
	"log/slog"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
	"github.com/penstockmq/penstock/storage/memory"
)

// syncModes are the values of storage.sync.
var syncModes = map[string]badger.SyncMode{
	configs.SyncAlways: badger.SyncAlways, configs.SyncInterval: badger.SyncInterval, configs.SyncNever: badger.SyncNever,
}

// openStore opens the store that the configuration names.
func openStore(cfg configs.Storage, log *slog.Logger) (storage.Store, error) {
	if cfg.Path == "" {
		log.Warn("storage.path is empty: sessions and messages are kept in memory and end with the process")
		return memory.New(), nil
	}
	return badger.Open(badger.Options{
		Path: cfg.Path, Sync: syncModes[cfg.Sync], Interval: cfg.SyncInterval, CacheSize: cfg.CacheSize, Log: log,
	})
}
