package crash

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A ledger is what is known of one channel at the end of a run.
type ledger struct {
	run      *channelRun
	outlet   *outlet
	handouts []*handout                     // in the order in which they came
	byNumber map[uint64][]*handout          // where members are told numbers
	letters  map[[2]int][]*handout          // its dead letters, by message
	acked    map[[2]int]bool                // messages that a member took responsibility for
	numbers  map[[2]int]map[uint64]struct{} // the numbers that a message had: more than one if it was published again
}

// handouts are those of some outlets, in the order in which they came.
func (r *channelRun) handouts(of func(*outlet) bool) (all []*handout) {
	for _, out := range r.outlets {
		if of(out) {
			for _, m := range out.members {
				all = append(all, m.handouts...)
			}
		}
	}
	slices.SortFunc(all, func(a, b *handout) int { return cmp.Compare(a.at, b.at) })
	return all
}

func (r *channelRun) ledgerOf(out *outlet) *ledger {
	l := &ledger{
		run: r, outlet: out, byNumber: map[uint64][]*handout{}, letters: map[[2]int][]*handout{}, acked: map[[2]int]bool{},
		numbers: map[[2]int]map[uint64]struct{}{},
	}
	l.handouts = r.handouts(func(o *outlet) bool { return o == out })
	for _, h := range l.handouts {
		if h.acked() {
			l.acked[h.message()] = true
		}
		if h.number == 0 {
			continue
		}
		l.byNumber[h.number] = append(l.byNumber[h.number], h)
		if l.numbers[h.message()] == nil {
			l.numbers[h.message()] = map[uint64]struct{}{}
		}
		l.numbers[h.message()][h.number] = struct{}{}
	}
	for _, h := range r.handouts(func(o *outlet) bool { return o.dead && o.Filter == out.DeadLetter }) {
		l.letters[h.message()] = append(l.letters[h.message()], h)
	}
	return l
}

// numbered reports whether all members are told the numbers of messages.
func (l *ledger) numbered() bool {
	return !slices.ContainsFunc(l.handouts, func(h *handout) bool { return h.number == 0 })
}

// judge compares what was published with what became of it, channel by channel. Nobody can say what became of everything if the
// run was cut short.
func (r *channelRun) judge() {
	for _, out := range r.outlets {
		if out.dead {
			continue
		}
		l := r.ledgerOf(out)
		l.judgeDelays()
		l.judgeLetters()
		l.judgePauses()
		if r.complete {
			l.judgePublications()
		}
		if l.numbered() {
			if r.complete {
				l.judgeNumbers()
			}
			l.judgeCopies()
			l.judgeFailures()
			l.judgeRetries()
			l.judgeOrder()
		}
		l.judgeReturns()
	}
}

func (l *ledger) report(k kind, format string, args ...any) {
	l.run.report(k, "channel %s: %s", l.outlet.Name, fmt.Sprintf(format, args...))
}

func (l *ledger) name(message [2]int) string {
	s := l.run.streams[message[0]]
	return fmt.Sprintf("%s/QoS %d/%d", s.topic, s.qos, message[1])
}

// judgePublications wants everything that was acknowledged to its publisher to be acknowledged by a member or to be a dead
// letter: the channels are empty.
func (l *ledger) judgePublications() {
	for i, s := range l.run.streams {
		if !l.run.feeds(l.outlet, s) {
			continue
		}
		for n, p := range s.all() {
			message := [2]int{i, n + 1}
			if p.done != 0 && !l.acked[message] && len(l.letters[message]) == 0 {
				l.report(kindLost, "%s was acknowledged to its publisher, and neither acknowledged by a member nor a dead letter", l.name(message))
			}
		}
	}
}

// judgeDelays wants nothing to come before its time.
func (l *ledger) judgeDelays() {
	for _, h := range l.handouts {
		if !l.run.delayed[h.stream] {
			continue
		}
		wait := h.clock.Sub(l.run.sent[h.message()])
		if delay := delayOf(h.counter); wait < delay-turnMax {
			l.report(kindEarly, "%s came %v after it was published with a delay of %v", l.name(h.message()), wait, delay)
		}
	}
}

// turnMax is how old the broker's idea of now may be: it looks at the clock once for all packets of a read.
const turnMax = 50 * time.Millisecond

// judgeNumbers wants every number of the channel to be dealt with: numbers have no gaps.
func (l *ledger) judgeNumbers() {
	most, unseen := uint64(0), 0
	for number, hs := range l.byNumber {
		most = max(most, number)
		for _, h := range hs[1:] {
			if h.message() != hs[0].message() {
				l.report(kindCorrupt, "number %d is both %s and %s", number, l.name(hs[0].message()), l.name(h.message()))
			}
		}
		if !slices.ContainsFunc(hs, (*handout).acked) && len(l.letters[hs[0].message()]) == 0 {
			l.report(kindLost, "number %d, %s, is gone, and neither acknowledged by a member nor a dead letter", number, l.name(hs[0].message()))
		}
	}
	for message, letters := range l.letters { // handed out in vain each time: the member did not even read it
		unseen += max(0, len(letters)-len(l.numbers[message]))
	}
	for number := uint64(1); number <= most; number++ {
		if l.byNumber[number] == nil {
			if unseen--; unseen < 0 {
				l.report(kindLost, "number %d was handed to nobody, and is gone", number)
			}
		}
	}
}

// judgeCopies wants a message to be in the channel once if it was published with QoS 2, or with a message-id to a channel that
// looks for duplicates.
func (l *ledger) judgeCopies() {
	for message, numbers := range l.numbers {
		s := l.run.streams[message[0]]
		exact := s.qos == 2 || l.outlet.DedupWindow > 0 && l.run.modern[message[0]]
		if exact && len(numbers) > 1 {
			l.report(kindTwice, "%s is in it %d times", l.name(message), len(numbers))
		}
		if letters := len(l.letters[message]); letters > len(numbers) && len(numbers) > 0 {
			l.report(kindTwice, "%s was in it %d times, and is a dead letter %d times", l.name(message), len(numbers), letters)
		}
	}
}

// judgeReturns wants what a member acknowledged to stay away, unless the broker was ended and may have forgotten.
func (l *ledger) judgeReturns() {
	for number, hs := range l.byNumber {
		for i, acked := range hs {
			if !acked.acked() || acked.confirmed == 0 {
				continue
			}
			for _, h := range hs[i+1:] {
				if h.linked > acked.confirmed && h.linked < l.run.deathAfter(acked.linked) {
					l.report(kindTwice, "number %d, %s, was handed to %s after %s had acknowledged it", number, l.name(h.message()), h.member.id, acked.member.id)
				}
			}
		}
	}
}

// judgePauses wants nothing to be handed out while the channel is paused, also if the broker is ended meanwhile. Over a connection
// that is older, something may be on its way.
func (l *ledger) judgePauses() {
	for _, p := range l.outlet.paused {
		for _, h := range l.handouts {
			if h.linked > p.begun && h.at < p.done {
				l.report(kindPaused, "%s was handed to %s", l.name(h.message()), h.member.id)
			}
		}
	}
}
