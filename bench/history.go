package bench

// A history is what one subscriber saw of one publisher: the last number, and the numbers before it that are
// missing. It tells a message that comes late from one that comes again, so that what is lost is known
// exactly.
type history struct {
	last uint64
	gaps []gap // in order; as many as there are breaks in what arrived
}

// A gap is missing numbers: from to, without end.
type gap struct{ from, end uint64 }

// An arrival says how a message came.
type arrival byte

const (
	inOrder arrival = iota
	late            // behind a later one of its publisher
	again           // it had come before
)

// take notes that a number arrived.
func (h *history) take(sequence uint64) arrival {
	if sequence > h.last {
		if sequence > h.last+1 {
			h.gaps = append(h.gaps, gap{h.last + 1, sequence})
		}
		h.last = sequence
		return inOrder
	}
	for i := len(h.gaps) - 1; i >= 0; i-- {
		g := h.gaps[i]
		if sequence < g.from || sequence >= g.end {
			continue
		}
		h.gaps = append(h.gaps[:i], append(g.without(sequence), h.gaps[i+1:]...)...)
		return late
	}
	return again
}

// without is what is left of a gap when one of its numbers is there.
func (g gap) without(sequence uint64) []gap {
	var left []gap
	if g.from < sequence {
		left = append(left, gap{g.from, sequence})
	}
	if sequence+1 < g.end {
		left = append(left, gap{sequence + 1, g.end})
	}
	return left
}

// missing is how many of the numbers 1 to sent did not arrive.
func (h *history) missing(sent uint64) uint64 {
	n := sent - h.last
	for _, g := range h.gaps {
		n += g.end - g.from
	}
	return n
}
