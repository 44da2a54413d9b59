package spread

import "github.com/penstockmq/penstock/hooks"

// A drain goes through the queue from its beginning and takes messages out of it.
type drain struct {
	floor uint64              // it ends before this number
	keep  map[uint64]struct{} // stay as they are: they are on their way
	only  map[uint64]struct{} // nil is all
	back  bool                // put back, not dropped
	over  bool                // what is left is read again, when it is wanted
	left  bool                // something could not be put back
}

// end is how far must be read whether or not anybody wants it.
func (d *drain) end() uint64 {
	if d == nil || d.over {
		return 0
	}
	return d.floor
}

// passed goes on when everything below the floor was seen. What the drain passed over is read once more.
func (s *Spread) passed() {
	d := s.drain
	if d == nil || s.next < d.floor {
		return
	}
	s.drain = nil
	if d.over {
		return
	}
	s.effect(Effect{Kind: Drained})
	if d.only == nil && !d.left {
		return
	}
	for number := range s.moving {
		d.keep[number] = struct{}{}
	}
	s.next, s.drain = 0, &drain{floor: d.floor, keep: d.keep, over: true}
}

// Empty drops every message that is in the queue now, in flight or not. What members answer about those is ignored.
func (s *Spread) Empty() (begun bool) {
	if s.drain.end() > 0 {
		return false
	}
	for s.flight.first != nil {
		d := s.flight.first
		e := d.entry
		s.takeBack(d, late)
		s.remember(e)
	}
	s.begin(&drain{floor: s.tail})
	return true
}

// PutBack has messages moved back to where they came from: those numbered in only, all if it is nil; but not those
// that are in flight.
func (s *Spread) PutBack(only map[uint64]struct{}) (begun bool) {
	if s.drain.end() > 0 {
		return false
	}
	s.begin(&drain{floor: s.tail, only: only, back: true})
	return true
}

// begin forgets everything that was read and is not on its way, and has it read again.
func (s *Spread) begin(d *drain) {
	d.keep = make(map[uint64]struct{}, len(s.moving)+s.flight.len)
	for number := range s.moving {
		d.keep[number] = struct{}{}
	}
	for f := s.flight.first; f != nil; f = f.all.after {
		d.keep[f.Number] = struct{}{}
	}
	for _, q := range []*entries{&s.ready, &s.loading} {
		for q.len() > 0 {
			s.remember(q.pop())
		}
	}
	for _, h := range []*heap[*entry]{&s.again, &s.delayed} {
		for h.len() > 0 {
			s.remember(h.pop())
		}
	}
	s.readyBytes, s.keptBytes, s.waiting, s.heldBytes = 0, 0, 0, 0
	clear(s.held)
	for key, l := range s.lanes {
		l.waiting = backlog{}
		if l.current == nil || l.current.state == gone {
			delete(s.lanes, key)
		}
	}
	s.next, s.drain = 0, d
}

// stays has a message read again, in its place, that could not be put back.
func (s *Spread) stays(e *entry) {
	s.remember(e)
	if s.drain.end() > 0 {
		s.drain.left = true
		return
	}
	s.begin(&drain{floor: s.tail, over: true})
}

// remember forgets an entry whose message stays in the queue.
func (s *Spread) remember(e *entry) {
	if e.state == gone {
		return
	}
	if e.attempt != (Attempt{}) {
		s.attempts[e.number] = remembered{e.attempt, e.saved}
	}
	e.state = gone
	s.tracked--
}

// drained reports whether a message of the queue is the drain's affair.
func (s *Spread) drained(q hooks.Queued, now int64) bool {
	d := s.drain
	if _, ok := d.keep[q.Number]; ok || d.over {
		return ok
	}
	if _, ok := d.only[q.Number]; d.only != nil && !ok {
		return true // see passed
	}
	e := s.enter(q.Number, q.Message)
	e.size = q.Message.Size()
	if d.back {
		s.move(e, Effect{Kind: PutBack})
		return true
	}
	s.drop(e, hooks.DropEmptied, now)
	return true
}
