package configs

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstockmq/penstock/broker/topic"
)

// A Channel is a durable queue of its own for every message that matches a filter, shared by its members.
type Channel struct {
	Name string `mapstructure:"name" json:"name"` // 1 to 64 of A-Z a-z 0-9 . _ -
	// AutoCreate, instead of Name, is a pattern of names, such as "jobs-*". A channel with such a name is made for the first client that
	// subscribes to $channel/<name>/<filter>, where Filter must cover the filter.
	AutoCreate string `mapstructure:"auto_create" json:"auto_create,omitempty"`
	Filter     string `mapstructure:"filter" json:"filter"`

	AckTimeout  time.Duration `mapstructure:"ack_timeout" json:"ack_timeout"`             // how long a member may keep a message without a word
	MemberMax   int           `mapstructure:"max_in_flight_per_member" json:"member_max"` // its own Receive Maximum lowers it
	Backoff     time.Duration `mapstructure:"backoff" json:"backoff"`                     // delay after the first refusal, twice that after the second, and so on
	BackoffMax  time.Duration `mapstructure:"backoff_max" json:"backoff_max"`             // the longest of these
	MaxAttempts int           `mapstructure:"max_attempts" json:"max_attempts"`           // failures after which a message is dead; 0 is no limit
	DeadLetter  string        `mapstructure:"dead_letter" json:"dead_letter"`             // topic of dead messages; empty drops them
	Order       string        `mapstructure:"order" json:"order"`                         // none, topic, or the name of a user property

	TTL      time.Duration `mapstructure:"ttl" json:"ttl"`                   // how long a message waits; 0 is for ever
	Messages int           `mapstructure:"max_messages" json:"max_messages"` //
	Bytes    int64         `mapstructure:"max_bytes" json:"max_bytes"`       //
	OnFull   string        `mapstructure:"on_full" json:"on_full"`           // at one of these: reject, block or drop_oldest

	Sample      string        `mapstructure:"sample" json:"sample"`             // share of the messages that enter, such as 10%
	Ephemeral   bool          `mapstructure:"ephemeral" json:"ephemeral"`       // gone with its last member
	DedupWindow time.Duration `mapstructure:"dedup_window" json:"dedup_window"` // how long a message-id is remembered; 0 is not at all
	DedupMax    int           `mapstructure:"dedup_max" json:"dedup_max"`       // how many are, at most
}

// The values of Channel.OnFull, and of Channel.Order that are no user property.
const (
	OnFullReject     = "reject"      // nobody gets the message, and the publisher hears 0x97
	OnFullBlock      = "block"       // its publishers wait
	OnFullDropOldest = "drop_oldest" // the oldest message that no member has makes room

	OrderNone  = "none"
	OrderTopic = "topic"
)

// ChannelNameMax is the longest name of a channel.
const ChannelNameMax = 64

// DeadSuffix ends the name of the channel that keeps the dead messages of another, where none is declared for them.
const DeadSuffix = ".dead"

// Fill gives what was left open its default.
func (c *Channel) Fill() {
	fill(&c.AckTimeout, 30*time.Second)
	fill(&c.MemberMax, 100)
	fill(&c.Backoff, time.Second)
	fill(&c.BackoffMax, max(time.Minute, c.Backoff))
	fill(&c.Order, OrderNone)
	fill(&c.Messages, 10_000_000)
	fill(&c.Bytes, 8<<30)
	fill(&c.OnFull, OnFullReject)
	fill(&c.Sample, "100%")
	fill(&c.DedupMax, 100_000)
	if c.AutoCreate != "" {
		fill(&c.Filter, "#")
	}
}

