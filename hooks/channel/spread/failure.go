package spread

import (
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// refused is a negative acknowledgement.
func (s *Spread) refused(e *entry, m *Member, a Answer, now int64) {
	f := failure{reason: hooks.DropRefused, code: a.Code, delay: a.RetryAfter}
	if f.delay < 0 {
		f.delay = s.backoff(e)
	}
	f.final = m.Strict // [MQTT5-4.8.2-6]
	s.fail(e, f, now)
}

// A failure is an attempt that failed.
type failure struct {
	reason hooks.DropReason
	code   packet.Code
	delay  int64
	final  bool // whatever the rules
}

// backoff is the delay after the failure that is about to be counted.
func (s *Spread) backoff(e *entry) int64 {
	n := int64(e.attempt.Failures) + 1
	if s.rules.Backoff > 0 && n > s.rules.BackoffMax/s.rules.Backoff {
		return s.rules.BackoffMax
	}
	return min(s.rules.Backoff*n, s.rules.BackoffMax)
}

// fail counts a failed attempt of an entry that is in no place, and decides what follows.
func (s *Spread) fail(e *entry, f failure, now int64) {
	s.Count.Failed++
	e.attempt.Failures++
	e.attempt.Last = now
	if f.final || s.rules.MaxAttempts > 0 && int(e.attempt.Failures) >= s.rules.MaxAttempts {
		s.dead(e, f, now)
		return
	}
	s.Count.Requeued++
	e.attempt.Due = now + f.delay
	e.saved = true
	s.effect(Effect{Kind: Note, Number: e.number, Attempt: e.attempt})
	s.schedule(e, now)
}

// dead ends a message that cannot be dealt with.
func (s *Spread) dead(e *entry, f failure, now int64) {
	if s.rules.DeadLetter {
		s.move(e, Effect{Kind: Bury, Reason: f.reason, Code: f.code})
		return
	}
	if !f.final {
		f.reason = hooks.DropAttempts
	}
	s.drop(e, f.reason, now)
}
