package broker

import (
	"net"
	"sync"
)

// payloadByReference is the size in bytes from which a payload is sent from the message's
// own memory, when several receivers share it, instead of being copied into each outbox.
const payloadByReference = 4 << 10

// An outbox holds the bytes that wait to be written to one connection. Small frames are
// copied into one buffer, so that a flush is one write; large payloads are only referred to.
type outbox struct {
	box  *[]byte // from buffers; nil while there is nothing
	refs []reference
	size int // bytes in box and refs
}

// A reference is a run of bytes that goes out after the first at bytes of the buffer.
type reference struct {
	at int
	b  []byte
}

// buffers recycles outbox buffers. Those that grew beyond bufferKeep are left to the collector.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

const bufferKeep = 256 << 10

// open returns the buffer to append to; close must follow with what came of it.
func (o *outbox) open() []byte {
	if o.box == nil {
		o.box = buffers.Get().(*[]byte)
	}
	return *o.box
}

func (o *outbox) close(b []byte) {
	o.size += len(b) - len(*o.box)
	*o.box = b
}

// refer appends b without copying it; b must never change.
func (o *outbox) refer(b []byte) {
	o.refs = append(o.refs, reference{at: len(*o.box), b: b})
	o.size += len(b)
}

// take moves everything out.
func (o *outbox) take() parcel {
	p := parcel{box: o.box, rest: *o.box}
	if len(o.refs) > 0 {
		p.chunks = make(net.Buffers, 0, 2*len(o.refs)+1)
		from, buf := 0, *o.box
		for _, r := range o.refs {
			if r.at > from {
				p.chunks = append(p.chunks, buf[from:r.at])
			}
			p.chunks = append(p.chunks, r.b)
			from = r.at
		}
		if from < len(buf) {
			p.chunks = append(p.chunks, buf[from:])
		}
		p.rest = nil
	}
	*o = outbox{}
	return p
}

// A parcel is what one flush took out of an outbox: either rest, or chunks when payloads are referred to.
type parcel struct {
	box    *[]byte // to be recycled
	rest   []byte  // not written yet
	chunks net.Buffers
}

func (p *parcel) empty() bool { return len(p.rest) == 0 && len(p.chunks) == 0 }

// front is the next run of bytes to write, at most limit long.
func (p *parcel) front(limit int) []byte {
	b := p.rest
	if len(p.chunks) > 0 {
		b = p.chunks[0]
	}
	return b[:min(limit, len(b))]
}

// wrote notes that n bytes of it are written.
func (p *parcel) wrote(n int) {
	if len(p.chunks) == 0 {
		p.rest = p.rest[n:]
		return
	}
	for n > 0 {
		c := p.chunks[0]
		if n < len(c) {
			p.chunks[0] = c[n:]
			return
		}
		n -= len(c)
		p.chunks = p.chunks[1:]
	}
}

// free recycles the buffer. The parcel must not be used any more.
func (p *parcel) free() {
	if p.box != nil && cap(*p.box) <= bufferKeep {
		*p.box = (*p.box)[:0]
		buffers.Put(p.box)
	}
	*p = parcel{}
}
