package crash

import (
	"slices"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
)

// A habit is how a subscriber behaves.
type habit struct {
	base     []want  // what it subscribes to at the beginning of a session and keeps
	pool     []want  // what it subscribes to and unsubscribes from as it likes
	restarts float64 // how probable it is that a connection begins with a clean start
	volatile float64 // how probable it is that the session so begun ends with its connection
	offline  time.Duration
}

// A want is a subscription to be made.
type want struct {
	filter string
	qos    byte
}

// endTopic carries the last message of a run: what is before it in a queue has been delivered when it comes.
const endTopic = "end"

const (
	subscriberBreaks = 0.02 // how probable it is, at each action, that a subscriber leaves its connection
	subscriberTurns  = 0.05 // that it subscribes or unsubscribes
	holds            = 0.1  // that it begins to keep acknowledgements back, or ends it
	receiveMaximum   = 40   // of MQTT 5 subscribers, so that queues back up

	// releasePatience is how long PUBREL may take.
	releasePatience = 10 * time.Second
)

// A subscriber keeps a session, or begins new ones, and writes down what it receives.
type subscriber struct {
	*client
	habit habit
	ready chan struct{} // closed when nothing but the end is missing

	session  *session // nil before the first
	fresh    moment   // when it first asked for the session that is not confirmed yet
	restart  *hello   // a clean start that is not acknowledged yet is tried again
	inbox    inbox
	requests []*request // the first was sent
	lastID   uint16
	holding  bool // it keeps acknowledgements back
	seenEnd  bool
	endSeen  time.Time
	since    moment // when the connection was asked for
}

// A request is a SUBSCRIBE or UNSUBSCRIBE to be acknowledged.
type request struct {
	want
	life   *life // nil for one that was made before
	leaves bool
	sends  int
	id     uint16
}

// run goes on until the run drains and the end has come.
func (s *subscriber) run() {
	defer s.drop()
	for !s.r.isOver() {
		if !s.resume() {
			s.pause(reconnectPauseMax)
			continue
		}
		how, done := s.serve()
		if done {
			s.session.complete = s.seenEnd
			s.disconnect()
			return
		}
		s.part(how)
		s.left()
		if how != takeOver && !s.r.isDraining() {
			s.pause(s.habit.offline)
		}
	}
}

// resume connects to the session there is, or begins another.
func (s *subscriber) resume() bool {
	h := s.greeting()
	if h.clean {
		s.endSession()
	}
	if s.fresh == 0 && (s.session == nil || s.session.ended.begun != 0) {
		s.fresh = s.r.clock.now()
	}
	present, at, err := s.connect(h)
	if err != nil {
		return false
	}
	s.restart, s.since = nil, at.begun
	if !present || s.session == nil || s.session.ended.begun != 0 {
		s.begin(at, h.volatile)
	}
	s.inbox.resumed()
	return true
}

// greeting decides how the next connection begins. The last one of a run never ends a session.
func (s *subscriber) greeting() hello {
	h := hello{receiveMax: receiveMaximum}
	if s.restart == nil && !s.r.isDraining() && s.chance(s.habit.restarts) {
		h.clean = true
		// A clean session of MQTT 3.1.1 always ends with its connection [MQTT311-3.1.2-6].
		h.volatile = s.version == packet.V311 || s.chance(s.habit.volatile)
		s.restart = &h
	}
	if s.restart != nil {
		return *s.restart
	}
	return h
}

// endSession forgets the session: the broker is about to be told to.
func (s *subscriber) endSession() {
	if s.session != nil && s.session.ended.begun == 0 {
		s.session.ended.begun = s.r.clock.now()
	}
	s.inbox = inbox{}
	s.requests = nil
}

// begin starts the record of a new session and asks for its subscriptions.
func (s *subscriber) begin(at span, volatile bool) {
	if old := s.session; old != nil {
		if old.ended.begun == 0 { // it was lost
			old.ended.begun = at.begun
		}
		old.ended.done = at.done
		s.r.counts.sessionsEnded.Add(1)
	}
	s.session = &session{client: s.id, volatile: volatile, began: span{begun: s.fresh, done: at.done}}
	if s.fresh == 0 {
		s.session.began.begun = at.begun
	}
	s.fresh = 0
	s.r.addSession(s.session)
	s.inbox = inbox{}
	s.requests = nil
	s.ask(want{endTopic, 1})
	for _, w := range s.habit.base {
		s.ask(w)
	}
}

// left is called when the connection has ended.
func (s *subscriber) left() {
	if s.session.volatile && s.session.ended.begun == 0 {
		s.endSession()
		s.exists = existsNot
	}
}

// ask plans a subscription.
func (s *subscriber) ask(w want) {
	l := &life{filter: w.filter, qos: w.qos}
	s.session.lives = append(s.session.lives, l)
	s.requests = append(s.requests, &request{want: w, life: l})
}

