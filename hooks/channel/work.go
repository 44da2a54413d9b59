package channel

import (
	"errors"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel/spread"
)

// How much is handed out before others are written to, and before somebody else goes on with it.
const (
	roundMax  = 64
	roundsMax = 16
)

// work carries out what was decided, unless somebody does so already: one at a time keeps the order. It ends when there is
// nothing left to do.
func (c *channel) work(b hooks.Batch) {
	c.mu.Lock()
	if c.working {
		c.mu.Unlock()
		return
	}
	c.working = true
	var deliveries []*spread.Delivery
	var effects []spread.Effect
	for range roundsMax {
		now := c.now()
		deliveries = c.decideLocked(deliveries[:0], now)
		effects = c.spread.Effects(effects)
		if len(deliveries)+len(effects) == 0 {
			c.working = false
			c.armLocked(now)
			c.readLocked()
			c.mu.Unlock()
			return
		}
		c.out.add(len(deliveries), now)
		c.mu.Unlock()
		for _, d := range deliveries {
			c.deliver(b, d)
		}
		c.carryOut(b, effects)
		c.mu.Lock()
	}
	c.working = false
	c.mu.Unlock()
	c.workLater() // so that this batch is written
}

func (c *channel) decideLocked(deliveries []*spread.Delivery, now int64) []*spread.Delivery {
	for len(deliveries) < roundMax && !c.stopped {
		d := c.spread.Next(now)
		if d == nil {
			break
		}
		deliveries = append(deliveries, d)
	}
	return deliveries
}

// workAlone is work where the broker gave no batch.
func (c *channel) workAlone() {
	b := c.h.broker.Batch()
	defer b.End()
	c.work(b)
}

// workLater is work on a goroutine of its own.
func (c *channel) workLater() { c.h.tasks.start(c.workAlone) }

// deliver makes a delivery, or tells why not.
func (c *channel) deliver(b hooks.Batch, d *spread.Delivery) {
	m := d.Member.Tag.(*member)
	if !c.h.mayTake(m, c.now()) {
		c.undelivered(d, spread.Barred)
		c.expel(m)
		return
	}
	if d.Member.Strict && c.h.broker.MayReceive(m.client(), d.Message.Topic).Verdict == hooks.Deny {
		c.undelivered(d, spread.Barred)
		return
	}
	delivery := hooks.Delivery{
		Message: c.dress(d, m.client().Version), QoS: d.QoS, Retain: m.sub.RetainAsPublished && d.Message.Retain,
		Done: func(b hooks.Batch, a hooks.Answer) { c.answered(b, d, a) },
	}
	if m.sub.ID != 0 {
		delivery.SubscriptionIDs = []uint32{m.sub.ID}
	}
	switch err := b.Deliver(d.Member.Client, delivery); {
	case err == nil:
	case errors.Is(err, hooks.ErrBusy):
		c.undelivered(d, spread.Busy)
	case errors.Is(err, hooks.ErrOffline):
		c.undelivered(d, spread.Away)
	default:
		c.undelivered(d, spread.TooLarge)
	}
}

func (c *channel) undelivered(d *spread.Delivery, why spread.Refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.add(-1, c.now())
	c.spread.Undelivered(d, why, c.now())
}

// answered takes what became of a delivery.
func (c *channel) answered(b hooks.Batch, d *spread.Delivery, a hooks.Answer) {
	answer := spread.Answer{Acked: a.Acked, Code: a.Code, RetryAfter: -1}
	if a.Acked && a.Code.Failed() {
		answer.RetryAfter = c.retryAfter(d, a.User)
	}
	c.mu.Lock()
	c.spread.Answered(d, answer, c.now())
	c.mu.Unlock()
	c.work(b)
}

