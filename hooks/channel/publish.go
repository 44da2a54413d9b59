package channel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/hooks"
)

// What publishers say of delays: a user property, or a topic for clients before MQTT 5.
const (
	delayProperty = "delay"
	delayedPrefix = "$delayed/" // $delayed/<seconds>/<topic>
)

// delayKey is how the name of the property stands in a message.
var delayKey = append(binary.BigEndian.AppendUint16(nil, uint16(len(delayProperty))), delayProperty...)

var (
	passed  = hooks.Decision{}
	handled = hooks.Decision{Verdict: hooks.Handled, Code: packet.Success}
)

func refuse(code packet.Code, format string, args ...any) hooks.Decision {
	return hooks.Decision{Verdict: hooks.Deny, Code: code, Reason: fmt.Sprintf(format, args...)}
}

// Selects implements hooks.PublishSelector.
func (h *Channels) Selects(m *packet.Message) bool {
	return m.Topic[0] == '$' || len(m.Properties) > len(delayKey) && bytes.Contains(m.Properties, delayKey)
}

// AuthorizePublish implements hooks.PublishAuthorizer: what the control topics mean is authorized by OnPublish, and
// the topics of the queues are nobody's.
func (h *Channels) AuthorizePublish(_ *hooks.Client, name string, _ byte, _ bool) hooks.Decision {
	if strings.HasPrefix(name, delayedPrefix) || strings.HasPrefix(name, joinPrefix) {
		return hooks.Decision{Verdict: hooks.Allow}
	}
	return passed
}

// OnPublish implements hooks.PublishInterceptor.
func (h *Channels) OnPublish(c *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
	switch {
	case strings.HasPrefix(m.Topic, delayedPrefix):
		return h.delayByTopic(c, m)
	case c != nil && strings.HasPrefix(m.Topic, joinPrefix):
		return nil, h.control(c, m)
	case c != nil && strings.HasPrefix(m.Topic, deferredPrefix):
		return nil, refuse(packet.TopicNameInvalid, "%s is the broker's", deferredPrefix)
	case strings.HasPrefix(m.Topic, "$"):
		return m, passed
	}
	text, ok := userProperty(m, delayProperty)
	if !ok {
		return m, passed
	}
	delay, err := parseDelay(text, h.options.Limits.MaxDelay)
	if err != nil {
		return nil, refuse(packet.ImplementationError, "user property delay: %v", err)
	}
	if delay == 0 {
		return m, passed
	}
	return h.deferred.rewrite(m, m.Topic, text), passed
}

// OnSubscribe implements hooks.SubscribeInterceptor: what is deferred is seen by nobody before its time.
func (h *Channels) OnSubscribe(_ *hooks.Client, s *hooks.Subscription) hooks.Decision {
	_, filter, _, _ := topic.ParseShared(s.Filter)
	if strings.HasPrefix(filter, deferredPrefix) || strings.HasPrefix(filter, delayedPrefix) {
		return refuse(packet.TopicFilterInvalid, "deferred messages cannot be subscribed to")
	}
	return passed
}

// delayByTopic takes $delayed/<seconds>/<topic> apart. Whoever publishes there must be allowed to publish to the topic.
func (h *Channels) delayByTopic(c *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
	text, name, ok := strings.Cut(strings.TrimPrefix(m.Topic, delayedPrefix), "/")
	delay, err := parseDelay(text, h.options.Limits.MaxDelay)
	switch {
	case err != nil:
		return nil, refuse(packet.TopicNameInvalid, "$delayed/<seconds>/<topic>: %v", err)
	case !ok || name == "" || name[0] == '$':
		return nil, refuse(packet.TopicNameInvalid, "$delayed/<seconds>/<topic>: expected a topic that does not begin with $")
	}
	if c != nil {
		if d := h.broker.MayPublish(c, name, m.QoS, m.Retain); d.Verdict == hooks.Deny {
			return nil, d
		}
	}
	plain := without(m, func(name string) bool { return name == delayProperty })
	if delay == 0 {
		plain.Topic = name
		return plain, passed
	}
	return h.deferred.rewrite(plain, name, text), passed
}

// parseDelay reads seconds, with a fraction if need be.
func parseDelay(text string, most time.Duration) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "xXpP_nNiI") || !(seconds >= 0 && seconds <= most.Seconds()) {
		return 0, fmt.Errorf("expected seconds from 0 to %.0f, such as 2.5, got %q", most.Seconds(), text)
	}
	return time.Duration(math.Round(seconds * 1e9)), nil
}

// control takes what a client publishes below $channel/: $channel/<name>/touch gives it more time for its messages in the
// channel, for all of them or for those that the payload names by their channel-delivery.
func (h *Channels) control(c *hooks.Client, m *packet.Message) hooks.Decision {
	name, verb, _ := strings.Cut(strings.TrimPrefix(m.Topic, joinPrefix), "/")
	if verb != "touch" {
		return refuse(packet.TopicNameInvalid, "nothing can be published there; $channel/<name>/touch can")
	}
	var numbers []uint64
	for _, field := range strings.FieldsFunc(string(m.Payload), func(r rune) bool { return strings.ContainsRune(" ,\t\r\n", r) }) {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil || n == 0 {
			return refuse(packet.PayloadFormatInvalid, "expected numbers from the user property %s, or nothing for all, got %q", deliveryProperty, field)
		}
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		numbers = []uint64{0}
	}
	ch := h.find(name)
	if ch == nil {
		return refuse(packet.TopicNameInvalid, "there is no channel %q", name)
	}
	members := h.membersOf(c.ID, ch)
	if len(members) == 0 {
		return refuse(packet.NotAuthorized, "not a member of the channel")
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for _, member := range members {
		for _, n := range numbers {
			ch.spread.Touch(member.spread, n, ch.now())
		}
	}
	return handled
}

// membersOf are the members that a client has in a channel.
func (h *Channels) membersOf(clientID string, c *channel) (members []*member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.clients[clientID]; known != nil {
		for _, m := range known.members {
			if m.channel == c {
				members = append(members, m)
			}
		}
	}
	return members
}
