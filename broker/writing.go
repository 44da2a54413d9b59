package broker

// nextParcel takes what the outbox holds for writing. ok is false when there is nothing; then the connection
// is no longer writing. It tells the queue and the feeder when there is room again.
func (c *conn) nextParcel() (p parcel, ok bool) {
	c.mu.Lock()
	c.dirty = false
	ok = c.outbox.size > 0
	if ok {
		p = c.outbox.take()
	}
	c.writing = ok
	wake := !ok && c.closing
	c.mu.Unlock()
	if wake {
		c.driver.resume() // it may wait to close
	}
	return p, ok
}

// What lastParcel found.
type writerState byte

const (
	writerIdle  writerState = iota // nothing to write, and nothing will be any more
	writerBusy                     // somebody writes
	writerOwned                    // the caller is to write the parcel
)

// lastParcel is for the driver that closes the connection.
func (c *conn) lastParcel() (p parcel, state writerState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.writing:
		return parcel{}, writerBusy
	case c.outbox.size == 0:
		c.finished = true
		return parcel{}, writerIdle
	}
	c.writing = true
	return c.outbox.take(), writerOwned
}

// beginParcel is nextParcel for a flush that does not write yet: ok is false if somebody else does.
func (c *conn) beginParcel() (p parcel, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = false
	if c.writing || c.finished || c.outbox.size == 0 {
		return parcel{}, false
	}
	c.writing = true
	return c.outbox.take(), true
}

// relieved is called by the driver after bytes were written: it goes on with what waited for room.
func (c *conn) relieved(t *turn) {
	c.mu.Lock()
	room := c.outbox.size <= c.b.limits.MaxOutboxBytes/2
	pump := c.wantPump && room && !c.closing
	feed := c.throttled && room
	if pump {
		c.wantPump = false
	}
	c.mu.Unlock()
	if pump {
		c.session.pump(t)
	}
	if feed {
		c.driver.resume()
	}
}

// abandon throws the outbox away: its socket failed.
func (c *conn) abandon() {
	c.mu.Lock()
	c.outbox = outbox{}
	c.writing = false
	c.finished = true
	c.mu.Unlock()
}
