package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// These bound writing, and the end of a connection.
const (
	lingerTime  = time.Second // for the client to read our last packet and close
	lingerBytes = 1 << 20     // of what it still sends, read and thrown away
	drainTime   = 5 * time.Second
	writePiece  = 64 << 10 // bytes for which one write deadline holds
	writeRounds = 8        // how often one flush goes on with what others have appended meanwhile
)

// readBuffers are lent to connections that have something to read, so that an idle one holds none.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// A goroutineDriver serves one connection with one goroutine that reads, on every kind of net.Conn. Writing
// is tried at once by whoever flushes where the socket allows that (tryWrite); what a socket does not take is
// written by a goroutine that lives until the outbox is empty.
type goroutineDriver struct {
	// Fixed when Attach returns.
	c   *conn
	nc  net.Conn
	raw *rawSocket // nil where reads and writes cannot be tried without blocking

	resumed chan struct{}  // a signal for the reader, capacity 1
	writer  sync.WaitGroup // the writer goroutine, started only while conn.finished is false
	drainBy atomic.Int64   // Unix nanoseconds by which everything must be written; 0 until the connection ends
}

func newGoroutineDriver(c *conn, nc net.Conn) *goroutineDriver {
	return &goroutineDriver{c: c, nc: nc, raw: newRawSocket(nc), resumed: make(chan struct{}, 1)}
}

// run serves the connection until it ends.
func (d *goroutineDriver) run() {
	d.readAll()
	d.finish()
	d.c.ended()
}

func (d *goroutineDriver) readAll() {
	for !d.c.stopped() {
		if d.c.waits > 0 {
			<-d.resumed
			d.feed(nil)
			continue
		}
		if err := d.readOnce(); err != nil {
			d.c.lost(readError(err))
			return
		}
	}
}

func readError(err error) string {
	if err == io.EOF {
		return "connection closed by client"
	}
	return "connection lost"
}

// readOnce waits for bytes and feeds them.
func (d *goroutineDriver) readOnce() error {
	if d.raw != nil {
		buf, n, err := d.raw.read()
		if n > 0 {
			d.feed((*buf)[:n])
		}
		if buf != nil {
			readBuffers.Put(buf)
		}
		return err
	}
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	n, err := d.nc.Read(*buf)
	if n > 0 {
		d.feed((*buf)[:n])
	}
	return err
}

func (d *goroutineDriver) feed(b []byte) {
	t := d.c.b.begin()
	defer t.end()
	d.c.b.guard(t, d.c, func() { d.c.feed(t, b) })
}

func (d *goroutineDriver) resume() {
	select {
	case d.resumed <- struct{}{}:
	default:
	}
}

func (d *goroutineDriver) shut() {
	d.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; it closes
	d.resume()
}

// flush implements driver.
func (d *goroutineDriver) flush(t *turn) {
	p, ok := d.c.beginParcel()
	for rounds := 0; ok; rounds++ {
		if d.raw == nil || rounds == writeRounds || !d.tryWrite(&p) {
			d.startWriter(p)
			return
		}
		p.free()
		d.c.relieved(t)
		p, ok = d.c.nextParcel()
	}
}

// tryWrite writes what the socket takes now and reports whether that was all.
func (d *goroutineDriver) tryWrite(p *parcel) bool {
	n, err := d.raw.write(*p)
	d.c.b.counters.bytesSent.Add(uint64(n))
	if err != nil { // the reader will see it too
		d.c.lost("connection lost")
		d.shut()
		return true
	}
	p.wrote(n)
	return p.empty()
}

// startWriter writes p and what follows it on a goroutine. The connection is writing.
func (d *goroutineDriver) startWriter(p parcel) {
	d.c.mu.Lock()
	if d.c.finished {
		d.c.writing = false
		d.c.mu.Unlock()
		return
	}
	d.writer.Add(1)
	d.c.mu.Unlock()
	go func() {
		defer d.writer.Done()
		d.writeAll(p)
	}()
}

func (d *goroutineDriver) writeAll(p parcel) {
	for ok := true; ok; p, ok = d.c.nextParcel() {
		for !p.empty() {
			d.nc.SetWriteDeadline(d.writeBy())
			n, err := d.nc.Write(p.front(writePiece))
			d.c.b.counters.bytesSent.Add(uint64(n))
			p.wrote(n)
			if err != nil && !d.slow(n, err) {
				d.c.lost("write timeout or connection lost")
				d.c.abandon()
				d.shut()
				return
			}
		}
		p.free()
		d.nc.SetWriteDeadline(time.Time{}) // or it would pass and fail a later tryWrite
		t := d.c.b.begin()
		d.c.relieved(t)
		t.end()
	}
}

// slow reports whether a write failed only because the client took a part of the bytes in time, and not all:
// limits.write_timeout is for those who take none.
func (d *goroutineDriver) slow(n int, err error) bool {
	return n > 0 && errors.Is(err, os.ErrDeadlineExceeded) && d.drainBy.Load() == 0
}

// finish writes what is left, lets the client read it, and closes the socket.
func (d *goroutineDriver) finish() {
	d.drainBy.Store(time.Now().Add(drainTime).UnixNano())
	drained := time.AfterFunc(drainTime, func() { d.nc.SetWriteDeadline(time.Unix(1, 0)) })
	for {
		p, state := d.c.lastParcel()
		if state == writerIdle {
			break
		}
		if state == writerBusy {
			<-d.resumed // nextParcel and abandon signal
			continue
		}
		d.writeAll(p)
	}
	drained.Stop()
	d.writer.Wait()
	if half, ok := d.nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		d.nc.SetReadDeadline(time.Now().Add(lingerTime))
		io.CopyN(io.Discard, d.nc, lingerBytes)
	}
	d.nc.Close()
}

// writeBy is when the next piece must be written.
func (d *goroutineDriver) writeBy() time.Time {
	by := time.Now().Add(d.c.b.limits.WriteTimeout)
	if drain := d.drainBy.Load(); drain != 0 && drain < by.UnixNano() {
		return time.Unix(0, drain)
	}
	return by
}
