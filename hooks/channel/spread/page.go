package spread

import (
	"fmt"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// The size of what is read at once.
const (
	pageEntries = 256
	pageBytes   = 256 << 10
	lanePage    = 32
)

// A Fetch is a part of the queue that is to be read.
type Fetch struct {
	From    uint64
	Entries int
	Bytes   int64
	load    *entry // whose message it is
	oldest  *lane  // whose first waiting message makes room
	tail    uint64 // with neither: what comes next, up to here
}

// Queued tells that a message that was admitted has its number. It is kept in memory if nothing before it is on disk only and a
// member is there.
func (s *Spread) Queued(number uint64, m *packet.Message, now int64) {
	s.tail = number + 1
	s.admitted--
	s.Count.Queued++
	if s.next == number && !s.fetching && s.online > 0 && !s.paused && s.roomReady() {
		s.take(hooks.Queued{Number: number, Message: m}, now)
	}
	s.trim(now)
}

func (s *Spread) roomReady() bool {
	return s.ready.len() < readyMax && s.readyBytes < readyBytesMax
}

// Want is what is to be read from the queue now, if anything. Read must follow before it is asked again.
func (s *Spread) Want() (f Fetch, wanted bool) {
	for s.loading.len() > 0 && s.loading.front().state != loading {
		s.loading.pop()
	}
	switch {
	case s.loading.len() > 0:
		e := s.loading.pop()
		f = Fetch{From: e.number, Entries: 1, Bytes: 1, load: e}
		if e.lane != nil && e.lane.waiting.len > 0 {
			f.Entries, f.Bytes = lanePage, pageBytes
		}
	case s.next < s.tail && (s.next < s.drain.end() || s.ready.len() < readyLow && s.demand()):
		f = Fetch{From: s.next, Entries: pageEntries, Bytes: pageBytes}
	case s.over() && s.waiting > 0 && s.ready.len()+s.again.len() == 0:
		l := s.someWaiting()
		f = Fetch{From: l.waiting.first, Entries: 1, Bytes: 1, oldest: l}
	default:
		return Fetch{}, false
	}
	f.tail = s.tail
	s.fetching = true
	return f, true
}

// demand reports whether somebody could take what comes next.
func (s *Spread) demand() bool {
	if s.over() || s.rules.TTL > 0 && s.ready.len() == 0 {
		return true
	}
	return !s.paused && s.open.len() > 0 && s.delayed.len() < delayedMax
}

// Read takes what Want asked for, as it is in the queue.
func (s *Spread) Read(f Fetch, page []hooks.Queued, now int64) {
	s.fetching = false
	switch {
	case f.load != nil:
		s.loaded(f.load, page, now)
	case f.oldest != nil:
		s.dropWaiting(f.oldest, f.From, page, now)
	default:
		s.swept(f, page, now)
	}
	s.trim(now)
}

// swept takes what comes next.
func (s *Spread) swept(f Fetch, page []hooks.Queued, now int64) {
	if f.From != s.next { // a drain began anew
		return
	}
	for _, q := range page {
		s.take(q, now)
	}
	if len(page) == 0 {
		s.next = f.tail
	}
	s.passed()
}

// take makes an entry of a message that was read for the first time in this run.
func (s *Spread) take(q hooks.Queued, now int64) {
	s.next = q.Number + 1
	if s.drain != nil && q.Number < s.drain.floor && s.drained(q, now) {
		return
	}
	key := s.laneOf(q.Message)
	if l := s.lanes[key]; l != nil {
		l.waiting.push(q.Number)
		s.waiting++
		if !q.Sent {
			s.hold(q.Number, q.Message)
		}
		return
	}
	e := s.enter(q.Number, q.Message)
	e.size = q.Message.Size()
	if q.Sent && e.attempt.Deliveries == 0 {
		e.attempt.Deliveries = 1
	}
	if key != 0 {
		e.lane = &lane{key: key, current: e}
		s.lanes[key] = e.lane
	}
	if e.attempt.Due > now {
		s.schedule(e, now)
		return
	}
	s.ready.push(e)
	s.readyBytes += e.size
}

// loaded takes the message of an entry that was to be read again, and what else of its lane came with it.
func (s *Spread) loaded(e *entry, page []hooks.Queued, now int64) {
	if e.state == loading {
		switch {
		case len(page) == 0 || page[0].Number != e.number: // it expired
			s.leave(e, now)
		default:
			e.message, e.size = page[0].Message, page[0].Message.Size()
			if page[0].Sent && e.attempt.Deliveries == 0 {
				e.attempt.Deliveries = 1
			}
			s.schedule(e, now)
		}
	}
	for _, q := range page[min(1, len(page)):] {
		l := s.lanes[s.laneOf(q.Message)]
		if l != nil && l.waiting.len > 0 && q.Number >= l.waiting.first && q.Number <= l.waiting.last && !q.Sent {
			s.hold(q.Number, q.Message)
		}
	}
}

// over reports whether the oldest messages have to make room.
func (s *Spread) over() bool {
	r := &s.rules
	return r.DropOldest && (r.MessagesMax > 0 && s.depth > r.MessagesMax || r.BytesMax > 0 && s.bytes > r.BytesMax)
}

// trim drops the oldest messages that are not in flight until the limits are kept.
func (s *Spread) trim(now int64) {
	for s.over() {
		s.sift(now)
		switch {
		case s.againFirst():
			s.drop(s.again.pop(), hooks.DropQueueFull, now)
		case s.ready.len() > 0:
			s.drop(s.popReady(), hooks.DropQueueFull, now)
		case s.next < s.tail || s.waiting > 0:
			return // Want asks for more
		case s.delayed.len() > 0 && s.delayed.top().message != nil:
			e := s.delayed.top()
			s.undelay(e)
			s.drop(e, hooks.DropQueueFull, now)
		default:
			return
		}
	}
}

// someWaiting is a lane with messages behind its current one; there must be one.
func (s *Spread) someWaiting() *lane {
	for _, l := range s.lanes {
		if l.waiting.len > 0 {
			return l
		}
	}
	panic(fmt.Sprintf("%d messages wait in none of %d lanes", s.waiting, len(s.lanes)))
}

// dropWaiting drops the first message that waits in a lane, if it still does and room is still needed.
func (s *Spread) dropWaiting(l *lane, number uint64, page []hooks.Queued, now int64) {
	if !s.over() || s.lanes[l.key] != l || l.waiting.len == 0 || l.waiting.first != number {
		return
	}
	e := s.enter(l.waiting.pop(), nil)
	s.waiting--
	if m, ok := s.held[number]; ok {
		s.letGo(number, m)
	}
	if len(page) == 0 || page[0].Number != number { // it expired
		s.leave(e, now)
		return
	}
	e.message, e.size = page[0].Message, page[0].Message.Size()
	s.drop(e, hooks.DropQueueFull, now)
}

// popReady takes the first that is ready; there must be one.
func (s *Spread) popReady() *entry {
	e := s.ready.pop()
	s.readyBytes -= e.size
	return e
}

// sift clears the front of ready of entries that are gone.
func (s *Spread) sift(now int64) {
	for s.ready.len() > 0 {
		e := s.ready.front()
		if e.state == gone {
			s.popReady()
			continue
		}
		if !s.outlived(e, now) {
			return
		}
		s.popReady()
		s.lapse(e, now)
	}
}

// outlived reports whether a message must not be handed out any more.
func (s *Spread) outlived(e *entry, now int64) bool {
	return s.tooOld(e.message, now) || e.message.Expired(now)
}

func (s *Spread) tooOld(m *packet.Message, now int64) bool {
	return s.rules.TTL > 0 && now-m.Received >= s.rules.TTL
}

// lapse ends a message that is too old. One whose expiry interval passed is the store's to drop and to count.
func (s *Spread) lapse(e *entry, now int64) {
	if s.tooOld(e.message, now) {
		s.drop(e, hooks.DropExpired, now)
		return
	}
	s.leave(e, now)
}
