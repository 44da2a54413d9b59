package bench

import (
	"os"
	"path/filepath"
	"testing"
)

// What counts is what files take of the disk: not their holes, and not their names.
func TestFolderBytes(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	if n, err := folderBytes(folder); err != nil || n != 0 {
		t.Fatalf("empty: %d bytes, error %v", n, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "below", "full"), make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(folder, "hollow"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	if n, err := folderBytes(folder); err != nil || n < 100_000 || n > 1<<20 {
		t.Errorf("%d bytes, error %v", n, err)
	}
	if n, err := folderBytes(filepath.Join(folder, "gone")); err != nil || n != 0 {
		t.Errorf("a folder that is gone: %d bytes, error %v", n, err)
	}
}

// A plain file lies beside the data folder, on the same file system, while it is needed.
func TestPlainFile(t *testing.T) {
	above := t.TempDir()
	data := filepath.Join(above, "data")
	if _, err := newPlainFile(data); err == nil {
		t.Error("no error without a data folder")
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := newPlainFile(data)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := p.append([]byte("abc")); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(p.file.Name()); err != nil || string(text) != "abcabcabc" || filepath.Dir(p.file.Name()) != above {
		t.Errorf("%s: %q, error %v", p.file.Name(), text, err)
	}
	p.close()
	if left, err := os.ReadDir(above); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
	if err := p.append(nil); err == nil {
		t.Error("no error of a closed file")
	}
}

// A file system in memory cannot show what syncing costs.
func TestIsMemory(t *testing.T) {
	if memory, err := isMemory("/dev/shm"); err == nil && !memory {
		t.Error("/dev/shm is not in memory")
	}
	if _, err := isMemory(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("no error of a folder that is not there")
	}
}
