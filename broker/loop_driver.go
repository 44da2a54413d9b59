package broker

import (
	"io"
	"time"
)

// A loopStage is how far a connection came.
type loopStage byte

const (
	atWork    loopStage = iota
	draining            // nothing is read; what is in the outbox is written
	lingering           // our side is shut down; what the client still sends is thrown away
	gone
)

// A loopDriver serves one socket on a loop. Writing is tried at once by whoever flushes; what the socket does not take is
// written by the loop when it has room.
type loopDriver struct {
	// Fixed when it is made.
	c      *conn
	l      *loop
	socket int

	// Only the loop touches these.
	stage    loopStage
	readable bool // there may be bytes in the socket
	hungUp   bool // its end may be behind them
	waiting  bool // in loop.more
	asking   bool // the loop hears when the socket has room
	lingered int  // bytes thrown away
	clock    *time.Timer
	due      time.Duration // after the broker's start: when the clock rings; 0 if it does not

	called bool // in loop.called; guarded by loop.mu

	// Guarded by conn.mu.
	unsent *parcel // what the socket did not take; set only while conn.writing
	moved  bool    // some of the bytes were taken since the clock was set
	late   bool    // what is not written now never is
}

// happened takes what the poller told.
func (d *loopDriver) happened(t *turn, h happening) {
	d.readable = d.readable || h.readable
	d.hungUp = d.hungUp || h.hungUp
	if d.asking && h.room {
		d.writeUnsent(t)
	}
	d.goOn(t)
}

// goOn reads, unless that is for later.
func (d *loopDriver) goOn(t *turn) {
	d.waiting = false
	switch {
	case !d.readable || d.stage == gone:
	case d.stage == lingering:
		d.discard()
	case d.stage == atWork && d.c.waits == 0:
		d.read(t)
	}
}

// read feeds what one read returns.
func (d *loopDriver) read(t *turn) {
	n, err := d.readSome()
	if n > 0 {
		d.feed(t, d.l.buf[:n])
		d.l.fed(t, n)
	}
	if err != nil {
		d.c.lost(readError(err))
		d.drain(t)
		return
	}
	d.later()
}

// readSome reads what the loop's buffer takes.
func (d *loopDriver) readSome() (n int, err error) {
	n, err = d.l.poll.read(d.socket, d.l.buf)
	switch {
	case err == errNotNow:
		d.readable = false
		return 0, nil
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	if n < len(d.l.buf) && !d.hungUp { // that was all; more would be another event
		d.readable = false
	}
	return n, nil
}

// later has the next round go on, if there may be more to read.
func (d *loopDriver) later() {
	if d.readable && !d.waiting && (d.stage == lingering || d.c.waits == 0) {
		d.waiting = true
		d.l.more = append(d.l.more, d)
	}
}

func (d *loopDriver) feed(t *turn, b []byte) {
	d.c.b.guard(t, d.c, func() { d.c.feed(t, b) })
}

// answer does what the loop was called for.
func (d *loopDriver) answer(t *turn) {
	d.watchUnsent()
	switch d.stage {
	case atWork:
		if d.checkWrite(); d.c.stopped() {
			d.drain(t)
			return
		}
		if d.c.waits > 0 {
			d.feed(t, nil)
		}
		d.later()
	case draining:
		d.drain(t)
	case lingering:
		if d.rang() {
			d.close()
		}
	}
}

// resume implements driver.
func (d *loopDriver) resume() { d.l.call(d) }

// shut implements driver.
func (d *loopDriver) shut() { d.l.call(d) }

// flush implements driver.
func (d *loopDriver) flush(t *turn) {
	if p, ok := d.c.beginParcel(); ok {
		d.write(t, p)
	}
}

// write writes p and what follows it, as far as the socket takes it. The connection is writing.
func (d *loopDriver) write(t *turn, p parcel) {
	moved := false
	for ok, rounds := true, 0; ok; rounds++ {
		sent, all := d.writeParcel(&p)
		moved = moved || sent > 0
		if !all || rounds == writeRounds {
			d.keep(p, moved)
			return
		}
		p.free()
		d.c.relieved(t)
		p, ok = d.c.nextParcel()
	}
}

// writeParcel writes what the socket takes now and reports whether that was all.
func (d *loopDriver) writeParcel(p *parcel) (sent int, all bool) {
	defer func() { d.c.b.counters.bytesSent.Add(uint64(sent)) }()
	for !p.empty() {
		n, err := d.l.poll.write(d.socket, *p)
		if err == errNotNow {
			return sent, false
		}
		if err != nil { // the loop will see it too
			d.c.lost("connection lost")
			d.shut()
			return sent, true
		}
		sent += n
		p.wrote(n)
	}
	return sent, true
}

// keep leaves the rest of a parcel to the loop. The connection goes on writing.
func (d *loopDriver) keep(p parcel, moved bool) {
	d.c.mu.Lock()
	late := d.late
	if !late {
		d.unsent = &p
		d.moved = d.moved || moved
	}
	d.c.mu.Unlock()
	if late {
		d.c.abandon()
	}
	d.l.call(d)
}

// takeUnsent takes what keep left, nil if there is nothing.
func (d *loopDriver) takeUnsent() *parcel {
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	p := d.unsent
	d.unsent = nil
	return p
}

// watchUnsent has the poller tell when the socket has room, if something waits for that. Had room come before, it tells at once.
func (d *loopDriver) watchUnsent() {
	d.c.mu.Lock()
	waits := d.unsent != nil
	d.moved = d.moved && d.asking // what was taken before the clock is set does not count
	d.c.mu.Unlock()
	if !waits || d.stage == gone {
		return
	}
	d.l.poll.watchRoom(d.socket, true)
	if !d.asking && d.stage == atWork {
		d.setClock(d.c.b.limits.WriteTimeout)
	}
	d.asking = true
}

// writeUnsent goes on with what the socket did not take.
func (d *loopDriver) writeUnsent(t *turn) {
	p := d.takeUnsent()
	if p == nil {
		return
	}
	d.asking = false
	d.write(t, *p)
	d.c.mu.Lock()
	d.asking = d.unsent != nil
	d.c.mu.Unlock()
	if d.asking { // answer asks again
		return
	}
	d.l.poll.watchRoom(d.socket, false)
	if d.stage == atWork {
		d.due = 0
	}
}
