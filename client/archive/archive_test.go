package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/client"
)

// settings are those of a small archive in a folder of its own.
func settings(t *testing.T) Options {
	t.Helper()
	return Options{
		OutputDir: t.TempDir(), Names: naming(t, "<TOPIC>.log", "%H%M%S"), SyncEvery: 3, SyncInterval: time.Second, OpenMax: 10,
		Log: slog.New(slog.DiscardHandler),
	}
}

func naming(t *testing.T, format, datetime string) *Names {
	t.Helper()
	n, err := ParseNames(Naming{Format: format, DateTime: datetime, Channel: "c", Host: "h", ID: "i", PID: 7, UTC: true})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func open(t *testing.T, o Options) *Archive {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A feed gives messages to a running archive and keeps what was acknowledged.
type feed struct {
	deliveries chan *client.Delivery
	rotate     chan os.Signal
	stop       context.CancelFunc
	result     chan error

	mu    sync.Mutex // guards what follows
	acked []string
}

func run(t *testing.T, a *Archive) *feed {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &feed{deliveries: make(chan *client.Delivery), rotate: make(chan os.Signal), stop: stop, result: make(chan error, 1)}
	go func() { f.result <- a.Run(ctx, f.deliveries, f.rotate) }()
	t.Cleanup(stop)
	return f
}

func (f *feed) delivery(topic, payload string) *client.Delivery {
	m := &client.Message{Topic: topic, Payload: []byte(payload), QoS: 1}
	return client.NewDelivery(m, time.Now(), func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if err == nil {
			f.acked = append(f.acked, payload)
		}
	})
}

// send gives a message to the archive, or tells why that has ended.
func (f *feed) send(topic, payload string) error {
	select {
	case f.deliveries <- f.delivery(topic, payload):
		return nil
	case err := <-f.result:
		f.result <- err
		return err
	}
}

func (f *feed) sendAll(t *testing.T, topic string, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := f.send(topic, p); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *feed) end(t *testing.T) {
	t.Helper()
	f.stop()
	if err := <-f.result; err != nil {
		t.Fatal(err)
	}
}

func (f *feed) wantAcked(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.acked, want) {
		t.Errorf("acknowledged %q, want %q", f.acked, want)
	}
}

// contents are the files of a folder, unpacked.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.HasSuffix(path, ".gz") && err == nil {
			data, err = unpack(data)
		}
		name, _ := filepath.Rel(folder, path)
		files[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func unpack(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func wantFiles(t *testing.T, folder string, want map[string]string) {
	t.Helper()
	got := contents(t, folder)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got files %q\nwant %q", got, want)
	}
}

// A message is acknowledged when its group was synced: when the group is full, when its first
// message has waited long enough, and at the end.
func TestAcknowledgedWhenSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := open(t, settings(t))
		var synced atomic.Int32
		a.wrap = func(f *os.File) file { return &watched{File: f, synced: &synced} }
		f := run(t, a)
		f.sendAll(t, "a", "1", "2")
		f.wantAcked(t)
		f.sendAll(t, "a", "3")
		f.wantAcked(t, "1", "2", "3")
		f.sendAll(t, "a", "4")
		time.Sleep(time.Second - 1)
		f.wantAcked(t, "1", "2", "3")
		time.Sleep(time.Nanosecond)
		f.wantAcked(t, "1", "2", "3", "4")
		if synced := synced.Load(); synced != 2 {
			t.Errorf("%d syncs for two groups", synced)
		}
		f.sendAll(t, "a", "5")
		f.end(t)
		f.wantAcked(t, "1", "2", "3", "4", "5")
		wantFiles(t, a.options.OutputDir, map[string]string{"a.log": "1\n2\n3\n4\n5\n"})
	})
}

// A watched file counts its syncs.
type watched struct {
	*os.File
	synced *atomic.Int32
}

func (w *watched) Sync() error {
	w.synced.Add(1)
	return w.File.Sync()
}

// A broken file fails to write what goes beyond its room, or to sync.
type broken struct {
	*os.File
	room   int
	unsafe bool
}

func (b *broken) Write(p []byte) (int, error) {
	n := min(len(p), b.room)
	b.room -= n
	written, err := b.File.Write(p[:n])
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return written, err
}

func (b *broken) Sync() error {
	if b.unsafe {
		return syscall.EIO
	}
	return b.File.Sync()
}

