package channel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// Reload takes over the channels of a new configuration. New ones are made, changed ones change, and one that is no longer there
// is retired: it takes no more messages, and its members work on what is in it. waiting are the keys whose
// new value needs a restart. With an error some channels are as they were. The channels must have passed configs.Channel.Check.
func (h *Channels) Reload(channels []configs.Channel) (waiting []string, err error) {
	h.reloading.Lock()
	defer h.reloading.Unlock()
	if err := h.checkLoops(channels); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.declared = channels
	h.mu.Unlock()
	var errs []error
	for _, c := range h.all() {
		if c.origin() == originConfig && !declares(channels, c.name) {
			errs = append(errs, c.retire())
		}
	}
	var changed, made []*channel
	for _, s := range channels {
		if s.Name == "" {
			continue
		}
		c := h.find(s.Name)
		if c != nil {
			keys, err := c.change(s)
			waiting, errs, changed = append(waiting, keys...), append(errs, err), append(changed, c)
			continue
		}
		if c, err = h.make(newDeclaration(s, originConfig), nil); err != nil {
			errs = append(errs, err)
			continue
		}
		made = append(made, c)
	}
	for _, c := range changed { // when all are there that may take dead messages
		errs = append(errs, h.keepDead(c))
	}
	for _, c := range made {
		errs = append(errs, h.launch(c))
	}
	return waiting, errors.Join(errs...)
}

func declares(channels []configs.Channel, name string) bool {
	return slices.ContainsFunc(channels, func(s configs.Channel) bool { return s.Name == name })
}

// checkLoops looks for dead messages that would come back, through channels that are not declared as well.
func (h *Channels) checkLoops(channels []configs.Channel) error {
	all := slices.Clone(channels)
	for _, c := range h.all() {
		if o := c.origin(); o != originConfig && o != originRetired && !declares(channels, c.name) {
			all = append(all, *c.settings())
		}
	}
	if loop := configs.DeadLetterLoop(all, len(all)); loop != nil {
		return &configs.Error{Key: "channels." + all[loop[0]].Name + ".dead_letter", Text: configs.LoopText(all, loop)}
	}
	return nil
}

// retire has a channel take no more messages.
func (c *channel) retire() error {
	c.h.log.Warn("channel is no longer declared: it takes no more messages", "name", c.name, "reason", "not in the configuration")
	_, err := c.turnInto(*c.settings(), originRetired)
	if errors.Is(err, ErrBusy) { // its last member left, and it was ephemeral
		return nil
	}
	return err
}

// change gives a channel the settings that are declared now.
func (c *channel) change(s configs.Channel) (waiting []string, err error) {
	differ := c.settings().Differ(&s)
	if s.Order != c.settings().Order { // its messages stand in line by the old one
		s.Order = c.settings().Order
		waiting = append(waiting, "channels."+c.name+".order")
	}
	changed, err := c.turnInto(s, originConfig)
	if changed {
		c.h.log.Info("channel changed", "name", c.name, "changed", strings.Join(differ, " "))
	}
	return waiting, err
}

// turnInto puts other terms in force, unless the channel is deleted meanwhile. Channels.reloading is held.
func (c *channel) turnInto(s configs.Channel, origin string) (changed bool, err error) {
	old := c.terms.Load()
	if old.settings == s && old.origin == origin {
		return false, nil
	}
	next, err := newTerms(s, origin)
	if err != nil {
		return false, err
	}
	if next.dead == "" {
		next.dead = old.dead
	}
	moves := old.settings.Filter != s.Filter || (old.origin == originRetired) != (origin == originRetired)
	c.terms.Store(next)
	c.putInForce()
	errs := []error{c.save(nil)}
	if moves {
		errs = append(errs, c.refeed(), c.share())
	}
	c.workLater()
	if c.isEnded() { // somebody deleted it meanwhile
		return false, fmt.Errorf("%s: %w", c.name, ErrBusy)
	}
	return true, errors.Join(errs...)
}

func (c *channel) isEnded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// putInForce has the Spread, the members and the record of message-ids go by the terms.
func (c *channel) putInForce() {
	var forgotten []hooks.Record
	c.h.mu.Lock()
	c.mu.Lock()
	c.spread.Change(c.rules(), c.now())
	for m := range c.members {
		if m.spread.Online() {
			c.spread.Online(m.spread, m.window())
		}
	}
	switch s := c.settings(); {
	case s.DedupWindow == 0 && c.seen != nil:
		forgotten = c.seen.records(c.id)
		c.seen = nil
	case s.DedupWindow > 0 && c.seen == nil:
		c.seen = newSeen(s.DedupWindow, s.DedupMax)
	case c.seen != nil:
		c.seen.window, c.seen.max = int64(s.DedupWindow), s.DedupMax
	}
	c.mu.Unlock()
	c.h.mu.Unlock()
	c.h.saveAll(forgotten)
}

// refeed has messages of the declared filter enter, and no longer those of the one before.
func (c *channel) refeed() error {
	var feeds []func()
	if c.origin() != originRetired {
		release, err := c.queue.Feed(c.settings().Filter)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		feeds = append(feeds, release)
	}
	c.mu.Lock()
	if !c.ended {
		old := c.unfeed[1:]
		c.unfeed, feeds = append(c.unfeed[:1:1], feeds...), old
	}
	c.mu.Unlock()
	for _, release := range feeds { // those of before; if the channel was deleted meanwhile, the new one
		release()
	}
	return nil
}

// save keeps what is declared of a channel. done, if not nil, is called once that is on disk.
func (c *channel) save(done func(error)) error {
	c.mu.Lock()
	d := declaration{Settings: *c.settings(), Origin: c.origin(), ID: c.id, Created: c.created, Paused: c.spread.Paused()}
	c.mu.Unlock()
	record, err := d.record()
	if err != nil {
		return err
	}
	c.h.broker.Save(hookName, []hooks.Record{record}, done)
	return nil
}
