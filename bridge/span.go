package bridge

import "slices"

// A span is a run of sequence numbers without a gap, both ends included.
type span struct{ low, high uint64 }

// spans are a set of sequence numbers: ordered, and no two touch.
type spans []span

// at is the index of the first span that ends at n or later.
func (s spans) at(n uint64) int {
	if last := len(s) - 1; last < 0 || s[last].high < n { // what comes in order
		return len(s)
	}
	i, _ := slices.BinarySearchFunc(s, n, func(a span, n uint64) int {
		if a.high < n {
			return -1
		}
		return 1
	})
	return i
}

// has reports whether n is in the set.
func (s spans) has(n uint64) bool {
	i := s.at(n)
	return i < len(s) && s[i].low <= n
}

// add puts n into the set. At more than max spans the lowest quarter is forgotten.
func (s spans) add(n uint64, max int) spans {
	i := s.at(n)
	if i < len(s) && s[i].low <= n {
		return s
	}
	before, after := i > 0 && s[i-1].high+1 == n, i < len(s) && s[i].low == n+1
	switch {
	case before && after:
		s[i-1].high = s[i].high
		return slices.Delete(s, i, i+1)
	case before:
		s[i-1].high = n
		return s
	case after:
		s[i].low = n
		return s
	}
	s = slices.Insert(s, i, span{n, n})
	if len(s) > max {
		s = slices.Delete(s, 0, max/4+1)
	}
	return s
}
