package broker

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/session"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
)

// A group is a shared subscription: each message goes to one of its members (MQTT 5, 4.8.2).
type group struct {
	// Fixed.
	key    string // share name and filter, "group/filter" [MQTT5-4.8.2-1]
	filter string
	listed *subscriber // what the index holds for the group

	// Anyone.
	members atomic.Pointer[[]*subscriber] // never changed in place; replaced under groups.mu
	next    atomic.Uint32                 // whose turn it is
}

// groups are all shared subscriptions.
type groups struct {
	index *topic.Index[*subscriber, *plan]
	mu    sync.Mutex // guards byKey; only the index's own locks are taken after it
	byKey map[string]*group
}

func newGroups(index *topic.Index[*subscriber, *plan]) *groups {
	return &groups{index: index, byKey: make(map[string]*group)}
}

// join adds a member to the group of a share name, making the group if it is the first.
func (gs *groups) join(share string, s *subscriber) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	key := share + "/" + s.filter
	g := gs.byKey[key]
	if g == nil {
		g = &group{key: key, filter: s.filter}
		g.listed = &subscriber{filter: s.filter, group: g}
		gs.byKey[key] = g
	}
	s.group = g
	var members []*subscriber
	if old := g.members.Load(); old != nil {
		members = append(members, *old...)
	}
	members = append(members, s)
	g.members.Store(&members)
	if len(members) == 1 {
		gs.index.Add(g.filter, g.listed)
	}
}

// leave takes a member out, and the group with its last one.
func (gs *groups) leave(s *subscriber) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := s.group
	members := slices.DeleteFunc(slices.Clone(*g.members.Load()), func(m *subscriber) bool { return m == s })
	g.members.Store(&members)
	if len(members) == 0 && gs.byKey[g.key] == g {
		delete(gs.byKey, g.key)
		gs.index.Remove(g.filter, g.listed)
	}
}

func (gs *groups) find(key string) *group {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.byKey[key]
}

// choose picks the member that gets m: in turn among those online with room in their window, else
// the online one with the least to do, else, for QoS above 0, an offline one whose session keeps
// it. It returns nil if nobody can take it.
func (g *group) choose(b *Broker, m *packet.Message) *subscriber {
	members := *g.members.Load()
	var least, offline *subscriber
	start := int(g.next.Add(1) - 1)
	for i := range members {
		s := members[(start+i)%len(members)]
		if !b.mayReceive(s, m.Topic) {
			continue
		}
		window, load := s.session.window.Load(), s.session.load.Load()
		switch {
		case window > 0 && load < window:
			if i > 0 {
				g.next.Store(uint32(start + i + 1))
			}
			return s
		case window > 0 && (least == nil || load < least.session.load.Load()):
			least = s
		case window == 0 && offline == nil && s.session.durable && min(m.QoS, s.asked.QoS) > 0:
			offline = s
		}
	}
	if least != nil {
		return least
	}
	return offline
}

// regroup gives a delivery of a session that ended to another member (MQTT 5, 4.8.2).
func (b *Broker) regroup(t *turn, d session.Delivery) {
	g := b.groups.find(d.Group)
	if g == nil {
		t.drop("", d.Message, hooks.DropSessionEnded)
		return
	}
	r := newRouting(b, d.Message)
	r.toGroup(t, g)
	r.finish(t)
}
