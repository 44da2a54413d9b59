package broker

import (
	"iter"
	"slices"
)

// subscriptionsListed is up to how many subscriptions of a session are a list. Most sessions have one or two, and a
// map takes more memory than all else that is kept for one.
const subscriptionsListed = 8

// subscriptions are those of one session, by their filter as subscribed. The zero value has none.
type subscriptions struct {
	few  []*subscriber
	many map[string]*subscriber // instead of few
}

func (s *subscriptions) len() int { return len(s.few) + len(s.many) }

// find returns nil if there is none with the filter.
func (s *subscriptions) find(filter string) *subscriber {
	if i := s.place(filter); i >= 0 {
		return s.few[i]
	}
	return s.many[filter]
}

// place is where few has the filter, -1 if it has not.
func (s *subscriptions) place(filter string) int {
	return slices.IndexFunc(s.few, func(sub *subscriber) bool { return sub.asked.Filter == filter })
}

// put adds a subscription, or replaces the one with its filter.
func (s *subscriptions) put(sub *subscriber) {
	filter := sub.asked.Filter
	i := s.place(filter)
	switch {
	case i >= 0:
		s.few[i] = sub
	case s.many != nil:
		s.many[filter] = sub
	case len(s.few) == 0:
		s.few = []*subscriber{sub} // append would make room for more
	case len(s.few) < subscriptionsListed:
		s.few = append(s.few, sub)
	default:
		s.many = make(map[string]*subscriber, 2*subscriptionsListed)
		for _, known := range s.few {
			s.many[known.asked.Filter] = known
		}
		s.many[filter], s.few = sub, nil
	}
}

// remove takes out the one with the filter, if there is one.
func (s *subscriptions) remove(filter string) {
	if i := s.place(filter); i >= 0 {
		s.few = slices.Delete(s.few, i, i+1)
	}
	delete(s.many, filter)
}

// all visits all of them, in no particular order.
func (s *subscriptions) all() iter.Seq[*subscriber] {
	return func(yield func(*subscriber) bool) {
		for _, sub := range s.few {
			if !yield(sub) {
				return
			}
		}
		for _, sub := range s.many {
			if !yield(sub) {
				return
			}
		}
	}
}
