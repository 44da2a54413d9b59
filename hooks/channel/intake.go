package channel

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// Admit implements hooks.Intake.
func (c *channel) Admit(m *packet.Message) hooks.Admission {
	size := m.Size()
	if strings.HasPrefix(m.Topic, joinPrefix) { // put back: it was in before
		return c.admitBack(size)
	}
	if share := c.terms.Load().share; share < 1 && rand.Float64() >= share {
		return hooks.Admission{}
	}
	id, err := c.messageID(m)
	if err != nil {
		return hooks.Admission{Verdict: hooks.Refuse, Code: packet.ImplementationError, Reason: err.Error()}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return hooks.Admission{}
	}
	if c.seen == nil { // since a moment ago
		id = nil
	}
	now := int64(0) // nobody else asks
	if id != nil {
		if now = c.now(); c.seen.holds(*id, now) {
			return hooks.Admission{Verdict: hooks.Duplicate}
		}
	}
	a := hooks.Admission{Verdict: hooks.Take}
	if c.spread.Full(size) {
		switch c.settings().OnFull {
		case configs.OnFullReject:
			return hooks.Admission{Verdict: hooks.Refuse, Code: packet.QuotaExceeded, Reason: fmt.Sprintf("channel %s is full", c.name)}
		case configs.OnFullBlock:
			a.Hold = true
			c.spread.Block()
		}
	}
	c.spread.Admit(size)
	if id != nil {
		a.Records = c.seen.add(*id, now, c.id)
	}
	return a
}

func (c *channel) admitBack(size int) hooks.Admission {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return hooks.Admission{Verdict: hooks.Refuse, Reason: "the channel was deleted"}
	}
	c.spread.Admit(size)
	return hooks.Admission{Verdict: hooks.Take}
}

// Queued implements hooks.Intake.
func (c *channel) Queued(number uint64, m *packet.Message) {
	now := c.now()
	c.mu.Lock()
	c.spread.Queued(number, m, now)
	c.in.add(1, now)
	c.mu.Unlock()
}

// Settled implements hooks.Intake.
func (c *channel) Settled(b hooks.Batch) { c.work(b) }

// Withdrawn implements hooks.Intake.
func (c *channel) Withdrawn(m *packet.Message) {
	id, _ := c.messageID(m)
	c.mu.Lock()
	c.spread.Withdraw(m.Size())
	if id != nil && c.seen != nil {
		c.seen.withdraw(*id)
	}
	c.mu.Unlock()
	c.workLater()
}

// Expired implements hooks.Intake.
func (c *channel) Expired(messages int, bytes int64) {
	c.mu.Lock()
	c.spread.Expired(messages, bytes)
	c.mu.Unlock()
	c.workLater()
}
