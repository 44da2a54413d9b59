package badger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
)

// On a file system that is really full the store refuses, still takes acknowledgements, and recovers by itself
// when somebody makes room. Nothing it acknowledged is lost.
func TestFullFileSystem(t *testing.T) {
	mount := t.TempDir()
	if err := unix.Mount("penstock", mount, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })
	options := badger.Options{Path: filepath.Join(mount, "store"), Reserve: 48 << 20}
	s := open(t, options)
	put(t, s, "a")
	var sent []string
	for i := 0; ; i++ {
		payload := fmt.Sprint(i, strings.Repeat("x", 256<<10))
		err := send(t, s, payload, "a")
		if errors.Is(err, storage.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, payload)
	}
	// Somebody else takes most of the reserve, too.
	ballast := filepath.Join(mount, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 24<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := ack(t, s, "a", uint64(i+1)); err != nil {
			t.Fatalf("acknowledgement: %v", err)
		}
	}
	if err := send(t, s, "no", "a"); !errors.Is(err, storage.ErrFull) {
		t.Errorf("a message: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for i := 10; i < len(sent)-5; i++ {
		if err := ack(t, s, "a", uint64(i+1)); err != nil {
			t.Fatalf("acknowledgement: %v", err)
		}
	}
	until(t, func() bool { return send(t, s, "yes", "a") == nil })
	want := append(sent[len(sent)-5:], "yes")
	same(t, "queue", payloads(t, s, "a"), want)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, "queue after reopening", payloads(t, open(t, options), "a"), want)
}
