package broker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage/memory"
)

// retain publishes a retained message that expires after some seconds, 0 for never.
func retain(c *testClient, topic, payload string, expiry uint32) {
	c.t.Helper()
	c.publish(packet.Outgoing{Topic: topic, Payload: []byte(payload), Retain: true, Expiry: expiry, HasExpiry: expiry != 0})
	c.wantNothing()
}

// Retained messages are gone when they expire, in the order of their times, though nobody asks for them; one
// that replaced another lives by its own time.
func TestRetainedMessagesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		b := startOnly(t, setup{store: store})
		c := connected(t, b, packet.V5, hello{id: "c"})
		for i, expiry := range []uint32{50, 10, 30, 20, 40} {
			retain(c, fmt.Sprint("a/", i), "x", expiry)
		}
		retain(c, "a/never", "x", 0)
		retain(c, "a/1", "longer", 100)
		retain(c, "a/2", "for ever", 0)
		retain(c, "a/3", "", 0)
		bytes := settled(b).RetainedBytes
		for _, step := range []struct {
			second time.Duration
			left   int
		}{{0, 5}, {41, 4}, {51, 3}, {99, 3}, {101, 2}} {
			elapse(time.Until(b.started.Add(step.second * time.Second)))
			synctest.Wait()
			if got := settled(b).RetainedMessages; got != step.left {
				t.Errorf("after %d s %d messages, want %d", step.second, got, step.left)
			}
		}
		if got := settled(b).RetainedBytes; got != int64(len("a/neverx")+len("a/2for ever")) || bytes <= got {
			t.Errorf("%d bytes retained, %d before", got, bytes)
		}
		b, _ = restart(t, b, store, 0)
		if got := settled(b).RetainedMessages; got != 2 {
			t.Errorf("%d messages after a restart, want 2", got)
		}
	})
}

// What expires while the broker is away is not there afterwards, and what is there expires later.
func TestRetainedExpiryAcrossARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		b := startOnly(t, setup{store: store})
		c := connected(t, b, packet.V5, hello{id: "c"})
		retain(c, "a/soon", "x", 10)
		retain(c, "a/later", "x", 60)
		c.nc.Close()
		b, _ = restart(t, b, store, 20*time.Second)
		c = connected(t, b, packet.V5, hello{id: "c"})
		c.subscribe(0, "a/+")
		if p := c.wantMessage("a/later", "x"); p.Properties.MessageExpiryInterval != 40 {
			t.Errorf("%d seconds left, want 40", p.Properties.MessageExpiryInterval)
		}
		c.wantNothing()
		elapse(41 * time.Second)
		if got := settled(b).RetainedMessages; got != 0 {
			t.Errorf("%d messages, want 0", got)
		}
	})
}

// Messages that were replaced or deleted before they expired are not kept until then.
func TestReplacedRetainedMessagesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{})
		c := connected(t, b, packet.V5, hello{id: "c"})
		for i := range 1000 {
			retain(c, "a", fmt.Sprint(i), 1_000_000)
		}
		b.retained.mu.Lock()
		defer b.retained.mu.Unlock()
		if n := len(b.retained.expiry); n > 100 {
			t.Errorf("%d messages are kept for the expiry of 1", n)
		}
	})
}

// $SYS tells what mosquitto's users look for, retained, and again when it changes.
func TestSysTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{sys: 10 * time.Second})
		from := connected(t, b, packet.V5, hello{id: "from"})
		connected(t, b, packet.V5, hello{id: "away", resume: true, expiry: 1000}).nc.Close()
		from.subscribe(0, "a")
		for range 30 {
			from.say("a", "12345")
			from.wantMessage("a", "12345")
		}
		retain(from, "kept", "x", 0)
		elapse(11 * time.Second)
		c := connected(t, b, packet.V5, hello{id: "c"})
		c.write(subscribePacket(packet.V5, 1, 0, "$SYS/#"))
		c.want(packet.SUBACK)
		c.write(framed(packet.PINGREQ, 0, nil))
		got := map[string]string{}
		for {
			p, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			if packet.Type(p.FixedHeader.Type) != packet.PUBLISH {
				break
			}
			if !p.FixedHeader.Retain || p.FixedHeader.Qos != 0 {
				t.Errorf("%s: retain %v, QoS %d", p.TopicName, p.FixedHeader.Retain, p.FixedHeader.Qos)
			}
			got[strings.TrimPrefix(p.TopicName, "$SYS/broker/")] = string(p.Payload)
		}
		wantSysValues(t, got)
		// A change is published to those who are subscribed; nothing else is.
		from.say("b", "x")
		elapse(10 * time.Second)
		seen := map[string]bool{}
		for !seen["$SYS/broker/publish/messages/received"] {
			seen[c.want(packet.PUBLISH).TopicName] = true
		}
		if seen["$SYS/broker/version"] {
			t.Error("the version is published again though it is the same")
		}
	})
}

func wantSysValues(t *testing.T, got map[string]string) {
	t.Helper()
	for name, want := range map[string]string{
		"version": "penstock version test", "uptime": "10 seconds",
		"clients/total": "2", "clients/connected": "1", "clients/disconnected": "1", "clients/maximum": "2", "clients/expired": "0",
		"subscriptions/count": "1", "messages/inflight": "0",
		"publish/messages/received": "31", "publish/messages/sent": "30",
		"publish/bytes/received": "151", "publish/bytes/sent": "150", "publish/messages/dropped": "0",
	} {
		if got[name] != want {
			t.Errorf("$SYS/broker/%s is %q, want %q", name, got[name], want)
		}
	}
	for _, name := range []string{
		"messages/received", "messages/sent", "bytes/received", "bytes/sent", "retained messages/count", "store/messages/count",
		"store/messages/bytes", "load/messages/received/1min", "load/publish/sent/5min", "load/bytes/sent/15min", "load/connections/1min",
	} {
		if n, err := strconv.ParseFloat(got[name], 64); err != nil || n <= 0 {
			t.Errorf("$SYS/broker/%s is %q, want a number above 0", name, got[name])
		}
	}
	if !slices.Contains([]string{"1", "0"}, got["shared_subscriptions/count"]) {
		t.Errorf("shared_subscriptions/count is %q", got["shared_subscriptions/count"])
	}
}

// What a retained message replaces does not count against the limit it has to keep.
func TestAReplacementMakesItsOwnRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{limits: func(l *configs.Limits) { l.MaxRetainedBytes, l.MaxRetainedMessages = 100, 1 }})
		c := connected(t, b, packet.V5, hello{id: "c"})
		for range 3 {
			retain(c, "a", strings.Repeat("x", 90), 0)
		}
		if s := settled(b); s.Dropped[hooks.DropRetainedFull] != 0 || s.RetainedBytes != 91 {
			t.Errorf("%d dropped, %d bytes retained; want 0, 91", s.Dropped[hooks.DropRetainedFull], s.RetainedBytes)
		}
		retain(c, "b", "x", 0)
		retain(c, "a", strings.Repeat("x", 100), 0)
		if s := settled(b); s.Dropped[hooks.DropRetainedFull] != 2 || s.RetainedMessages != 1 {
			t.Errorf("%d dropped, %d retained; want 2, 1", s.Dropped[hooks.DropRetainedFull], s.RetainedMessages)
		}
	})
}
