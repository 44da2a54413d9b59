package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// hookName is the name of the hook, and of the owner of its queues and records.
const hookName = "channel"

// What subscriptions and topics of channels begin with.
const (
	joinPrefix  = "$channel/"
	sharePrefix = "$share/"
)

// Options are what Channels are made of.
type Options struct {
	Channels []configs.Channel // declared; those with AutoCreate are patterns
	// Limits bound what is deferred.
	Limits      configs.Limits
	SysInterval time.Duration // between updates of $SYS/channels; 0 turns them off
	Log         *slog.Logger
}

// Channels are all channels of a broker. They are a hook of the broker's chain, which must stand before those that authorize
// publishing.
type Channels struct {
	// Fixed when New returns.
	options Options
	log     *slog.Logger
	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc

	// Fixed when Start returns.
	broker   hooks.Broker
	deferred *deferred

	tasks   taskGroup
	making  sync.Mutex  // one channel is made at a time
	serving atomic.Bool // Start serves the channels that are made before

	reloading sync.Mutex // one configuration is taken over at a time
	sharing   sync.Mutex // one channel begins to serve its shared subscription at a time; no client's goroutine waits for it

	mu       sync.Mutex // guards what follows
	declared []configs.Channel
	ending   map[string]bool // names of channels that are deleted, and whose queues are not gone yet
	byName   map[string]*channel
	byShare  map[string]*channel // by $share/<name>/<filter>
	clients  map[string]*client
}

// New makes the hook. The declared channels must have passed configs.Channel.Check.
func New(o Options) *Channels {
	h := &Channels{
		options: o, log: o.Log, declared: o.Channels,
		byName: make(map[string]*channel), byShare: make(map[string]*channel), clients: make(map[string]*client),
		ending: make(map[string]bool),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Name implements hooks.Hook.
func (h *Channels) Name() string { return hookName }

// Start implements hooks.Starter.
func (h *Channels) Start(b hooks.Broker) error {
	h.broker = b
	saved, err := readSaved(b)
	if err != nil {
		return err
	}
	if h.deferred, err = openDeferred(h); err != nil {
		return err
	}
	if err := h.open(saved); err != nil {
		return err
	}
	h.serving.Store(true)
	if _, err := b.Serve(joinPrefix, h); err != nil {
		return err
	}
	for _, c := range h.all() {
		if err := c.share(); err != nil {
			return err
		}
		c.endIfForsaken()
	}
	if h.options.SysInterval > 0 {
		h.tasks.start(h.publishSys)
	}
	return nil
}

// Open implements hooks.Opener: what came due before the start is published.
func (h *Channels) Open() { h.deferred.open() }

// open opens every channel that is declared or was made and kept, and forgets queues that belong to none.
func (h *Channels) open(saved *saved) error {
	declared := make(map[string]configs.Channel)
	for _, s := range h.options.Channels {
		if s.Name != "" {
			declared[s.Name] = s
		}
	}
	for name, d := range saved.declarations {
		if s, ok := declared[name]; ok {
			d.Settings, d.Origin = s, originConfig
		} else if d.Origin == originConfig {
			d.Origin = originRetired
			h.log.Warn("channel is no longer declared: it takes no more messages", "name", name, "reason", "not in the configuration")
		}
		if _, err := h.make(d, saved); err != nil {
			return err
		}
		delete(declared, name)
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if _, err := h.make(newDeclaration(declared[name], originConfig), saved); err != nil {
			return err
		}
	}
	for _, c := range h.all() {
		if err := h.keepDead(c); err != nil {
			return err
		}
	}
	h.saveAll(saved.strayRecords())
	return h.sweep()
}

// sweep removes queues whose channel was deleted when the broker died.
func (h *Channels) sweep() error {
	for _, name := range h.broker.Queues(hookName) {
		if name == deferredQueue || h.find(name) != nil {
			continue
		}
		q, err := h.broker.OpenQueue(hookName, name, nothing{}, nil)
		if err != nil {
			return err
		}
		q.Delete(nil)
	}
	return nil
}

// nothing is the intake of a queue that is about to be deleted.
type nothing struct{}

func (nothing) Admit(*packet.Message) hooks.Admission { return hooks.Admission{} }
func (nothing) Queued(uint64, *packet.Message)        {}
func (nothing) Settled(hooks.Batch)                   {}
func (nothing) Withdrawn(*packet.Message)             {}
func (nothing) Expired(int, int64)                    {}

// Stop implements hooks.Stopper.
func (h *Channels) Stop() error {
	h.cancel()
	for _, c := range h.all() {
		c.stop()
	}
	h.deferred.stop()
	h.tasks.wait()
	return nil
}

// find returns nil if there is no channel of this name.
func (h *Channels) find(name string) *channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byName[name]
}

// all are the channels, sorted by name.
func (h *Channels) all() []*channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	channels := make([]*channel, 0, len(h.byName))
	for _, name := range slices.Sorted(maps.Keys(h.byName)) {
		channels = append(channels, h.byName[name])
	}
	return channels
}

