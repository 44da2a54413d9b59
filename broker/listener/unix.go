package listener

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
)

// listenUnix listens on a socket file, which Close removes. A file that a crashed process left is
// replaced; one on which somebody answers is not.
func listenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if strings.HasPrefix(path, "@") { // Linux: an abstract name, not a file
		return net.Listen("unix", path)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// removeStale removes a socket file on which nobody answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSocket == 0:
		return errNotSocket
	}
	if nc, err := net.Dial("unix", path); err == nil {
		_ = nc.Close()
		return errSocketInUse
	} else if !refused(err) {
		return err // it may be alive: no permission, or its backlog is full
	}
	return os.Remove(path)
}
