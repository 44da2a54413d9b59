package badger

import (
	"errors"
	"os"
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
	return s.salvage()
}
