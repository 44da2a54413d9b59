package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A place is where files are made and where they go when they are finished. Both may be the same.
type place struct {
	work, output string
	names        *Names
}

// A part is a file of this process that is not finished: locked, and with an ending of its own.
type part struct {
	*os.File
	place  *place
	key    string // of its name; empty for one that another process began
	name   string // of the finished file, below output
	ending string // what its name has more than name
}

// revisionMax bounds the search for a name that is free.
const revisionMax = 1_000_000

// create makes a new part for a key, with the first number that nobody has used.
func (p *place) create(key, ending string) (*part, error) {
	for revision := range revisionMax {
		name := p.names.at(key, revision)
		made, err := p.createNamed(name, ending)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("a file for %s: %w", name, err)
		}
		made.key = key
		return made, nil
	}
	return nil, fmt.Errorf("a file for %s: %d files have that name", p.names.at(key, 0), revisionMax)
}

func (p *place) createNamed(name, ending string) (*part, error) {
	path := filepath.Join(p.work, name) + ending
	target := filepath.Join(p.output, name)
	for _, folder := range []string{filepath.Dir(path), filepath.Dir(target)} {
		if err := makeFolder(folder); err != nil {
			return nil, err
		}
	}
	if _, err := os.Lstat(target); err == nil {
		return nil, fs.ErrExist
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return nil, err
	}
	made := &part{File: f, place: p, name: name, ending: ending}
	if lock(f) != nil || !made.still() {
		f.Close() // somebody who looked for what is left behind was faster, and took it for that
		return nil, fs.ErrExist
	}
	if err := syncFolder(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return made, nil
}

// still reports whether the open file is the one that has its name.
func (p *part) still() bool {
	opened, err := p.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(p.Name())
	return err == nil && os.SameFile(opened, named)
}

// finish gives the file, which is synced, its name, and closes it. It never replaces a file.
func (p *part) finish() (path string, err error) {
	if closesBeforeRename {
		if err := p.Close(); err != nil {
			return "", err
		}
	} else {
		defer func() { err = errors.Join(err, p.Close()) }() // the lock goes last
	}
	if path, err = p.rename(); err != nil {
		return "", fmt.Errorf("finishing %s: %w", p.Name(), err)
	}
	err = syncFolder(filepath.Dir(path))
	if from := filepath.Dir(p.Name()); from != filepath.Dir(path) {
		err = errors.Join(err, syncFolder(from))
	}
	return path, err
}

// discard removes the file.
func (p *part) discard() error {
	if closesBeforeRename {
		return errors.Join(p.Close(), os.Remove(p.Name()))
	}
	return errors.Join(os.Remove(p.Name()), p.Close())
}

// rename links and removes, because a rename replaces what has the name already.
func (p *part) rename() (string, error) {
	for revision := range revisionMax {
		name := p.name
		if revision > 0 {
			name = p.another(revision)
		}
		path := filepath.Join(p.place.output, name)
		err := os.Link(p.Name(), path)
		if errors.Is(err, fs.ErrExist) && !sameFile(p.Name(), path) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		return path, os.Remove(p.Name())
	}
	return "", fs.ErrExist
}

// another is a name when that of the part is taken.
func (p *part) another(revision int) string {
	if p.key != "" {
		return p.place.names.at(p.key, revision)
	}
	return p.place.names.at(withRevision(p.name), revision)
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// makeFolder makes a folder and those above it, durable.
func makeFolder(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := makeFolder(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(above)
}
