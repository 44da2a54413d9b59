//go:build !linux && !darwin && !freebsd

package badger

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
)

// freeBytes is not known here: a full disk shows as an error of writing.
func freeBytes(string) (int64, error) { return math.MaxInt64, nil }

// syncFolder does nothing: Windows has no such call for folders, and refuses the one for files.
func syncFolder(*os.File) error { return nil }

func fileBytes(info os.FileInfo) int64 { return info.Size() }

// lockFolder leaves the lock to Badger, whose file is there as long as the process that made it on Windows.
func lockFolder(f *os.File) error {
	if _, err := os.Stat(filepath.Join(f.Name(), "LOCK")); err == nil && runtime.GOOS == "windows" {
		return ErrInUse
	}
	return nil
}

// withFile calls use with the contents of a file.
func withFile(name string, use func(data []byte) error) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return use(data)
}
