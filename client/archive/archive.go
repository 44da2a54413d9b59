package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/penstockmq/penstock/client"
)

// Options say where and how messages are written.
type Options struct {
	OutputDir string // of finished files
	WorkDir   string // of those being written, on the same file system; empty is OutputDir
	Names     *Names
	Format    Format
	Gzip      int // level of compression, 1 to 9; 0 is none
	// A file is finished when it has so many bytes, is so old, or when its name has another time. 0 is never.
	RotateSize     int64
	RotateInterval time.Duration
	// A group is synced when it has so many messages, or when its first is so old.
	SyncEvery    int
	SyncInterval time.Duration
	OpenMax      int // files open at once; the one that was not written to for longest is finished
	Log          *slog.Logger
}

// rotateCheck is how often files are looked at that may have to be finished though nothing comes.
const rotateCheck = time.Second

// An Archive writes messages into files. It is used by one goroutine.
type Archive struct {
	// Fixed when New returns.
	options Options
	place   *place
	wrap    func(*os.File) file

	outputs map[string]*output // by key
	pending []*client.Delivery // written, not synced; at most SyncEvery
	line    []byte
	count   uint64 // of messages
	files   int    // finished
}

// New makes the folders if need be, and repairs and finishes files that a killed process left behind.
func New(o Options) (*Archive, error) {
	if o.WorkDir == "" {
		o.WorkDir = o.OutputDir
	}
	o.SyncEvery, o.OpenMax = max(1, o.SyncEvery), max(1, o.OpenMax)
	a := &Archive{
		options: o, place: &place{work: filepath.Clean(o.WorkDir), output: filepath.Clean(o.OutputDir), names: o.Names},
		wrap: func(f *os.File) file { return f }, outputs: make(map[string]*output),
	}
	if err := a.place.prepare(); err != nil {
		return nil, err
	}
	return a, a.repair()
}

// prepare makes the folders, and finds out whether files can be moved from one to the other before
// there is a file that needs it.
func (p *place) prepare() error {
	for _, folder := range []string{p.work, p.output} {
		if err := makeFolder(folder); err != nil {
			return err
		}
	}
	probe, err := os.CreateTemp(p.work, ".probe-")
	if err != nil {
		return err
	}
	defer os.Remove(probe.Name())
	defer probe.Close()
	there := filepath.Join(p.output, filepath.Base(probe.Name())+"-moved")
	if err := os.Link(probe.Name(), there); err != nil {
		return fmt.Errorf("files cannot be moved from %s to %s: %w", p.work, p.output, err)
	}
	return os.Remove(there)
}

// Run writes what comes until ctx ends, and then syncs, acknowledges and finishes what it has. Each value of rotate
// finishes the files that are open. An error leaves them to the next process, and what was not acknowledged to the broker.
func (a *Archive) Run(ctx context.Context, deliveries <-chan *client.Delivery, rotate <-chan os.Signal) (err error) {
	defer func() {
		if err != nil {
			a.abandon()
		}
	}()
	check := time.NewTicker(rotateCheck)
	defer check.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return a.finishAll("end")
		default:
		}
		waiting := len(a.pending)
		select {
		case d := <-deliveries:
			err = a.take(d)
		case <-due.C:
			err = a.sync()
		case <-rotate:
			err = a.finishAll("signal")
		case now := <-check.C:
			err = a.finishDue(now)
		case <-ctx.Done():
		}
		if err != nil {
			return err
		}
		if waiting == 0 && len(a.pending) > 0 {
			due.Reset(a.options.SyncInterval)
		}
	}
}

// take writes a message, and syncs when the group is full.
func (a *Archive) take(d *client.Delivery) error {
	if d.Void() {
		return nil
	}
	o, err := a.output(d.Topic, d.Received)
	if err != nil {
		return err
	}
	if a.line, err = a.options.Format.append(a.line[:0], &d.Message, d.Received); err != nil {
		return err
	}
	if err := o.write(a.line); err != nil {
		return err
	}
	a.count++
	o.used = a.count
	a.pending = append(a.pending, d)
	if len(a.pending) < a.options.SyncEvery {
		return nil
	}
	return a.sync()
}

// sync brings the group to the disk and acknowledges it.
func (a *Archive) sync() error {
	for _, o := range a.outputs {
		if err := o.sync(); err != nil {
			return err
		}
	}
	client.AckAll(a.pending)
	clear(a.pending)
	a.pending = a.pending[:0]
	return nil
}

// output is the file for a topic at a time.
func (a *Archive) output(topic string, at time.Time) (*output, error) {
	key := a.place.names.key(topic, at)
	if o := a.outputs[key]; o != nil {
		if reason := a.full(o, at); reason == "" {
			return o, nil
		} else if err := a.finish(o, reason); err != nil {
			return nil, err
		}
	}
	if len(a.outputs) >= a.options.OpenMax {
		if err := a.finish(a.leastUsed(), "too many files are open"); err != nil {
			return nil, err
		}
	}
	p, err := a.place.create(key, a.options.Format.ending(a.options.Gzip > 0))
	if err != nil {
		return nil, err
	}
	o, err := newOutput(p, a.wrap(p.File), a.options.Gzip, at)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	a.outputs[key] = o
	return o, nil
}

// full is why nothing more is to be written to a file, or empty.
func (a *Archive) full(o *output, at time.Time) string {
	switch {
	case a.options.RotateSize > 0 && o.size() >= a.options.RotateSize:
		return "size"
	case a.options.RotateInterval > 0 && at.Sub(o.opened) >= a.options.RotateInterval:
		return "age"
	}
	return ""
}

func (a *Archive) leastUsed() (least *output) {
	for _, o := range a.outputs {
		if least == nil || o.used < least.used {
			least = o
		}
	}
	return least
}

// finishDue finishes files whose time is over, though nothing more came for them.
func (a *Archive) finishDue(now time.Time) error {
	for _, o := range a.outputs {
		reason := a.full(o, now)
		if reason == "" && a.place.names.overdue(o.opened, now) {
			reason = "time"
		}
		if reason == "" {
			continue
		}
		if err := a.finish(o, reason); err != nil {
			return err
		}
	}
	return nil
}

// finishAll syncs and acknowledges everything and finishes all files.
func (a *Archive) finishAll(reason string) error {
	if err := a.sync(); err != nil {
		return err
	}
	for _, o := range a.outputs {
		if err := a.finish(o, reason); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) finish(o *output, reason string) error {
	if err := o.sync(); err != nil {
		return err
	}
	delete(a.outputs, o.key)
	size, lines := o.size(), o.lines
	path, err := o.part.finish()
	if err != nil {
		return err
	}
	a.files++
	a.options.Log.Info("file finished", "file", path, "reason", reason, "messages", lines, "bytes", size)
	return nil
}

// abandon closes the files as they are. Their locks go, so the next process takes them up.
func (a *Archive) abandon() {
	for _, o := range a.outputs {
		if err := o.part.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			a.options.Log.Warn("file not closed", "file", o.Name(), "err", err)
		}
	}
	clear(a.outputs)
}

// Written is how many messages were written and how many files finished.
func (a *Archive) Written() (messages uint64, files int) { return a.count, a.files }
