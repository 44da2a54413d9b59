package broker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
)

// A serving is what a hook serves by itself: one shared subscription, or every filter with a prefix.
type serving struct {
	filter  string // of the share, or the prefix
	members hooks.Members

	mu   sync.Mutex // guards subs; a leaf in the lock order
	subs map[*subscriber]struct{}
}

// servings are all there are.
type servings struct {
	any atomic.Bool // there was one

	mu       sync.RWMutex // guards what follows; a leaf in the lock order
	shares   map[string]*serving
	prefixes []*serving
}

// find returns who serves a filter as subscribed, nil if that is the broker.
func (ss *servings) find(filter string) *serving {
	if !ss.any.Load() || !strings.HasPrefix(filter, "$") {
		return nil
	}
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	if sv := ss.shares[filter]; sv != nil {
		return sv
	}
	for _, sv := range ss.prefixes {
		if strings.HasPrefix(filter, sv.filter) {
			return sv
		}
	}
	return nil
}

func (ss *servings) add(sv *serving, share bool) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	same := func(other *serving) bool { return other.filter == sv.filter }
	if ss.shares[sv.filter] != nil || slices.ContainsFunc(ss.prefixes, same) {
		return fmt.Errorf("serve %q: it is served already", sv.filter)
	}
	if share {
		if ss.shares == nil {
			ss.shares = make(map[string]*serving)
		}
		ss.shares[sv.filter] = sv
	} else {
		ss.prefixes = append(ss.prefixes, sv)
	}
	ss.any.Store(true)
	return nil
}

func (ss *servings) remove(sv *serving) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.shares[sv.filter] == sv {
		delete(ss.shares, sv.filter)
	}
	ss.prefixes = slices.DeleteFunc(ss.prefixes, func(other *serving) bool { return other == sv })
}

// Serve implements hooks.Broker.
func (b *Broker) Serve(filter string, m hooks.Members) (release func(), err error) {
	share, plain, shared, err := topic.ParseShared(filter)
	if err == nil && shared {
		err = topic.CheckFilter(plain, b.topicLimits())
	}
	if err == nil && !shared && (!strings.HasPrefix(filter, "$") || !strings.HasSuffix(filter, "/") || len(filter) < 3) {
		err = fmt.Errorf("neither a shared subscription nor a prefix like $name/")
	}
	if err != nil {
		return nil, fmt.Errorf("serve %q: %w", filter, err)
	}
	sv := &serving{filter: filter, members: m, subs: make(map[*subscriber]struct{})}
	if err := b.servings.add(sv, shared); err != nil {
		return nil, err
	}
	t := b.begin()
	defer t.end()
	if shared {
		b.rehomeGroup(t, share+"/"+plain)
	} else {
		b.rehomePrefix(t, filter)
	}
	return func() { b.stopServing(sv) }, nil
}

// stopServing gives the subscriptions back to the broker, or to whoever serves them now.
func (b *Broker) stopServing(sv *serving) {
	b.servings.remove(sv)
	t := b.begin()
	defer t.end()
	for _, s := range sv.all() {
		b.rehome(t, s.session, s.asked.Filter)
	}
}

func (sv *serving) all() (subs []*subscriber) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	for s := range sv.subs {
		subs = append(subs, s)
	}
	return subs
}

// rehomeGroup has the members of a shared subscription served by whom they should be.
func (b *Broker) rehomeGroup(t *turn, key string) {
	if g := b.groups.find(key); g != nil {
		for _, s := range *g.members.Load() {
			b.rehome(t, s.session, s.asked.Filter)
		}
	}
}

// rehomePrefix does it for the filters that begin with a prefix. It looks at every session: hooks start serving
// one when the broker starts.
func (b *Broker) rehomePrefix(t *turn, prefix string) {
	for _, s := range b.sessions.all() {
		var filters []string
		s.mu.Lock()
		for sub := range s.subs.all() {
			if strings.HasPrefix(sub.asked.Filter, prefix) {
				filters = append(filters, sub.asked.Filter)
			}
		}
		s.mu.Unlock()
		for _, filter := range filters {
			b.rehome(t, s, filter)
		}
	}
}

