package bench

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// folderBytes is what the files in a folder take of the disk. Holes do not count, but room that was taken ahead does.
func folderBytes(path string) (int64, error) {
	const blockSize = 512 // the unit of st_blocks (stat(2)), whatever the file system's
	var total int64
	err := filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return notGone(err)
		}
		info, err := entry.Info()
		if err != nil {
			return notGone(err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && info.Mode().IsRegular() {
			total += stat.Blocks * blockSize
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("bench: size of the data folder: %w", err)
	}
	return total, nil
}

// notGone lets a file go that the broker removes while its folder is read.
func notGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// isMemory reports whether a folder's file system forgets everything with the power.
func isMemory(folder string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return false, fmt.Errorf("bench: %s: %w", folder, err)
	}
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC, nil
}

// A plainFile is what a store is compared with: bytes appended to a file, with an fdatasync each time.
type plainFile struct{ file *os.File }

// newPlainFile makes one beside a data folder. It must be on the folder's file system.
func newPlainFile(data string) (*plainFile, error) {
	data, err := filepath.Abs(data)
	if err != nil {
		return nil, fmt.Errorf("bench: data folder: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(data), "penstock-bench-plain-*")
	if err != nil {
		return nil, fmt.Errorf("bench: plain file beside the data folder: %w", err)
	}
	p := &plainFile{f}
	same, err := sameFileSystem(data, f.Name())
	if err != nil || !same {
		p.close()
		return nil, errors.Join(err, fmt.Errorf("bench: %s is on another file system than what is beside it", data))
	}
	return p, nil
}

func sameFileSystem(a, b string) (bool, error) {
	var first, second unix.Stat_t
	if err := unix.Stat(a, &first); err != nil {
		return false, fmt.Errorf("bench: %s: %w", a, err)
	}
	if err := unix.Stat(b, &second); err != nil {
		return false, fmt.Errorf("bench: %s: %w", b, err)
	}
	return first.Dev == second.Dev, nil
}

// append appends bytes and waits until they are on the disk.
func (p *plainFile) append(b []byte) error {
	if _, err := p.file.Write(b); err != nil {
		return fmt.Errorf("bench: plain file: %w", err)
	}
	if err := unix.Fdatasync(int(p.file.Fd())); err != nil {
		return fmt.Errorf("bench: plain file: fdatasync: %w", err)
	}
	return nil
}

// close removes the file.
func (p *plainFile) close() {
	p.file.Close()
	os.Remove(p.file.Name())
}
