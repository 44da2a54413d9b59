package crash

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// A disk knows what of a folder a power cut would leave. It is told of every fsync before it takes effect, and
// of every change of names before it is made, and keeps copies of what is durable by then:
// the pages of each file as of its last fsync, and the names in each folder as of the folder's.
//
// It is as strict as file systems with a journal are (ext4, XFS, btrfs): an fsync of a file makes its name
// durable too, any other change of names waits for an fsync of its folder, an fsync of a part of a mapping says
// nothing of the rest, and names and sizes change on disk in the order in which they were changed.
type disk struct {
	folder  string
	files   map[inode]*durable
	folders map[string]*names // by path from the top, which is "."
	synced  map[string]bool   // paths whose files are open with O_DSYNC: all that is written is durable
	changes int               // counts changes of names
}

type inode struct{ device, number uint64 }

// A durable file is a file with the copy of what of it is on disk.
type durable struct {
	live   *os.File // as the broker sees it; held open, so that its inode is not given to another file
	size   int64
	blocks map[int64][]byte // by number; a block that is missing is zero
}

// names are the durable names in a folder, and those that it had after each change since.
type names struct {
	durable map[string]inode
	since   []listing
}

// A listing is what names a folder had from a change on.
type listing struct {
	change int
	names  map[string]inode
}

const (
	blockSize  = 64 << 10
	pageSize   = 4 << 10
	sectorSize = 512
)

