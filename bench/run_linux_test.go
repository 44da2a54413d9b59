package bench

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/test/loopback"
)

// openDoor lets every client do everything.
type openDoor struct{ mochi.HookBase }

func (*openDoor) ID() string { return "open door" }
func (*openDoor) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (*openDoor) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*openDoor) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

// broker serves in the test's process and returns its address.
func broker(t *testing.T) string {
	t.Helper()
	server := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(openDoor), nil); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := server.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return l.Address()
}

// small makes a run small enough for a test.
func small(o Options, address string) Options {
	o.Address, o.PIDs = address, []int{os.Getpid()}
	o.Clients = min(o.Clients, 8)
	o.Subscribers = min(o.Subscribers, 5)
	o.Subscriptions, o.Holders = min(o.Subscriptions, 1500), min(o.Holders, 2)
	o.Retained = min(o.Retained, 100)
	o.Window = min(o.Window, 20)
	o.Warmup, o.Duration = 20*time.Millisecond, 150*time.Millisecond
	return o
}

// Every scenario whose sessions are clean runs against a broker, loses nothing and measures what it is for.
func TestScenarios(t *testing.T) {
	address := broker(t)
	for _, s := range Scenarios {
		switch s {
		case Backlog, Lone, Channel, Bridge:
			continue // they need more than a broker
		}
		t.Run(string(s), func(t *testing.T) {
			r, err := Run(t.Context(), small(Default(s), address))
			if err != nil {
				t.Fatal(err)
			}
			if !r.Good() || r.ConnectsPerSecond <= 0 || r.RSSAfter <= 0 {
				t.Errorf("%+v", r)
			}
			checkMeasured(t, s, r)
		})
	}
}

func checkMeasured(t *testing.T, s Scenario, r Result) {
	t.Helper()
	if s == Idle {
		if r.Delivered != 0 || r.Published != 0 {
			t.Errorf("%d messages though it is idle", r.Delivered)
		}
		return
	}
	if r.Delivered == 0 || r.DeliveriesPerSecond <= 0 || r.GeneratorMicros <= 0 {
		t.Errorf("%+v", r)
	}
	for _, q := range []Quantiles{r.Latency, r.Lateness} {
		if q.P99 < q.P50 || q.Max < q.P99 {
			t.Errorf("%v", q)
		}
	}
	if r.Latency.P50 <= 0 || (s == Latency) != (r.Lateness.P50 > 0) || (s == Latency) != (r.Silence != nil) {
		t.Errorf("%+v", r)
	}
	if r.MessagesPerWrite < 1 || r.MessagesPerRead < 1 || len(r.Processes) != 1 || r.Processes[0].Micros != r.BrokerMicros {
		t.Errorf("%+v", r)
	}
	if (s == Retained) != (r.RetainedPerSecond > 0) {
		t.Errorf("%v retained a second", r.RetainedPerSecond)
	}
	if (s == Subs) != (r.SubscriptionsPerSecond > r.ConnectsPerSecond) {
		t.Errorf("%v subscriptions and %v connections a second", r.SubscriptionsPerSecond, r.ConnectsPerSecond)
	}
}

func TestEveryQoSAndVersion(t *testing.T) {
	address := broker(t)
	versions(t, func(t *testing.T, version byte) {
		for qos := range byte(3) {
			o := small(Default(Pairs), address)
			o.Version, o.QoS = version, qos
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatalf("QoS %d: %v", qos, err)
			}
			if !r.Good() || r.Delivered == 0 {
				t.Errorf("QoS %d: %+v", qos, r)
			}
		}
	})
}

// Messages sent one by one all arrive, too.
func TestSingleMessages(t *testing.T) {
	o := small(withQoS(Pairs, 1), broker(t))
	o.Burst = 1
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Good() || r.Delivered < uint64(o.Clients*o.Window) || r.MessagesPerWrite != 1 {
		t.Errorf("%+v", r)
	}
}

// A payload larger than a socket takes at once arrives whole.
func TestLargePayloads(t *testing.T) {
	o := small(Default(Pairs), broker(t))
	o.Clients, o.Size, o.QoS = 2, 256<<10, 1 // a window of 5 MB
	o.Duration = time.Second
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Good() || r.Delivered == 0 {
		t.Errorf("%+v", r)
	}
}

// An open loop keeps its rate.
func TestLatencyKeepsItsRate(t *testing.T) {
	o := small(Default(Latency), broker(t))
	o.Rate, o.Duration = 500, time.Second
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.DeliveriesPerSecond < 300 || r.DeliveriesPerSecond > 600 {
		t.Errorf("%v deliveries a second, want 500", r.DeliveriesPerSecond)
	}
}

