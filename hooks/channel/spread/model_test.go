package spread

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// modelMessage is what the model knows of a message that the queue still has.
type modelMessage struct {
	message  *packet.Message
	attempt  Attempt
	holder   *modelMember // that has it
	deadline int64
	moving   bool
	avoid    *modelMember
	over     bool // dealt with or dropped: Done must follow
	back     bool // put back, or that failed: its place in the order is gone
}

type modelMember struct {
	*Member
	asked                       int // for, when it came online
	window, flight, stale       int
	online, left, full, suspect bool
	served                      int
	pending                     []*Delivery // unanswered, those taken back included
}

func (m *modelMember) room() int { return m.window - m.flight - m.stale }

func (m *modelMember) open() bool { return m.online && !m.left && !m.full && m.room() > 0 }

// A model is the rules said as stupidly as possible: it keeps every message and scans them all.
type model struct {
	*testing.T
	random   *rand.Rand
	rules    Rules
	spread   *Spread
	now      int64
	queue    map[uint64]*modelMessage // what is on disk
	next     uint64
	notes    map[uint64]Attempt // what is on disk, too
	members  []*modelMember
	late     map[*Delivery]bool // taken back for a timeout
	moves    []Effect           // under way
	paused   bool
	served   int
	draining bool
	drained  bool // once: what is first is no longer the oldest
	burst    int  // messages that will be published at once, one day
	history  []string
}

func (w *model) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

func (w *model) fail(format string, args ...any) {
	w.Helper()
	w.Fatalf("%s\nafter: %q", fmt.Sprintf(format, args...), w.history[max(0, len(w.history)-40):])
}

// start makes the Spread from what is on disk.
func (w *model) start() {
	x := hooks.Extent{Head: w.next, Next: w.next, Len: len(w.queue)}
	for n, m := range w.queue {
		x.Head = min(x.Head, n)
		x.Bytes += int64(m.message.Size())
		note, ok := w.notes[n]
		m.attempt, m.holder, m.moving, m.avoid, m.back = note, nil, false, nil, false
		if !ok {
			m.attempt = Attempt{}
		}
	}
	w.spread = New(w.rules, x, maps.Clone(w.notes))
	w.spread.Pause(w.paused)
	w.members, w.moves, w.late, w.draining = nil, nil, map[*Delivery]bool{}, false
}

func (w *model) publish() {
	n := w.next
	w.next++
	m := &packet.Message{Topic: strconv.Itoa(w.random.IntN(4)), Payload: make([]byte, w.random.IntN(20)), Received: w.now}
	w.queue[n] = &modelMessage{message: m}
	w.spread.Admit(m.Size())
	w.spread.Queued(n, m, w.now)
	w.note("%d published to %s", n, m.Topic)
}

func (w *model) join() {
	m := &modelMember{Member: w.spread.Join(strconv.Itoa(len(w.members)), "f")}
	m.QoS = 1
	m.Strict = w.random.IntN(4) == 0
	w.members = append(w.members, m)
}

func (w *model) pick() *modelMember {
	if len(w.members) == 0 {
		w.join()
	}
	return w.members[w.random.IntN(len(w.members))]
}

func (w *model) online(m *modelMember) {
	if m.online || m.left {
		return
	}
	window := 1 + w.random.IntN(5)
	w.spread.Online(m.Member, window)
	m.online, m.full, m.suspect, m.asked, m.window = true, false, false, window, min(window, w.rules.MemberMax)
	w.note("%s online with %d", m.Client, m.window)
}

func (w *model) offline(m *modelMember) {
	if !m.online {
		return
	}
	w.note("%s offline", m.Client)
	w.spread.Offline(m.Member, w.now)
	m.online, m.stale, m.flight = false, 0, 0
	for _, held := range w.queue {
		if held.holder == m {
			held.holder = nil
		}
	}
	for _, d := range m.pending { // the broker tells of these too
		w.spread.Answered(d, Answer{}, w.now)
		delete(w.late, d)
	}
	m.pending = nil
}

// answer has a member answer something that it got.
func (w *model) answer(m *modelMember) {
	if len(m.pending) == 0 {
		return
	}
	i := w.random.IntN(len(m.pending))
	d := m.pending[i]
	m.pending = slices.Delete(m.pending, i, i+1)
	a := Answer{Acked: true, RetryAfter: -1}
	if w.random.IntN(4) == 0 {
		a.Code = packet.QuotaExceeded
		if w.random.IntN(2) == 0 {
			a.RetryAfter = w.random.Int64N(20)
		}
	}
	w.note("%s answers %d with %v", m.Client, d.Number, a.Code)
	orphan := d.entry.state == gone // it is read anew
	w.spread.Answered(d, a, w.now)
	m.full = false
	late := w.late[d]
	delete(w.late, d)
	if late {
		m.stale--
	}
	held := w.queue[d.Number]
	if held != nil && !late {
		held.holder = nil
		m.flight--
	}
	if !a.Code.Failed() {
		m.suspect = false
	}
	if held == nil || held.over || held.moving {
		return
	}
	if orphan {
		if !w.drained || !late {
			w.fail("%d is forgotten", d.Number)
		}
		return
	}
	switch {
	case !a.Code.Failed():
		if other := held.holder; other != nil { // it was handed to another meanwhile
			other.flight--
			other.stale++
			for _, o := range other.pending {
				if o.Number == d.Number && !w.late[o] {
					w.late[o] = true
				}
			}
		}
		held.holder, held.over = nil, true
	case late:
	default:
		delay := a.RetryAfter
		if delay < 0 {
			delay = min(w.rules.Backoff*int64(held.attempt.Failures+1), w.rules.BackoffMax)
		}
		w.failed(held, delay, m.Strict)
	}
}

