package bench

import (
	"math"
	"math/bits"
)

// traffic is what all clients of a run share: every message on its way, what arrived, and in which
// order. Only the loop's goroutine touches it.
type traffic struct {
	run        uint32
	publishers []*publisher
	// groups has, where subscribers share the messages, what they saw together of each publisher.
	groups []history
	// strangers is set where messages of other runs may wait for this one's clients.
	strangers bool
	// now is the time since the run's start in nanoseconds, kept by the loop.
	now int64
	// schedule says when a message is due in an open loop; nil in a closed one, where it is due as soon as the window has room.
	schedule *schedule
	sending  bool
	// away is set while nobody is there to receive: a message holds its place in the window until it is acknowledged.
	away bool
	// burst is how many messages a publisher sends in one turn of the loop; 0 is as many as its window takes.
	burst int
	// eager publishers may have room in their window again.
	eager []*publisher

	greeted    int    // connections that the broker accepted
	ready      int    // clients that are connected and subscribed
	subscribed int    // subscriptions that were acknowledged
	kept       int    // retained messages that were acknowledged
	probed     int    // publishers a probe of which came through
	forgotten  int    // sessions that were to be resumed and that the broker does not have
	pongs      int    // answers to PINGREQ
	delivered  uint64 // messages that arrived
	sent       uint64 // messages that were sent
	settled    uint64 // messages that arrived everywhere and, above QoS 0, were acknowledged
	total      uint64 // messages that will be sent in all, as far as that is decided
	misordered uint64 // messages that arrived behind a later one of their publisher at the same subscriber
	repeated   uint64 // messages that arrived again
	strange    uint64 // messages of other runs that arrived
	writes     uint64 // with messages in them
	reads      uint64 // with messages in them

	// What is timed, while it is not nil.
	latencies *histogram // of messages due from since on: from when they were due until they arrived
	lateness  *histogram // of the same messages: from when they were due until they were sent
	since     int64
	acks      *histogram // from when a message was sent until it was acknowledged
	silence   *silence   // of an open loop
}

// newTraffic is that of a plan before anything is sent.
func newTraffic(o *Options, p *plan) *traffic {
	t := &traffic{total: math.MaxUint64, burst: o.Burst, run: p.run, strangers: o.Scenario == Channel || o.Filter != ""}
	if o.Scenario == Channel || o.Scenario == Share {
		t.groups = make([]history, len(p.publishers))
	}
	return t
}

// A publisher is the sending side of one client.
type publisher struct {
	index  int
	stamp  stamp
	copies uint32 // deliveries of each message
	acks   uint32 // 1 above QoS 0
	// missing counts, for the message in each place of the window, the deliveries and acknowledgements to come.
	missing []uint32
	begun   []int64 // when the message in each place was sent, where acknowledgements are timed
	sent    uint64
	limit   uint64 // number of the last message
	probe   stamp  // of a message that only finds out whether there is a way; of bridges
	heard   bool   // a probe came through
	// queued is set while the publisher is in traffic.eager.
	queued bool
	conn   int // number of its connection
}

// A subscriber is the receiving side of one client.
type subscriber struct {
	first   int       // publisher that seen[0] is about
	seen    []history // of each publisher
	partial bool      // others get some of the messages: of each history only the last counts, and traffic.groups has the rest
}

// A schedule is an open loop: publishers send in turn, one message in each interval. When in its interval a message is due is
// spread evenly. With one due every 200 µs sharp, what the machine does every 4 or 10 ms would meet one message in 20 or 50, or
// none, all through a run, and which of the two would be the run's p99.
type schedule struct {
	start      int64 // when the first interval begins
	interval   int64
	publishers int64
	rung       int64 // messages of all publishers for which one was woken
}

// goldenRatio is its fraction of 2^64. Its multiples are spread as evenly as any numbers, however many are taken (Knuth, The Art
// of Computer Programming, vol. 3, 6.4).
const goldenRatio = 0x9E3779B97F4A7C15

// at is when a message is due, counted over all publishers from 0.
func (s *schedule) at(message int64) int64 {
	offset, _ := bits.Mul64(uint64(message+1)*goldenRatio, uint64(s.interval))
	return s.start + message*s.interval + int64(offset)
}

// before is how many messages are due before a time.
func (s *schedule) before(end int64) int64 {
	if end <= s.start {
		return 0
	}
	n := (end - s.start) / s.interval
	if s.at(n) < end {
		n++
	}
	return n
}

// wakeDue wakes the publishers whose messages have become due since it was called last. Each is woken once at most: it sends
// all that are due. It returns when the next message is due.
func (t *traffic) wakeDue(now int64) (next int64) {
	s := t.schedule
	due := s.before(now + 1)
	for i := max(s.rung, due-s.publishers); i < due; i++ {
		t.wake(t.publishers[i%s.publishers])
	}
	s.rung = max(s.rung, due)
	return s.at(s.rung)
}

