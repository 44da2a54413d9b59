package spread

import (
	"hash/maphash"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// The bounds of what a Spread keeps in memory, beside what is in flight.
const (
	readyMax      = 1024    // entries that come next
	readyBytesMax = 1 << 20 // of those
	readyLow      = 64      // below it the next page is wanted
	heldMax       = 1024    // messages of lanes, behind their current ones
	heldBytesMax  = 1 << 20 //
	delayedMax    = 100_000 // entries that wait for another attempt; at the limit nothing new is handed out
	delayedBytes  = 1 << 20 // of messages kept for them; the others are read again
)

// second is the unit of the times here, which are Unix nanoseconds.
const second = int64(1e9)

// What is tried again without a failure of its own: nobody may receive it, or it could not be moved.
const (
	parkTime  = 30 * second
	moveAgain = second
)

// Rules are the settings of one channel. Times are nanoseconds.
type Rules struct {
	AckTimeout  int64 // how long a member may keep a message without a word
	Backoff     int64 // the delay after the first failure, twice that after the second, and so on
	BackoffMax  int64 // the longest delay
	MaxAttempts int   // failures after which a message is dead; 0 is no limit
	MemberMax   int   // messages in flight to one member
	TTL         int64 // how long a message waits; 0 is for ever
	MessagesMax int   // in the channel; 0 is no limit
	BytesMax    int64 // of those; 0 is no limit
	DropOldest  bool  // at the limits
	DeadLetter  bool  // what is dead is moved (Bury), not dropped
	// Key finds what a message is ordered by; nil keeps no order among members.
	Key func(m *packet.Message) (key string, ok bool)
}

// A Spread decides who gets which message of one channel. Its methods must not be called concurrently.
type Spread struct {
	// Fixed.
	seed maphash.Seed

	rules Rules // only Change changes them

	// Count adds up what happened. Read only.
	Count Counts

	// The queue as it is known: what is below next was read or is done, tail is behind the last message.
	next, tail uint64
	fetching   bool
	depth      int // messages in the queue, those on their way into it included
	bytes      int64
	admitted   int  // on their way into it
	tracked    int  // entries
	drifted    bool // depth may be wrong: what expired may have been counted as done as well
	drain      *drain
	attempts   map[uint64]remembered // of messages that will be read again

	// Entries, by state.
	ready      entries
	readyBytes int
	again      heap[*entry] // by number
	loading    entries
	delayed    heap[*entry] // by due time
	keptBytes  int          // of messages in delayed
	flight     list         // by deadline
	moving     map[uint64]*entry

	// Lanes, of an ordered channel.
	lanes     map[uint64]*lane
	waiting   int                        // numbers in their backlogs
	held      map[uint64]*packet.Message // some messages of these
	heldBytes int

	// Members.
	members int
	online  int
	open    heap[*Member] // online with room; the next to be served on top
	served  uint64

	paused  bool
	blocked bool // a publisher is held back
	effects []Effect
}

// remembered is an Attempt of a message that is not in memory.
type remembered struct {
	Attempt
	saved bool
}

// New makes the Spread of a queue whose extent is x. attempts are those noted by Effects of an earlier run.
func New(r Rules, x hooks.Extent, attempts map[uint64]Attempt) *Spread {
	s := &Spread{
		rules: r, seed: maphash.MakeSeed(), next: x.Head, tail: x.Next, depth: x.Len, bytes: x.Bytes,
		attempts: make(map[uint64]remembered, len(attempts)),
		moving:   make(map[uint64]*entry), lanes: make(map[uint64]*lane), held: make(map[uint64]*packet.Message),
	}
	place := func(e *entry) *int { return &e.index }
	s.again = heap[*entry]{less: func(a, b *entry) bool { return a.number < b.number }, index: place}
	s.delayed = heap[*entry]{less: func(a, b *entry) bool { return a.attempt.Due < b.attempt.Due }, index: place}
	s.open = heap[*Member]{less: (*Member).before, index: func(m *Member) *int { return &m.index }}
	s.flight = list{place: inSpread}
	for number, a := range attempts {
		if number < x.Head || number >= x.Next {
			s.effect(Effect{Kind: Forget, Number: number})
			continue
		}
		s.attempts[number] = remembered{a, true}
	}
	return s
}

// Admit counts a message that is on its way into the queue.
func (s *Spread) Admit(size int) {
	s.admitted++
	s.depth++
	s.bytes += int64(size)
}

// Withdraw takes an Admit back.
func (s *Spread) Withdraw(size int) {
	s.admitted--
	s.forgetSize(size)
}

// Full reports whether a message of a size would exceed the limits.
func (s *Spread) Full(size int) bool {
	r := &s.rules
	return r.MessagesMax > 0 && s.depth >= r.MessagesMax || r.BytesMax > 0 && s.bytes+int64(size) > r.BytesMax
}

// Block notes that a publisher waits until there is room: Relieve will be among the Effects.
func (s *Spread) Block() { s.blocked = true }

// Depth is how many messages there are that nobody has dealt with, and their size.
func (s *Spread) Depth() (messages int, bytes int64) { return s.depth, s.bytes }

// InFlight is how many messages members have and have not answered.
func (s *Spread) InFlight() int { return s.flight.len }

// Delayed is how many messages wait for the time of another attempt.
func (s *Spread) Delayed() int { return s.delayed.len() }

// Members is how many members there are, and how many of them are online.
func (s *Spread) Members() (all, online int) { return s.members, s.online }

// Paused reports whether nothing is handed out.
func (s *Spread) Paused() bool { return s.paused }

// Pause stops handing messages out; what is in flight goes on.
func (s *Spread) Pause(paused bool) { s.paused = paused }

// Expired tells that the store dropped messages because their expiry interval passed.
func (s *Spread) Expired(messages int, bytes int64) {
	s.Count.Expired += uint64(messages)
	s.depth = max(0, s.depth-messages)
	s.bytes = max(0, s.bytes-bytes)
	s.correct()
	s.relieve()
}

func (s *Spread) forgetSize(size int) {
	s.depth = max(0, s.depth-1)
	s.bytes = max(0, s.bytes-int64(size))
	s.correct()
	s.relieve()
}

// correct counts anew when everything that is in the queue is known here.
func (s *Spread) correct() {
	if !s.drifted || s.next != s.tail {
		return
	}
	s.drifted = false
	s.depth = s.tracked + s.waiting + s.admitted
	if s.depth == 0 {
		s.bytes = 0
	}
}

func (s *Spread) relieve() {
	if s.blocked && !s.Full(0) {
		s.blocked = false
		s.effect(Effect{Kind: Relieve})
	}
}

// enter makes an entry of a number that was just read or is about to be.
func (s *Spread) enter(number uint64, m *packet.Message) *entry {
	s.tracked++
	e := &entry{number: number, message: m}
	if a, ok := s.attempts[number]; ok {
		e.attempt, e.saved = a.Attempt, a.saved
		delete(s.attempts, number)
	}
	return e
}

// schedule puts an entry that is in no place where it waits for its next attempt.
func (s *Spread) schedule(e *entry, now int64) {
	switch {
	case e.attempt.Due > now:
		e.state = delayed
		if e.message != nil && s.keptBytes+e.message.Size() > delayedBytes {
			e.message = nil
		}
		if e.message != nil {
			s.keptBytes += e.message.Size()
		}
		s.delayed.push(e)
	case e.message == nil:
		e.state = loading
		s.loading.push(e)
	default:
		e.state = again
		s.again.push(e)
	}
}

// detach takes an entry out of its place.
func (s *Spread) detach(e *entry) {
	switch e.state {
	case again:
		s.again.remove(e)
	case delayed:
		s.undelay(e)
	case given:
		s.takeBack(e.given, late)
	}
	e.state = gone // ready and loading are cleared of it when its turn comes
}

func (s *Spread) undelay(e *entry) {
	s.delayed.remove(e)
	if e.message != nil {
		s.keptBytes -= e.message.Size()
	}
}

// finish is the end of a message that was dealt with or dropped: the queue forgets it. The entry is in no place.
func (s *Spread) finish(e *entry, now int64) {
	s.effect(Effect{Kind: Done, Number: e.number})
	s.finished(e, now)
}

// finished is the end of a message that the queue has forgotten.
func (s *Spread) finished(e *entry, now int64) {
	if e.message != nil && e.message.Expired(now) {
		s.drifted = true
	}
	s.leave(e, now)
	s.forgetSize(e.size)
}

// leave forgets an entry whose message is no longer in the queue, or no longer counted.
func (s *Spread) leave(e *entry, now int64) {
	e.state = gone
	s.tracked--
	if e.saved {
		s.effect(Effect{Kind: Forget, Number: e.number})
	}
	if e.lane != nil && e.lane.current == e {
		s.advance(e.lane, now)
	}
}

// drop is the end of a message that no member dealt with.
func (s *Spread) drop(e *entry, reason hooks.DropReason, now int64) {
	s.Count.dropped(reason)
	s.effect(Effect{Kind: Drop, Number: e.number, Message: e.message, Reason: reason})
	s.finish(e, now)
}

func (s *Spread) effect(e Effect) { s.effects = append(s.effects, e) }

// Effects are what is to be done since they were taken last, in this order. The slice given is used for the next ones.
func (s *Spread) Effects(spare []Effect) []Effect {
	taken := s.effects
	s.effects = spare[:0]
	return taken
}
