package bridge

import (
	"errors"
	"strings"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// reservedHere reports whether a topic that begins with $ is the broker's own, which no bridge writes to.
func reservedHere(name string) bool {
	return strings.HasPrefix(name, "$SYS/") || name == "$SYS" || strings.HasPrefix(name, "$share/")
}

// arrived implements peer.
func (c *crossing) arrived(m *incoming) {
	c.door.RLock()
	defer c.door.RUnlock()
	if c.shut {
		return
	}
	l := c.link
	d := c.debts.owe(m.id, m.QoS)
	size := int64(m.Size())
	l.counts.received.Add(1)
	l.counts.receivedBytes.Add(uint64(size))
	l.counts.in.add(1, time.Now())
	var taken *takenMessage
	if m.QoS == 2 {
		first := false
		if taken, first = l.taken.take(m.id, d, c.debts); !first {
			c.poke()
			return
		}
	}
	why := ""
	r := l.rules.receiving(m.Topic)
	switch {
	case m.large:
		why = dropTooLarge
		l.report("message larger than limits.max_packet_size here", m.Topic)
	case r == nil:
		why = dropNoRule
	case !publishable(r.here(m.Topic)):
		why = dropRejected
		l.report("topic that nobody may publish to here", m.Topic)
	default:
		why = c.take(m, r, d, taken)
	}
	if why != "" {
		l.counts.drop(why, 1)
		c.paid(d, m.id, taken)
	}
}

// paid acknowledges a message that is not stored.
func (c *crossing) paid(d *debt, id uint16, taken *takenMessage) {
	if taken != nil {
		c.link.taken.forget(id)
	}
	c.debts.settle(d)
	c.poke()
}

// take publishes a message here, or says why it does not.
func (c *crossing) take(m *incoming, r *rule, d *debt, taken *takenMessage) (why string) {
	l, now := c.link, time.Now().UnixNano()
	own := m.Message
	own.Topic, own.Publisher, own.Received = r.here(m.Topic), l.box.publisher, now
	own.QoS, own.Retain = min(m.QoS, r.qos), m.Retain && !r.clear
	if m.Expires != 0 {
		own.Expires = now + m.Expires
	}
	lane := l.hook.lanes.of(own.Topic)
	lane.Lock()
	defer lane.Unlock()
	came, traced := readTrace(m.Properties)
	sender := l.way()
	if traced {
		if why := l.hook.pass(&came, sender, m.dup); why != "" {
			return why
		}
		l.hook.twins.note(&own, time.Now())
		own.Properties = l.hook.passed(m.Properties)
	} else if l.hook.twins.repeated(sender, &own, time.Now()) {
		return dropDuplicate
	}
	done := func(err error) {
		if err != nil && traced {
			l.hook.seen.forget(&came, sender)
		}
		c.published(m, d, taken, err)
	}
	l.saving.Add(1)
	if taken == nil {
		l.hook.api.Publish(&own, func(err error) { defer l.saving.Done(); done(err) })
		return ""
	}
	record := []hooks.Record{{Key: l.takenKey(c.target, m.id), Value: []byte{1}}}
	l.hook.api.PublishSaving(hookName, &own, record, func(err error) {
		defer l.saving.Done()
		if err == nil {
			l.hook.noteRecords(record)
		}
		done(err)
	})
	return ""
}

// published is told what became of a message here. The other broker is told that it is safe, or nothing: then it sends it again to
// the next connection.
func (c *crossing) published(m *incoming, d *debt, taken *takenMessage, err error) {
	var refused *packet.Refusal
	switch {
	case err == nil && taken != nil:
		c.link.taken.store(taken)
		c.poke()
	case err == nil:
		c.paid(d, m.id, nil)
	case errors.As(err, &refused) && refused.Code != packet.QuotaExceeded && !errors.Is(err, storage.ErrFull):
		c.link.counts.drop(dropRejected, 1)
		c.link.report("message refused here", refused.Text)
		c.paid(d, m.id, taken)
	default:
		if taken != nil {
			c.link.taken.forget(m.id)
		}
		c.fail(err)
	}
}

// released implements peer. PUBCOMP leaves when the store has forgotten the identifier: the other broker may use it for a new message
// then.
func (c *crossing) released(id uint16) {
	c.door.RLock()
	defer c.door.RUnlock()
	if c.shut {
		return
	}
	if !c.link.taken.known(id) {
		c.releasedBy(id, nil)
		return
	}
	c.link.saving.Add(1)
	c.link.hook.save([]hooks.Record{{Key: c.link.takenKey(c.target, id)}}, func(err error) {
		defer c.link.saving.Done()
		if err == nil {
			c.link.taken.forget(id)
		}
		c.releasedBy(id, err)
	})
}