// When the disk is full or does not sync, nothing of the group is acknowledged and the archive ends. The next one
// keeps every line that was acknowledged, and none in pieces.
func TestADiskThatFails(t *testing.T) {
	for _, c := range []struct {
		name string
		file broken
		gzip int
		want error
	}{
		{"full", broken{room: 9}, 0, syscall.ENOSPC},
		{"full, compressed", broken{room: 60}, 6, syscall.ENOSPC},
		{"no sync", broken{room: 1 << 20, unsafe: true}, 0, syscall.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := settings(t)
			if o.Gzip = c.gzip; c.gzip > 0 {
				o.Names = naming(t, "a.gz", "")
			}
			a := open(t, o)
			a.wrap = func(f *os.File) file { c.file.File = f; return &c.file }
			f := run(t, a)
			var err error
			for i := 0; err == nil; i++ {
				err = f.send("a", fmt.Sprint(i, "x"))
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if c.file.unsafe && len(f.acked) > 0 {
				t.Errorf("acknowledged %q, which was not synced", f.acked)
			}
			files := contents(t, repaired(t, o))
			text := strings.Join(slices.Collect(values(files)), "")
			if want := strings.Join(f.acked, "\n"); !strings.HasPrefix(text, want) || text != "" && !strings.HasSuffix(text, "x\n") {
				t.Errorf("kept %q, acknowledged %q", text, f.acked)
			}
			if !c.file.unsafe && len(f.acked) == 0 {
				t.Error("nothing was acknowledged before the disk was full")
			}
		})
	}
}

func values(files map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name, text := range files {
			if !strings.HasSuffix(name, ".gz") && !strings.HasSuffix(name, ".log") {
				yield("not finished: " + name)
			} else if !yield(text) {
				return
			}
		}
	}
}

// repaired opens an archive where another one ended, and returns the folder.
func repaired(t *testing.T, o Options) string {
	t.Helper()
	open(t, o)
	return o.OutputDir
}

// Wherever a file is torn, what was synced stays and nothing is left in pieces.
func TestTornFiles(t *testing.T) {
	for _, c := range []struct {
		format Format
		gzip   int
		step   int // 1 cuts everywhere
	}{{Raw, 0, 1}, {JSON, 0, 9}, {JSON, 6, 9}, {Raw, 1, 1}} {
		t.Run(fmt.Sprintf("format %d, compression %d", c.format, c.gzip), func(t *testing.T) {
			ending, whole, groups := sample(t, c.format, c.gzip)
			lengths := slices.Clone(groups)
			for length := 0; length <= len(whole); length += c.step {
				lengths = append(lengths, length)
			}
			for i, length := range lengths {
				tail := strings.Repeat("\x00", i%2*6)
				checkTorn(t, torn{c.gzip, ending, whole, groups, length, tail})
			}
		})
	}
}

// sample is what an unfinished file of three groups holds, and where the groups end.
func sample(t *testing.T, format Format, level int) (ending string, whole []byte, groups []int) {
	t.Helper()
	o := settings(t)
	o.Format, o.Gzip, o.SyncEvery = format, level, 2
	a := open(t, o)
	for i := range 6 {
		d := client.NewDelivery(&client.Message{Topic: "a", Payload: fmt.Append(nil, "payload ", i), QoS: 1}, time.Unix(0, 0), func(error) {})
		if err := a.take(d); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			groups = append(groups, int(a.outputs["a<REV>.log"].written))
		}
	}
	path := a.outputs["a<REV>.log"].Name()
	a.abandon()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(filepath.Base(path), "a.log"), whole, groups
}

// A torn file is one that was cut, or has something behind its end that nobody wrote.
type torn struct {
	gzip   int
	ending string
	whole  []byte
	groups []int
	length int
	tail   string
}