// A broker that stands still for a while is charged with every message that was due then, also with those that
// it delivers after the end, and not with the few only that fit the window.
func TestLatencyCountsWhatWasDue(t *testing.T) {
	for _, test := range []struct {
		name      string
		from, to  time.Duration // the broker stands still
		median    time.Duration // no less; half of the messages or more are late by so much
		delivered uint64
	}{
		{"in the middle", 100 * time.Millisecond, 800 * time.Millisecond, 100 * time.Millisecond, 900},
		{"until after the end", 300 * time.Millisecond, 1500 * time.Millisecond, 500 * time.Millisecond, 900},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := small(Default(Latency), loopback.Serve(t, standStill(broker(t), test.from, test.to)))
			o.Clients, o.Window, o.Rate, o.Warmup, o.Duration = 1, 5, 1000, 0, time.Second
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Latency.P50 < test.median || r.Published < test.delivered || r.Delivered != r.Published || !r.Good() {
				t.Errorf("latency %v of %d messages; %+v", r.Latency, r.Delivered, r)
			}
		})
	}
}

// standStill hands on no messages for a while, counted from when the connection is made.
func standStill(broker string, from, to time.Duration) func(net.Conn) {
	return func(client net.Conn) {
		stand, goOn := time.NewTimer(from), time.NewTimer(to)
		between(broker, func(frame []byte) []byte {
			select {
			case <-stand.C:
				<-goOn.C
			default:
			}
			return frame
		})(client)
	}
}

func TestRunTellsWhyItFails(t *testing.T) {
	for _, test := range []struct {
		name, address, says string
	}{
		{"nobody listens", loopback.FreeAddress(t), "connection refused"},
		{"no address", "nowhere", "address"},
		{"broker hangs up", loopback.Serve(t, func(c net.Conn) { io.ReadFull(c, make([]byte, 2)) }), "client"},
		{"broker refuses", loopback.Serve(t, func(c net.Conn) {
			c.Write([]byte{0x20, 2, 0, 5})
			io.Copy(io.Discard, c)
		}), "refuses the connection"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Run(t.Context(), small(Default(Pairs), test.address)); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want %q", err, test.says)
			}
		})
	}
}

// An interrupted run ends at once, in any phase.
func TestRunEndsWithItsContext(t *testing.T) {
	silent := loopback.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	for _, address := range []string{silent, broker(t)} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		o := small(Default(Pairs), address)
		o.Duration = time.Minute
		if _, err := Run(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		cancel()
	}
}

func TestProgressIsTold(t *testing.T) {
	o := small(Default(Pairs), broker(t))
	o.Duration = 2500 * time.Millisecond // two tellings, however slow the connecting was
	var told []Progress
	o.Progress = func(p Progress) { told = append(told, p) }
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	measuring := func(p Progress) bool {
		return p.Phase == "measuring" && p.Connected == 16 && p.PerSecond > 0 && p.P99 > 0
	}
	if !slices.ContainsFunc(told, measuring) {
		t.Errorf("told %+v", told)
	}
}

// Messages that a broker drops are counted, and do not keep the run from ending.
func TestLossIsCounted(t *testing.T) {
	dropping := loopback.Serve(t, dropEveryTenth(broker(t)))
	o := small(Default(Pairs), dropping)
	o.Clients, o.Window = 1, 1000
	o.Warmup, o.Duration = 0, 100*time.Millisecond
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost == 0 || r.Good() || r.Misordered != 0 {
		t.Errorf("%+v", r)
	}
}

// between stands between a client and a broker and hands on, of each packet of the broker, what change makes of it.
func between(broker string, change func(frame []byte) []byte) func(net.Conn) {
	return func(client net.Conn) {
		server, err := net.Dial("tcp", broker)
		if err != nil {
			return
		}
		defer server.Close()
		go func() {
			defer server.Close()
			io.Copy(server, client)
		}()
		var pending []byte
		buffer := make([]byte, 4096)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			var out []byte
			pending, out = changeAll(append(pending, buffer[:n]...), change)
			client.Write(out)
		}
	}
}

// changeAll returns the bytes of an incomplete packet, and what is to be handed on.
func changeAll(in []byte, change func(frame []byte) []byte) (rest, out []byte) {
	for {
		_, body, rest, err := cut(in)
		if err != nil || body == nil {
			return in, out
		}
		out = append(out, change(in[:len(in)-len(rest)])...)
		in = rest
	}
}

func isPublish(frame []byte) bool { return frame[0]&0xF0 == publishByte }

// dropEveryTenth keeps back some messages of a broker.
func dropEveryTenth(broker string) func(net.Conn) {
	return func(client net.Conn) {
		seen := 0
		between(broker, func(frame []byte) []byte {
			if isPublish(frame) {
				seen++
			}
			if isPublish(frame) && seen%10 == 0 {
				return nil
			}
			return frame
		})(client)
	}
}
