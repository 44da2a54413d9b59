package badger

import (
	"errors"
	"os"
	"path/filepath"
)

// salvageAlone salvages unless another process has the store open, which Badger's own lock finds out too late for that.
func (s *Store) salvageAlone() error {
	folder, err := os.Open(s.options.Path)
	if err != nil {
		return err
	}
	defer folder.Close() // gives up the lock, which Badger then takes
	switch err := lockFolder(folder); {
	case errors.Is(err, ErrInUse):
		return ErrInUse
	case err != nil:
		return err
	}
	if _, err := os.Stat(filepath.Join(s.options.Path, manifestFile)); err != nil {
		return nil // a new store
	}
	return s.salvage()
}
