package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A file says that the store is open. When a start finds it, the process before did not close the store; then Badger's log of what is not in
// tables yet must be there. Nothing else would tell that it is missing.
const (
	runningFile = "OPEN"
	isOpen      = "open\n"
	isFlushing  = "flushing\n" // Badger writes its tables and deletes its log: it may be there or not
)

func (s *Store) runningPath() string { return filepath.Join(s.options.Path, runningFile) }

// checkLog reports if the log is missing. names are the logs that there are. Until Badger is open the log may come and go.
func (s *Store) checkLog(names []string) error {
	text, err := os.ReadFile(s.runningPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if string(text) == isOpen && !slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, memSuffix) }) {
		s.loseFile("*"+memSuffix, nil, fmt.Sprintf("the log is missing: up to %d MiB of records that were written last are lost", memTableSize>>20))
	}
	return errors.Join(os.Remove(s.runningPath()), syncFolder(s.folder))
}

// markOpen is called when the log is there for sure.
func (s *Store) markOpen() error { return writeFile(s.runningPath(), []byte(isOpen)) }

// markFlushing is called before the log may go.
func (s *Store) markFlushing() error {
	return errors.Join(writeFile(s.runningPath(), []byte(isFlushing)), syncFolder(s.folder))
}

// closeBadger closes Badger, which writes its tables.
func (s *Store) closeBadger() error {
	if err := s.markFlushing(); err != nil {
		return errors.Join(err, s.db.Close())
	}
	if err := s.db.Close(); err != nil {
		return err
	}
	return os.Remove(s.runningPath())
}
