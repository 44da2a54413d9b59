package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/penstockmq/penstock/bridge"
	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/test/loopback"
)

// patience bounds every wait; it only matters when a test fails.
const patience = 20 * time.Second

// A node is a broker with bridges, in this process.
type node struct {
	t       testing.TB
	name    string
	folder  string // of its store; empty keeps everything in memory
	address string // host:port, the same after a restart
	limits  func(*configs.Limits)
	listens *configs.Listener // instead of TCP
	bridges []configs.Bridge
	lookup  func(ctx context.Context, service, name string) ([]*net.SRV, error)

	broker   *broker.Broker
	hook     *bridge.Hook
	listener listener.Listener
	serving  sync.WaitGroup
	gone     bool
}

// startNode starts a broker that is stopped when the test ends.
func startNode(t testing.TB, name string, bridges ...configs.Bridge) *node {
	t.Helper()
	return begin(&node{t: t, name: name, address: loopback.FreeAddress(t), bridges: bridges})
}

// startStored starts one with its data on disk.
func startStored(t testing.TB, name string, bridges ...configs.Bridge) *node {
	t.Helper()
	return begin(&node{t: t, name: name, address: loopback.FreeAddress(t), bridges: bridges, folder: t.TempDir()})
}

func begin(n *node) *node {
	n.t.Helper()
	n.start()
	n.t.Cleanup(n.stop)
	return n
}

func (n *node) start() {
	n.t.Helper()
	log := slog.New(slog.NewTextHandler(testWriter{n.t}, &slog.HandlerOptions{Level: slog.LevelInfo})).With("node", n.name)
	limits := configs.Default().Limits
	if n.limits != nil {
		n.limits(&limits)
	}
	var err error
	n.hook = bridge.New(bridge.Options{Bridges: n.bridges, PacketMax: limits.MaxPacketSize, Log: log, Lookup: n.lookup})
	if n.broker, err = broker.New(broker.Options{
		Limits: limits, Store: n.store(), Hooks: []hooks.Hook{n.hook, openDoor{}}, Log: log, Version: "test",
	}); err != nil {
		n.t.Fatal(err)
	}
	cfg := configs.Listener{Name: "tcp", Type: "tcp", ProxyProtocol: "off"}
	if n.listens != nil {
		cfg = *n.listens
	}
	cfg.Address = n.address
	if n.listener, err = listener.Open(cfg, listener.Options{Log: log, MaxPacketSize: limits.MaxPacketSize}); err != nil {
		n.t.Fatal(err)
	}
	n.serving.Go(func() {
		if err := n.listener.Serve(n.broker.Attach); err != nil {
			n.t.Error(err)
		}
	})
	n.hook.Run()
	n.gone = false
}

func (n *node) store() storage.Store {
	if n.folder == "" {
		return memory.New()
	}
	s, err := badger.Open(badger.Options{Path: n.folder, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// stop shuts the broker down. Twice is harmless.
func (n *node) stop() {
	if n.gone {
		return
	}
	n.gone = true
	if err := n.listener.Close(); err != nil {
		n.t.Error(err)
	}
	n.serving.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.broker.Shutdown(ctx); err != nil {
		n.t.Errorf("%s: %v", n.name, err)
	}
}

// status is that of one of its bridges.
func (n *node) status(name string) bridge.Status {
	for _, s := range n.hook.Status() {
		if s.Name == name {
			return s
		}
	}
	n.t.Fatalf("%s has no bridge %s", n.name, name)
	return bridge.Status{}
}

// connected waits until its bridges are.
func (n *node) connected() {
	n.t.Helper()
	for _, b := range n.bridges {
		n.await("bridge "+b.Name+" connected", func() bool { return n.status(b.Name).State == bridge.StateConnected })
	}
}

func (n *node) await(what string, is func() bool) {
	n.t.Helper()
	await(n.t, n.name+": "+what, is)
}

// pollInterval is how often is looked at what nothing tells of.
const pollInterval = 5 * time.Millisecond

// await waits for something that nothing tells of.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	late := time.After(patience)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// bridgeTo is a bridge with rules, quick to connect again.
func bridgeTo(name, address string, rules ...configs.BridgeTopic) configs.Bridge {
	b := configs.DefaultBridge()
	b.Name, b.Address, b.Topics = name, "tcp://"+address, rules
	b.RetryMin, b.RetryMax = 20*time.Millisecond, 200*time.Millisecond
	return b
}

// rule is a rule with the defaults.
func rule(filter, direction string) configs.BridgeTopic {
	r := configs.DefaultBridgeTopic()
	r.Filter, r.Direction = filter, direction
	return r
}

// openDoor lets everybody in.
type openDoor struct{}

// Name implements hooks.Hook.
func (openDoor) Name() string { return "open door" }

// Authenticate implements hooks.Authenticator.
func (openDoor) Authenticate(context.Context, *hooks.Client, hooks.Credentials) hooks.Decision {
	return hooks.Decision{Verdict: hooks.Allow}
}

// testWriter writes to a test's log.
type testWriter struct{ t testing.TB }

// Write implements io.Writer.
func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// A user is an MQTT 3.1.1 client of a test.
type user struct {
	t      testing.TB
	client mqtt.Client

	mu  sync.Mutex // guards got
	got []mqtt.Message
}

// connect makes a client that is gone when the test ends.
func connect(t testing.TB, address, id string) *user {
	t.Helper()
	return connectAs(t, address, id, true)
}

// connectDurable makes one whose session outlives its connection.
func connectDurable(t testing.TB, address, id string) *user {
	t.Helper()
	return connectAs(t, address, id, false)
}

func connectAs(t testing.TB, address, id string, clean bool) *user {
	t.Helper()
	u := &user{t: t}
	u.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + address).SetClientID(id).SetProtocolVersion(4).
		SetAutoReconnect(false).SetCleanSession(clean).SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.got = append(u.got, m)
	}))
	u.must(u.client.Connect())
	t.Cleanup(func() { u.client.Disconnect(0) })
	return u
}

func (u *user) must(token mqtt.Token) {
	u.t.Helper()
	if !token.WaitTimeout(patience) {
		u.t.Fatal("no answer")
	}
	if token.Error() != nil {
		u.t.Fatal(token.Error())
	}
}

func (u *user) subscribe(filter string, qos byte) {
	u.t.Helper()
	u.must(u.client.Subscribe(filter, qos, nil))
}

// publish publishes and waits for the acknowledgement.
func (u *user) publish(name, text string, qos byte) {
	u.t.Helper()
	u.must(u.client.Publish(name, qos, false, text))
}

// received are the messages so far, as "topic text".
func (u *user) received() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	lines := make([]string, len(u.got))
	for i, m := range u.got {
		lines[i] = fmt.Sprintf("%s %s", m.Topic(), m.Payload())
	}
	return lines
}

// wants waits for so many messages.
func (u *user) wants(n int) []string {
	u.t.Helper()
	await(u.t, fmt.Sprintf("%d messages", n), func() bool { return len(u.received()) >= n })
	return u.received()
}
