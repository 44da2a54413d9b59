package archive

import (
	"os"

	"golang.org/x/sys/windows"
)

// lock takes the file for this process, if no other has it: a byte far behind its end, because
// nobody could read what is locked. It lasts until the file is closed, by a killed process too.
func lock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
}

// syncFolder does nothing: Windows has no such call.
func syncFolder(string) error { return nil }

// closesBeforeRename reports whether an open file cannot be given another name.
const closesBeforeRename = true