func (w *model) failed(held *modelMessage, delay int64, final bool) {
	held.attempt.Failures++
	held.attempt.Last = w.now
	if final || w.rules.MaxAttempts > 0 && int(held.attempt.Failures) >= w.rules.MaxAttempts {
		if held.moving = w.rules.DeadLetter; !held.moving {
			held.over = true
		}
		return
	}
	held.attempt.Due = w.now + delay
}

func (w *model) tick() {
	var overdue []uint64
	for n, held := range w.queue {
		if held.holder != nil && held.deadline <= w.now {
			overdue = append(overdue, n)
		}
	}
	due := w.spread.Deadline()
	if len(overdue) > 0 && (due == 0 || due > w.now) {
		w.fail("messages %v are overdue at %d, the deadline is %d", overdue, w.now, due)
	}
	for _, n := range overdue {
		held := w.queue[n]
		m := held.holder
		m.suspect = true
		m.flight--
		m.stale++
		for _, d := range m.pending {
			if d.Number == n {
				w.late[d] = true
			}
		}
		held.holder, held.avoid = nil, m
		w.failed(held, 0, false)
		w.note("%s keeps %d too long", m.Client, n)
	}
	w.spread.Tick(w.now)
}

// loose reports whether a message that was put back disturbs the order of a key.
func (w *model) loose(key string) bool {
	for _, held := range w.queue {
		if held.back && held.message.Topic == key {
			return w.rules.Key != nil
		}
	}
	return false
}

// available reports whether a message waits for nothing but a member.
func (w *model) available(n uint64) bool {
	held := w.queue[n]
	if held.holder != nil || held.moving || held.over || held.attempt.Due > w.now {
		return false
	}
	if w.rules.Key == nil {
		return true
	}
	for o, other := range w.queue {
		if o < n && !other.back && other.message.Topic == held.message.Topic && !other.over {
			return false
		}
	}
	return true
}

func (w *model) onlineCount() (n int) {
	for _, m := range w.members {
		if m.online && !m.left {
			n++
		}
	}
	return n
}

// best is the member that must get a message, nil if none may.
func (w *model) best(held *modelMessage) (best *modelMember) {
	for _, m := range w.members {
		if !m.open() || m == held.avoid && w.onlineCount() > 1 {
			continue
		}
		better := best == nil
		switch {
		case better:
		case m.suspect != best.suspect:
			better = best.suspect
		case m.room() != best.room():
			better = m.room() > best.room()
		default:
			better = m.served < best.served
		}
		if better {
			best = m
		}
	}
	return best
}

// deliver checks a delivery and makes it, or has the broker refuse it.
func (w *model) deliver(d *Delivery) {
	held := w.queue[d.Number]
	if held == nil || w.paused || !w.available(d.Number) && !w.loose(held.message.Topic) {
		w.fail("%d handed to %s, paused %v: %+v", d.Number, d.Member.Client, w.paused, held)
	}
	best := w.best(held)
	if best == nil || best.Member != d.Member && !w.equal(best, d.Member) {
		w.fail("%d handed to %s, not to %v", d.Number, d.Member.Client, best)
	}
	best = w.members[w.index(d.Member)]
	if w.rules.Key == nil && !w.drained {
		for n := range w.queue {
			if n < d.Number && w.available(n) && w.best(w.queue[n]) != nil {
				w.fail("%d handed out before %d", d.Number, n)
			}
		}
	}
	if d.Earlier.Failures != held.attempt.Failures || d.Earlier.Deliveries != held.attempt.Deliveries {
		w.fail("%d was %+v, says %+v", d.Number, held.attempt, d.Earlier)
	}
	w.served++
	best.served = w.served
	if w.random.IntN(20) == 0 {
		w.note("%s is busy for %d", best.Client, d.Number)
		w.spread.Undelivered(d, Busy, w.now)
		best.full = true
		return
	}
	w.note("%d to %s", d.Number, best.Client)
	held.holder, held.deadline = best, w.now+w.rules.AckTimeout
	held.attempt.Deliveries++
	best.flight++
	best.pending = append(best.pending, d)
}

func (w *model) index(m *Member) int {
	return slices.IndexFunc(w.members, func(o *modelMember) bool { return o.Member == m })
}

