package script

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks/channel"
)

// channel does what an operator does with a channel. A refusal is a line of the broker.
func (p *player) channel(o *options) error {
	if p.queues == nil {
		return fmt.Errorf("no channel is declared")
	}
	var err error
	switch verb := o.next("what is done"); verb {
	case "create":
		c, wrong := channelOf(o)
		if wrong != nil {
			return wrong
		}
		err = p.queues.Create(c, nil)
	case "delete":
		err = p.queues.Delete(o.next("name"), nil)
	case "pause":
		err = p.queues.Pause(o.next("name"), nil)
	case "resume":
		err = p.queues.Resume(o.next("name"), nil)
	case "empty":
		err = p.queues.Empty(o.next("name"), func() { p.rules.note("", "emptied") })
	case "back":
		err = p.putBack(o)
	case "peek":
		err = p.peek(o)
	case "stat":
		err = p.stat(o)
	default:
		return fmt.Errorf("no step channel %q", verb)
	}
	if err != nil {
		p.rules.note("", "%v", err)
	}
	return nil
}

func (p *player) putBack(o *options) error {
	name := o.next("name")
	var numbers []uint64
	for o.more() {
		n, err := strconv.ParseUint(o.next("number"), 10, 64)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	return p.queues.PutBack(name, numbers, func(stay int) { p.rules.note("", "put back, %d stay", stay) })
}

// peek prints the messages of a channel.
func (p *player) peek(o *options) error {
	all, err := p.queues.Peek(o.next("name"), 0, 100)
	for _, m := range all {
		line := fmt.Sprintf("%d: %s %s", m.Number, m.Topic, m.Message.Payload)
		for key, value := range packet.UserProperties(m.Message.Properties) {
			line += fmt.Sprintf(" %s:%s", key, value)
		}
		if m.Client != "" {
			line += " with " + m.Client
		}
		p.rules.note("", "%s", line)
	}
	return err
}

// stat prints the figures of a channel that are not zero.
func (p *player) stat(o *options) error {
	s, err := p.queues.Stat(o.next("name"))
	if err != nil {
		return err
	}
	p.rules.note("", "%s", figures(&s))
	for _, m := range s.Members {
		p.rules.note("", "member %s online=%v in_flight=%d delivered=%d acked=%d share=%.0f%%", m.Client, m.Online, m.InFlight, m.Delivered, m.Acked, m.Share*100)
	}
	return nil
}

func figures(s *channel.Stat) string {
	out := []string{fmt.Sprintf("depth=%d", s.Depth)}
	for _, f := range []struct {
		name  string
		value uint64
	}{
		{"in_flight", uint64(s.InFlight)}, {"deferred", uint64(s.Deferred)}, {"queued", s.Queued}, {"delivered", s.Delivered}, {"acked", s.Acked},
		{"unconfirmed", s.Unconfirmed}, {"requeued", s.Requeued}, {"failed", s.Failed}, {"timed_out", s.TimedOut},
		{"dead_lettered", s.DeadLettered}, {"put_back", s.PutBack},
	} {
		if f.value > 0 {
			out = append(out, fmt.Sprintf("%s=%d", f.name, f.value))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Dropped)) {
		if n := s.Dropped[reason]; n > 0 {
			out = append(out, fmt.Sprintf("%s=%d", reason, n))
		}
	}
	if s.Paused {
		out = append(out, "paused")
	}
	return strings.Join(out, " ")
}
