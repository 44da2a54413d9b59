package spread

import "github.com/penstockmq/penstock/hooks"

// Touch gives a member more time for one of its messages, or all if number is 0. It tells for how many.
func (s *Spread) Touch(m *Member, number uint64, now int64) (touched int) {
	for d := m.flight.first; d != nil; d = d.mine.after {
		if number != 0 && d.Number != number {
			continue
		}
		s.flight.remove(d)
		d.deadline = now + s.rules.AckTimeout
		s.flight.append(d)
		touched++
	}
	return touched
}

// Tick does what the time has come for.
func (s *Spread) Tick(now int64) {
	for d := s.flight.first; d != nil && d.deadline <= now; d = s.flight.first {
		s.timeOut(d, now)
	}
	for s.delayed.len() > 0 && s.delayed.top().attempt.Due <= now {
		e := s.delayed.top()
		s.undelay(e)
		s.schedule(e, now)
	}
	s.sift(now)
	s.trim(now)
}

// timeOut takes a message from a member that gave no word of it. Another gets it, if there is one.
func (s *Spread) timeOut(d *Delivery, now int64) {
	e, m := d.entry, d.Member
	m.suspect = true
	s.takeBack(d, late)
	s.Count.TimedOut++
	e.avoid = m
	if m.Strict {
		s.effect(Effect{Kind: Kick, Member: m})
	}
	s.fail(e, failure{reason: DropTimeout}, now)
}

// DropTimeout is the reason of a dead letter that no member acknowledged in time.
const DropTimeout hooks.DropReason = "timeout"

// Deadline is when Tick is due, 0 if it need not be called.
func (s *Spread) Deadline() int64 {
	due := int64(0)
	earlier := func(t int64) {
		if due == 0 || t < due {
			due = t
		}
	}
	if s.flight.first != nil {
		earlier(s.flight.first.deadline)
	}
	if s.delayed.len() > 0 {
		earlier(s.delayed.top().attempt.Due)
	}
	if s.rules.TTL > 0 && s.ready.len() > 0 {
		earlier(s.ready.front().message.Received + s.rules.TTL)
	}
	return due
}