// Create makes a channel while the broker runs. What Settings leave open gets its default. done, if not nil, is called once the
// channel is on disk, or with the reason why it is not; what is published afterwards enters it. A mistake in a setting is a *configs.Error.
func (h *Channels) Create(settings configs.Channel, done func(error)) error {
	if settings.AutoCreate != "" {
		return &configs.Error{Key: "auto_create", Text: "expected in the configuration only"}
	}
	_, err := h.create(settings, originRuntime, done)
	return err
}

// create checks a declaration against the others and makes its channel.
func (h *Channels) create(settings configs.Channel, origin string, done func(error)) (*channel, error) {
	settings.Fill()
	if key, err := settings.Check(); err != nil {
		return nil, &configs.Error{Key: key, Text: err.Error()}
	}
	all := []configs.Channel{settings}
	for _, c := range h.all() {
		all = append(all, *c.settings())
	}
	if loop := configs.DeadLetterLoop(all, 1); loop != nil { // a new one can only be through the new channel
		return nil, &configs.Error{Key: "dead_letter", Text: configs.LoopText(all, loop)}
	}
	d := newDeclaration(settings, origin)
	d.done = done
	c, err := h.make(d, nil)
	if err != nil {
		return nil, err
	}
	if err := h.launch(c); err != nil {
		return nil, errors.Join(err, h.remove(c, nil))
	}
	return c, nil
}

// launch has a new channel found by its members.
func (h *Channels) launch(c *channel) error {
	if err := h.keepDead(c); err != nil {
		return err
	}
	h.adopt(c)
	h.log.Info("channel created", "name", c.name, "topic", c.settings().Filter, "reason", c.origin())
	return h.serve(c)
}

// serve has members join a new channel by its shared subscription too. A client that makes one by subscribing, or the one for its
// dead messages, is being served itself.
func (h *Channels) serve(c *channel) error {
	switch origin := c.origin(); {
	case !h.serving.Load():
		return nil
	case origin != originAuto && origin != originDead:
		return c.share()
	}
	h.tasks.start(func() {
		if err := c.share(); err != nil {
			h.log.Error("shared subscription not served", "name", c.name, "err", err)
		}
	})
	return nil
}

// keepDead makes the channel that keeps the dead messages of c, if no other takes them.
func (h *Channels) keepDead(c *channel) error {
	dead := c.settings().DeadLetter
	if dead == "" || c.origin() == originRetired {
		return nil
	}
	for _, other := range h.all() {
		if other.origin() != originRetired && topic.Match(other.settings().Filter, dead) {
			return nil
		}
	}
	_, err := h.create(configs.Channel{Name: c.name + configs.DeadSuffix, Filter: dead}, originDead, nil)
	return err
}

// Delete drops what a channel holds and the channel itself. done, if not nil, is called once that is on disk.
// One that is declared in the configuration would come back with the next start, and cannot be deleted.
func (h *Channels) Delete(name string, done func(error)) error {
	c := h.find(name)
	switch {
	case c == nil:
		return fmt.Errorf("%s: %w", name, ErrUnknown)
	case c.origin() == originConfig:
		return fmt.Errorf("%s: %w", name, ErrDeclared)
	}
	return h.remove(c, done)
}

// remove takes a channel out. Its messages are counted as emptied.
func (h *Channels) remove(c *channel, done func(error)) error {
	h.mu.Lock()
	if h.byName[c.name] != c {
		h.mu.Unlock()
		return fmt.Errorf("%s: %w", c.name, ErrUnknown)
	}
	delete(h.byName, c.name)
	h.ending[c.name] = true
	h.disownLocked(c)
	h.mu.Unlock()
	h.log.Info("channel deleted", "name", c.name)
	c.end(done)
	return nil
}
