package spread

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// An Effect is something to be done for a channel.
type Effect struct {
	Kind    Kind
	Number  uint64          // of the message
	Message *packet.Message // with Bury, PutBack and Drop
	Attempt Attempt         // with Note and Bury
	Reason  hooks.DropReason
	Code    packet.Code // with Bury, if a member refused the message
	Member  *Member     // with Kick
	entry   *entry
}

// A Kind of Effect.
type Kind byte

// The kinds.
const (
	Done    Kind = iota // the queue may forget the message
	Sent                // the message was handed out, and its member is gone
	Note                // the Attempt must survive a restart
	Forget              // the Attempt need not be kept any more
	Bury                // the message is dead: move it; Spread.Moved takes the result
	PutBack             // the message is put back where it came from: move it; Spread.Moved takes the result
	Drop                // the message will not be dealt with: count it
	Kick                // the member let a message time out and must be disconnected
	Relieve             // there is room for publishers again
	Drained             // a drain has come to its end
)

// Counts add up what happened in a channel.
type Counts struct {
	Queued       uint64 // messages that came in
	Delivered    uint64 // handed to members
	Acked        uint64 // dealt with by members
	Unconfirmed  uint64 // of these, with QoS 0: nobody knows
	Requeued     uint64 // handed out, and back
	Failed       uint64 // attempts that failed; those that timed out included
	TimedOut     uint64
	DeadLettered uint64
	PutBack      uint64
	Expired      uint64 // by the publisher's expiry interval
	Dropped      map[hooks.DropReason]uint64
}

func (c *Counts) dropped(reason hooks.DropReason) {
	if c.Dropped == nil {
		c.Dropped = make(map[hooks.DropReason]uint64)
	}
	c.Dropped[reason]++
}

// Moved tells what became of an Effect of kind Bury or PutBack.
func (s *Spread) Moved(f Effect, err error, now int64) {
	e := f.entry
	delete(s.moving, f.Number)
	switch {
	case err == nil && f.Kind == Bury:
		s.Count.DeadLettered++
		s.finished(e, now)
	case err == nil:
		s.Count.PutBack++
		s.finished(e, now)
	default:
		e.attempt.Due = max(e.attempt.Due, now+moveAgain)
		if f.Kind == Bury {
			s.schedule(e, now)
			return
		}
		s.stays(e)
	}
}

// move has an entry moved out of the queue.
func (s *Spread) move(e *entry, f Effect) {
	e.state = moving
	s.moving[e.number] = e
	f.Number, f.Message, f.Attempt, f.entry = e.number, e.message, e.attempt, e
	s.effect(f)
}
