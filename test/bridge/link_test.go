package bridge

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/bridge"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/test/loopback"
)

// A message keeps its retain flag, or loses it, as the rule says; QoS is capped; the first rule that matches is taken.
func TestRules(t *testing.T) {
	for _, version := range []string{configs.Version5, configs.Version311} {
		t.Run(version, func(t *testing.T) {
			hub := startNode(t, "hub")
			capped, cleared, named := rule("capped/#", configs.DirectionOut), rule("cleared/#", configs.DirectionOut), rule("#", configs.DirectionOut)
			capped.QoS, cleared.Retain, named.RemotePrefix = 1, configs.RetainClear, "by/{publisher}/"
			b := bridgeTo("hub", hub.address, capped, cleared, named)
			b.Version = version
			edge := startNode(t, "edge", b)
			edge.connected()
			there, here := connect(t, hub.address, "there"), connect(t, edge.address, "a/b")
			there.subscribe("#", 2)
			for _, name := range []string{"capped/x", "cleared/x", "other/x"} {
				here.must(here.client.Publish(name, 2, true, "v"))
			}
			got := there.wants(3)
			if want := []string{"capped/x v", "cleared/x v", "by/a_b/other/x v"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			there.mu.Lock()
			if qos := there.got[0].Qos(); qos != 1 {
				t.Errorf("capped has QoS %d", qos)
			}
			there.mu.Unlock()
			late := connect(t, hub.address, "late")
			late.subscribe("#", 2)
			kept := late.wants(2)
			slices.Sort(kept)
			if want := []string{"by/a_b/other/x v", "capped/x v"}; !slices.Equal(kept, want) {
				t.Errorf("retained %q, want %q", kept, want)
			}
		})
	}
}

// What is published while the link is down, or while either broker restarts, arrives in order.
func TestStoreAndForward(t *testing.T) {
	for _, version := range []string{configs.Version5, configs.Version311} {
		t.Run(version, func(t *testing.T) {
			hub := startStored(t, "hub")
			b := bridgeTo("hub", hub.address, rule("#", configs.DirectionOut))
			b.Version = version
			edge := startStored(t, "edge", b)
			edge.connected()
			var want []string
			say := func(n int) {
				u := connect(t, edge.address, "publisher")
				for range n {
					text := fmt.Sprint(len(want))
					u.publish("t", text, byte(1+len(want)%2))
					want = append(want, "t "+text)
				}
			}
			sub := connectDurable(t, hub.address, "sub")
			sub.subscribe("t", 2)
			say(10)
			sub.wants(10)
			hub.await("acknowledged", func() bool { return hub.broker.Stats().InflightMessages == 0 })
			hub.stop()
			say(10)
			edge.stop()
			edge.start()
			say(10)
			hub.start()
			again := connectDurable(t, hub.address, "sub")
			again.wants(20)
			edge.await("queue empty", func() bool { return edge.status("hub").QueueMessages == 0 })
			got := append(sub.received()[:10], again.wants(20)...)
			if !slices.Equal(got, want) {
				t.Errorf("got %q", got)
			}
		})
	}
}

// A limit holds, as on_full says.
func TestFullQueue(t *testing.T) {
	for _, onFull := range []string{configs.FullReject, configs.FullDropOldest, configs.FullBlock} {
		t.Run(onFull, func(t *testing.T) {
			address := loopback.FreeAddress(t)
			b := bridgeTo("hub", address, rule("#", configs.DirectionOut))
			b.MaxQueueMessages, b.OnFull = 5, onFull
			edge := startNode(t, "edge", b)
			w := wire{address: edge.address, id: "publisher"}
			if err := w.dial(); err != nil {
				t.Fatal(err)
			}
			defer w.close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for k := range 5 {
				if err := w.publish(ctx, "t", uint16(k+1), fmt.Sprint(k), 1); err != nil {
					t.Fatal(err)
				}
			}
			sixth := make(chan error, 1)
			go func() { sixth <- w.publish(ctx, "t", 6, "5", 1) }()
			want := []string{"t 0", "t 1", "t 2", "t 3", "t 4"}
			switch onFull {
			case configs.FullReject:
				if err := <-sixth; err == nil || !strings.Contains(err.Error(), "0x97") {
					t.Errorf("the sixth: %v", err)
				}
			case configs.FullDropOldest:
				if err := <-sixth; err != nil {
					t.Errorf("the sixth: %v", err)
				}
				edge.await("the oldest dropped", func() bool { return edge.status("hub").Dropped["queue_full"] == 1 })
				want = append(want[1:], "t 5")
			case configs.FullBlock:
				select {
				case err := <-sixth:
					t.Errorf("the sixth: %v", err)
				case <-time.After(100 * time.Millisecond):
				}
				want = append(want, "t 5")
			}
			hub := startStored(t, "hub")
			hub.stop()
			hub.address = address
			sub := startSubscribed(t, hub, "#")
			got := sub.wants(len(want))
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if onFull == configs.FullBlock {
				if err := <-sixth; err != nil {
					t.Errorf("the sixth: %v", err)
				}
			}
		})
	}
}

// startSubscribed starts a broker with a subscriber that is there before any bridge.
func startSubscribed(t *testing.T, n *node, filter string) *user {
	address := n.address
	n.address = loopback.FreeAddress(t)
	n.start()
	durable := connectDurable(t, n.address, "first")
	durable.subscribe(filter, 1)
	durable.client.Disconnect(100)
	n.stop()
	n.address = address
	n.start()
	return connectDurable(t, n.address, "first")
}

// Another address is taken when the first does not answer, and the first again when it does.
func TestFailover(t *testing.T) {
	first, second := startNode(t, "first"), startNode(t, "second")
	b := bridgeTo("hub", "", rule("#", configs.DirectionOut))
	b.Address, b.Addresses, b.FailBack = "", []string{"tcp://" + first.address, "tcp://" + second.address}, 50*time.Millisecond
	edge := startNode(t, "edge", b)
	at := func(n *node) func() bool {
		return func() bool {
			s := edge.status("hub")
			return s.State == bridge.StateConnected && s.Address == "tcp://"+n.address
		}
	}
	edge.await("the first", at(first))
	first.stop()
	edge.await("the second", at(second))
	u, sub := connect(t, edge.address, "u"), connect(t, second.address, "sub")
	sub.subscribe("#", 2)
	u.publish("t", "x", 2)
	sub.wants(1)
	first.start()
	edge.await("the first again", at(first))
	sub = connect(t, first.address, "sub")
	sub.subscribe("#", 2)
	u.publish("t", "y", 2)
	if got := sub.wants(1); got[0] != "t y" {
		t.Errorf("got %q", got)
	}
}

// srv:// is looked up in DNS, in the order of priority.
func TestServiceDiscovery(t *testing.T) {
	hub := startNode(t, "hub")
	host, port, err := net.SplitHostPort(hub.address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	b := bridgeTo("hub", "", rule("#", configs.DirectionOut))
	b.Address = "srv://brokers.example"
	edge := &node{t: t, name: "edge", address: loopback.FreeAddress(t), bridges: []configs.Bridge{b}}
	edge.lookup = func(_ context.Context, service, name string) ([]*net.SRV, error) {
		if service != "mqtt" || name != "brokers.example" {
			return nil, fmt.Errorf("asked for %s of %s", service, name)
		}
		return []*net.SRV{{Target: host + ".", Port: uint16(n)}}, nil
	}
	begin(edge)
	edge.connected()
}

// A paused bridge is not connected, keeps what comes, and goes on; also when it was paused before a restart.
func TestPauseAndResume(t *testing.T) {
	hub := startNode(t, "hub")
	edge := startStored(t, "edge", bridgeTo("hub", hub.address, rule("#", configs.DirectionOut)))
	edge.connected()
	if err := edge.hook.Pause("hub"); err != nil {
		t.Fatal(err)
	}
	edge.await("paused", func() bool { return edge.status("hub").State == bridge.StatePaused })
	edge.stop()
	edge.start()
	edge.await("still paused", func() bool { return edge.status("hub").State == bridge.StatePaused })
	sub := connect(t, hub.address, "sub")
	sub.subscribe("#", 1)
	connect(t, edge.address, "u").publish("t", "x", 1)
	if s := edge.status("hub"); s.QueueMessages != 1 || s.QueueAge <= 0 {
		t.Errorf("queue of %d, %s old", s.QueueMessages, s.QueueAge)
	}
	if err := edge.hook.Resume("hub"); err != nil {
		t.Fatal(err)
	}
	sub.wants(1)
}

// A lazy bridge connects when there is something to send, and leaves when there is not.
func TestLazy(t *testing.T) {
	hub := startNode(t, "hub")
	b := bridgeTo("hub", hub.address, rule("#", configs.DirectionOut))
	b.Start, b.IdleTimeout = configs.StartLazy, 50*time.Millisecond
	edge := startNode(t, "edge", b)
	idle := func() bool { return edge.status("hub").State == bridge.StateIdle }
	edge.await("idle", idle)
	sub, u := connect(t, hub.address, "sub"), connect(t, edge.address, "u")
	sub.subscribe("#", 1)
	for k := range 3 {
		u.publish("t", fmt.Sprint(k), byte(k%2))
		sub.wants(k + 1)
		edge.await("idle again", idle)
	}
}

// The rate limit holds.
func TestRateLimit(t *testing.T) {
	hub := startNode(t, "hub")
	b := bridgeTo("hub", hub.address, rule("#", configs.DirectionOut))
	b.RateLimit = 100
	edge := startNode(t, "edge", b)
	edge.connected()
	sub, u := connect(t, hub.address, "sub"), connect(t, edge.address, "u")
	sub.subscribe("#", 1)
	began := time.Now()
	for k := range 50 {
		u.client.Publish("t", 1, false, fmt.Sprint(k))
	}
	sub.wants(50)
	if taken := time.Since(began); taken < 300*time.Millisecond { // ten at once, and forty at a hundred a second
		t.Errorf("50 messages at 100 a second took %s", taken)
	}
}

// A rule that is gone is unsubscribed from, although the other broker keeps the session.
func TestReloadUnsubscribes(t *testing.T) {
	for _, version := range []string{configs.Version5, configs.Version311} {
		t.Run(version, func(t *testing.T) {
			hub := startNode(t, "hub")
			b := bridgeTo("hub", hub.address, rule("a/#", configs.DirectionIn), rule("b/#", configs.DirectionIn))
			b.Version = version
			edge := startNode(t, "edge", b)
			edge.connected()
			b.Topics = b.Topics[:1]
			edge.bridges = []configs.Bridge{b}
			if err := edge.hook.Reload(edge.bridges); err != nil {
				t.Fatal(err)
			}
			edge.connected()
			sub, u := connect(t, edge.address, "sub"), connect(t, hub.address, "u")
			sub.subscribe("#", 1)
			u.publish("b/1", "x", 1)
			u.publish("a/1", "x", 1)
			sub.wants(1)
			if s := edge.status("hub"); s.Received != 1 || s.Dropped["no_rule"] != 0 {
				t.Errorf("received %d, dropped %v", s.Received, s.Dropped)
			}
		})
	}
}

// A reload changes the bridges that changed, and leaves the others connected.
func TestReloadLeavesOthersConnected(t *testing.T) {
	hub := startNode(t, "hub")
	kept, changed := bridgeTo("kept", hub.address, rule("a/#", configs.DirectionOut)), bridgeTo("changed", hub.address, rule("b/#", configs.DirectionOut))
	edge := startNode(t, "edge", kept, changed)
	edge.connected()
	since := edge.status("kept").Since
	changed.Topics = append(changed.Topics, rule("c/#", configs.DirectionOut))
	added := bridgeTo("added", hub.address, rule("d/#", configs.DirectionOut))
	edge.bridges = []configs.Bridge{kept, changed, added}
	if err := edge.hook.Reload(edge.bridges); err != nil {
		t.Fatal(err)
	}
	edge.connected()
	sub, u := connect(t, hub.address, "sub"), connect(t, edge.address, "u")
	sub.subscribe("#", 1)
	for _, name := range []string{"a/1", "b/1", "c/1", "d/1"} {
		u.publish(name, "x", 1)
	}
	sub.wants(4)
	if s := edge.status("kept"); s.Since != since || s.Connects != 1 {
		t.Errorf("kept: connected %d times, since %s", s.Connects, s.Since)
	}
	edge.bridges = []configs.Bridge{kept}
	if err := edge.hook.Reload(edge.bridges); err != nil {
		t.Fatal(err)
	}
	if s := edge.status("changed"); s.State != bridge.StateRemoved {
		t.Errorf("changed: %s", s.State)
	}
	if err := edge.hook.Delete("changed"); err != nil {
		t.Error(err)
	}
	if n := len(edge.hook.Status()); n != 2 {
		t.Errorf("%d bridges left", n)
	}
}
