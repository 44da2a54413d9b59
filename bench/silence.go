package bench

import "time"

// A silence is what clients notice of a broker that stands still: how long nothing arrives though messages are on their
// way. It counts only times in which the generator looked at its sockets all along, so that its own standing still is not taken
// for the broker's.
type silence struct {
	// Fixed when it is made.
	absence int64 // the generator was away if it did not look for so long

	started   bool
	from      int64 // the last arrival, or the last look at which nothing was on its way
	looked    int64
	delivered uint64 // at the last look
	lasted    histogram
	away      int64 // the longest absence
}

// awayAfter is how much later than its timer the generator may look.
const awayAfter = 250 * time.Microsecond

// newSilence is for a generator whose timer wakes it at an interval.
func newSilence(interval int64) *silence { return &silence{absence: interval + int64(awayAfter)} }

// look notes that the generator looked at its sockets, how many messages had arrived by then and whether any are on their way.
func (s *silence) look(now int64, delivered uint64, waiting bool) {
	gap := now - s.looked
	s.looked = now
	switch {
	case !s.started:
		s.started, s.from = true, now
	case gap > s.absence:
		s.away = max(s.away, gap)
		s.from = now
	case delivered != s.delivered:
		s.lasted.add(now - s.from)
		s.from = now
	case !waiting:
		s.from = now
	}
	s.delivered = delivered
}

// A Silence says how long nothing arrived although messages were on their way and the generator looked.
type Silence struct {
	Longest time.Duration `json:"longest_ns"`
	// Long counts those of more than a millisecond.
	Long uint64 `json:"over_1ms"`
	// Away is the longest time for which the generator did not look. Silences in it are nobody's.
	Away time.Duration `json:"generator_away_ns"`
}

// result is nil for a silence that is nil.
func (s *silence) result() *Silence {
	if s == nil {
		return nil
	}
	return &Silence{Longest: time.Duration(s.lasted.max), Long: s.lasted.above(int64(time.Millisecond)), Away: time.Duration(s.away)}
}
