package broker

import (
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
)

// A lent message is used again for another one when nobody holds it any more, so that messages on their way to
// connected clients make no work for the garbage collector. Those are lent that nobody sees but the broker itself, and a
// storage.Batcher until it tells the Waiter: no hook may have them.
//
// A routing or a submission holds its message, so does each queue in memory that it is in, and a turn's frames that were made of
// it. Who never gives it back does no harm: it is the collector's then.
//
// A nil *lent is a message that is not lent. See docs/decisions/lent-messages.md.
type lent struct {
	message packet.Message
	holders atomic.Int32
	room    []byte // for the payload and the properties: that of one of the sizes below
}

// The allocator's sizes that a lent message with its room fills.
type (
	lent192 struct {
		lent
		bytes [48]byte
	}
	lent256 struct {
		lent
		bytes [112]byte
	}
	lent512 struct {
		lent
		bytes [368]byte
	}
	lent1024 struct {
		lent
		bytes [880]byte
	}
)

// lendMax is the size in bytes of payload and properties up to which a message is lent. It is less than payloadByReference, because
// an outbox that refers to a payload does not hold it.
const lendMax = len(lent1024{}.bytes)

// idleLents are the lent messages that nobody holds, by the size of their room.
var idleLents = [...]sync.Pool{
	{New: func() any { o := new(lent192); return o.made(o.bytes[:]) }},
	{New: func() any { o := new(lent256); return o.made(o.bytes[:]) }},
	{New: func() any { o := new(lent512); return o.made(o.bytes[:]) }},
	{New: func() any { o := new(lent1024); return o.made(o.bytes[:]) }},
}

func (l *lent) made(room []byte) *lent {
	l.room = room
	return l
}

// lendMessage copies a message whose payload and properties belong to a read buffer, and are no more than lendMax bytes together. The
// caller holds it.
func lendMessage(m *packet.Message) *lent {
	l := idleLent(len(m.Payload) + len(m.Properties)).Get().(*lent)
	l.holders.Store(1)
	copyMessage(&l.message, m, l.room)
	return l
}

// idleLent are those with the smallest room for n bytes.
func idleLent(n int) *sync.Pool {
	switch {
	case n <= len(lent192{}.bytes):
		return &idleLents[0]
	case n <= len(lent256{}.bytes):
		return &idleLents[1]
	case n <= len(lent512{}.bytes):
		return &idleLents[2]
	}
	return &idleLents[3]
}

// hold keeps the message until giveBack is called once more.
func (l *lent) hold() {
	if l != nil {
		l.holders.Add(1)
	}
}

// giveBack ends what hold or lendMessage began.
func (l *lent) giveBack() {
	if l != nil {
		l.release()
	}
}

func (l *lent) release() {
	switch left := l.holders.Add(-1); {
	case left < 0:
		panic("broker: a message was given back by somebody who did not hold it")
	case left == 0:
		if raceEnabled {
			l.spoil()
		}
		idleLent(len(l.room)).Put(l)
	}
}

// spoil makes the message one that no test takes for its own.
func (l *lent) spoil() {
	l.message = packet.Message{Topic: "given/back"}
	for i := range l.room {
		l.room[i] = 0xDB
	}
}

// tag is what a delivery of the message has for a tag: lentOf finds the message by it.
func (l *lent) tag() any {
	if l == nil {
		return nil
	}
	return l
}

// lentOf is the message of a delivery with this tag, if it is lent.
func lentOf(tag any) *lent {
	l, _ := tag.(*lent)
	return l
}
