package channel

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel/spread"
)

// A member is a subscription to a channel.
type member struct {
	of     *client
	filter string
	sub    hooks.Subscription

	allowed int64 // when it was last asked whether the client may have it; only deliver touches it, one at a time

	channel *channel       // nil while there is no channel of that name; guarded by Channels.mu
	spread  *spread.Member // of channel; used under its mu
}

// client is who the member is, as of its last connection.
func (m *member) client() *hooks.Client { return m.of.known.Load() }

// A client is one that has members.
type client struct {
	known atomic.Pointer[hooks.Client]

	// Channels.mu guards these.
	members map[string]*member // by filter
	online  bool
	maximum uint16 // its receive maximum
}

// window is how many messages a member may have at once: QoS 0 takes none of the receive maximum.
func (m *member) window() int {
	if m.sub.QoS == 0 {
		return 65535
	}
	return int(m.of.maximum)
}

// Join implements hooks.Members.
func (h *Channels) Join(c *hooks.Client, s *hooks.Subscription) hooks.Decision {
	ch, d := h.channelFor(c, s)
	if ch == nil {
		return d
	}
	strict := strings.HasPrefix(s.Filter, sharePrefix)
	if strict || c.SessionExpiry > 0 {
		// So that no message is bound to a member that is away [MQTT5-4.8.2-4], and that a client that keeps its session
		// takes none for a repeat of one from before a restart of the broker [MQTT5-4.3.3-10].
		s.QoS = min(s.QoS, 1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byName[ch.name] != ch {
		return hooks.Decision{Verdict: hooks.Deny, Code: packet.TopicFilterInvalid, Reason: "the channel was deleted"}
	}
	known := h.clients[c.ID]
	if known == nil {
		known = &client{members: make(map[string]*member)}
		h.clients[c.ID] = known
	}
	known.known.Store(c)
	if old := known.members[s.Filter]; old != nil {
		h.partLocked(old)
	}
	m := &member{of: known, filter: s.Filter, sub: *s, channel: ch}
	known.members[s.Filter] = m
	ch.join(m, strict)
	return hooks.Decision{}
}

// join makes a member one of the channel's. Channels.mu is held.
func (c *channel) join(m *member, strict bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.spread = c.spread.Join(m.client().ID, m.filter)
	m.spread.QoS, m.spread.Strict, m.spread.Tag = m.sub.QoS, strict, m
	c.members[m] = struct{}{}
}

// channelFor finds the channel that a subscription is to, or makes it.
func (h *Channels) channelFor(c *hooks.Client, s *hooks.Subscription) (*channel, hooks.Decision) {
	deny := func(code packet.Code, reason string) (*channel, hooks.Decision) {
		return nil, hooks.Decision{Verdict: hooks.Deny, Code: code, Reason: reason}
	}
	rest, own := strings.CutPrefix(s.Filter, joinPrefix)
	if !own {
		h.mu.Lock()
		defer h.mu.Unlock()
		if ch := h.byShare[s.Filter]; ch != nil {
			return ch, hooks.Decision{}
		}
		return deny(packet.TopicFilterInvalid, "no channel is declared for it")
	}
	name, filter, filtered := strings.Cut(rest, "/")
	if err := configs.CheckChannelName(name); err != nil {
		return deny(packet.TopicFilterInvalid, "name of a channel: "+err.Error())
	}
	ch := h.find(name)
	switch {
	case ch != nil && filtered && filter != ch.settings().Filter:
		return deny(packet.TopicFilterInvalid, "the channel's filter is "+ch.settings().Filter)
	case ch != nil:
		return ch, hooks.Decision{}
	case !filtered:
		return deny(packet.TopicFilterInvalid, "there is no channel "+name)
	}
	return h.autoCreate(c, s, name, filter)
}

// autoCreate makes a channel for a client, if a declared pattern and the access rules allow it.
func (h *Channels) autoCreate(c *hooks.Client, s *hooks.Subscription, name, filter string) (*channel, hooks.Decision) {
	settings, ok := h.pattern(name, filter)
	if !ok {
		return nil, hooks.Decision{Verdict: hooks.Deny, Code: packet.TopicFilterInvalid, Reason: "no auto_create covers " + name + " with " + filter}
	}
	if d := h.broker.MaySubscribe(c, filter, s.QoS); d.Verdict == hooks.Deny {
		return nil, d
	}
	ch, err := h.create(settings, originAuto, nil)
	if err != nil {
		if ch = h.find(name); ch != nil && ch.settings().Filter == filter { // another client was faster
			return ch, hooks.Decision{}
		}
		return nil, hooks.Decision{Verdict: hooks.Deny, Code: packet.ImplementationError, Reason: err.Error()}
	}
	return ch, hooks.Decision{}
}

// pattern finds the declared pattern for a channel, as the channel's settings.
func (h *Channels) pattern(name, filter string) (configs.Channel, bool) {
	h.mu.Lock()
	declared := h.declared
	h.mu.Unlock()
	for _, s := range declared {
		if s.Makes(name) && topic.CheckFilter(filter, topic.Limits{}) == nil && topic.Covers(s.Filter, filter) {
			s.Name, s.Filter, s.AutoCreate = name, filter, ""
			return s, true
		}
	}
	return configs.Channel{}, false
}

// Leave implements hooks.Members.
func (h *Channels) Leave(clientID, filter string) {
	h.mu.Lock()
	known := h.clients[clientID]
	if known == nil || known.members[filter] == nil {
		h.mu.Unlock()
		return
	}
	m := known.members[filter]
	delete(known.members, filter)
	if len(known.members) == 0 {
		delete(h.clients, clientID)
	}
	ch := h.partLocked(m)
	h.mu.Unlock()
	if ch != nil {
		ch.endIfForsaken()
		ch.workLater()
	}
}

// partLocked takes a member out of its channel, which it returns.
func (h *Channels) partLocked(m *member) *channel {
	ch := m.channel
	if ch == nil {
		return nil
	}
	ch.mu.Lock()
	ch.spread.Leave(m.spread)
	delete(ch.members, m)
	ch.mu.Unlock()
	m.channel = nil
	return ch
}

// endIfForsaken deletes an ephemeral channel without members.
func (c *channel) endIfForsaken() {
	if !c.settings().Ephemeral {
		return
	}
	c.mu.Lock()
	all, _ := c.spread.Members()
	c.mu.Unlock()
	if all == 0 {
		if err := c.h.remove(c, nil); err != nil {
			c.h.log.Debug("ephemeral channel not deleted", "name", c.name, "err", err)
		}
	}
}

// disownLocked leaves the members of a deleted channel without one: one of its name may come again.
func (h *Channels) disownLocked(c *channel) {
	c.mu.Lock()
	members := slices.Collect(maps.Keys(c.members))
	c.mu.Unlock()
	for _, m := range members {
		h.partLocked(m)
	}
}

// adopt gives a new channel the members that are subscribed to its name already.
func (h *Channels) adopt(c *channel) {
	h.mu.Lock()
	var waiting []*member
	for _, known := range h.clients {
		for filter, m := range known.members {
			if m.channel == nil && (filter == joinPrefix+c.name || filter == joinPrefix+c.name+"/"+c.settings().Filter) {
				m.channel = c
				c.join(m, false)
				waiting = append(waiting, m)
			}
		}
	}
	for _, m := range waiting {
		if m.of.online {
			c.mu.Lock()
			c.spread.Online(m.spread, m.window())
			c.mu.Unlock()
		}
	}
	h.mu.Unlock()
	if len(waiting) > 0 {
		c.workLater()
	}
}

// eachMember has f change a client's members, and then their channels work.
func (h *Channels) eachMember(b hooks.Batch, clientID string, f func(known *client, c *channel, m *member)) {
	h.mu.Lock()
	known := h.clients[clientID]
	if known == nil {
		h.mu.Unlock()
		return
	}
	channels := make(map[string]*channel, len(known.members))
	for _, m := range known.members {
		c := m.channel
		if c == nil {
			f(known, nil, m)
			continue
		}
		c.mu.Lock()
		f(known, c, m)
		c.mu.Unlock()
		channels[c.name] = c
	}
	h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(channels)) {
		channels[name].work(b)
	}
}

// Online implements hooks.Members.
func (h *Channels) Online(b hooks.Batch, clientID string, maximum uint16) {
	h.eachMember(b, clientID, func(known *client, c *channel, m *member) {
		known.online, known.maximum = true, maximum
		if c != nil {
			c.spread.Online(m.spread, m.window())
		}
	})
}

// Offline implements hooks.Members.
func (h *Channels) Offline(b hooks.Batch, clientID string) {
	h.eachMember(b, clientID, func(known *client, c *channel, m *member) {
		known.online = false
		if c != nil {
			c.spread.Offline(m.spread, c.now())
		}
	})
}

// OnConnect implements hooks.SessionObserver: a client may come back as somebody else.
func (h *Channels) OnConnect(c *hooks.Client, _ bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.clients[c.ID]; known != nil {
		known.known.Store(c)
	}
}

// OnDisconnect implements hooks.SessionObserver. Offline tells.
func (h *Channels) OnDisconnect(*hooks.Client, string) {}

// OnSessionEnd implements hooks.SessionObserver. Leave tells.
func (h *Channels) OnSessionEnd(string, string) {}

// OnUnsubscribe implements hooks.SessionObserver. Leave tells.
func (h *Channels) OnUnsubscribe(*hooks.Client, string) {}

// askAgain is how long what the access rules said of a member holds.
const askAgain = int64(time.Second)

// mayTake reports whether the access rules still let a member have its subscription.
func (h *Channels) mayTake(m *member, now int64) bool {
	if now-m.allowed < askAgain {
		return true
	}
	_, filter, _, _ := topic.ParseShared(m.filter)
	if h.broker.MaySubscribe(m.client(), filter, m.sub.QoS).Verdict == hooks.Deny {
		return false
	}
	m.allowed = now
	return true
}

// expel has a member take no more of the channel: it may not be there any longer.
func (c *channel) expel(m *member) {
	c.mu.Lock()
	c.spread.Leave(m.spread)
	c.mu.Unlock()
	c.h.log.Info("member left", "client", m.client().ID, "name", c.name, "reason", packet.NotAuthorized.String())
}

// Room implements hooks.Members.
func (h *Channels) Room(b hooks.Batch, clientID string) {
	h.eachMember(b, clientID, func(_ *client, c *channel, m *member) {
		if c != nil {
			c.spread.Room(m.spread)
		}
	})
}
