package channel

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel/spread"
)

// A channel is one of them: the queue in the store, the Spread that decides, and what carries out its decisions.
type channel struct {
	// Fixed when make returns.
	h       *Channels
	name    string
	id      string
	created time.Time
	queue   hooks.Queue

	terms atomic.Pointer[terms] // what is declared of it; guarded by Channels.reloading when it changes

	mu        sync.Mutex // guards what follows
	spread    *spread.Spread
	members   map[*member]struct{}
	seen      *seen // nil without dedup_window
	in, out   rate
	ended     bool // deleted: nothing enters any more
	stopped   bool // the broker ends: nothing is handed out any more
	working   bool // somebody carries out what was decided
	reading   bool // somebody reads the queue
	timer     *time.Timer
	armed     int64    // when the timer fires; 0 is never
	drained   []func() // to be called when the drain that goes on has ended
	passed    bool     // a drain is at its end, but for dead letters on their way back
	returning int      // of these
	stranded  int      // messages that could not be put back, since the last PutBack
	shared    string   // $share/<name>/<filter> as members join by it; empty if they do not
	unserve   func()   // releases shared
	unfeed    []func() // release what is put back, and the filter
}

// terms are what is declared of a channel. They are replaced as a whole.
type terms struct {
	settings configs.Channel
	origin   string
	share    float64 // of the messages that enter
	dead     string  // topic of dead messages: the last that was declared, as some may be on their way
}

func newTerms(s configs.Channel, origin string) (*terms, error) {
	share, err := s.Share()
	return &terms{settings: s, origin: origin, share: share, dead: s.DeadLetter}, err
}

func (c *channel) settings() *configs.Channel { return &c.terms.Load().settings }

func (c *channel) origin() string { return c.terms.Load().origin }

// backPrefix begins the topics of messages that are put back into one channel.
func backPrefix(name string) string { return joinPrefix + name + "/back/" }

// make opens a channel, new or from an earlier run. saved is nil while the broker runs.
func (h *Channels) make(d declaration, old *saved) (*channel, error) {
	c := &channel{
		h: h, name: d.Settings.Name, id: d.ID, created: d.Created, members: make(map[*member]struct{}),
	}
	declared, err := newTerms(d.Settings, d.Origin)
	if err != nil {
		return nil, err
	}
	c.terms.Store(declared)
	record, err := d.record()
	if err != nil {
		return nil, err
	}
	h.making.Lock()
	defer h.making.Unlock()
	if err := h.mayMake(c.name); err != nil {
		return nil, err
	}
	h.broker.Save(hookName, []hooks.Record{record}, nil)
	if err := c.load(d, old); err != nil {
		return nil, err
	}
	if err := c.feed(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.byName[c.name] = c
	h.mu.Unlock()
	return c, nil
}

// load opens the queue and finds what an earlier run noted.
func (c *channel) load(d declaration, old *saved) (err error) {
	c.mu.Lock() // the queue may tell what expired before all is there
	defer c.mu.Unlock()
	if c.queue, err = c.h.broker.OpenQueue(hookName, c.name, c, d.done); err != nil {
		return err
	}
	if old == nil {
		old = new(saved)
	}
	c.spread = spread.New(c.rules(), c.queue.Extent(), old.attempts[c.id])
	delete(old.attempts, c.id)
	c.spread.Pause(d.Paused)
	if window := d.Settings.DedupWindow; window > 0 {
		c.seen = newSeen(window, d.Settings.DedupMax)
		c.seen.restore(old.seen[c.id])
		delete(old.seen, c.id)
	}
	return nil
}

// mayMake reports whether a name is free.
func (h *Channels) mayMake(name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.byName[name] != nil:
		return fmt.Errorf("%s: %w", name, ErrExists)
	case h.ending[name]:
		return fmt.Errorf("%s: %w", name, ErrBusy)
	}
	return nil
}

// feed has messages enter. A channel that is no longer declared takes only what is put back.
func (c *channel) feed() error {
	filters := []string{backPrefix(c.name) + "#"}
	if c.origin() != originRetired {
		filters = append(filters, c.settings().Filter)
	}
	for _, filter := range filters {
		release, err := c.queue.Feed(filter)
		if err != nil {
			return err
		}
		c.unfeed = append(c.unfeed, release)
	}
	return nil
}

// rules are the settings as the Spread takes them.
func (c *channel) rules() spread.Rules {
	s := c.settings()
	r := spread.Rules{
		AckTimeout: int64(s.AckTimeout), Backoff: int64(s.Backoff), BackoffMax: int64(s.BackoffMax), MaxAttempts: s.MaxAttempts,
		MemberMax: s.MemberMax, TTL: int64(s.TTL), MessagesMax: s.Messages, BytesMax: s.Bytes,
		DropOldest: s.OnFull == configs.OnFullDropOldest, DeadLetter: s.DeadLetter != "",
	}
	switch s.Order {
	case configs.OrderNone:
	case configs.OrderTopic:
		r.Key = func(m *packet.Message) (string, bool) { return c.topicOf(m), true }
	default:
		r.Key = func(m *packet.Message) (string, bool) { return userProperty(m, s.Order) }
	}
	return r
}

// topicOf is the topic a message was published to.
func (c *channel) topicOf(m *packet.Message) string {
	if !strings.HasPrefix(m.Topic, joinPrefix) {
		return m.Topic
	}
	return strings.TrimPrefix(m.Topic, backPrefix(c.name))
}

// userProperty is the first user property of a name.
func userProperty(m *packet.Message, name string) (value string, ok bool) {
	for key, value := range packet.UserProperties(m.Properties) {
		if key == name {
			return value, true
		}
	}
	return "", false
}

// stop hands out no more. What members have is noted as handed out.
func (c *channel) stop() {
	c.mu.Lock()
	c.stopped = true
	if c.timer != nil {
		c.timer.Stop()
	}
	numbers := c.spread.Given()
	c.mu.Unlock()
	for _, n := range numbers {
		c.queue.Sent(n)
	}
}

// end drops everything in a channel, and then its queue and records.
func (c *channel) end(done func(error)) {
	c.mu.Lock()
	c.ended = true
	unfeed := c.unfeed
	c.unfeed = nil
	c.mu.Unlock()
	for _, release := range unfeed {
		release()
	}
	c.unshare()
	last := func() { c.forget(done) }
	if !c.empty(last) { // it is being emptied already, or put back
		c.afterDrain(func() { c.empty(last) })
	}
}

// afterDrain runs f when the drain that goes on has ended.
func (c *channel) afterDrain(f func()) {
	c.mu.Lock()
	c.drained = append(c.drained, f)
	c.mu.Unlock()
}

// forget removes what the store holds of a channel that is empty. The record goes first: a queue without one is removed at the next
// start.
func (c *channel) forget(done func(error)) {
	c.mu.Lock()
	records := []hooks.Record{{Key: channelKey + c.name}}
	if c.seen != nil {
		records = append(records, c.seen.records(c.id)...)
	}
	c.mu.Unlock()
	c.h.saveAll(records)
	c.queue.Delete(func(err error) {
		c.h.mu.Lock()
		delete(c.h.ending, c.name)
		c.h.mu.Unlock()
		if done != nil {
			done(err)
		}
	})
}

func (c *channel) now() int64 { return time.Now().UnixNano() }