// rehome has a subscription served by whom it should be, if it is not.
func (b *Broker) rehome(t *turn, s *liveSession, filter string) {
	for {
		s.mu.Lock()
		old := s.subs.find(filter)
		s.mu.Unlock()
		by := b.servings.find(filter)
		if old == nil || old.served == by {
			return
		}
		now := &subscriber{filter: old.filter, session: s, asked: old.asked, served: by}
		refused := by != nil && b.join(by, s, &now.asked).Verdict == hooks.Deny
		s.mu.Lock()
		current := s.subs.find(filter) == old
		if current && refused {
			s.subs.remove(filter)
		} else if current {
			s.subs.put(now)
		}
		s.mu.Unlock()
		switch {
		case current && refused:
			b.unsubscribe(old)
			return
		case current:
			share, _, _, _ := topic.ParseShared(filter)
			b.subscribe(share, now, old)
			s.tellOnline(t, by)
		case by != nil && !refused: // the client changed it meanwhile
			b.calm(func() { by.members.Leave(s.id, filter) })
		}
	}
}

// join asks a hook whether a client may have a subscription.
func (b *Broker) join(by *serving, s *liveSession, asked *hooks.Subscription) hooks.Decision {
	d := hooks.Decision{Verdict: hooks.Deny}
	b.calm(func() { d = by.members.Join(s.client.Load(), asked) })
	return d
}

// enter and leave note a subscription that the hook was asked about.
func (sv *serving) enter(s *subscriber) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.subs[s] = struct{}{}
}

func (sv *serving) forget(s *subscriber) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	delete(sv.subs, s)
}

// A presence is what hooks that serve a session's subscriptions were told of its connection.
type presence struct {
	mu   sync.Mutex // guards told; taken before every other lock but registry.mu. Hooks are called with it: it keeps the order
	told *conn
}

// tellPresence tells the hooks whether the client is there, if that is news.
func (s *liveSession) tellPresence(t *turn) {
	if !s.b.servings.any.Load() {
		return
	}
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	s.tellPresenceLocked(t)
}

// tellPresenceLocked reports whether there was anything to tell.
func (s *liveSession) tellPresenceLocked(t *turn) bool {
	c, by := s.here()
	if c == s.presence.told {
		return false
	}
	for _, sv := range by {
		if s.presence.told != nil {
			s.b.calm(func() { sv.members.Offline(batch{t}, s.id) })
		}
		if c != nil {
			s.b.calm(func() { sv.members.Online(batch{t}, s.id, uint16(s.window.Load())) })
		}
	}
	s.presence.told = c
	return true
}

// tellOnline tells a hook whose subscription is new that the client is there, if it is.
func (s *liveSession) tellOnline(t *turn, by *serving) {
	if by == nil {
		return
	}
	s.presence.mu.Lock()
	defer s.presence.mu.Unlock()
	if !s.tellPresenceLocked(t) && s.presence.told != nil {
		s.b.calm(func() { by.members.Online(batch{t}, s.id, uint16(s.window.Load())) })
	}
}

// here is the connection that takes deliveries, if there is one, and who serves the session's subscriptions.
func (s *liveSession) here() (c *conn, by []*serving) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs.all() {
		if sub.served != nil && !slices.Contains(by, sub.served) {
			by = append(by, sub.served)
		}
	}
	if c = s.conn.Load(); c != nil && s.window.Load() == 0 { // not resumed yet
		c = nil
	}
	return c, by
}

// tellRoom tells the hooks that a client can take something again.
func (t *turn) tellRoom(clientID string) {
	s := t.b.sessions.find(clientID)
	if s == nil {
		return
	}
	_, by := s.here()
	for _, sv := range by {
		t.b.calm(func() { sv.members.Room(batch{t}, s.id) })
	}
}