// due is when a publisher's message is due.
func (s *schedule) due(p *publisher, sequence uint64) int64 {
	return s.at(int64(sequence-1)*s.publishers + int64(p.index))
}

// until is how many of a publisher's messages are due before a time.
func (s *schedule) until(p *publisher, end int64) uint64 {
	return uint64(max(s.before(end)-int64(p.index)+s.publishers-1, 0) / s.publishers)
}

// place is where a message is in the window, also its packet identifier less one.
func (p *publisher) place(sequence uint64) int { return int((sequence - 1) % uint64(len(p.missing))) }

// fill appends every message that is due and for which the window has room.
func (t *traffic) fill(p *publisher, out []byte) []byte {
	for n := 0; t.sending && p.sent < p.limit; n++ {
		if t.burst > 0 && n == t.burst {
			t.wake(p) // the next turn goes on
			break
		}
		sequence := p.sent + 1
		place := p.place(sequence)
		if p.missing[place] > 0 {
			break
		}
		time := t.now
		if t.schedule != nil {
			if time = t.schedule.due(p, sequence); time > t.now {
				break
			}
		}
		t.clock(p, place, time)
		p.missing[place] = p.acks
		if !t.away {
			p.missing[place] += p.copies
		}
		p.sent = sequence
		t.sent++
		out = p.stamp.append(out, uint16(place+1), sequence, time)
	}
	return out
}

// clock notes when a message goes out that was due at a time.
func (t *traffic) clock(p *publisher, place int, due int64) {
	if p.begun != nil {
		p.begun[place] = t.now
	}
	if t.lateness != nil && due >= t.since {
		t.lateness.add(t.now - due)
	}
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
	h, ok := readHeader(payload)
	if t.strangers && (!ok || h.run != t.run) {
		t.strange++
		return true
	}
	from := int(h.publisher) - s.first
	if !ok || h.run != t.run || from < 0 || from >= len(s.seen) {
		return false
	}
	p := t.publishers[h.publisher]
	if h.sequence == 0 {
		return t.hear(p)
	}
	if h.sequence > p.sent {
		return false
	}
	t.delivered++
	t.order(s, from, h.sequence)
	if t.latencies != nil && h.time >= t.since {
		t.latencies.add(t.now - h.time)
	}
	t.settle(p, p.place(h.sequence))
	return true
}

// hear notes a probe. It reports whether it was one.
func (t *traffic) hear(p *publisher) bool {
	if p.probe.frame == nil {
		return false
	}
	if !p.heard {
		p.heard = true
		t.probed++
	}
	return true
}

// order counts a message that does not come as it should.
func (t *traffic) order(s *subscriber, from int, sequence uint64) {
	h := &s.seen[from]
	if !s.partial {
		switch h.take(sequence) {
		case late:
			t.misordered++
		case again:
			t.repeated++
		}
		return
	}
	// Between members there is no order.
	if t.groups[s.first+from].take(sequence) == again {
		t.repeated++
		return
	}
	if sequence <= h.last {
		t.misordered++
	}
	h.last = max(h.last, sequence)
}

// acknowledge notes that the broker took responsibility for the message in a place of p's window.
func (t *traffic) acknowledge(p *publisher, place int) {
	if t.acks != nil && p.begun != nil {
		t.acks.add(t.now - p.begun[place])
	}
	t.settle(p, place)
}

// settle notes one delivery or acknowledgement of the message in a place of p's window.
func (t *traffic) settle(p *publisher, place int) {
	if p.missing[place] == 0 {
		return // a message that arrived too often, counted already
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

// stop lets publishers send nothing more in a closed loop, and in an open one what is due before a time.
func (t *traffic) stop(before int64) {
	t.total = 0
	for _, p := range t.publishers {
		p.limit = p.sent
		if t.schedule != nil {
			p.limit = max(p.limit, t.schedule.until(p, before))
		}
		t.total += p.limit
		t.wake(p)
	}
}

// divide has publishers send so many messages in all, each as many as the others or one more.
func (t *traffic) divide(total uint64) {
	n := uint64(len(t.publishers))
	for i, p := range t.publishers {
		p.limit = (uint64(i)+1)*total/n - uint64(i)*total/n
	}
	t.total = total
}

// lost is how many deliveries to the subscribers did not come.
func (t *traffic) lost(subscribers []*subscriber) uint64 {
	var n uint64
	for i := range t.groups {
		n += t.groups[i].missing(t.publishers[i].sent)
	}
	for _, s := range subscribers {
		if s.partial {
			continue
		}
		for i := range s.seen {
			n += s.seen[i].missing(t.publishers[s.first+i].sent)
		}
	}
	return n
}
