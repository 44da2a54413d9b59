package spread

// Change replaces the rules while messages are about. Key stays: what is in the lanes was put there by it. If AckTimeout is another,
// the time of what is in flight begins anew. The window of a member is that of its last Online: tell it again.
func (s *Spread) Change(r Rules, now int64) {
	r.Key = s.rules.Key
	anew := r.AckTimeout != s.rules.AckTimeout
	s.rules = r
	for d := s.flight.first; anew && d != nil; d = d.all.after {
		d.deadline = now + r.AckTimeout // all the same, so that the list stays in order
	}
	s.Tick(now)
	s.relieve()
}
