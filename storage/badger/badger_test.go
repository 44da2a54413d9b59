package badger_test

import (
	"testing"

	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
	"github.com/penstockmq/penstock/storage/storagetest"
)

func open(t testing.TB, options badger.Options) *badger.Store {
	t.Helper()
	s, err := badger.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storagetest.Fixture {
		options := badger.Options{Path: t.TempDir()}
		return storagetest.Fixture{
			Store:  open(t, options),
			Reopen: func(t *testing.T) storage.Store { return open(t, options) },
		}
	})
}
