package broker

import (
	"fmt"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// unwatched in conn.quietMax is a connection that may be quiet for ever.
const unwatched = -1

// watchConnect starts the one timer of the connection: the client has connectTimeout to be accepted.
func (c *conn) watchConnect(accepted time.Time) {
	limit := c.b.limits.ConnectTimeout
	if !accepted.IsZero() { // what the listener did before counts too
		limit -= time.Since(accepted)
	}
	c.deadline = time.AfterFunc(limit, c.overdue)
}

// watchKeepAlive closes the connection when nothing came for one and a half times the keep-alive
// [MQTT5-3.1.2-22] [MQTT311-3.1.2-24]. The timer is not moved by each packet: when it fires it looks
// how long ago the last one came.
func (c *conn) watchKeepAlive() {
	limit := c.keepAlive + c.keepAlive/2
	if limit == 0 {
		c.quietMax.Store(unwatched)
		c.deadline.Stop()
		return
	}
	c.quietMax.Store(int64(limit))
	c.deadline.Reset(limit)
}

// overdue is what the timer calls.
func (c *conn) overdue() {
	switch limit := time.Duration(c.quietMax.Load()); limit {
	case unwatched:
	case 0:
		c.connectTimedOut()
	default:
		if quiet := time.Duration(time.Now().UnixNano() - c.lastPacket.Load()); quiet < limit {
			c.deadline.Reset(limit - quiet)
			return
		}
		t := c.b.begin()
		defer t.end()
		c.end(t, packet.KeepAliveTimeout, "nothing received for 1.5 times the keep alive", "keep alive timeout")
	}
}

// connectTimedOut ends a connection whose client was not accepted in time.
func (c *conn) connectTimedOut() {
	t := c.b.begin()
	defer t.end()
	c.b.counters.refuse("connect_timeout")
	c.b.log.Info("connection refused", "remote", c.remote(), "listener", c.client.Listener, "reason", "connect timeout",
		"err", fmt.Sprintf("no complete CONNECT within %s", c.b.limits.ConnectTimeout))
	c.end(t, packet.Success, "", "connect timeout")
}