func fill[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

// Check finds what is wrong with a channel by itself, and at which of its keys. Fill comes before it.
func (c *Channel) Check() (key string, err error) {
	for _, check := range []struct {
		key string
		run func() error
	}{
		{"name", c.checkName}, {"auto_create", c.checkAutoCreate}, {"filter", c.checkFilter}, {"backoff_max", c.checkBackoff},
		{"dead_letter", c.checkDeadLetter}, {"sample", c.checkSample},
	} {
		if err := check.run(); err != nil {
			return check.key, err
		}
	}
	return c.checkBounds()
}

// checkBounds says of the numbers and words what reading them from a file would have said.
func (c *Channel) checkBounds() (key string, err error) {
	for i, s := range settingsOf("channels", reflect.TypeFor[Channel]()) {
		if _, err := s.parse(fmt.Sprint(reflect.ValueOf(*c).Field(i).Interface())); err != nil {
			return strings.TrimPrefix(s.key, "channels."), err
		}
	}
	return "", nil
}

func (c *Channel) checkName() error {
	if c.AutoCreate != "" {
		if c.Name != "" {
			return fmt.Errorf("expected either name or auto_create")
		}
		return nil
	}
	return CheckChannelName(c.Name)
}

// CheckChannelName says what is wrong with the name of a channel, or nil.
func CheckChannelName(name string) error {
	if name == "" || len(name) > ChannelNameMax || strings.Trim(name, channelCharacters) != "" {
		return fmt.Errorf("expected 1 to %d of A-Z a-z 0-9 . _ -, got %q", ChannelNameMax, name)
	}
	return nil
}

const channelCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

func (c *Channel) checkAutoCreate() error {
	if c.AutoCreate == "" {
		return nil
	}
	plain := strings.Map(func(r rune) rune {
		if r == '*' || r == '?' {
			return 'x'
		}
		return r
	}, c.AutoCreate)
	if CheckChannelName(plain) != nil {
		return fmt.Errorf("expected a pattern of names such as jobs-*, got %q", c.AutoCreate)
	}
	return nil
}

// Makes reports whether the channel is a pattern that a name matches.
func (c *Channel) Makes(name string) bool {
	ok, err := path.Match(c.AutoCreate, name)
	return c.AutoCreate != "" && ok && err == nil
}

func (c *Channel) checkFilter() error {
	if c.Filter == "" {
		return fmt.Errorf("expected a topic filter such as invoices/#, got nothing")
	}
	if strings.HasPrefix(c.Filter, "$") {
		return fmt.Errorf("expected a topic filter that does not begin with $, got %q", c.Filter)
	}
	if err := topic.CheckFilter(c.Filter, topic.Limits{}); err != nil {
		return fmt.Errorf("expected a topic filter such as invoices/#, got %q: %w", c.Filter, err)
	}
	return nil
}

func (c *Channel) checkBackoff() error {
	if c.BackoffMax < c.Backoff {
		return fmt.Errorf("expected at least backoff, %s, got %s", c.Backoff, c.BackoffMax)
	}
	return nil
}

func (c *Channel) checkDeadLetter() error {
	switch {
	case c.DeadLetter == "":
		return nil
	case strings.HasPrefix(c.DeadLetter, "$"):
		return fmt.Errorf("expected a topic name that does not begin with $, got %q", c.DeadLetter)
	case len(c.Name)+len(DeadSuffix) > ChannelNameMax:
		return fmt.Errorf("expected a channel name of at most %d characters with it", ChannelNameMax-len(DeadSuffix))
	}
	if err := topic.CheckName(c.DeadLetter, topic.Limits{}); err != nil {
		return fmt.Errorf("expected a topic name such as dead/invoices, got %q: %w", c.DeadLetter, err)
	}
	return nil
}

func (c *Channel) checkSample() error {
	_, err := c.Share()
	return err
}

// Share is Sample as a number from 0 to 1.
func (c *Channel) Share() (float64, error) {
	text, ok := strings.CutSuffix(c.Sample, "%")
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if !ok || err != nil || !(n > 0 && n <= 100) {
		return 0, fmt.Errorf("expected a share of the messages from above 0%% to 100%%, such as 10%%, got %q", c.Sample)
	}
	return n / 100, nil
}

// DeadLetterLoop finds channels whose dead messages come back to them, among those that the dead messages of the first
// few channels reach. It gives their indexes in the order of the way, the first again at the end; nil if there are none.
func DeadLetterLoop(channels []Channel, first int) []int {
	s := loopSearch{channels: channels, state: make([]byte, len(channels))}
	for i := range first {
		if loop := s.visit(i); loop != nil {
			return loop
		}
	}
	return nil
}

// A loopSearch walks from channel to channel the way that dead messages go.
type loopSearch struct {
	channels []Channel
	state    []byte // 1: on the way, 2: no loop from here
	way      []int
}

func (s *loopSearch) visit(i int) (loop []int) {
	switch s.state[i] {
	case 1:
		return append(s.way[slices.Index(s.way, i):], i)
	case 2:
		return nil
	}
	s.state[i] = 1
	s.way = append(s.way, i)
	dead := s.channels[i].DeadLetter
	for j := range s.channels {
		if dead != "" && topic.Match(s.channels[j].Filter, dead) {
			if loop = s.visit(j); loop != nil {
				return loop
			}
		}
	}
	s.way = s.way[:len(s.way)-1]
	s.state[i] = 2
	return nil
}

// LoopText says which way dead messages would come back.
func LoopText(channels []Channel, loop []int) string {
	names := make([]string, len(loop))
	for i, j := range loop {
		names[i] = channels[j].label()
	}
	return "expected a topic whose messages do not come back: " + strings.Join(names, " -> ")
}

func (c *Channel) label() string {
	if c.Name == "" {
		return c.AutoCreate
	}
	return c.Name
}

// checkChannels finds the first mistake in the channels of a configuration.
func (c *Config) checkChannels(src sources) error {
	names := map[string]int{}
	for i := range c.Channels {
		ch := &c.Channels[i]
		ch.Fill()
		at := fmt.Sprintf("channels[%d]", i)
		if key, err := ch.Check(); err != nil {
			return src.mistake(at+"."+key, "%s", err)
		}
		if first, twice := names[ch.label()]; twice {
			return src.mistake(at+".name", "expected a name of its own, %q is that of channels[%d]", ch.label(), first)
		}
		names[ch.label()] = i
	}
	if loop := DeadLetterLoop(c.Channels, len(c.Channels)); loop != nil {
		return src.mistake(fmt.Sprintf("channels[%d].dead_letter", loop[0]), "%s", LoopText(c.Channels, loop))
	}
	for i := range c.Channels {
		ch := &c.Channels[i]
		if j, taken := names[ch.Name+DeadSuffix]; ch.DeadLetter != "" && taken && !c.takes(ch.DeadLetter) {
			return src.mistake(fmt.Sprintf("channels[%d].filter", j), "expected one that %s matches: %s is where the dead messages of %s are kept",
				ch.DeadLetter, ch.Name+DeadSuffix, ch.Name)
		}
	}
	return nil
}

// takes reports whether a channel is declared for a topic.
func (c *Config) takes(name string) bool {
	for i := range c.Channels {
		if c.Channels[i].Name != "" && topic.Match(c.Channels[i].Filter, name) {
			return true
		}
	}
	return false
}
