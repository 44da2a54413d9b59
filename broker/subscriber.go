package broker

import (
	"slices"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// A subscriber is what the index holds for a filter: the subscription of a session, a shared
// subscription's group, or a hook that owns the filter. It does not change; a changed
// subscription is a new one.
type subscriber struct {
	filter string // as in the index: without $share/<group>/
	// One of these four is set. A member of a group has session and group.
	session *liveSession
	group   *group
	owner   hooks.Owner
	queue   *hookQueue

	asked  hooks.Subscription // as granted
	served *serving           // by a hook: the index does not hold it

	// What the SubscribeAuthorizers said, and at which Recheck.
	checkedAt atomic.Uint64
	refused   atomic.Bool
}

// allowed reports whether the session may have its subscription, asking again after a Recheck.
func (s *subscriber) allowed(b *Broker) bool {
	if !b.hooks.HasSubscribeAuthorizers() {
		return true
	}
	if now := b.checks.Load(); s.checkedAt.Load() != now {
		d := b.askSubscribe(s.session.client.Load(), s.filter, s.asked.QoS)
		s.refused.Store(d.Verdict == hooks.Deny)
		s.checkedAt.Store(now)
	}
	return !s.refused.Load()
}

// subscribe puts a subscription into the index, or into the group of a share name, or gives it to the hook that serves
// it. A subscription that it replaces is taken out afterwards, so that no message slips through in between
// [MQTT5-3.8.4-3] [MQTT311-3.8.4-3].
func (b *Broker) subscribe(share string, s, replaced *subscriber) {
	b.counters.subscriptions.Add(1)
	if share != "" {
		b.counters.sharedSubscriptions.Add(1)
	}
	switch {
	case s.served != nil:
		s.served.enter(s)
	case share != "":
		b.groups.join(share, s)
	default:
		b.index.Add(s.filter, s)
	}
	if replaced != nil {
		b.takeOut(replaced, s.served)
	}
}

// unsubscribe takes a subscription out of the index, or from the hook that serves it.
func (b *Broker) unsubscribe(s *subscriber) { b.takeOut(s, nil) }

// takeOut takes a subscription out. by serves the one that replaces it: a hook that serves both has been told.
func (b *Broker) takeOut(s *subscriber, by *serving) {
	b.counters.subscriptions.Add(-1)
	if s.asked.Filter != s.filter {
		b.counters.sharedSubscriptions.Add(-1)
	}
	switch {
	case s.served != nil:
		s.served.forget(s)
		if s.served != by {
			b.calm(func() { s.served.members.Leave(s.session.id, s.asked.Filter) })
		}
	case s.group != nil:
		b.groups.leave(s)
	default:
		b.index.Remove(s.filter, s)
	}
}

// A plan is who gets the messages of one topic.
type plan struct {
	direct  []receiver // each session once [MQTT5-3.3.4-2] [MQTT311-3.3.5-1]
	groups  []*group
	owners  []*subscriber
	queues  []*hookQueue // each once
	durable bool         // a message with QoS above 0 may have to be stored
	maxQoS  byte         // of the subscriptions; with groups and owners 2
}

// A receiver is one session in a plan, its overlapping subscriptions merged.
type receiver struct {
	session *liveSession
	ids     []uint32 // of all matching subscriptions [MQTT5-3.3.4-3] [MQTT5-3.3.4-4]
	qos     byte     // the highest of them [MQTT5-3.3.4-2]
	retain  bool     // one of them has retain as published [MQTT5-3.3.1-12] [MQTT5-3.3.1-13]
	// own is what holds for messages of the session's own client: nil is nothing, because every
	// matching subscription is no local [MQTT5-3.8.3-3].
	own *receiver
}

// buildPlan makes the plan of a topic from the subscribers whose filters match it.
func (b *Broker) buildPlan(name string, matched []*subscriber) *plan {
	p := &plan{}
	at := make(map[*liveSession]int, len(matched))
	for _, s := range matched {
		switch {
		case s.group != nil:
			p.groups = append(p.groups, s.group)
			p.durable, p.maxQoS = true, 2
		case s.owner != nil:
			p.owners = append(p.owners, s)
			p.maxQoS = 2
		case s.queue != nil:
			if !slices.Contains(p.queues, s.queue) {
				p.queues = append(p.queues, s.queue)
			}
			p.durable, p.maxQoS = true, 2
		case b.mayReceive(s, name):
			i, known := at[s.session]
			if !known {
				i = len(p.direct)
				at[s.session] = i
				p.direct = append(p.direct, receiver{session: s.session})
			}
			p.direct[i].merge(s)
			p.durable = p.durable || (s.session.durable && s.asked.QoS > 0)
			p.maxQoS = max(p.maxQoS, s.asked.QoS)
		}
	}
	return p
}

// mayReceive asks the authorizers; the plan keeps the answer until Recheck.
func (b *Broker) mayReceive(s *subscriber, name string) bool {
	if !s.allowed(b) {
		return false
	}
	return !b.hooks.HasReceiveAuthorizers() ||
		b.hooks.AuthorizeReceive(s.session.client.Load(), name).Verdict != hooks.Deny
}

func (r *receiver) merge(s *subscriber) {
	r.add(s)
	if !s.asked.NoLocal {
		if r.own == nil {
			r.own = &receiver{session: s.session}
		}
		r.own.add(s)
	}
}

func (r *receiver) add(s *subscriber) {
	r.qos = max(r.qos, s.asked.QoS)
	r.retain = r.retain || s.asked.RetainAsPublished
	if s.asked.ID != 0 {
		r.ids = append(r.ids, s.asked.ID)
	}
}

// forPublisher returns the receiver as it is for messages of a publisher, nil if it gets none of them.
func (r *receiver) forPublisher(from *packet.Message) *receiver {
	if r.own != nil && r.own.qos == r.qos && len(r.own.ids) == len(r.ids) {
		return r // no subscription is no local
	}
	if from.Publisher == r.session.id {
		return r.own
	}
	return r
}
