//go:build !windows

package archive

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the file for this process, if no other has it. It lasts until the file is closed, by kill -9 too.
func lock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// syncFolder makes names that came or went durable.
func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// closesBeforeRename reports whether an open file cannot be given another name.
const closesBeforeRename = false
