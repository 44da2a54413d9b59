package channel

import "github.com/penstockmq/penstock/configs"

// shareFilter is the shared subscription that members may join with.
func shareFilter(s *configs.Channel) string { return sharePrefix + s.Name + "/" + s.Filter }

// share has members join by $share/<name>/<filter> too, as the terms are now, and no more as they were before. It must not be called
// for a client that is just being served: the broker looks at all that subscribed before.
func (c *channel) share() error {
	// One at a time: while a channel that was deleted meanwhile finds that out, no other of its name has begun.
	c.h.sharing.Lock()
	defer c.h.sharing.Unlock()
	filter := ""
	if t := c.terms.Load(); t.origin != originRetired {
		filter = shareFilter(&t.settings)
	}
	c.mu.Lock()
	settled := c.ended || c.shared == filter
	c.mu.Unlock()
	if settled {
		return nil
	}
	c.unshare()
	if filter == "" {
		return nil
	}
	c.h.mu.Lock()
	c.h.byShare[filter] = c
	c.h.mu.Unlock()
	release, err := c.h.broker.Serve(filter, c.h)
	if err != nil {
		c.leaveShare(filter)
		return err
	}
	c.mu.Lock()
	ended := c.ended
	if !ended {
		c.shared, c.unserve = filter, release
	}
	c.mu.Unlock()
	if ended {
		release()
		c.leaveShare(filter)
	}
	return nil
}

// unshare has members join by $share/<name>/<filter> no more. Those that did are members of a plain shared subscription then.
func (c *channel) unshare() {
	c.mu.Lock()
	filter, unserve := c.shared, c.unserve
	c.shared, c.unserve = "", nil
	c.mu.Unlock()
	if unserve != nil {
		unserve()
		c.leaveShare(filter)
	}
}

// leaveShare has the channel found by a shared subscription no more.
func (c *channel) leaveShare(filter string) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if c.h.byShare[filter] == c {
		delete(c.h.byShare, filter)
	}
}