// equal reports whether two members that were never served are as good as each other.
func (w *model) equal(a *modelMember, other *Member) bool {
	b := w.members[w.index(other)]
	return b.open() && a.suspect == b.suspect && a.room() == b.room() && a.served == b.served
}

func (w *model) apply(f Effect) {
	held := w.queue[f.Number]
	switch f.Kind {
	case Done:
		if held == nil || !held.over {
			w.fail("%d is done: %+v", f.Number, held)
		}
		delete(w.queue, f.Number)
	case Note:
		w.notes[f.Number] = f.Attempt
	case Forget:
		delete(w.notes, f.Number)
	case Drop:
		if held == nil || held.holder != nil || held.moving {
			w.fail("%d dropped for %s: %+v", f.Number, f.Reason, held)
		}
		if f.Reason == hooks.DropQueueFull && len(w.queue) <= w.rules.MessagesMax {
			w.fail("%d dropped, there are %d", f.Number, len(w.queue))
		}
		held.over = true
	case Bury, PutBack:
		if held == nil || held.moving != (f.Kind == Bury) || held.holder != nil {
			w.fail("%d moved: %+v", f.Number, held)
		}
		held.moving = true
		held.back = f.Kind == PutBack
		w.moves = append(w.moves, f)
	case Drained:
		w.draining = false
	}
}

// finishMove tells what became of a move.
func (w *model) finishMove() {
	if len(w.moves) == 0 {
		return
	}
	f := w.moves[0]
	w.moves = w.moves[1:]
	held := w.queue[f.Number]
	held.moving = false
	if w.random.IntN(3) == 0 {
		held.attempt.Due = max(held.attempt.Due, w.now+moveAgain)
		w.note("%d not moved", f.Number)
		if f.Kind == PutBack {
			if w.drained, held.avoid = true, nil; !w.draining {
				w.reread()
			}
		}
		w.spread.Moved(f, errors.New("full"), w.now)
		return
	}
	w.note("%d moved", f.Number)
	delete(w.queue, f.Number)
	w.spread.Moved(f, nil, w.now)
}

// settle does what the Spread wants to be done.
func (w *model) settle() (any bool) {
	for _, f := range w.spread.Effects(nil) {
		w.apply(f)
		any = true
	}
	return any
}

// pump does all that the Spread wants, in any order, and checks that nothing more could be handed out.
func (w *model) pump() {
	for more := true; more; {
		more = w.settle()
		if f, wanted := w.spread.Want(); wanted {
			w.spread.Read(f, w.read(f), w.now)
			w.settle() // what was dropped makes room for what follows it
			more = true
		}
		if d := w.spread.Next(w.now); d != nil {
			w.deliver(d)
			more = true
		}
	}
	depth, bytes := w.spread.Depth()
	var want int64
	for n, held := range w.queue {
		want += int64(held.message.Size())
		if !w.paused && !w.draining && w.available(n) && w.best(held) != nil && !w.loose(held.message.Topic) {
			w.fail("%d could go to %s: %+v", n, w.best(held).Client, held)
		}
		if held.over {
			w.fail("%d is over and not done", n)
		}
	}
	if depth != len(w.queue) || bytes != want {
		w.fail("depth %d, %d bytes; want %d, %d", depth, bytes, len(w.queue), want)
	}
	if w.rules.DropOldest && !w.draining && depth > w.rules.MessagesMax && w.idle() > 0 {
		w.fail("depth %d, and %d messages wait that could make room", depth, w.idle())
	}
}

// idle counts the messages that could make room for others.
func (w *model) idle() (n int) {
	for number := range w.queue {
		if w.available(number) {
			n++
		}
	}
	return n
}

func (w *model) read(f Fetch) (page []hooks.Queued) {
	var bytes int64
	for _, n := range slices.Sorted(maps.Keys(w.queue)) {
		if n >= f.From && len(page) < f.Entries && (len(page) == 0 || bytes < f.Bytes) {
			m := w.queue[n].message
			bytes += int64(m.Size())
			page = append(page, hooks.Queued{Number: n, Message: m})
		}
	}
	return page
}

func (w *model) empty() {
	if !w.spread.Empty() {
		return
	}
	w.note("emptied")
	w.draining, w.drained = true, true
	for _, held := range w.queue {
		if m := held.holder; m != nil {
			m.flight--
			m.stale++
			held.holder = nil
		}
	}
	for _, m := range w.members {
		for _, d := range m.pending {
			w.late[d] = true
		}
	}
}

func (w *model) putBack() {
	var only map[uint64]struct{}
	if w.random.IntN(2) == 0 {
		only = map[uint64]struct{}{}
		for n := range w.queue {
			if w.random.IntN(3) == 0 {
				only[n] = struct{}{}
			}
		}
	}
	if w.spread.PutBack(only) {
		w.note("put back")
		w.draining, w.drained = true, true
		w.reread()
	}
}

// reread is what happens when everything that nobody has is read anew: it is forgotten who let it time out.
func (w *model) reread() {
	for _, held := range w.queue {
		if held.holder == nil && !held.moving {
			held.avoid = nil
		}
	}
}