// serve receives until the connection is left, or everything is done.
func (s *subscriber) serve() (how breakOff, done bool) {
	if s.request() != nil {
		return brokenLink, false
	}
	timer := time.NewTimer(actionPauseMax)
	defer timer.Stop()
	for {
		if s.r.isDraining() && s.session.volatile {
			return leave, false // what ends with this connection cannot be complete
		}
		if s.r.isDraining() && len(s.requests) == 0 {
			s.sayReady()
			if s.seenEnd && s.settled() {
				return stay, true
			}
		}
		select {
		case in, ok := <-s.link.packets:
			if !ok || s.take(in) != nil {
				return brokenLink, false
			}
		case <-timer.C:
			timer.Reset(time.Duration(s.rng.Int64N(int64(actionPauseMax))))
			if how := s.mood(subscriberBreaks); how != stay {
				return how, false
			}
			if s.act() != nil {
				return brokenLink, false
			}
		case <-s.r.over:
			return vanish, true
		}
	}
}

// settled reports whether nothing is owed by either side, once everything has been delivered. What the broker still owes then does not
// come any more, except PUBREL, which waits for the store.
func (s *subscriber) settled() bool {
	s.inbox.expected = slices.DeleteFunc(s.inbox.expected, s.r.forgettable)
	if len(s.inbox.expected) > 0 {
		s.r.report(kindResend, "%s: %d messages in flight are not sent again, the first is %s", s.id, len(s.inbox.expected), s.r.name(s.inbox.expected[0].arrival))
		s.inbox.expected = nil
	}
	if len(s.inbox.received) > 0 && time.Since(s.endSeen) > releasePatience {
		s.r.report(kindResend, "%s: there is no PUBREL for %d identifiers", s.id, len(s.inbox.received))
		clear(s.inbox.received)
	}
	return len(s.inbox.owed) == 0 && len(s.inbox.received) == 0
}

func (s *subscriber) sayReady() {
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
}

// act does what a subscriber does now and then.
func (s *subscriber) act() error {
	if s.chance(holds) {
		s.holding = !s.holding
	}
	if err := s.pay(); err != nil {
		return err
	}
	if len(s.requests) > 0 || len(s.habit.pool) == 0 || s.r.isDraining() || !s.chance(subscriberTurns) {
		return nil
	}
	w := s.habit.pool[s.rng.IntN(len(s.habit.pool))]
	for _, l := range s.session.lives {
		if l.filter == w.filter && l.end.begun == 0 {
			s.requests = append(s.requests, &request{want: w, life: l, leaves: true})
			return s.request()
		}
	}
	w.qos = 1 + byte(s.rng.IntN(2))
	s.ask(w)
	return s.request()
}

// request sends the oldest request, for the first time or again.
func (s *subscriber) request() error {
	if len(s.requests) == 0 {
		return nil
	}
	q := s.requests[0]
	s.lastID++
	q.id = s.lastID
	if q.id == 0 {
		q.id, s.lastID = 1, 1
	}
	q.sends++
	from := &q.life.start
	if q.leaves {
		from = &q.life.end
	}
	if from.begun == 0 {
		from.begun = s.r.clock.now()
	}
	if q.leaves {
		return s.link.write(encodeUnsubscribe(s.version, q.id, q.filter))
	}
	return s.link.write(encodeSubscribe(s.version, q.id, q.filter, q.qos))
}

// granted takes SUBACK and UNSUBACK.
func (s *subscriber) granted(in packets.Packet) error {
	kind := packet.Type(in.FixedHeader.Type)
	if len(s.requests) == 0 || s.requests[0].id != in.PacketID || s.requests[0].leaves != (kind == packet.UNSUBACK) {
		s.r.report(kindAck, "%s: %s %d was not asked for", s.id, kind, in.PacketID)
		return errLost
	}
	q := s.requests[0]
	s.requests = s.requests[1:]
	now := s.r.clock.now()
	if !q.leaves {
		q.life.start.done = now
		if len(in.ReasonCodes) != 1 || in.ReasonCodes[0] != q.qos {
			s.r.report(kindRefused, "%s: SUBACK % x for %s with QoS %d", s.id, in.ReasonCodes, q.filter, q.qos)
		}
		return s.request()
	}
	q.life.end.done = now
	// UNSUBACK of MQTT 5 tells whether the subscription was there.
	if s.version == packet.V5 && q.sends == 1 && (len(in.ReasonCodes) != 1 || in.ReasonCodes[0] != 0) {
		s.r.report(kindSubscription, "%s: UNSUBACK % x: %s was not there", s.id, in.ReasonCodes, q.filter)
	}
	return s.request()
}

// take handles a packet. The error says that the connection is of no more use.
func (s *subscriber) take(in packets.Packet) error {
	switch kind := packet.Type(in.FixedHeader.Type); kind {
	case packet.PUBLISH:
		return s.receive(in)
	case packet.PUBREL:
		delete(s.inbox.received, in.PacketID)
		return s.link.write(encodeAck(packet.PUBCOMP, s.version, in.PacketID))
	case packet.SUBACK, packet.UNSUBACK:
		return s.granted(in)
	}
	return errLost // DISCONNECT, or what a broker does not send; the latter does not decode
}