// retryAfter reads the user property of a negative acknowledgement. There is no way to refuse a malformed one: the
// backoff stands for it.
func (c *channel) retryAfter(d *spread.Delivery, user []packet.UserProperty) int64 {
	for _, u := range user {
		if u.Key != retryAfterProperty {
			continue
		}
		delay, err := parseDelay(u.Value, c.h.options.Limits.MaxDelay)
		if err != nil {
			c.h.log.Info("retry-after not understood", "client", d.Member.Client, "name", c.name, "err", err)
			return -1
		}
		return int64(delay)
	}
	return -1
}

// carryOut does what was decided beside deliveries.
func (c *channel) carryOut(b hooks.Batch, effects []spread.Effect) {
	var records []hooks.Record
	for _, f := range effects {
		switch f.Kind {
		case spread.Done:
			b.Done(c.queue, f.Number)
		case spread.Sent:
			c.queue.Sent(f.Number)
		case spread.Note:
			records = append(records, attemptRecord(c.id, f.Number, &f.Attempt))
		case spread.Forget:
			records = append(records, attemptRecord(c.id, f.Number, nil))
		case spread.Bury:
			c.queue.Move(f.Number, c.deadLetter(f), c.moved(f))
		case spread.PutBack:
			c.putBack(f)
		case spread.Drop:
			c.h.broker.Drop("", f.Message, f.Reason)
		case spread.Kick:
			c.h.broker.Disconnect(f.Member.Client, packet.AdministrativeAction, "a message was not acknowledged within ack_timeout")
		case spread.Relieve:
			c.queue.Relieve()
		case spread.Drained:
			c.tellDrained()
		}
	}
	if len(records) > 0 {
		c.h.broker.Save(hookName, records, nil)
	}
}

// moved is told when a message has left the queue for another topic, or why not.
func (c *channel) moved(f spread.Effect) func(error) {
	return func(err error) {
		if err != nil {
			c.h.log.Warn("message not moved, tried again", "name", c.name, "topic", c.settings().DeadLetter, "err", err)
		}
		c.mu.Lock()
		c.spread.Moved(f, err, c.now())
		c.mu.Unlock()
		c.workLater()
	}
}

// tellDrained tells that a drain has come to its end, once everything that is put back has arrived.
func (c *channel) tellDrained() {
	c.mu.Lock()
	if c.passed = c.returning > 0; c.passed {
		c.mu.Unlock()
		return
	}
	told := c.drained
	c.drained = nil
	c.mu.Unlock()
	for _, f := range told {
		f()
	}
}

// armLocked sets the timer for what comes next.
func (c *channel) armLocked(now int64) {
	due := c.spread.Deadline()
	if due == 0 || c.stopped || c.armed != 0 && c.armed <= due {
		return
	}
	c.armed = due
	wait := time.Duration(max(0, due-now))
	if c.timer == nil {
		c.timer = time.AfterFunc(wait, c.tick)
		return
	}
	c.timer.Reset(wait)
}

// tick does what the time has come for. The timer may be early: deadlines move.
func (c *channel) tick() {
	c.h.tasks.start(func() {
		c.mu.Lock()
		c.armed = 0
		c.spread.Tick(c.now())
		c.mu.Unlock()
		c.workAlone()
	})
}

// readLocked has the queue read where the Spread wants to see it, unless that is going on.
func (c *channel) readLocked() {
	if c.reading || c.stopped {
		return
	}
	if f, wanted := c.spread.Want(); wanted {
		c.reading = c.h.tasks.start(func() { c.read(f) })
	}
}

func (c *channel) read(f spread.Fetch) {
	for wanted := true; wanted; {
		page := make([]hooks.Queued, 0, f.Entries)
		err := c.queue.Read(f.From, f.Entries, f.Bytes, func(q hooks.Queued) bool {
			page = append(page, q)
			return true
		})
		if err != nil { // the store's failure, which ends the broker
			c.h.log.Error("channel not read", "name", c.name, "err", err)
			return
		}
		c.mu.Lock()
		c.spread.Read(f, page, c.now())
		f, wanted = c.spread.Want()
		wanted = wanted && !c.stopped
		c.reading = wanted
		c.mu.Unlock()
		c.workAlone()
	}
}
