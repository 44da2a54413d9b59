package faults

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// diskSize is enough for a store and the room that it keeps free, with something to fill.
const diskSize = "size=120m"

// A disk is a small file system of its own.
type disk struct{ path string }

// newDisk mounts one for the test.
func newDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{path: t.TempDir()}
	err := unix.Mount("penstock-test", d.path, "tmpfs", 0, diskSize)
	if errors.Is(err, unix.EPERM) {
		t.Skip("mounting a small file system needs root:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.path, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

// folder is where the broker keeps its store.
func (d *disk) folder() string { return filepath.Join(d.path, "data") }

// leave fills the disk until so many bytes are free.
func (d *disk) leave(t *testing.T, free int64) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.path, &st); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	room := int64(st.Bavail)*st.Bsize - free
	if err := unix.Fallocate(int(f.Fd()), 0, info.Size(), room); err != nil {
		t.Fatal(err)
	}
}

// clear gives the room back.
func (d *disk) clear(t *testing.T) {
	t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		t.Fatal(err)
	}
}

func (d *disk) filler() string { return filepath.Join(d.path, "filler") }
