package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

const (
	formatFile    = "FORMAT"
	formatName    = "penstock store"
	formatVersion = 1
	manifestFile  = "MANIFEST" // Badger's
)

// Open opens the store in a folder, or makes one. What cannot be read is reported, and everything else is there.
func Open(options Options) (*Store, error) {
	s, err := open(options.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("storage %s: %w", options.Path, err)
	}
	return s, nil
}

func open(options Options) (*Store, error) {
	if options.Existing {
		if err := existing(options.Path); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(options.Path, 0o700); err != nil {
		return nil, err
	}
	folder, err := os.Open(options.Path)
	if err != nil {
		return nil, err
	}
	s := newStore(options, folder)
	if err := s.openBadger(); err != nil {
		folder.Close()
		return nil, err
	}
	if err := s.recover(); err != nil {
		err = errors.Join(err, s.closeBadger())
		folder.Close()
		return nil, err
	}
	s.serving.Store(true)
	s.workers.Go(s.commitGroups)
	s.workers.Go(s.tellGroups)
	s.workers.Go(s.collectGarbage)
	if options.Sync == SyncInterval {
		s.workers.Go(s.syncNowAndThen)
	}
	return s, nil
}

func newStore(options Options, folder *os.File) *Store {
	s := &Store{
		options:   options,
		folder:    folder,
		swallowed: &swallowed{log: options.Log},
		cache:     newCache(options.CacheSize),
		wake:      make(chan struct{}, 1),
		freed:     make(chan struct{}, 1),
		stop:      make(chan struct{}),
		told:      make(chan *group, 1),
		index: index{
			sessions: make(map[string]*queue), handles: make(map[uint64]*queue), retained: make(map[string]place),
		},
	}
	s.moved.L = &s.mu
	return s
}

func (s *Store) openBadger() error {
	if err := s.checkRoom(); err != nil {
		return err
	}
	if err := checkFormat(s.options.Path, s.folder); err != nil {
		return err
	}
	if err := s.salvageAlone(); err != nil {
		return err
	}
	db, err := badger.Open(badgerOptions(s.options.Path, s.options.Sync == SyncAlways, s.swallowed))
	if err != nil {
		if strings.Contains(err.Error(), "Another process is using this Badger database") {
			return ErrInUse
		}
		return err
	}
	s.db = db
	if err := errors.Join(syncFolder(s.folder), s.markOpen()); err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

// checkFormat refuses a folder that is not ours or too new, and marks a new one.
func checkFormat(path string, folder *os.File) error {
	name := filepath.Join(path, formatFile)
	text, err := os.ReadFile(name)
	switch {
	case err == nil:
		return checkVersion(string(text))
	case !os.IsNotExist(err):
		return err
	}
	if _, err := os.Stat(filepath.Join(path, manifestFile)); err == nil {
		return fmt.Errorf("%w: it has no file %s", ErrForeign, formatFile)
	}
	if err := writeFile(name, fmt.Appendf(nil, "%s %d\n", formatName, formatVersion)); err != nil {
		return err
	}
	return syncFolder(folder)
}

func checkVersion(text string) error {
	number, ours := strings.CutPrefix(strings.TrimSpace(text), formatName+" ")
	version, err := strconv.Atoi(number)
	switch {
	case !ours || err != nil || version < 1:
		return fmt.Errorf("%w: file %s has %q", ErrForeign, formatFile, text)
	case version > formatVersion:
		return fmt.Errorf("%w: its format is %d, this one knows up to %d", ErrNewer, version, formatVersion)
	}
	return nil
}

// writeFile writes a file that is whole or not there.
func writeFile(name string, data []byte) error {
	f, err := os.Create(name + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil { // closed first: Windows does not rename open files
		return err
	}
	return os.Rename(name+".new", name)
}

// syncNowAndThen makes durable, each interval, what SyncInterval did not wait for.
func (s *Store) syncNowAndThen() {
	ticker := time.NewTicker(s.options.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
		s.writing.Lock()
		err := s.db.Sync()
		if err == nil {
			err = syncFolder(s.folder)
		}
		s.writing.Unlock()
		s.fsyncs.Add(1)
		if err != nil {
			s.fail(fmt.Errorf("storage: sync: %w", err))
			return
		}
	}
}
