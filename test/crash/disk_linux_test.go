package crash

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// A folder under test, with the disk that is told of it.
type tested struct {
	t      *testing.T
	folder string
	disk   *disk
}

func testDisk(t *testing.T) *tested {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "old"), []byte("durable"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := newDisk(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return &tested{t, folder, d}
}

func (x *tested) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *tested) path(name string) string { return filepath.Join(x.folder, name) }

// write changes a file in place, at an offset.
func (x *tested) write(name, text string, at int64) {
	x.t.Helper()
	x.must(x.disk.look()) // as before every open that creates
	f, err := os.OpenFile(x.path(name), os.O_CREATE|os.O_WRONLY, 0o600)
	x.must(err)
	_, err = f.WriteAt([]byte(text), at)
	x.must(err)
	x.must(f.Close())
	x.must(x.disk.look())
}

func (x *tested) sync(name string) {
	x.t.Helper()
	x.must(x.disk.sync(x.disk.folders["."].current()[name], 0, -1))
}

// left is what a power cut leaves in a file; "-" if the file is not there.
func (x *tested) left(name string, l luck) string {
	x.t.Helper()
	to := x.t.TempDir()
	x.must(x.disk.cut(to, l))
	b, err := os.ReadFile(filepath.Join(to, name))
	if os.IsNotExist(err) {
		return "-"
	}
	x.must(err)
	return strings.TrimRight(string(b), "\x00")
}

func (x *tested) want(name, text string, l luck) {
	x.t.Helper()
	if got := x.left(name, l); got != text {
		x.t.Errorf("the cut leaves %.20q of %s, want %q", got, name, text)
	}
}

func unlucky() luck { return luck{rng: rand.New(rand.NewPCG(1, 1))} }

// A power cut leaves what was fsynced, of content and of names, and without luck nothing else.
func TestDiskIsStrict(t *testing.T) {
	x := testDisk(t)
	x.want("old", "durable", unlucky())
	x.write("old", "CHANGED", 0)
	x.want("old", "durable", unlucky())
	x.sync("old")
	x.want("old", "CHANGED", unlucky())
	x.write("unsynced", "text", 0)
	x.write("new", "text", 0)
	x.want("new", "-", unlucky())
	x.sync("new")
	x.want("new", "text", unlucky())
	x.want("unsynced", "-", unlucky())
	x.disk.syncNames(".")
	x.want("unsynced", "", unlucky()) // its name is durable, and nothing else
	x.must(os.Rename(x.path("new"), x.path("renamed")))
	x.must(x.disk.look())
	x.want("new", "text", unlucky())
	x.want("renamed", "-", unlucky())
	x.must(os.Remove(x.path("old")))
	x.must(x.disk.look())
	x.want("old", "CHANGED", unlucky())
	x.disk.syncNames(".")
	x.want("old", "-", unlucky())
	x.want("renamed", "text", unlucky())
}

// An fsync of a part of a file makes that part durable, and its size.
func TestDiskSyncsParts(t *testing.T) {
	x := testDisk(t)
	x.write("old", "first", 0)
	x.write("old", "second", blockSize)
	id := x.disk.folders["."].current()["old"]
	x.must(x.disk.files[id].sync(blockSize, blockSize+10))
	if got := x.left("old", unlucky()); !strings.HasPrefix(got, "durable") || !strings.HasSuffix(got, "second") {
		t.Errorf("the cut leaves %.10q...%q", got, got[max(0, len(got)-6):])
	}
}

// A size is durable with an fsync, or by luck with every change of names.
func TestDiskSyncsSizes(t *testing.T) {
	x := testDisk(t)
	x.must(os.Truncate(x.path("old"), 3))
	x.want("old", "durable", unlucky())
	x.sync("old")
	x.want("old", "dur", unlucky())
	x.write("old", "longer", 0)
	x.want("old", "lon", luck{rng: unlucky().rng, pages: 1})
}

// With luck there is more: every page that was written, and changes of names up to one of them.
func TestDiskHasLuck(t *testing.T) {
	x := testDisk(t)
	x.write("old", "CHANGED", 0)
	x.want("old", "CHANGED", luck{rng: unlucky().rng, pages: 1})
	for _, name := range []string{"a", "b", "c"} {
		x.write(name, name, 0)
	}
	rng := rand.New(rand.NewPCG(setting.Seed(t), 3))
	seen := map[string]bool{}
	for range 100 {
		there := ""
		l := luck{rng: rng, pages: 1, names: true}
		to := t.TempDir()
		x.must(x.disk.cut(to, l))
		for _, name := range []string{"a", "b", "c"} {
			if _, err := os.Stat(filepath.Join(to, name)); err == nil {
				there += name
			}
		}
		seen[there] = true
	}
	for there := range seen {
		if !strings.HasPrefix("abc", there) {
			t.Errorf("files %q are left: not the first changes", there)
		}
	}
	if len(seen) != 4 {
		t.Errorf("left are %v, want every beginning of abc", seen)
	}
}

// A page that was being written can be torn.
func TestDiskTearsPages(t *testing.T) {
	x := testDisk(t)
	x.write("old", strings.Repeat("n", 4*pageSize), 0)
	x.disk.files[x.disk.folders["."].current()["old"]].size = 4 * pageSize
	rng := rand.New(rand.NewPCG(setting.Seed(t), 4))
	torn := 0
	for range 50 {
		to := t.TempDir()
		x.must(x.disk.cut(to, luck{rng: rng, pages: 1, torn: 0.5}))
		b, err := os.ReadFile(filepath.Join(to, "old"))
		x.must(err)
		for page := range 4 {
			if n := bytes.Count(b[page*pageSize:(page+1)*pageSize], []byte("n")); n%sectorSize != 0 {
				t.Fatalf("%d bytes of a page are new: not whole sectors", n)
			} else if n < pageSize {
				torn++
			}
		}
	}
	if torn == 0 {
		t.Error("no page is torn")
	}
}
