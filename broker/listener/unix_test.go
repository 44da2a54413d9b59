package listener

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstockmq/penstock/configs"
)

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := start(t, configs.Listener{Type: "unix", Address: path}, Options{})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode is %v, %v, want 0660", info.Mode(), err)
	}
	client := r.dial(t)
	h := r.next(t)
	if _, ok := h.Conn.(*net.UnixConn); !ok {
		t.Errorf("handed over a %T, want *net.UnixConn", h.Conn)
	}
	expectTalk(t, client, h)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close the file is there: %v", err)
	}
}

// A crashed process leaves its socket file; it is replaced, with the mode asked for.
func TestUnixSocketReplacesStaleFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	crashed, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	crashed.SetUnlinkOnClose(false)
	if err := crashed.Close(); err != nil {
		t.Fatal(err)
	}
	r := start(t, configs.Listener{Type: "unix", Address: path}, Options{SocketMode: 0o600})
	expectTalk(t, r.dial(t), r.next(t))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, %v, want 0600", info.Mode(), err)
	}
}

// A living process keeps its socket, and a file of another kind is never removed.
func TestUnixSocketLeavesOthersAlone(t *testing.T) {
	dir := t.TempDir()
	living, err := net.Listen("unix", filepath.Join(dir, "living"))
	if err != nil {
		t.Fatal(err)
	}
	defer living.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"living": errSocketInUse, "file": errNotSocket} {
		path := filepath.Join(dir, name)
		if _, err := Open(configs.Listener{Type: "unix", Address: path}, Options{}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}
