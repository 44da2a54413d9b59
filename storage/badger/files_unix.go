//go:build linux || darwin || freebsd

package badger

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

func freeBytes(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// syncFolder makes names that came or went durable.
func syncFolder(f *os.File) error { return f.Sync() }

// fileBytes counts blocks, because Badger's files are longer than what was written to them.
func fileBytes(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// lockFolder takes the lock that Badger takes.
func lockFolder(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

// withFile calls use with the contents of a file up to its last hole, which are valid in it only; not if there are none. They are
// mapped: Badger's logs are large and mostly holes.
func withFile(name string, use func(data []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := dataEnd(f)
	if err != nil || end == 0 {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(end), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	return errors.Join(use(data), unix.Munmap(data))
}

// dataEnd is where the hole begins with which a file ends, or where it ends. Holes are not read, because a mapped file in tmpfs takes
// room for those that are.
func dataEnd(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if runtime.GOOS != "linux" { // elsewhere, what was written through a mapping may pass for a hole
		return info.Size(), nil
	}
	end := int64(0)
	for {
		data, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return end, nil
		}
		if err != nil {
			return info.Size(), nil // not known there
		}
		if end, err = f.Seek(data, unix.SEEK_HOLE); err != nil {
			return info.Size(), nil
		}
	}
}
