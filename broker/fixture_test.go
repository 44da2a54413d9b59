package broker

import (
	"context"
	"log/slog"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
)

var bothVersions = []packet.Version{packet.V311, packet.V5}

// A setup says how a test's broker differs from the default one, which lets everybody in and keeps everything
// in memory.
type setup struct {
	limits func(*configs.Limits)
	store  storage.Store
	hooks  []hooks.Hook // asked before everybody is let in
	sys    time.Duration
}

// start makes a broker that is shut down when the test ends.
func start(t testing.TB, s setup) *Broker {
	t.Helper()
	b := startOnly(t, s)
	t.Cleanup(func() { stop(t, b) })
	return b
}

func startOnly(t testing.TB, s setup) *Broker {
	t.Helper()
	limits := configs.Default().Limits
	driver := driverForTest(t)
	if driver == "goroutine" {
		limits.EventLoops = configs.NoEventLoops
	}
	if s.limits != nil {
		s.limits(&limits)
	}
	if s.store == nil {
		s.store = memory.New()
	}
	b, err := New(Options{
		Limits: limits, SysInterval: s.sys, Store: s.store, Hooks: append(s.hooks[:len(s.hooks):len(s.hooks)], openDoor{}),
		Log: slog.New(slog.DiscardHandler), Version: "test", LoopAll: driver == "loop",
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// driverForTest is what serves connections: PENSTOCK_TEST_DRIVER=loop has event loops serve all of them, also where time is fake,
// and PENSTOCK_TEST_DRIVER=goroutine has none.
func driverForTest(t testing.TB) string {
	t.Helper()
	driver := os.Getenv("PENSTOCK_TEST_DRIVER")
	if driver != "" && driver != "loop" && driver != "goroutine" {
		t.Fatalf("PENSTOCK_TEST_DRIVER is %q, must be loop, goroutine or empty", driver)
	}
	return driver
}

// stop shuts the broker down and wants it done in time.
func stop(t testing.TB, b *Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// openDoor lets everybody in.
type openDoor struct{}

// Name implements hooks.Hook.
func (openDoor) Name() string { return "open door" }

// Authenticate implements hooks.Authenticator.
func (openDoor) Authenticate(context.Context, *hooks.Client, hooks.Credentials) hooks.Decision {
	return hooks.Decision{Verdict: hooks.Allow}
}

// A holding is a broker on a store that holds every write back, inside a synctest bubble.
type holding struct {
	*Broker
	t    *testing.T
	held *storagetest.Held
}

func hold(t *testing.T, s setup) *holding {
	t.Helper()
	if s.store == nil {
		s.store = memory.New()
	}
	h := &holding{t: t, held: storagetest.Hold(s.store)}
	s.store = h.held
	h.Broker = start(t, s)
	return h
}

// connect connects a client, letting the store write its session.
func (h *holding) connect(v packet.Version, by hello) *testClient {
	h.t.Helper()
	c := pipe(h.t, h.Broker, v)
	c.write(by.packet(v))
	h.release()
	if ack := c.want(packet.CONNACK); ack.ReasonCode != 0 {
		h.t.Fatalf("CONNACK 0x%02x", ack.ReasonCode)
	}
	return c
}

// durable connects a client whose session outlives its connection.
func (h *holding) durable(v packet.Version, id string) *testClient {
	h.t.Helper()
	return h.connect(v, hello{id: id, resume: true, expiry: 1000})
}

// subscriber is a durable client with one subscription.
func (h *holding) subscriber(v packet.Version, id string, qos byte, filter string) *testClient {
	h.t.Helper()
	c := h.durable(v, id)
	c.write(subscribePacket(v, 1, qos, filter))
	h.release()
	if got := c.want(packet.SUBACK).ReasonCodes; len(got) != 1 || got[0] != qos {
		h.t.Fatalf("SUBACK % x, want QoS %d", got, qos)
	}
	return c
}

// release lets the store write everything, once the broker has nothing else to do.
func (h *holding) release() {
	synctest.Wait()
	h.held.ReleaseAll()
}

// wantWaiting checks how many writes somebody waits for.
func (h *holding) wantWaiting(n int) {
	h.t.Helper()
	synctest.Wait()
	if got := h.held.Waiting(); got != n {
		h.t.Fatalf("%d writes are waited for, want %d", got, n)
	}
}

// A fakeDriver is a driver without a socket: a test feeds it on its own goroutine, and what the broker sends is
// thrown away, or kept.
type fakeDriver struct {
	c       *conn
	resumed chan struct{}
	keep    bool
	sent    []byte
	over    bool
}

func (d *fakeDriver) flush(t *turn) {
	p, ok := d.c.beginParcel()
	for ok {
		for d.keep && !p.empty() {
			part := p.front(writePiece)
			d.sent = append(d.sent, part...)
			p.wrote(len(part))
		}
		p.free()
		d.c.relieved(t)
		p, ok = d.c.nextParcel()
	}
}

func (d *fakeDriver) resume() {
	select {
	case d.resumed <- struct{}{}:
	default:
	}
}

func (d *fakeDriver) shut() {}

// end is what a driver does once the socket is closed. Twice is harmless.
func (d *fakeDriver) end() {
	if !d.over {
		d.over = true
		d.c.ended()
	}
}

// feed is one read that returned b.
func (d *fakeDriver) feed(b []byte) {
	t := d.c.b.begin()
	defer t.end()
	d.c.b.guard(t, d.c, func() { d.c.feed(t, b) })
}

// fake attaches a connection without a socket and has it accepted.
func fake(t testing.TB, b *Broker, v packet.Version, h hello) *fakeDriver {
	t.Helper()
	c := newConn(b, listener.Peer{Listener: "test", Remote: &net.TCPAddr{}})
	d := &fakeDriver{c: c, resumed: make(chan struct{}, 1)}
	c.driver = d
	if !b.connections.add(c) {
		t.Fatal("the broker takes no connection")
	}
	t.Cleanup(d.end)
	c.watchConnect(time.Time{})
	d.feed(h.packet(v))
	for c.waits > 0 {
		<-d.resumed
		d.feed(nil)
	}
	if c.phase != open {
		t.Fatal("the connection was not accepted")
	}
	return d
}

// settled is the broker's Stats once it has nothing else to do, in a synctest bubble: a turn adds to them
// when it ends, after what it sent was read.
func settled(b *Broker) Stats {
	synctest.Wait()
	return b.Stats()
}

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// elapse lets time pass in a synctest bubble. Outside of one it panics.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
