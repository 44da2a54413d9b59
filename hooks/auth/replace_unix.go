//go:build unix

package auth

import (
	"errors"
	"os"
	"syscall"
)

// keepOwner gives f the owner of the file it will replace, so that a broker running as a
// user of its own can still read what root has edited.
func keepOwner(f *os.File, replaced os.FileInfo) error {
	stat, ok := replaced.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() && int(stat.Gid) == os.Getegid() {
		return nil
	}
	return f.Chown(int(stat.Uid), int(stat.Gid))
}

// syncFolder makes a rename in the folder survive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
