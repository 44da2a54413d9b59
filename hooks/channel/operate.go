package channel

import (
	"fmt"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// Pause stops a channel from handing messages out; what members have goes on. It lasts over restarts. done, if not nil, is called
// once that is on disk.
func (h *Channels) Pause(name string, done func(error)) error { return h.pause(name, true, done) }

// Resume ends a Pause.
func (h *Channels) Resume(name string, done func(error)) error { return h.pause(name, false, done) }

func (h *Channels) pause(name string, paused bool, done func(error)) error {
	c := h.find(name)
	if c == nil {
		return fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	c.mu.Lock()
	c.spread.Pause(paused)
	c.mu.Unlock()
	if err := c.save(done); err != nil {
		return err
	}
	c.workAlone()
	return nil
}

// Empty drops everything that is in a channel now, also what members have: what they answer about it is ignored.
// done, if not nil, is called once every message is dropped.
func (h *Channels) Empty(name string, done func()) error {
	c := h.find(name)
	if c == nil {
		return fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	if !c.empty(done) {
		return fmt.Errorf("%s: %w", name, ErrBusy)
	}
	return nil
}

// empty drops everything, and reports false if something of the kind is going on.
func (c *channel) empty(done func()) bool {
	c.mu.Lock()
	begun := c.spread.Empty()
	if begun && done != nil {
		c.drained = append(c.drained, done)
	}
	c.mu.Unlock()
	c.workAlone()
	return begun
}

// PutBack moves dead letters back into the channels that they come from, those with these numbers, all if there are
// none. What is in flight to a member stays. done, if not nil, is called at the end with how many stay because they are no
// dead letters, or their channel is gone.
func (h *Channels) PutBack(name string, numbers []uint64, done func(stay int)) error {
	c := h.find(name)
	if c == nil {
		return fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	var only map[uint64]struct{}
	if len(numbers) > 0 {
		only = make(map[uint64]struct{}, len(numbers))
		for _, n := range numbers {
			only[n] = struct{}{}
		}
	}
	c.mu.Lock()
	begun := c.spread.PutBack(only)
	if begun {
		c.stranded = 0
		if done != nil {
			c.drained = append(c.drained, func() { done(c.left()) })
		}
	}
	c.mu.Unlock()
	if !begun {
		return fmt.Errorf("%s: %w", name, ErrBusy)
	}
	c.workAlone()
	return nil
}

// left is how many messages could not be put back.
func (c *channel) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stranded
}

// A Peeked is a message in a channel.
type Peeked struct {
	Number     uint64
	Message    *packet.Message // its topic may be that of the queue; see Topic
	Topic      string          // it was published to
	DeadLetter bool            // it can be put back
	Client     string          // that has it, if it is in flight
	Deliveries uint32
	Failures   uint32
	Due        time.Time // of the next attempt, if it waits for that
}

// peekBytes bounds what Peek reads.
const peekBytes = 8 << 20

// Peek shows messages of a channel from a number on, up to count of them, without changing anything. It reads the store.
func (h *Channels) Peek(name string, from uint64, count int) ([]Peeked, error) {
	c := h.find(name)
	if c == nil {
		return nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	var peeked []Peeked
	err := c.queue.Read(from, count, peekBytes, func(q hooks.Queued) bool {
		peeked = append(peeked, Peeked{Number: q.Number, Message: q.Message, Topic: c.topicOf(q.Message), DeadLetter: isDeadLetter(q.Message)})
		return len(peeked) < count
	})
	if err != nil {
		return nil, fmt.Errorf("peek %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.spread.Attempts()
	for i := range peeked {
		p := &peeked[i]
		a, ok := known[p.Number]
		if !ok {
			continue
		}
		p.Client, p.Deliveries, p.Failures = a.Client, a.Deliveries, a.Failures
		if a.Client == "" && a.Due > c.now() {
			p.Due = time.Unix(0, a.Due)
		}
	}
	return peeked, nil
}
