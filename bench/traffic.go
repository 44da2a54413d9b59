package bench

// traffic is what all clients of a run share: every message on its way, what arrived, and in which
// order. Only the loop's thread touches it.
type traffic struct {
	publishers []*publisher
	// now is the time since the run's start in nanoseconds, kept by the loop.
	now int64
	// schedule gives the time at which a message is due in an open loop; nil in a closed one, where it is due
	// as soon as the window has room.
	schedule func(p *publisher, sequence uint64) int64
	sending  bool
	// eager publishers may have room in their window again.
	eager []*publisher

	ready      int    // clients that are connected and subscribed
	subscribed int    // subscriptions that were acknowledged
	delivered  uint64 // messages that arrived
	settled    uint64 // messages that arrived everywhere and, above QoS 0, were acknowledged
	misordered uint64 // messages that arrived behind a later one of their publisher, or again
	latencies  *histogram
}

// A publisher is the sending side of one client.
type publisher struct {
	index  int
	stamp  stamp
	copies uint32 // deliveries of each message
	acks   uint32 // 1 above QoS 0
	// missing counts, for the message in each place of the window, the deliveries and acknowledgements to come.
	missing []uint32
	sent    uint64
	// queued is set while the publisher is in traffic.eager.
	queued bool
	conn   int // number of its connection
}

// A subscriber is the receiving side of one client.
type subscriber struct {
	first int      // publisher whose messages last[0] is about
	last  []uint64 // number of the last message of each publisher
}

// place is where a message is in the window, also its packet identifier less one.
func (p *publisher) place(sequence uint64) int { return int((sequence - 1) % uint64(len(p.missing))) }

// fill appends every message that is due and for which the window has room.
func (t *traffic) fill(p *publisher, out []byte) []byte {
	for t.sending {
		sequence := p.sent + 1
		place := p.place(sequence)
		if p.missing[place] > 0 {
			break
		}
		time := t.now
		if t.schedule != nil {
			if time = t.schedule(p, sequence); time > t.now {
				break
			}
		}
		p.missing[place] = p.copies + p.acks
		p.sent = sequence
		out = p.stamp.append(out, uint16(place+1), sequence, time)
	}
	return out
}

// wake has fill called for p before the loop sleeps again.
func (t *traffic) wake(p *publisher) {
	if !p.queued {
		p.queued = true
		t.eager = append(t.eager, p)
	}
}

// deliver takes the payload of a message that arrived at s. It reports whether the message belongs there.
func (t *traffic) deliver(s *subscriber, payload []byte) bool {
	index, sequence, time, ok := readHeader(payload)
	from := int(index) - s.first
	if !ok || from < 0 || from >= len(s.last) || sequence == 0 {
		return false
	}
	p := t.publishers[index]
	t.delivered++
	if sequence <= s.last[from] {
		t.misordered++
	} else {
		s.last[from] = sequence
	}
	if t.latencies != nil {
		t.latencies.add(t.now - time)
	}
	t.settle(p, p.place(sequence))
	return true
}

// settle notes one delivery or acknowledgement of the message in a place of p's window.
func (t *traffic) settle(p *publisher, place int) {
	if p.missing[place] == 0 {
		return // a message that arrived too often, counted as misordered
	}
	p.missing[place]--
	if p.missing[place] == 0 {
		t.settled++
		t.wake(p)
	}
}

// expected is how many deliveries all messages sent so far make.
func (t *traffic) expected() uint64 {
	var n uint64
	for _, p := range t.publishers {
		n += p.sent * uint64(p.copies)
	}
	return n
}

// sent is how many messages were sent.
func (t *traffic) sent() uint64 {
	var n uint64
	for _, p := range t.publishers {
		n += p.sent
	}
	return n
}
