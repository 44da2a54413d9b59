package broker

import "time"

// setClock has the loop called after a time. There is one clock: a stage that sets it ends the one before.
func (d *loopDriver) setClock(after time.Duration) {
	d.due = time.Since(d.c.b.started) + after
	if d.clock == nil {
		d.clock = time.AfterFunc(after, d.resume)
		return
	}
	d.clock.Reset(after)
}

// rang reports, once, that the clock's time has come.
func (d *loopDriver) rang() bool {
	if d.due == 0 || time.Since(d.c.b.started) < d.due {
		return false
	}
	d.due = 0
	return true
}

// checkWrite ends a connection whose client took none of the bytes that wait for it while the clock ran.
func (d *loopDriver) checkWrite() {
	if !d.rang() {
		return
	}
	d.c.mu.Lock()
	stuck, moved := d.unsent != nil, d.moved
	d.moved = false
	d.c.mu.Unlock()
	switch {
	case !stuck:
	case moved: // slow, but alive
		d.setClock(d.c.b.limits.WriteTimeout)
	default:
		d.c.lost("write timeout or connection lost")
		d.giveUp()
	}
}

// giveUp throws away what is still to be written, now or when who writes at this moment is done.
func (d *loopDriver) giveUp() {
	d.c.mu.Lock()
	d.late = true
	stuck := d.unsent != nil
	d.c.mu.Unlock()
	if stuck {
		d.takeUnsent().free()
		d.c.abandon()
	}
}

// drain writes what is left in a bounded time, and then lets the client read it.
func (d *loopDriver) drain(t *turn) {
	if d.stage == atWork {
		d.stage = draining
		d.setClock(drainTime)
	} else if d.rang() {
		d.c.lost("write timeout or connection lost")
		d.giveUp()
	}
	for {
		p, state := d.c.lastParcel()
		switch state {
		case writerBusy:
			return // nextParcel and keep call
		case writerOwned:
			d.write(t, p)
		case writerIdle:
			d.linger()
			return
		}
	}
}

// linger shuts our side down and waits for the client to do the same: closed at once, the socket could answer what is
// still on its way with a reset, and that would throw away what the client has not read.
func (d *loopDriver) linger() {
	if d.l.poll.closeWrite(d.socket) != nil {
		d.close()
		return
	}
	d.stage, d.readable = lingering, true
	d.setClock(lingerTime)
	d.discard()
}

// discard throws away what the client still sends.
func (d *loopDriver) discard() {
	n, err := d.readSome()
	if d.lingered += n; err != nil || d.lingered >= lingerBytes {
		d.close()
		return
	}
	d.later()
}

func (d *loopDriver) close() {
	d.stage = gone
	if d.clock != nil {
		d.clock.Stop()
	}
	d.l.remove(d)
	d.c.ended()
}
