package spread

import (
	"math/rand/v2"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/test/setting"
)

func (w *model) step() {
	switch n := w.random.IntN(100); {
	case n < 30:
		w.publish()
	case n < 55:
		w.answer(w.pick())
	case n < 60:
		w.online(w.pick())
	case n < 63:
		w.offline(w.pick())
	case n < 65 && len(w.members) < 6:
		w.join()
	case n < 67:
		m := w.pick()
		w.spread.Leave(m.Member)
		m.left = true
		w.note("%s left", m.Client)
	case n < 72:
		m := w.pick()
		w.spread.Room(m.Member)
		m.full = false
	case n < 82:
		w.now += w.random.Int64N(30)
		w.tick()
	case n < 84:
		w.paused = !w.paused
		w.spread.Pause(w.paused)
	case n < 88:
		w.finishMove()
	case n < 90:
		w.touch(w.pick())
	case n < 91 && w.burst > 0:
		for ; w.burst > 0; w.burst-- {
			w.publish()
		}
	case n == 91 && w.random.IntN(10) == 0:
		w.note("restart")
		w.start()
	case n == 92 && w.random.IntN(10) == 0:
		w.empty()
	case n == 93 && w.random.IntN(10) == 0:
		w.putBack()
	case n == 94 && w.random.IntN(3) == 0:
		w.change()
	}
}

// change has other rules come into force.
func (w *model) change() {
	r := w.randomRules()
	w.note("changed to %+v", r)
	r.Key = w.rules.Key
	anew := r.AckTimeout != w.rules.AckTimeout
	w.rules = r
	for _, held := range w.queue {
		if held.holder != nil && anew {
			held.deadline = w.now + r.AckTimeout
		}
	}
	r.Key = nil // it stays
	w.spread.Change(r, w.now)
	for _, m := range w.members {
		if m.online {
			m.full, m.window = false, min(m.asked, r.MemberMax)
			w.spread.Online(m.Member, m.asked)
		}
	}
}

func (w *model) randomRules() Rules {
	r := Rules{
		AckTimeout: 1 + w.random.Int64N(50), Backoff: w.random.Int64N(20), BackoffMax: 40, MaxAttempts: w.random.IntN(5),
		MemberMax: 1 + w.random.IntN(5), DeadLetter: w.random.IntN(2) == 0,
	}
	if w.random.IntN(3) == 0 {
		r.DropOldest, r.MessagesMax = true, 1+w.random.IntN(50)
	}
	return r
}

func (w *model) touch(m *modelMember) {
	touched := w.spread.Touch(m.Member, 0, w.now)
	for _, held := range w.queue {
		if held.holder == m {
			held.deadline = w.now + w.rules.AckTimeout
			touched--
		}
	}
	if touched != 0 {
		w.fail("%d more touched than %s has", touched, m.Client)
	}
}

// finish deals with everything that is left: nothing may stay behind in memory.
func (w *model) finish() {
	w.paused = false
	w.spread.Pause(false)
	for i := 0; len(w.queue) > 0; i++ {
		if i > 20_000 {
			for n, held := range w.queue {
				w.fail("%d messages stay, such as %d: %+v of %+v", len(w.queue), n, held, w.spread)
			}
		}
		w.now += 2 * moveAgain
		w.tick()
		for _, m := range w.members {
			m.full = false
			w.spread.Room(m.Member)
		}
		if i%50 == 0 {
			w.join()
			w.online(w.members[len(w.members)-1])
		}
		w.settle()
		for len(w.moves) > 0 {
			w.finishMove()
			w.settle()
		}
		w.pump()
		for _, m := range w.members {
			for range len(m.pending) {
				w.answer(m)
			}
		}
		w.pump()
	}
	s := w.spread
	if n := len(s.lanes) + s.waiting + len(s.held) + s.heldBytes + len(s.attempts) + s.again.len() + s.delayed.len() + s.keptBytes + s.tracked + len(s.moving); n != 0 {
		w.fail("left in memory: %+v", s)
	}
	if len(w.notes) > 0 {
		w.fail("left on disk: %v", w.notes)
	}
}

// Over random events the Spread hands out what the model says, to whom it says, and keeps count.
func TestAgainstTheModel(t *testing.T) {
	first := setting.Seed(t)
	for i := range uint64(40) {
		random := rand.New(rand.NewPCG(first, i))
		w := &model{T: t, random: random, now: 1000, queue: map[uint64]*modelMessage{}, next: 1, notes: map[uint64]Attempt{}}
		w.rules = w.randomRules()
		if random.IntN(2) == 0 {
			w.rules.Key = func(m *packet.Message) (string, bool) { return m.Topic, true }
		}
		if i%10 == 0 { // more than is kept in memory
			w.burst = readyMax + 300
		}
		w.note("walk %d of PENSTOCK_SEED=%d: %+v", i, first, w.rules)
		w.start()
		for range 400 {
			w.step()
			w.pump()
		}
		w.finish()
	}
}
