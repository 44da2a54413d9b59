package main

import (
	"log/slog"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
)

// openStore opens the store that the configuration names.
func openStore(configs.Storage, *slog.Logger) (storage.Store, error) {
	return memory.New(), nil
}
