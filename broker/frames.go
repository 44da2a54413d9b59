package broker

import (
	"encoding/binary"

	"github.com/penstockmq/penstock/broker/packet"
)

// frames encodes one message at most once for each form a receiver may need it in: version 5 or not,
// QoS, RETAIN flag. What differs between receivers of one form, packet identifier and remaining
// expiry, is patched into each copy.
type frames struct {
	message *packet.Message
	lent    *lent // the message, held, or nil if it is not lent
	byRef   bool  // the payload is left out of the frames and referred to
	apart   bool  // it is left out, and copied from the message
	buf     []byte
	made    uint16 // a bit for each form that is in encoded
	encoded [formCount]frame
}

// A frame is one encoding, in frames.buf.
type frame struct {
	from, to   int // in buf
	id, expiry int // offsets in the frame, -1 if absent
	size       int // bytes of the whole packet
}

const formCount = 2 * 3 * 2

// payloadApart is the size in bytes from which copying a payload once more, into a frame, costs more than copying header
// and payload one after the other.
const payloadApart = 256

// reset begins with a message, which l is if it is lent.
func (f *frames) reset(m *packet.Message, l *lent) {
	l.hold()
	f.lent.giveBack()
	f.message, f.lent, f.byRef, f.made = m, l, false, 0
	f.apart = m != nil && len(m.Payload) >= payloadApart
	if f.buf = f.buf[:0]; cap(f.buf) > bufferKeep {
		f.buf = nil
	}
}

// of begins with m unless it is being worked on already. m must be owned: nobody changes its bytes.
func (f *frames) of(m *packet.Message, l *lent) *frames {
	if f.message != m {
		f.reset(m, l)
		f.byRef = len(m.Payload) >= payloadByReference
	}
	return f
}

// get returns the encoding for a form.
func (f *frames) get(v packet.Version, qos byte, retain bool) *frame {
	form := int(qos) * 2
	if retain {
		form++
	}
	if v == packet.V5 {
		form += formCount / 2
	}
	fr := &f.encoded[form]
	if f.made&(1<<form) == 0 {
		f.made |= 1 << form
		f.encode(fr, v, qos, retain)
	}
	return fr
}

func (f *frames) encode(fr *frame, v packet.Version, qos byte, retain bool) {
	m := f.message
	out := packet.Outgoing{
		Topic: m.Topic, Payload: m.Payload, Properties: m.Properties, QoS: qos, Retain: retain,
		HasExpiry: m.Expires != 0, ID: 1,
	}
	fr.id, fr.expiry = packet.PublishOffsets(v, &out)
	fr.from = len(f.buf)
	if f.byRef || f.apart {
		f.buf = packet.AppendPublishHeader(f.buf, v, &out)
		fr.size = len(f.buf) - fr.from + len(m.Payload)
	} else {
		f.buf = packet.AppendPublish(f.buf, v, &out)
		fr.size = len(f.buf) - fr.from
	}
	fr.to = len(f.buf)
}

// appendTo copies the frame into an outbox.
func (f *frames) appendTo(o *outbox, fr *frame, id uint16, dup bool, expiry uint32) {
	b := o.open()
	start := len(b)
	b = append(b, f.buf[fr.from:fr.to]...)
	if dup {
		b[start] |= 0x08
	}
	if fr.id > 0 {
		binary.BigEndian.PutUint16(b[start+fr.id:], id)
	}
	if fr.expiry > 0 {
		binary.BigEndian.PutUint32(b[start+fr.expiry:], expiry)
	}
	if f.apart && !f.byRef {
		b = append(b, f.message.Payload...)
	}
	o.close(b)
	if f.byRef {
		o.refer(f.message.Payload)
	}
}

// remaining is the message expiry interval to send, in seconds: what was received less the time the
// message waited here [MQTT5-3.3.2-6]. A message that is sent again after it expired carries 0.
func remaining(m *packet.Message, now int64) uint32 {
	if m.Expires <= now {
		return 0
	}
	return uint32((m.Expires - now + 1e9 - 1) / 1e9)
}
