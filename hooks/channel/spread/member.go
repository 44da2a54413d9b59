package spread

// A Member is a subscription that takes messages of a channel.
type Member struct {
	// Fixed.
	Client string
	Filter string

	// Anyone may set these between two events.
	QoS    byte // the QoS granted
	Strict bool // rules of MQTT 5 for shared subscriptions: a refusal discards, a timeout disconnects
	Tag    any  // the caller's

	// Only Spread changes these.
	Delivered uint64 // messages handed to it
	Acked     uint64 // of these, acknowledged

	online  bool
	left    bool   // its subscription is gone; what is in flight may still be acknowledged
	full    bool   // the broker has no room for it at the moment
	suspect bool   // it let a message time out and has acknowledged nothing since
	window  int    // messages it may have at once
	stale   int    // taken back from it, but still in its window
	served  uint64 // when it was last served, in Deliveries
	epoch   uint64 // counts its connections
	index   int    // in Spread.open
	flight  list
}

// InFlight is how many messages it has and has not acknowledged.
func (m *Member) InFlight() int { return m.flight.len }

// Online reports whether its connection takes messages.
func (m *Member) Online() bool { return m.online }

// room is how many more messages it may have.
func (m *Member) room() int { return m.window - m.flight.len - m.stale }

func (m *Member) open() bool { return m.online && !m.left && !m.full && m.room() > 0 }

// before reports whether m is served before o: the member with the most room, of these the one that waited longest. A member
// that does not answer comes last.
func (m *Member) before(o *Member) bool {
	if m.suspect != o.suspect {
		return o.suspect
	}
	if a, b := m.room(), o.room(); a != b {
		return a > b
	}
	return m.served < o.served
}

// Join makes a member, offline.
func (s *Spread) Join(client, filter string) *Member {
	m := &Member{Client: client, Filter: filter, flight: list{place: inMember}}
	s.members++
	return m
}

// Leave takes a member out. What it has in flight may still be acknowledged.
func (s *Spread) Leave(m *Member) {
	if m.left {
		return
	}
	m.left = true
	s.members--
	if m.online {
		s.online--
	}
	s.place(m)
}

// Online tells that a member's connection is open, with room for window messages.
func (s *Spread) Online(m *Member, window int) {
	if !m.online {
		m.epoch++
		m.online, m.suspect, m.stale = true, false, 0
		if !m.left {
			s.online++
		}
	}
	m.full = false
	m.window = min(window, s.rules.MemberMax)
	s.place(m)
}

// Offline tells that a member's connection is gone: what it had is for the others, at once, and no attempt failed.
func (s *Spread) Offline(m *Member, now int64) {
	if !m.online {
		return
	}
	m.online = false
	m.stale = 0
	if !m.left {
		s.online--
	}
	for m.flight.first != nil {
		d := m.flight.first
		s.takeBack(d, settled)
		s.Count.Requeued++
		s.effect(Effect{Kind: Sent, Number: d.Number})
		s.schedule(d.entry, now)
	}
	s.place(m)
	s.trim(now) // what came back may make room
}

// Room tells that the broker has room for the member again.
func (s *Spread) Room(m *Member) {
	m.full = false
	s.place(m)
}

// place puts a member where it belongs after its room changed: among those to choose from, or not.
func (s *Spread) place(m *Member) {
	switch listed, open := m.index > 0, m.open(); {
	case listed && open:
		s.open.fix(m)
	case listed:
		s.open.remove(m)
	case open:
		s.open.push(m)
	}
}

// choose is the member that gets e, nil if none that is wanted has room. none tells that no member that is online may
// ever have it.
func (s *Spread) choose(e *entry) (m *Member, none bool) {
	if e.avoid == nil && e.barred == nil {
		return s.open.top(), false
	}
	var aside []*Member
	for s.open.len() > 0 && m == nil {
		candidate := s.open.top()
		if (candidate == e.avoid && s.online > 1) || e.bars(candidate) {
			aside = append(aside, s.open.pop())
			continue
		}
		m = candidate
	}
	for _, a := range aside {
		s.open.push(a)
	}
	return m, m == nil && e.barsAll(s.online)
}

// barsAll reports whether none of the members that are online may receive the message.
func (e *entry) barsAll(online int) bool {
	for _, b := range e.barred {
		if b.online && !b.left {
			online--
		}
	}
	return online <= 0
}

func (e *entry) bars(m *Member) bool {
	for _, b := range e.barred {
		if b == m {
			return true
		}
	}
	return false
}