func checkTorn(t *testing.T, c torn) {
	t.Helper()
	o := settings(t)
	name := "a.log"
	if c.gzip > 0 {
		name += ".gz"
	}
	if err := os.WriteFile(filepath.Join(o.OutputDir, name+c.ending), append(slices.Clone(c.whole[:c.length]), c.tail...), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, o)
	kept, err := os.ReadFile(filepath.Join(o.OutputDir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	synced := 0
	for _, end := range c.groups {
		if end <= c.length {
			synced = end
		}
	}
	if len(kept) < synced || !bytes.HasPrefix(c.whole, kept) {
		t.Fatalf("of %d bytes, %d synced, %q was kept", c.length, synced, kept)
	}
	if c.gzip > 0 && len(kept) > 0 {
		if _, err := unpack(kept); err != nil {
			t.Fatalf("of %d bytes: %v", c.length, err)
		}
	} else if len(kept) > 0 && kept[len(kept)-1] != '\n' {
		t.Fatalf("of %d bytes a line was kept in pieces: %q", c.length, kept)
	}
	if left, _ := filepath.Glob(filepath.Join(o.OutputDir, "*part*")); len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
}

// Archives that write into the same folder do not touch each other's files.
func TestSeveralInOneFolder(t *testing.T) {
	o := settings(t)
	one := open(t, o)
	f := run(t, one)
	f.sendAll(t, "a", "of one", "of one", "of one")
	two := open(t, o)
	g := run(t, two)
	g.sendAll(t, "a", "of two")
	g.end(t)
	f.sendAll(t, "a", "more of one")
	f.end(t)
	three := run(t, open(t, o))
	three.sendAll(t, "a", "of three")
	three.end(t)
	wantFiles(t, o.OutputDir, map[string]string{
		"a.log": "of one\nof one\nof one\nmore of one\n", "a-000001.log": "of two\n", "a-000002.log": "of three\n",
	})
}

// A file is finished by its size, by its age, by the time in its name and by a signal, also when nothing more comes.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := settings(t)
		o.WorkDir = filepath.Join(t.TempDir(), "work")
		o.Names = naming(t, "<CHANNEL>.<HOST>.<ID>.<PID>/<DATETIME>.log", "%Y-%m-%d/%H")
		o.RotateSize, o.RotateInterval, o.SyncEvery = 6, 10*time.Minute, 1
		f := run(t, open(t, o))
		f.sendAll(t, "a", "12345", "67890") // the first has 6 bytes with the end of its line
		f.rotate <- syscall.SIGHUP
		synctest.Wait()
		want := map[string]string{"c.h.i.7/2000-01-01/00.log": "12345\n", "c.h.i.7/2000-01-01/00-000001.log": "67890\n"}
		wantFiles(t, o.OutputDir, want)
		f.sendAll(t, "a", "x")
		time.Sleep(10*time.Minute + rotateCheck)
		want["c.h.i.7/2000-01-01/00-000002.log"] = "x\n"
		synctest.Wait()
		wantFiles(t, o.OutputDir, want)
		time.Sleep(time.Until(time.Date(2000, 1, 1, 0, 59, 0, 0, time.UTC)))
		f.sendAll(t, "a", "y")
		time.Sleep(time.Minute + rotateCheck)
		want["c.h.i.7/2000-01-01/00-000003.log"] = "y\n"
		synctest.Wait()
		wantFiles(t, o.OutputDir, want)
		f.sendAll(t, "a", "z")
		f.end(t)
		want["c.h.i.7/2000-01-01/01.log"] = "z\n"
		wantFiles(t, o.OutputDir, want)
		wantFiles(t, o.WorkDir, map[string]string{})
	})
}

// With topics in the names there is a bound on how many files are open.
func TestOpenFilesAreBounded(t *testing.T) {
	o := settings(t)
	o.OpenMax = 2
	a := open(t, o)
	var f feed
	for _, topic := range []string{"a/b", "c", "a/b", "../d", "/", "c"} {
		if err := a.take(f.delivery(topic, topic)); err != nil {
			t.Fatal(err)
		}
		if len(a.outputs) > 2 {
			t.Fatalf("%d files are open", len(a.outputs))
		}
	}
	if err := a.finishAll("end"); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, o.OutputDir, map[string]string{
		"a/b.log": "a/b\na/b\n", "c.log": "c\n", "c-000001.log": "c\n", "%2E./d.log": "../d\n", "%/%.log": "/\n",
	})
}

// Folders between which files cannot be moved are refused before a file is begun.
func TestFoldersThatDoNotFit(t *testing.T) {
	o := settings(t)
	o.OutputDir = filepath.Join(o.OutputDir, "file")
	if err := os.WriteFile(o.OutputDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(o); err == nil {
		t.Error("a file passed for a folder")
	}
}
