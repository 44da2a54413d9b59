package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// saveTo writes a file that is complete and on disk, or as it was before; - is standard output.
func saveTo(name string, stdout io.Writer, produce func(io.Writer) error) error {
	if name == "-" {
		return produce(stdout)
	}
	folder, base := filepath.Split(name)
	if folder == "" {
		folder = "."
	}
	f, err := os.CreateTemp(folder, base+".*.part")
	if err != nil {
		return err
	}
	err = produce(f)
	if err == nil {
		err = f.Sync()
	}
	size, _ := f.Seek(0, io.SeekCurrent) // for the line below only
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := syncFolder(folder); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %s\n", name, inBytes(size))
	return err
}

// syncFolder makes a rename survive a power cut.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // has no such call
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
