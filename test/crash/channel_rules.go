package crash

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// judgeOrder wants no message of a key to be handed out before the earlier ones were acknowledged or became dead letters, and the messages
// of a publisher to have the order in which it sent them. An acknowledgement counts from when it was sent: whether the broker saw it before
// it was ended nobody can know.
func (l *ledger) judgeOrder() {
	byKey := map[string][]uint64{}
	for _, number := range slices.Sorted(maps.Keys(l.byNumber)) {
		index := l.byNumber[number][0].stream
		if key, ok := l.outlet.ordersBy(l.run.streams[index], l.run.modern[index]); ok {
			byKey[key] = append(byKey[key], number)
		}
	}
	for key, numbers := range byKey {
		var latest time.Time // when all before were settled
		var last uint64
		counters := map[int]int{}
		for _, number := range numbers {
			hs := l.byNumber[number]
			for _, h := range hs {
				if h.clock.Before(latest) {
					l.report(kindOrder, "key %s: number %d, %s, was handed to %s while number %d was not dealt with", key, number, l.name(h.message()), h.member.id, last)
					break
				}
			}
			if at := l.settledAt(hs); at.After(latest) {
				latest, last = at, number
			}
			l.judgeCounter(counters, hs[0])
		}
	}
}

// judgeCounter takes the first handouts of a key's numbers, in the order of the numbers.
func (l *ledger) judgeCounter(counters map[int]int, h *handout) {
	first := !slices.ContainsFunc(slices.Collect(maps.Keys(l.numbers[h.message()])), func(n uint64) bool { return n < h.number })
	if !first {
		return
	}
	if before := counters[h.stream]; before > h.counter {
		l.report(kindOrder, "%s is behind message %d of its publisher", l.name(h.message()), before)
	}
	counters[h.stream] = h.counter
}

// settledAt is when a message was first acknowledged or became a dead letter.
func (l *ledger) settledAt(hs []*handout) (at time.Time) {
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, h := range hs {
		if h.acked() {
			sooner(h.answered)
		}
	}
	for _, letter := range l.letters[hs[0].message()] {
		if last, err := time.Parse(time.RFC3339Nano, letter.letter["last"]); err == nil {
			sooner(last)
		}
	}
	return at
}

// judgeFailures wants the count of a message's failures never to go back, once something that was published after somebody saw the count
// was acknowledged by the same broker: so much is on disk. With the acknowledgement of a member the count is forgotten, even if the message comes back because
// that was not on disk.
func (l *ledger) judgeFailures() {
	stored := l.run.storedAfter()
	for number, hs := range l.byNumber {
		for i, h := range hs {
			if most := l.outlet.MaxAttempts; most > 0 && h.failures >= most {
				l.report(kindFailures, "number %d was handed out after %d failures, at most %d are allowed", number, h.failures, most)
			}
			if surely := stored(h.at); surely != 0 && surely < l.run.deathAfter(h.linked) && h.failures > 0 {
				l.judgeCount(h, surely, hs[i+1:], hs)
			}
		}
	}
}

// judgeCount compares a count of failures, which was on disk at a moment, with those that came later.
func (l *ledger) judgeCount(h *handout, stored moment, later, all []*handout) {
	for _, next := range later {
		forgotten := slices.ContainsFunc(all, func(a *handout) bool { return a.acked() && a.answered.Before(next.clock) })
		if !forgotten && next.linked > stored && next.failures < h.failures {
			l.report(kindFailures, "number %d, %s, had failed %d times, and then %d times", h.number, l.name(h.message()), h.failures, next.failures)
		}
	}
}

// storedAfter tells for a moment when everything that had happened before it was on disk, 0 if that is not known.
func (r *channelRun) storedAfter() func(moment) moment {
	var acked []span
	for _, s := range r.streams {
		for _, p := range s.all() {
			if p.done != 0 && p.sends == 1 {
				acked = append(acked, p.span)
			}
		}
	}
	slices.SortFunc(acked, func(a, b span) int { return cmp.Compare(a.begun, b.begun) })
	for i := len(acked) - 2; i >= 0; i-- {
		acked[i].done = min(acked[i].done, acked[i+1].done)
	}
	return func(m moment) moment {
		i, _ := slices.BinarySearchFunc(acked, m, func(s span, m moment) int { return cmp.Compare(s.begun, m) })
		if i == len(acked) {
			return 0
		}
		return acked[i].done
	}
}

// judgeRetries wants a message that was refused not to come before its time, where it cannot have timed out. That the broker read the refusal
// must be known: a member may read a message long after its connection is gone, and refuse it in vain.
func (l *ledger) judgeRetries() {
	if l.outlet.AckTimeout < forgotten {
		return
	}
	for number, hs := range l.byNumber {
		for i, h := range hs[:len(hs)-1] {
			next := hs[i+1]
			if !h.refuse || h.confirmed == 0 || next.failures != h.failures+1 {
				continue
			}
			delay := h.retryAfter.Truncate(time.Millisecond)
			if h.retryAfter < 0 {
				delay = min(l.outlet.Backoff*time.Duration(next.failures), l.outlet.BackoffMax)
			}
			if wait := next.clock.Sub(h.answered); wait < delay {
				l.report(kindEarly, "number %d, %s, came %v after it was refused, wanted were %v", number, l.name(h.message()), wait, delay)
			}
		}
	}
}

// judgeLetters looks at what dead letters say of themselves.
func (l *ledger) judgeLetters() {
	for message, letters := range l.letters {
		s := l.run.streams[message[0]]
		if s.qos == 2 && len(letters) > 1 {
			l.report(kindTwice, "%s is a dead letter %d times", l.name(message), len(letters))
		}
		for _, h := range letters {
			if err := l.judgeLetter(h, s); err != nil {
				l.report(kindFailures, "%s is a dead letter: %v", l.name(message), err)
			}
		}
	}
}

func (l *ledger) judgeLetter(h *handout, s *stream) error {
	failures, err := strconv.Atoi(h.letter["failures"])
	if err != nil {
		return err
	}
	deliveries, err := strconv.Atoi(h.letter["deliveries"])
	if err != nil {
		return err
	}
	// A refusal of the shared subscription is the last one [MQTT5-4.8.2-6].
	strict := slices.ContainsFunc(l.outlet.members, (*member).strict)
	switch most := l.outlet.MaxAttempts; {
	case failures > most, failures < most && !strict, failures < 1:
		return fmt.Errorf("%d failures, want %d", failures, most)
	case deliveries < failures:
		return fmt.Errorf("%d failures in %d deliveries", failures, deliveries)
	case h.letter["channel"] != l.outlet.Name, h.letter["topic"] != s.topic:
		return fmt.Errorf("of channel %s, topic %s, want %s", h.letter["channel"], h.letter["topic"], s.topic)
	}
	return nil
}
