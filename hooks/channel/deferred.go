package channel

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// deferredQueue is the queue of deferred messages. No channel can have this name.
const deferredQueue = "$deferred"

// deferredPrefix begins the topics under which they are queued.
const deferredPrefix = "$deferred/"

// retainedProperty notes in a deferred message that it is to be retained, which it must not be under its other topic.
const retainedProperty = "deferred-retain"

// How many deferred messages are read, or moved, at once.
const (
	deferredPage  = 512
	deferredBytes = 4 << 20
	againAfter    = time.Second // after a failure
)

// deferred holds messages until they are due, and publishes them then.
type deferred struct {
	// Fixed.
	h     *Channels
	queue hooks.Queue

	mu      sync.Mutex // guards what follows
	due     dueHeap
	len     int // messages in the queue, those on their way included
	bytes   int64
	timer   *time.Timer
	working bool
	opened  bool // whoever is to get what is published is there
	stopped bool
}

// A dueTime is when a message is published.
type dueTime struct {
	at     int64
	number uint64
}

// openDeferred opens the queue and has it read.
func openDeferred(h *Channels) (*deferred, error) {
	d := &deferred{h: h}
	var err error
	if d.queue, err = h.broker.OpenQueue(hookName, deferredQueue, d, nil); err != nil {
		return nil, err
	}
	x := d.queue.Extent()
	d.len, d.bytes = x.Len, x.Bytes
	if _, err := d.queue.Feed(deferredPrefix + "#"); err != nil {
		return nil, err
	}
	h.tasks.start(func() { d.load(x) })
	return d, nil
}

// rewrite makes the message that is queued instead of one that is to be published to a topic later.
func (d *deferred) rewrite(m *packet.Message, name, delay string) *packet.Message {
	plain := without(m, func(name string) bool { return name == delayProperty || name == retainedProperty })
	more := []packet.UserProperty{{Key: delayProperty, Value: delay}}
	if m.Retain {
		more = append(more, packet.UserProperty{Key: retainedProperty})
	}
	deferred := with(plain, more...)
	deferred.Topic, deferred.Retain = deferredPrefix+name, false
	return deferred
}

// release is the message as it was published.
func (d *deferred) release(m *packet.Message) *packet.Message {
	plain := without(m, func(name string) bool { return name == delayProperty || name == retainedProperty })
	plain.Topic = strings.TrimPrefix(m.Topic, deferredPrefix)
	_, plain.Retain = userProperty(m, retainedProperty)
	return plain
}

// dueOf is when a message of the queue is published.
func (d *deferred) dueOf(m *packet.Message) int64 {
	text, _ := userProperty(m, delayProperty)
	delay, err := parseDelay(text, d.h.options.Limits.MaxDelay)
	if err != nil { // the limit was lowered since
		delay = d.h.options.Limits.MaxDelay
	}
	return m.Received + int64(delay)
}

// Admit implements hooks.Intake.
func (d *deferred) Admit(m *packet.Message) hooks.Admission {
	limits := &d.h.options.Limits
	size := int64(m.Size())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.len >= limits.MaxDeferredMessages || d.bytes+size > limits.MaxDeferredBytes {
		return hooks.Admission{Verdict: hooks.Refuse, Code: packet.QuotaExceeded, Reason: "too many deferred messages"}
	}
	d.len++
	d.bytes += size
	return hooks.Admission{Verdict: hooks.Take}
}

// Queued implements hooks.Intake.
func (d *deferred) Queued(number uint64, m *packet.Message) {
	due := d.dueOf(m)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due.push(dueTime{due, number})
	d.armLocked()
}

// Settled implements hooks.Intake.
func (d *deferred) Settled(hooks.Batch) {}

// Withdrawn implements hooks.Intake.
func (d *deferred) Withdrawn(m *packet.Message) { d.forget(1, int64(m.Size())) }

// Expired implements hooks.Intake.
func (d *deferred) Expired(messages int, bytes int64) { d.forget(messages, bytes) }

func (d *deferred) forget(messages int, bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.len = max(0, d.len-messages)
	d.bytes = max(0, d.bytes-bytes)
}

