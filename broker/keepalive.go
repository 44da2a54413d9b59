package broker

import (
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// watch starts or restarts the one timer of the connection.
func (c *conn) watch(d time.Duration, expired func()) {
	if c.deadline != nil {
		c.deadline.Stop()
	}
	c.deadline = time.AfterFunc(d, expired)
}

// watchKeepAlive closes the connection when nothing came for one and a half times the keep-alive
// [MQTT5-3.1.2-22] [MQTT311-3.1.2-24]. The timer is not moved by each packet: when it fires it looks
// how long ago the last one came.
func (c *conn) watchKeepAlive() {
	if c.keepAlive == 0 {
		if c.deadline != nil {
			c.deadline.Stop()
		}
		return
	}
	limit := c.keepAlive + c.keepAlive/2
	var timer *time.Timer
	ready := make(chan struct{})
	c.watch(limit, func() {
		<-ready
		if quiet := time.Duration(time.Now().UnixNano() - c.lastPacket.Load()); quiet < limit {
			timer.Reset(limit - quiet)
			return
		}
		t := c.b.begin()
		defer t.end()
		c.end(t, packet.KeepAliveTimeout, "nothing received for 1.5 times the keep alive", "keep alive timeout")
	})
	timer = c.deadline
	close(ready)
}
