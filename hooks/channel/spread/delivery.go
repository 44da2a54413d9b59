package spread

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// A Delivery is a message on its way to a member.
type Delivery struct {
	Member  *Member
	Message *packet.Message
	Number  uint64
	QoS     byte
	Earlier Attempt // before this delivery

	entry    *entry
	outcome  outcome
	epoch    uint64 // of the member
	deadline int64
	mine     links // in the member's list
	all      links // in the Spread's
}

// An outcome says what became of a Delivery.
type outcome byte

const (
	unanswered outcome = iota
	late               // taken back, and the member may still answer
	settled
)

func inMember(d *Delivery) *links { return &d.mine }
func inSpread(d *Delivery) *links { return &d.all }

// Next decides on one more delivery, nil if there is none to be made now.
func (s *Spread) Next(now int64) *Delivery {
	if s.paused || s.delayed.len() >= delayedMax {
		return nil
	}
	var aside []*entry
	var d *Delivery
	for d == nil && s.open.len() > 0 {
		e := s.oldest(now)
		if e == nil {
			break
		}
		switch m, none := s.choose(e); {
		case m != nil:
			d = s.give(e, m, now)
		case none:
			e.barred, e.attempt.Due = nil, now+parkTime
			s.schedule(e, now)
		default:
			aside = append(aside, e)
		}
	}
	for _, e := range aside {
		e.state = again
		s.again.push(e)
	}
	return d
}

// oldest takes the entry out that is to be handed out next.
func (s *Spread) oldest(now int64) *entry {
	for {
		s.sift(now)
		if !s.againFirst() {
			break
		}
		e := s.again.pop()
		if !s.outlived(e, now) {
			return e
		}
		s.lapse(e, now)
	}
	if s.ready.len() == 0 {
		return nil
	}
	return s.popReady()
}

// againFirst reports whether what is to be handed out again is older than what is ready. It mostly is; but after a restart, what failed
// before may be younger than what was in flight then.
func (s *Spread) againFirst() bool {
	return s.again.len() > 0 && (s.ready.len() == 0 || s.again.top().number < s.ready.front().number)
}

func (s *Spread) give(e *entry, m *Member, now int64) *Delivery {
	d := &Delivery{
		Member: m, Message: e.message, Number: e.number, QoS: m.QoS, Earlier: e.attempt,
		entry: e, epoch: m.epoch, deadline: now + s.rules.AckTimeout,
	}
	if m.Strict {
		d.QoS = min(m.QoS, e.message.QoS) // [MQTT5-3.8.4-8] [MQTT5-4.8.2-3]
	}
	if e.attempt.First == 0 {
		e.attempt.First = now
	}
	e.attempt.Deliveries++
	e.state, e.given = given, d
	s.served++
	m.served = s.served
	m.Delivered++
	s.Count.Delivered++
	m.flight.append(d)
	s.flight.append(d)
	s.place(m)
	return d
}

// takeBack ends a delivery that is in flight. Its entry is in no place then.
func (s *Spread) takeBack(d *Delivery, o outcome) {
	m := d.Member
	m.flight.remove(d)
	s.flight.remove(d)
	d.entry.given = nil
	if d.outcome = o; o == late {
		m.stale++
	}
	s.place(m)
}

// A Refusal says why a Delivery could not be made.
type Refusal byte

// The refusals.
const (
	Busy     Refusal = iota // no room at the moment
	Away                    // no connection
	Barred                  // the member may not receive the message
	TooLarge                // for the member's maximum packet size
)

// Undelivered tells that a Delivery of Next could not be made.
func (s *Spread) Undelivered(d *Delivery, why Refusal, now int64) {
	if d.outcome != unanswered {
		return
	}
	e, m := d.entry, d.Member
	s.takeBack(d, settled)
	m.Delivered--
	s.Count.Delivered--
	e.attempt.Deliveries, e.attempt.First = d.Earlier.Deliveries, d.Earlier.First
	switch why {
	case Busy, Away: // the broker tells when that changes
		m.full = true
		s.place(m)
	case Barred:
		e.barred = append(e.barred, m)
	case TooLarge:
		e.avoid = m
		s.fail(e, failure{reason: hooks.DropTooLarge, delay: s.backoff(e)}, now)
		return
	}
	s.schedule(e, now)
}

// An Answer is what became of a Delivery that was made.
type Answer struct {
	Acked      bool // false: the connection ended first
	Code       packet.Code
	RetryAfter int64 // with a refusal: when to try again, in nanoseconds; negative leaves it to the rules
}

// Answered tells what became of a Delivery. An acknowledgement counts even if the message was taken back meanwhile.
func (s *Spread) Answered(d *Delivery, a Answer, now int64) {
	e, m, was := d.entry, d.Member, d.outcome
	switch {
	case was == settled:
		return
	case was == unanswered:
		s.takeBack(d, settled)
	case was == late:
		d.outcome = settled
		if d.epoch == m.epoch && m.online {
			m.stale = max(0, m.stale-1)
		}
	}
	if a.Acked {
		m.full = false
	}
	switch {
	case a.Acked && !a.Code.Failed():
		m.suspect = false
		s.acked(d, now)
	case was == late: // somebody else has it
	case a.Acked:
		s.refused(e, m, a, now)
	default:
		s.Count.Requeued++
		s.schedule(e, now)
	}
	s.place(m)
	s.trim(now) // what came back may make room
}

// acked ends a message that a member has dealt with, wherever it is now.
func (s *Spread) acked(d *Delivery, now int64) {
	e := d.entry
	if e.state == gone || e.state == moving {
		return
	}
	if e.given != nil || e.index > 0 || e.state == ready || e.state == loading {
		s.detach(e)
	}
	d.Member.Acked++
	s.Count.Acked++
	if d.QoS == 0 {
		s.Count.Unconfirmed++
	}
	s.finish(e, now)
}

// Given are the numbers of the messages that are in flight.
func (s *Spread) Given() (numbers []uint64) {
	for d := s.flight.first; d != nil; d = d.all.after {
		numbers = append(numbers, d.Number)
	}
	return numbers
}

// A Known is what is known of a message that was handed out before, or is now.
type Known struct {
	Attempt
	Client string // that has it
}

// Attempts are the messages in memory that were handed out.
func (s *Spread) Attempts() map[uint64]Known {
	known := make(map[uint64]Known, s.flight.len+len(s.attempts))
	for number, a := range s.attempts {
		known[number] = Known{Attempt: a.Attempt}
	}
	for d := s.flight.first; d != nil; d = d.all.after {
		known[d.Number] = Known{d.entry.attempt, d.Member.Client}
	}
	for _, e := range s.delayed.items {
		known[e.number] = Known{Attempt: e.attempt}
	}
	for _, e := range s.again.items {
		known[e.number] = Known{Attempt: e.attempt}
	}
	return known
}
