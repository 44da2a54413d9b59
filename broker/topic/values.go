package topic

import "sync/atomic"

// values holds the values under one filter, none twice. One writer at a time changes it while
// anyone reads it without a lock: a reader sees every value that is there throughout,
// and sees it once, because no value moves while it is in.
type values[V comparable] struct {
	held atomic.Pointer[holding[V]] // nil when there is none
}

// A holding is one value or, if many is set, many. It never changes.
type holding[V comparable] struct {
	one  V
	many *crowd[V]
}

func (s *values[V]) empty() bool { return s.held.Load() == nil }

// appendTo appends the values to dst.
func (s *values[V]) appendTo(dst []V) []V {
	h := s.held.Load()
	switch {
	case h == nil:
		return dst
	case h.many == nil:
		return append(dst, h.one)
	}
	return h.many.appendTo(dst)
}

func (s *values[V]) add(v V) (added bool) {
	h := s.held.Load()
	switch {
	case h == nil:
		s.held.Store(&holding[V]{one: v})
		return true
	case h.many != nil:
		return h.many.add(v)
	case h.one == v:
		return false
	}
	c := &crowd[V]{}
	c.add(h.one)
	c.add(v)
	s.held.Store(&holding[V]{many: c})
	return true
}

func (s *values[V]) remove(v V) (removed bool) {
	h := s.held.Load()
	switch {
	case h == nil:
		return false
	case h.many != nil:
		if !h.many.remove(v) {
			return false
		}
		if h.many.len == 1 {
			s.held.Store(&holding[V]{one: h.many.appendTo(nil)[0]})
		}
		return true
	case h.one != v:
		return false
	}
	s.held.Store(nil)
	return true
}
