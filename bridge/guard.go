package bridge

import (
	"maps"
	"strings"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
)

// bridgeOf is the broker on whose behalf a client connected, empty if it is no bridge.
func bridgeOf(c *hooks.Client) (broker string, ok bool) {
	if c == nil {
		return "", false
	}
	for _, p := range c.User {
		if p.Key == PropertyBridge {
			return p.Value, true
		}
	}
	return "", c.Bridge
}

// Selects implements hooks.PublishSelector: what no bridge has to do with is not looked at.
func (h *Hook) Selects(m *packet.Message) bool {
	p := h.marked.Load()
	if p == nil || strings.HasPrefix(m.Topic, "$SYS/") {
		return false
	}
	return p.clients[m.Publisher] || p.matches(m.Topic)
}

// OnPublish implements hooks.PublishInterceptor. What clients publish begins its way here; what a bridge brings was on its way, and
// ends here if it came before.
func (h *Hook) OnPublish(c *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
	came, traced := readTrace(m.Properties)
	_, bridge := bridgeOf(c)
	if bridge {
		h.lanes.enter(c, m.Topic)
	}
	own := c == nil && strings.HasPrefix(m.Publisher, ownPublisher)
	switch {
	case own && traced: // crossing.take has looked at it
		return m, hooks.Decision{}
	case bridge && traced:
		return h.admit(c, m, &came)
	case bridge && h.twins.repeated(c.ID, m, time.Now()):
		h.dropped.drop(dropDuplicate, 1)
		return nil, hooks.Decision{Verdict: hooks.Handled}
	}
	if !bridge && !own {
		h.twins.note(m, time.Now())
	}
	return h.begin(m, traced), hooks.Decision{}
}

// Follows implements hooks.PublishFollower.
func (h *Hook) Follows(c *hooks.Client) bool { return c != nil && h.lanes.holds(c) }

// Routed implements hooks.PublishFollower.
func (h *Hook) Routed(c *hooks.Client) {
	if c != nil {
		h.lanes.leave(c)
	}
}

// admit lets a message from a bridge in, if it is new. Else its publisher is told that all is well.
func (h *Hook) admit(c *hooks.Client, m *packet.Message, came *trace) (*packet.Message, hooks.Decision) {
	if why := h.pass(came, c.ID, came.again == c.ID); why != "" {
		h.dropped.drop(why, 1)
		return nil, hooks.Decision{Verdict: hooks.Handled}
	}
	h.twins.note(m, time.Now())
	changed := *m
	changed.Properties = h.passed(m.Properties)
	return &changed, hooks.Decision{}
}

// passed are properties with this broker at the end of the path.
func (h *Hook) passed(properties []byte) []byte {
	return appendMark(properties[:len(properties):len(properties)], pathMark, h.broker)
}

// pass returns why a message that a bridge brought must not be published here; empty is that it may. again tells that the sender
// may have brought it before.
func (h *Hook) pass(came *trace, sender string, again bool) (why string) {
	if came.passed(h.broker) || len(came.path) >= pathMax {
		return dropLoop
	}
	if !h.seen.take(came, sender, again) {
		return dropDuplicate
	}
	return ""
}

// begin notes that a message begins its way here. A trace that a client copied from another message means nothing.
func (h *Hook) begin(m *packet.Message, traced bool) *packet.Message {
	changed := *m
	if traced {
		changed.Properties = untraced(m.Properties)
	}
	if h.marked.Load().matches(m.Topic) {
		properties := make([]byte, len(changed.Properties), len(changed.Properties)+len(originMark)+40)
		copy(properties, changed.Properties)
		changed.Properties = appendOrigin(properties, h.broker, h.nextNumber())
	}
	return &changed
}

// untraced are encoded properties without a trace.
func untraced(properties []byte) []byte {
	f, err := packet.ParseProperties(properties)
	if err != nil {
		return nil // they were checked when decoded
	}
	kept := f.User[:0]
	for _, u := range f.User {
		if u.Key != PropertyOrigin && u.Key != PropertyPath && u.Key != PropertyAgain {
			kept = append(kept, u)
		}
	}
	f.User = kept
	return packet.AppendProperties(nil, &f)
}

// marked says what bridges have to do with. It is replaced as a whole.
type marked struct {
	all     bool            // a bridge of another broker subscribed here
	filters []string        // of what goes to other brokers
	clients map[string]bool // client identifiers of bridges
}

// matches reports whether messages of a topic may go to another broker: they get an origin.
func (p *marked) matches(name string) bool {
	if p.all {
		return true
	}
	for _, filter := range p.filters {
		if topic.Match(filter, name) {
			return true
		}
	}
	return false
}

// mark finds out what bridges have to do with.
func (h *Hook) mark() {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &marked{all: len(h.peers) > 0, clients: maps.Clone(h.clients)}
	seen := make(map[string]bool)
	for _, l := range h.links {
		for i := range l.rules.out {
			if filter := l.rules.out[i].local; !seen[filter] {
				seen[filter] = true
				p.filters = append(p.filters, filter)
			}
		}
	}
	if !p.all && len(p.filters) == 0 && len(p.clients) == 0 {
		p = nil
	} else {
		h.settleIn()
	}
	h.marked.Store(p)
}

// OnConnect implements hooks.SessionObserver.
func (h *Hook) OnConnect(c *hooks.Client, _ bool) {
	broker, bridge := bridgeOf(c)
	if !bridge {
		return
	}
	if broker == h.broker {
		h.refuseSelf(c)
	}
	if broker == "" { // with MQTT 3.1.1 messages have no trace
		h.twins.open(c.ID)
	}
	if h.note(h.clients, c.ID, true) {
		h.mark()
	}
}

// refuseSelf ends a bridge that leads from this broker to this broker.
func (h *Hook) refuseSelf(c *hooks.Client) {
	h.mu.Lock()
	for _, l := range h.links {
		if l.clientID == c.ID {
			l.report("the address is that of this broker itself", "messages would be mapped onto themselves")
		}
	}
	h.mu.Unlock()
	h.api.Disconnect(c.ID, packet.UseAnotherServer, "this bridge leads to the broker that it comes from")
}

// OnSubscribe implements hooks.SubscribeInterceptor: a bridge that takes messages from here is known from now on, and the messages
// get an origin.
func (h *Hook) OnSubscribe(c *hooks.Client, _ *hooks.Subscription) hooks.Decision {
	if _, bridge := bridgeOf(c); bridge && h.note(h.peers, c.ID, true) {
		h.save([]hooks.Record{{Key: peerPrefix + c.ID, Value: []byte{1}}}, nil)
		h.mark()
	}
	return hooks.Decision{}
}

// note puts a client identifier into a set, or takes it out, and reports whether that is news.
func (h *Hook) note(set map[string]bool, id string, in bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if set[id] == in {
		return false
	}
	if in {
		set[id] = true
	} else {
		delete(set, id)
	}
	return true
}

// OnDisconnect implements hooks.SessionObserver.
func (h *Hook) OnDisconnect(*hooks.Client, string) {}

// OnUnsubscribe implements hooks.SessionObserver.
func (h *Hook) OnUnsubscribe(*hooks.Client, string) {}

// OnSessionEnd implements hooks.SessionObserver.
func (h *Hook) OnSessionEnd(clientID, _ string) {
	if h.note(h.peers, clientID, false) {
		h.save([]hooks.Record{{Key: peerPrefix + clientID}}, nil)
	}
	if h.note(h.clients, clientID, false) {
		h.twins.close(clientID)
		h.mark()
	}
}
