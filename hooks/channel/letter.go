package channel

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks/channel/spread"
)

// The user properties of what a member gets.
const (
	deliveryProperty   = "channel-delivery"   // the message's number; names it in a touch
	deliveriesProperty = "channel-deliveries" // how often it was handed out before; only if it was
	failuresProperty   = "channel-failures"   // how often it failed; with the former
	retryAfterProperty = "retry-after"        // of a negative acknowledgement, in seconds
)

// The user properties of a dead letter.
const (
	deadPrefix     = "dead-letter-"
	deadChannel    = deadPrefix + "channel"
	deadTopic      = deadPrefix + "topic" // where it was published
	deadReason     = deadPrefix + "reason"
	deadDeliveries = deadPrefix + "deliveries"
	deadFailures   = deadPrefix + "failures"
	deadFirst      = deadPrefix + "first" // when it was first handed out
	deadLast       = deadPrefix + "last"  // when it last failed
)

// with is a copy of m that has more user properties.
func with(m *packet.Message, more ...packet.UserProperty) *packet.Message {
	changed := *m
	size := len(m.Properties)
	for _, u := range more {
		size += userPropertySize + len(u.Key) + len(u.Value)
	}
	all := append(make([]byte, 0, size), m.Properties...)
	changed.Properties = packet.AppendProperties(all, &packet.Forwarded{User: more})
	return &changed
}

// userPropertySize is what a user property takes beside its name and value.
const userPropertySize = 5

// without is a copy of m that lacks the user properties that unwanted tells.
func without(m *packet.Message, unwanted func(name string) bool) *packet.Message {
	changed := *m
	p, err := packet.ParseProperties(m.Properties)
	if err != nil { // they were checked when they came in
		return &changed
	}
	p.User = slices.DeleteFunc(p.User, func(u packet.UserProperty) bool { return unwanted(u.Key) })
	changed.Properties = packet.AppendProperties(nil, &p)
	return &changed
}

// dress makes the message as a member with a version gets it: before MQTT 5 there are no properties. A member of the shared subscription gets
// it unaltered the first time.
func (c *channel) dress(d *spread.Delivery, version byte) *packet.Message {
	m := d.Message
	modern := packet.Version(version) == packet.V5
	var space [3]packet.UserProperty
	more := space[:0]
	if modern && !d.Member.Strict {
		more = append(more, packet.UserProperty{Key: deliveryProperty, Value: strconv.FormatUint(d.Number, 10)})
	}
	if modern && d.Earlier.Deliveries > 0 {
		more = append(more,
			packet.UserProperty{Key: deliveriesProperty, Value: strconv.FormatUint(uint64(d.Earlier.Deliveries), 10)},
			packet.UserProperty{Key: failuresProperty, Value: strconv.FormatUint(uint64(d.Earlier.Failures), 10)})
	}
	original := c.topicOf(m)
	if len(more) == 0 && len(original) == len(m.Topic) {
		return m
	}
	dressed := with(m, more...)
	dressed.Topic = original
	return dressed
}

// deadLetter makes the message that the dead-letter topic gets: it has to be kept, so QoS 0 becomes 1.
func (c *channel) deadLetter(f spread.Effect) *packet.Message {
	reason := string(f.Reason)
	if f.Code.Failed() {
		reason += ": " + f.Code.String()
	}
	count := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	plain := without(f.Message, func(name string) bool { return strings.HasPrefix(name, deadPrefix) })
	m := with(plain,
		packet.UserProperty{Key: deadChannel, Value: c.name},
		packet.UserProperty{Key: deadTopic, Value: c.topicOf(f.Message)},
		packet.UserProperty{Key: deadReason, Value: reason},
		packet.UserProperty{Key: deadDeliveries, Value: count(f.Attempt.Deliveries)},
		packet.UserProperty{Key: deadFailures, Value: count(f.Attempt.Failures)},
		packet.UserProperty{Key: deadFirst, Value: formatTime(f.Attempt.First)},
		packet.UserProperty{Key: deadLast, Value: formatTime(f.Attempt.Last)})
	m.Topic = c.terms.Load().dead
	m.QoS = max(1, m.QoS)
	m.Retain, m.Expires = false, 0
	return m
}

func formatTime(nanoseconds int64) string {
	return time.Unix(0, nanoseconds).UTC().Format(time.RFC3339Nano)
}

// putBack moves a dead letter into the channel that it comes from.
func (c *channel) putBack(f spread.Effect) {
	m, err := c.h.backInto(f.Message)
	if err != nil {
		c.mu.Lock()
		c.stranded++
		c.spread.Moved(f, err, c.now())
		c.mu.Unlock()
		return
	}
	c.mu.Lock()
	c.returning++
	c.mu.Unlock()
	c.queue.Move(f.Number, m, func(err error) {
		c.moved(f)(err)
		c.returned(err)
	})
}

// returned counts a dead letter that is back, or stays.
func (c *channel) returned(err error) {
	c.mu.Lock()
	c.returning--
	if err != nil {
		c.stranded++
	}
	last := c.passed && c.returning == 0
	c.mu.Unlock()
	if last {
		c.h.tasks.start(c.tellDrained)
	}
}

// backInto makes the message that a dead letter was, for its channel only: the others have dealt with it.
func (h *Channels) backInto(m *packet.Message) (*packet.Message, error) {
	name, _ := userProperty(m, deadChannel)
	original, ok := userProperty(m, deadTopic)
	if !ok || h.find(name) == nil {
		return nil, errNoWayBack
	}
	back := without(m, func(name string) bool { return strings.HasPrefix(name, deadPrefix) })
	back.Topic = backPrefix(name) + original
	return back, nil
}

// isDeadLetter reports whether a message was published because a channel gave it up.
func isDeadLetter(m *packet.Message) bool {
	_, ok := userProperty(m, deadTopic)
	return ok
}