// waiting is how many messages are deferred.
func (d *deferred) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.len
}

// load finds out when the messages of an earlier run are due.
func (d *deferred) load(x hooks.Extent) {
	for next := x.Head; next < x.Next; {
		from := next
		err := d.queue.Read(next, deferredPage, deferredBytes, func(q hooks.Queued) bool {
			next = q.Number + 1
			if q.Number >= x.Next {
				return false
			}
			d.mu.Lock()
			d.due.push(dueTime{d.dueOf(q.Message), q.Number})
			d.armLocked()
			d.mu.Unlock()
			return true
		})
		if err != nil {
			d.h.log.Error("deferred messages not read", "err", err)
			return
		}
		if next == from || d.h.ctx.Err() != nil {
			return
		}
	}
}

// armLocked sets the timer for the message that is due first.
func (d *deferred) armLocked() {
	if d.working || !d.opened || d.stopped || len(d.due) == 0 {
		return
	}
	wait := max(0, time.Until(time.Unix(0, d.due[0].at)))
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, d.fire)
		return
	}
	d.timer.Reset(wait)
}

// fire publishes what is due, unless that is going on.
func (d *deferred) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.working && !d.stopped {
		d.working = d.h.tasks.start(d.publish)
	}
}

// publish publishes what is due, a page at a time, in the order in which it was due.
func (d *deferred) publish() {
	for {
		page := d.take()
		if len(page) == 0 {
			return
		}
		var moving sync.WaitGroup
		for _, due := range page {
			moving.Add(1)
			d.move(due, moving.Done)
		}
		moving.Wait()
	}
}

// take takes out what is due now. When that is nothing, the timer goes on.
func (d *deferred) take() (page []dueTime) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now().UnixNano()
	for len(d.due) > 0 && d.due[0].at <= now && len(page) < deferredPage && !d.stopped {
		page = append(page, d.due.pop())
	}
	if len(page) == 0 {
		d.working = false
		d.armLocked()
	}
	return page
}

// move publishes one message. What fails is tried again: the message stays where it is until then.
func (d *deferred) move(due dueTime, told func()) {
	var m *packet.Message
	err := d.queue.Read(due.number, 1, 1, func(q hooks.Queued) bool {
		if q.Number == due.number {
			m = q.Message
		}
		return false
	})
	if err != nil || m == nil { // m expired
		if err != nil {
			d.h.log.Error("deferred message not read", "err", err)
		}
		told()
		return
	}
	d.queue.Move(due.number, d.release(m), func(err error) {
		defer told()
		if err == nil {
			d.forget(1, int64(m.Size()))
			return
		}
		d.h.log.Warn("deferred message not published, tried again", "topic", d.release(m).Topic, "err", err)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.due.push(dueTime{time.Now().Add(againAfter).UnixNano(), due.number})
	})
}

// open begins to publish what is due.
func (d *deferred) open() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened = true
	d.armLocked()
}

func (d *deferred) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
	if d.timer != nil {
		d.timer.Stop()
	}
}

// A dueHeap has what is due first on top, of equals what came first.
type dueHeap []dueTime

func (h dueHeap) less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].number < h[j].number
}

func (h *dueHeap) push(d dueTime) {
	*h = append(*h, d)
	for i := len(*h) - 1; i > 0 && h.less(i, (i-1)/2); i = (i - 1) / 2 {
		(*h)[i], (*h)[(i-1)/2] = (*h)[(i-1)/2], (*h)[i]
	}
}

func (h *dueHeap) pop() dueTime {
	top, last := (*h)[0], len(*h)-1
	(*h)[0] = (*h)[last]
	*h = (*h)[:last]
	for i := 0; ; {
		least := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < last && h.less(child, least) {
				least = child
			}
		}
		if least == i {
			break
		}
		(*h)[i], (*h)[least] = (*h)[least], (*h)[i]
		i = least
	}
	if cap(*h) > 4096 && len(*h)*4 < cap(*h) {
		*h = slices.Clone(*h)
	}
	return top
}
