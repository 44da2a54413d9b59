package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// repair takes up what killed processes left behind, whatever their options: cuts off the torn end and finishes the file. A
// file that a living process has locked is none of our business.
func (a *Archive) repair() error {
	return filepath.WalkDir(a.place.work, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // another process was faster
			}
			return err
		}
		for _, ending := range []string{endingText, endingJSON, endingGzip} {
			if entry.Type().IsRegular() && strings.HasSuffix(path, ending) {
				if err := a.repairFile(path, ending); err != nil {
					return fmt.Errorf("repairing %s: %w", path, err)
				}
			}
		}
		return nil
	})
}

func (a *Archive) repairFile(path, ending string) error {
	p, err := a.place.takeUp(path, ending)
	if p == nil || err != nil {
		return err
	}
	whole, err := wholeOf(p.File, ending)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	info, err := p.Stat()
	if err != nil {
		return errors.Join(err, p.Close())
	}
	if whole < info.Size() {
		err = p.Truncate(whole)
	}
	if err = errors.Join(err, p.Sync()); err != nil { // what the page cache kept of a killed process is not on disk yet
		return errors.Join(err, p.Close())
	}
	if whole == 0 {
		a.options.Log.Info("empty file removed", "file", path, "cut", info.Size())
		return p.discard()
	}
	finished, err := p.finish()
	if err != nil {
		return err
	}
	a.files++
	a.options.Log.Info("file repaired", "file", finished, "bytes", whole, "cut", info.Size()-whole)
	return nil
}

// takeUp opens a file that nobody has locked, or returns nil.
func (p *place) takeUp(path, ending string) (*part, error) {
	name, err := filepath.Rel(p.work, strings.TrimSuffix(path, ending))
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	taken := &part{File: f, place: p, name: name, ending: ending}
	if lock(f) != nil || !taken.still() {
		return nil, f.Close()
	}
	return taken, makeFolder(filepath.Dir(filepath.Join(p.output, name)))
}

// wholeOf is the length of what is whole of a file. Everything that was synced is in it: nothing comes
// behind a torn place but what was not.
func wholeOf(f *os.File, ending string) (int64, error) {
	switch ending {
	case endingGzip:
		return wholeMembers(f)
	case endingJSON:
		return wholeLines(f, json.Valid)
	}
	return wholeLines(f, func([]byte) bool { return true })
}

// wholeLines is the length of the lines that are whole, up to one that is not valid.
func wholeLines(r io.Reader, valid func([]byte) bool) (whole int64, err error) {
	lines := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		if !valid(bytes.TrimSuffix(line, []byte("\n"))) {
			return whole, nil
		}
		whole += int64(len(line))
	}
}

// A tally counts what is read through it. It reads bytes singly, so a gzip reader takes no more than it needs.
type tally struct {
	*bufio.Reader
	n int64
}

func (t *tally) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b)
	t.n += int64(n)
	return n, err
}

func (t *tally) ReadByte() (byte, error) {
	b, err := t.Reader.ReadByte()
	if err == nil {
		t.n++
	}
	return b, err
}

// wholeMembers is the length of the members of a gzip file whose checksums are right, up to the first where it is not.
func wholeMembers(r io.Reader) (whole int64, err error) {
	members := &tally{Reader: bufio.NewReaderSize(r, 1<<20)}
	var z gzip.Reader
	for {
		if err := z.Reset(members); err != nil {
			return whole, unlessTorn(err)
		}
		z.Multistream(false)
		if _, err := io.Copy(io.Discard, &z); err != nil {
			return whole, unlessTorn(err)
		}
		whole = members.n
	}
}

// unlessTorn tells the end of what is whole from a file that cannot be read.
func unlessTorn(err error) error {
	var unread *fs.PathError
	if errors.As(err, &unread) {
		return err
	}
	return nil
}
