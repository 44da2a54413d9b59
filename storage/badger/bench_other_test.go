//go:build !linux

package badger_test

import "os"

func dataSync(f *os.File) error { return f.Sync() }
