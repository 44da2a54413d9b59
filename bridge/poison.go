package bridge

import (
	"errors"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

const (
	// suspicionAfter is how many connections in a row the other broker must close with the same message first in line, and without
	// acknowledging anything, before that message is sent alone.
	suspicionAfter = 3
	// poisonAfter is how many it may close until the message is dropped.
	poisonAfter = 2 * suspicionAfter
	// poisonSizeMin is the size below which a message is not suspected: every broker takes so much, and one that closes each connection for a
	// small message is ill.
	poisonSizeMin = 4 << 10
)

// A suspicion is that the message first in line is one for which the other broker closes the connection: with MQTT 3.1.1 it has no
// other way to say that a message is larger than it takes.
type suspicion struct {
	number  uint64 // of the message
	closed  int    // connections, in a row
	largest int64  // size of the largest message that was acknowledged since the start
}

// windowMax is how many messages may be on their way.
func (s *suspicion) windowMax(max int) int {
	if s.closed >= suspicionAfter {
		return 1
	}
	return max
}

// judge looks at how a connection ended, with the message that was first in line, and reports whether it is to be dropped. One that is no
// larger than others that were taken is never suspected.
func (s *suspicion) judge(v packet.Version, err error, moved bool, first *flight) bool {
	var refused *refusal
	told := errors.As(err, &refused) && refused.code == packet.PacketTooLarge
	switch {
	case moved || first == nil || first.size < poisonSizeMin:
		s.closed = 0
		return false
	case !told && (v == packet.V5 || !errors.Is(err, errClosed)): // with MQTT 5 there are words for it
		return false
	case s.number != first.number:
		s.number, s.closed = first.number, 0
	}
	s.closed++
	if s.closed < poisonAfter || first.size <= s.largest {
		return false
	}
	s.closed = 0
	return true
}

// dropPoison drops the message first in line if the other broker closes every connection for it.
func (l *link) dropPoison(v packet.Version, err error, moved bool, first *flight) {
	if !l.suspicion.judge(v, err, moved, first) {
		return
	}
	readErr := l.box.queue.Read(first.number, 1, 1, func(q hooks.Queued) bool {
		if q.Number == first.number {
			l.drop(q, dropTooLarge, "the other broker closes every connection over which it is sent: it may be larger than it takes")
		}
		return false
	})
	if readErr != nil {
		l.report("queue", readErr.Error())
	}
}