// newDisk takes everything that is in a folder as durable.
func newDisk(folder string) (*disk, error) {
	d := &disk{folder: folder, files: map[inode]*durable{}, folders: map[string]*names{}, synced: map[string]bool{}}
	if err := d.look(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	for _, f := range d.files {
		if err := f.sync(0, -1); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	for path := range d.folders {
		d.syncNames(path)
	}
	return d, nil
}

func (d *disk) close() (err error) {
	for _, f := range d.files {
		err = errors.Join(err, f.live.Close())
	}
	return err
}

// look notes the names that there are now.
func (d *disk) look() error {
	changed := false
	err := filepath.WalkDir(d.folder, func(path string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone meanwhile
			return nil
		case err != nil:
			return err
		case !e.IsDir():
			return nil
		}
		here, err := d.lookIn(path)
		changed = changed || here
		return err
	})
	if changed {
		d.changes++
	}
	return err
}

// lookIn reports whether the names in a folder are others than before.
func (d *disk) lookIn(path string) (changed bool, err error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return false, err
	}
	found := map[string]inode{}
	for _, e := range entries {
		if e.IsDir() {
			found[e.Name()] = inode{} // folders are never renamed or deleted by the store
			continue
		}
		id, err := d.meet(filepath.Join(path, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		found[e.Name()] = id
	}
	key, err := filepath.Rel(d.folder, path)
	if err != nil {
		return false, err
	}
	n := d.folders[key]
	if n == nil {
		n = &names{durable: map[string]inode{}}
		d.folders[key] = n
	}
	if maps.Equal(found, n.current()) {
		return false, nil
	}
	n.since = append(n.since, listing{d.changes + 1, found})
	return true, nil
}

func (n *names) current() map[string]inode {
	if len(n.since) == 0 {
		return n.durable
	}
	return n.since[len(n.since)-1].names
}

// meet opens a file that was not seen before.
func (d *disk) meet(path string) (inode, error) {
	live, err := os.Open(path)
	if err != nil {
		return inode{}, err
	}
	id, err := inodeOf(live)
	if err != nil || d.files[id] != nil {
		return id, errors.Join(err, live.Close())
	}
	d.files[id] = &durable{live: live, blocks: map[int64][]byte{}}
	return id, nil
}

func inodeOf(f *os.File) (inode, error) {
	info, err := f.Stat()
	if err != nil {
		return inode{}, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	return inode{uint64(stat.Dev), stat.Ino}, nil
}

// syncName makes the name of a file durable. It had it, then, after each change since.
func (d *disk) syncName(id inode) {
	for _, n := range d.folders {
		for name, found := range n.current() {
			if found != id || n.durable[name] == id {
				continue
			}
			maps.DeleteFunc(n.durable, func(_ string, old inode) bool { return old == id }) // it was renamed
			n.durable[name] = id
			for _, l := range n.since {
				l.names[name] = id
			}
		}
	}
}

// syncNames makes the names in a folder durable.
func (d *disk) syncNames(path string) {
	if n := d.folders[path]; n != nil {
		n.durable, n.since = n.current(), nil
	}
}

// syncAlways makes durable what is written to files that are open with O_DSYNC.
func (d *disk) syncAlways() error {
	for path := range d.synced {
		n := d.folders[filepath.Dir(path)]
		if n == nil {
			continue
		}
		if err := d.sync(n.current()[filepath.Base(path)], 0, -1); err != nil {
			return err
		}
	}
	return nil
}

// sync makes durable what a file holds from one offset to another, or all of it. An inode that is none of the folder's is nothing to it.
func (d *disk) sync(id inode, from, to int64) error {
	f := d.files[id]
	if f == nil {
		return nil
	}
	d.syncName(id)
	return f.sync(from, to)
}

// sync copies what the file holds from one offset to another, or all of it. The size becomes durable too.
func (f *durable) sync(from, to int64) error {
	info, err := f.live.Stat()
	if err != nil {
		return err
	}
	f.size = info.Size()
	if to < 0 || to > f.size {
		to = f.size
	}
	maps.DeleteFunc(f.blocks, func(number int64, _ []byte) bool { return number*blockSize >= f.size })
	for number := from / blockSize; number*blockSize < to; {
		data, err := f.data(number * blockSize)
		if err != nil {
			return err
		}
		for ; number*blockSize < min(data, to); number++ { // nothing was ever written there
			delete(f.blocks, number)
		}
		if number*blockSize < to {
			if err := f.copyBlock(number); err != nil {
				return err
			}
			number++
		}
	}
	return nil
}

// data is the offset of the block, from an offset on, that has data; the largest there is if none has.
func (f *durable) data(from int64) (int64, error) {
	at, err := unix.Seek(int(f.live.Fd()), from, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 1<<63 - 1, nil
	case err != nil:
		return 0, fmt.Errorf("seek to data: %w", err)
	}
	return at / blockSize * blockSize, nil
}

func (f *durable) copyBlock(number int64) error {
	b := f.blocks[number]
	if b == nil {
		b = make([]byte, blockSize)
		f.blocks[number] = b
	}
	n, err := f.live.ReadAt(b, number*blockSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	clear(b[n:])
	return nil
}

// A luck says how much more than what was fsynced a power cut leaves: the kernel writes what it likes, when it likes.
type luck struct {
	rng   *rand.Rand
	pages float64 // how probable it is that a page was written though nobody asked
	torn  float64 // how probable it is that such a page was written in part
	names bool    // changes of names and sizes were written as well, up to some change
}

// changesMean is how many changes of names a cut with luck misses on average.
const changesMean = 4

// newLuck draws one: in a third of cuts nothing more than promised is left.
func newLuck(rng *rand.Rand) luck {
	l := luck{rng: rng}
	switch rng.IntN(3) {
	case 1:
		l.pages = rng.Float64()
	case 2:
		l.pages = 1
	}
	if l.pages > 0 {
		l.torn, l.names = 0.2, rng.IntN(2) == 0
	}
	return l
}

// cut writes what a power cut at this moment leaves to another folder.
func (d *disk) cut(to string, l luck) error {
	if err := d.look(); err != nil {
		return err
	}
	change := 0
	if l.names {
		change = d.changes - min(d.changes, int(l.rng.ExpFloat64()*changesMean))
	}
	sizes := l.names && change == d.changes
	for _, path := range slices.Sorted(maps.Keys(d.folders)) {
		if !d.leaves(path, change) {
			continue
		}
		if err := os.MkdirAll(filepath.Join(to, path), 0o700); err != nil {
			return err
		}
		left := d.folders[path].at(change)
		for _, name := range slices.Sorted(maps.Keys(left)) {
			f := d.files[left[name]]
			if f == nil {
				continue // a folder
			}
			if err := f.write(filepath.Join(to, path, name), sizes, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaves reports whether the folder itself has a name after the cut.
func (d *disk) leaves(path string, change int) bool {
	if path == "." {
		return true
	}
	parent := filepath.Dir(path)
	_, there := d.folders[parent].at(change)[filepath.Base(path)]
	return there && d.leaves(parent, change)
}

// at are the names that a folder has if changes up to one reached the disk.
func (n *names) at(change int) map[string]inode {
	left := n.durable
	for _, l := range n.since {
		if l.change <= change {
			left = l.names
		}
	}
	return left
}

// write writes the file as the cut leaves it. With sizes it has the size it had last.
func (f *durable) write(name string, sizes bool, l luck) error {
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	info, err := f.live.Stat()
	if err != nil {
		return err
	}
	size := f.size
	if sizes {
		size = info.Size()
	}
	if err := out.Truncate(size); err != nil {
		return err
	}
	for number, b := range f.blocks {
		if end := min(blockSize, size-number*blockSize); end > 0 {
			if _, err := out.WriteAt(b[:end], number*blockSize); err != nil {
				return err
			}
		}
	}
	if l.pages == 0 {
		return nil
	}
	return f.writeLucky(out, min(size, info.Size()), l)
}

// writeLucky writes pages that differ from what is durable, some of them.
func (f *durable) writeLucky(out *os.File, size int64, l luck) error {
	page := make([]byte, pageSize)
	for at := int64(0); at < size; at += pageSize {
		data, err := f.data(at)
		if err != nil {
			return err
		}
		if at = max(at, data); at >= size {
			break
		}
		if l.rng.Float64() >= l.pages {
			continue
		}
		n, err := f.live.ReadAt(page[:min(pageSize, size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if l.rng.Float64() < l.torn {
			n = min(n, sectorSize*l.rng.IntN(pageSize/sectorSize))
		}
		if _, err := out.WriteAt(page[:n], at); err != nil {
			return err
		}
	}
	return nil
}
