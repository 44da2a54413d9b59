package crash

import (
	"fmt"
	"slices"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// An outlet is one channel of a run.
type outlet struct {
	configs.Channel
	index   int
	dead    bool // it keeps the dead letters of another
	members []*member
	paused  []span // from a pause that was confirmed to a resumption that was asked for
}

// channelsOnTrial are the channels that the broker of a run declares: one whose messages may go anywhere, one in the order of
// topics, one in the order of a user property that looks for duplicates, and one for what is published with a delay.
// Where members cannot let a message time out, what they say of it is exact.
func channelsOnTrial() []configs.Channel {
	const soon, never = 400 * time.Millisecond, time.Hour
	channels := []configs.Channel{
		{Name: "plain", Filter: "c/#", AckTimeout: soon, MaxAttempts: 4, DeadLetter: "dead/plain"},
		{Name: "ordered", Filter: "c/#", AckTimeout: soon, MaxAttempts: 3, DeadLetter: "dead/ordered", Order: configs.OrderTopic},
		{Name: "keyed", Filter: "c/#", AckTimeout: never, Order: keyProperty, DedupWindow: never},
		{Name: "later", Filter: "later/#", AckTimeout: never, MaxAttempts: 3, DeadLetter: "dead/later"},
	}
	for i := range channels {
		c := &channels[i]
		c.Backoff, c.BackoffMax = 20*time.Millisecond, 100*time.Millisecond
		c.Fill()
	}
	return channels
}

// outletsOnTrial are those, and behind them the ones that the broker makes for their dead letters.
func outletsOnTrial() (outlets []*outlet) {
	for _, c := range channelsOnTrial() {
		outlets = append(outlets, &outlet{Channel: c})
	}
	for _, o := range slices.Clone(outlets) {
		if o.DeadLetter != "" {
			outlets = append(outlets, &outlet{Channel: configs.Channel{Name: o.Name + configs.DeadSuffix, Filter: o.DeadLetter}, dead: true})
		}
	}
	for i, o := range outlets {
		o.index = i
	}
	return outlets
}

// The user properties that authors give their messages.
const (
	keyProperty       = "key"
	messageIDProperty = "message-id"
	delayProperty     = "delay"
)

// delayOf is with which delay a message is published, to topics of that kind.
func delayOf(counter int) time.Duration {
	return time.Duration(counter*7919%3000) * time.Millisecond
}

// ordersBy tells what the outlet orders a stream's messages by.
func (o *outlet) ordersBy(s *stream, modern bool) (key string, ok bool) {
	switch o.Order {
	case configs.OrderTopic:
		return s.topic, true
	case keyProperty:
		return s.topic, modern
	}
	return "", false
}

// A handout is one message as a member got it from a channel, and what he said to it.
type handout struct {
	// Fixed when it came.
	member     *member
	number     uint64 // of the message in its channel; 0 if the member is not told
	stream     int
	counter    int
	deliveries int // before this one
	failures   int
	linked     moment // just before the member's connection was asked for
	at         moment
	clock      time.Time
	id         uint16
	qos        byte
	letter     map[string]string // user properties of a dead letter

	due        time.Time     // when the member means to answer
	refuse     bool          // how
	retryAfter time.Duration // of a refusal; negative is not said
	answered   time.Time     // just before the answer was sent; zero if it never was
	confirmed  moment        // when the broker had surely read the answer; 0 if it is not known
}

// acked reports whether the member took responsibility for the message, as far as he knows.
func (h *handout) acked() bool { return !h.answered.IsZero() && !h.refuse }

func (h *handout) message() [2]int { return [2]int{h.stream, h.counter} }

// seconds is how delays are written.
func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
