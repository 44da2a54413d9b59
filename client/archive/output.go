package archive

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"time"
)

// A file is what an output writes to: that of its part, unless a test puts one in front that fails.
type file interface {
	io.Writer
	Sync() error
}

// bufferSize is what an output gathers before it writes.
const bufferSize = 64 << 10

// An output is a file being written.
type output struct {
	*part
	opened  time.Time
	used    uint64 // the number of the last message; who has the lowest is closed first
	dirty   bool   // something was written since the last sync
	lines   int
	file    file
	buffer  *bufio.Writer
	gzip    *gzip.Writer // nil without compression
	written int64        // bytes that went to the file
}

func newOutput(p *part, f file, level int, at time.Time) (*output, error) {
	o := &output{part: p, opened: at, file: f}
	o.buffer = bufio.NewWriterSize(counted{o}, bufferSize)
	if level == 0 {
		return o, nil
	}
	var err error
	o.gzip, err = gzip.NewWriterLevel(o.buffer, level)
	return o, err
}

// counted counts what goes to the file of an output.
type counted struct{ o *output }

func (c counted) Write(b []byte) (int, error) {
	n, err := c.o.file.Write(b)
	c.o.written += int64(n)
	return n, err
}

// size is how long the file is. Compression may hold back some of it until the next sync.
func (o *output) size() int64 { return o.written + int64(o.buffer.Buffered()) }

func (o *output) write(line []byte) error {
	to := io.Writer(o.buffer)
	if o.gzip != nil {
		if !o.dirty {
			o.gzip.Reset(o.buffer) // each group is a member of its own (RFC 1952, 2.2), with a checksum
		}
		to = o.gzip
	}
	o.dirty = true
	o.lines++
	if _, err := to.Write(line); err != nil {
		return fmt.Errorf("writing %s: %w", o.Name(), err)
	}
	return nil
}

// sync brings everything to the disk. After an error nothing is known of what is there.
func (o *output) sync() error {
	if !o.dirty {
		return nil
	}
	if o.gzip != nil {
		if err := o.gzip.Close(); err != nil {
			return fmt.Errorf("writing %s: %w", o.Name(), err)
		}
	}
	if err := o.buffer.Flush(); err != nil {
		return fmt.Errorf("writing %s: %w", o.Name(), err)
	}
	if err := o.file.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", o.Name(), err)
	}
	o.dirty = false
	return nil
}
