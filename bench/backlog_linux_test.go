package bench

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ours "github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/auth"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/test/loopback"
)

// penstock serves in the test's process, with sessions in memory.
func penstock(t *testing.T) (*ours.Broker, string) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	anyone, err := auth.NewAnonymous(auth.AnonymousOptions{Policy: auth.Policy("always")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := ours.New(ours.Options{
		Limits: configs.Default().Limits, Store: memory.New(), Hooks: []hooks.Hook{anyone}, Log: log, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listener.Open(configs.Listener{Name: "test", Type: "tcp", Address: "127.0.0.1:0"}, listener.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(b.Attach) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := b.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return b, l.Addr().String()
}

// smallBacklog is a backlog of a test's size.
func smallBacklog(address string) Options {
	o := small(Default(Backlog), address)
	o.Clients, o.Subscribers, o.Messages = 3, 2, 500
	return o
}

// A backlog is measured from the first message to the last that is read, with nothing lost and no session left behind.
func TestBacklog(t *testing.T) {
	versions(t, func(t *testing.T, version byte) {
		b, address := penstock(t)
		for _, everyone := range []bool{false, true} {
			o := smallBacklog(address)
			o.Version, o.Everyone, o.QoS = version, everyone, 1+version%2
			o.Data, o.Settle = t.TempDir(), 150*time.Millisecond
			if err := os.WriteFile(filepath.Join(o.Data, "f"), make([]byte, 10_000), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			checkBacklog(t, &r)
			nothingLeft(t, b)
		}
	})
}

// nothingLeft returns once the broker has no session and no message any more. It hears of the last DISCONNECT after a run's end.
func nothingLeft(t *testing.T, b *ours.Broker) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for end := time.After(10 * time.Second); ; {
		stats := b.Stats()
		if stats.Sessions == 0 && stats.QueuedMessages == 0 {
			return
		}
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("%d sessions and %d messages are left behind", stats.Sessions, stats.QueuedMessages)
		}
	}
}

func checkBacklog(t *testing.T, r *Result) {
	t.Helper()
	delivered := uint64(r.Options.Messages)
	if r.Options.Everyone {
		delivered *= uint64(r.Options.Subscribers)
	}
	b := r.Backlog
	if !r.Good() || b.Growth.Published != 500 || b.Growth.Delivered != 0 || b.Drain.Delivered != delivered || r.Delivered != delivered {
		t.Errorf("%+v, %+v", r, b)
	}
	if b.Growth.PerSecond() <= 0 || b.Drain.PerSecond() <= 0 || b.Growth.GeneratorMicros() <= 0 || b.Anonymous <= 0 || b.AnonymousPeak < b.Anonymous {
		t.Errorf("%+v", b)
	}
	if r.Acknowledged.P50 <= 0 || r.Acknowledged.Max > time.Minute {
		t.Errorf("acknowledged in %v", r.Acknowledged)
	}
	if b.DiskQueued < 10_000 || b.DiskSettled < 10_000 || b.SettleSeconds < 0.15 || len(b.Disk) == 0 {
		t.Errorf("disk: %+v", b)
	}
	var text strings.Builder
	if err := r.Write(&text); err != nil || !strings.Contains(text.String(), "500 in") || !strings.Contains(r.Line(), "acknowledged/s") {
		t.Errorf("written: %s, error %v", text.String(), err)
	}
}

// Nothing in the disk's size keeps a run waiting once it is small enough.
func TestSettleEndsBelowItsGoal(t *testing.T) {
	_, address := penstock(t)
	o := smallBacklog(address)
	o.Data, o.Settle, o.SettleBelow = t.TempDir(), time.Minute, 1<<30
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Backlog.SettleSeconds > 10 {
		t.Errorf("watched for %v s", r.Backlog.SettleSeconds)
	}
}

// What a broker loses, repeats or shuffles of a backlog is counted exactly.
func TestBacklogFaults(t *testing.T) {
	for _, test := range []struct {
		name                       string
		change                     func(count int, frame []byte, kept *[]byte) []byte
		lost, misordered, repeated uint64
	}{
		{"every tenth is dropped", func(n int, frame []byte, _ *[]byte) []byte {
			if n%10 == 0 {
				return nil
			}
			return frame
		}, 50, 0, 0},
		{"the fifth comes again", func(n int, frame []byte, _ *[]byte) []byte {
			if n == 5 {
				return append(frame, frame...)
			}
			return frame
		}, 0, 0, 1},
		{"the seventh comes behind the eighth", func(n int, frame []byte, kept *[]byte) []byte {
			switch n {
			case 7:
				*kept = append([]byte(nil), frame...)
				return nil
			case 8:
				return append(frame, *kept...)
			}
			return frame
		}, 0, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // each waits for what does not come
			_, address := penstock(t)
			faulty := loopback.Serve(t, func(client net.Conn) {
				n, kept := 0, []byte(nil)
				between(address, func(frame []byte) []byte {
					if !isPublish(frame) {
						return frame
					}
					n++
					return test.change(n, append([]byte(nil), frame...), &kept)
				})(client)
			})
			o := smallBacklog(faulty)
			o.Clients, o.Subscribers = 1, 1
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Lost != test.lost || r.Misordered != test.misordered || r.Repeated != test.repeated || r.Good() {
				t.Errorf("%d lost, %d out of order, %d repeated", r.Lost, r.Misordered, r.Repeated)
			}
		})
	}
}

// A broker that comes back without its sessions has forgotten and lost everything, which is a result and no error.
func TestBacklogForgotten(t *testing.T) {
	_, first := penstock(t)
	_, second := penstock(t)
	var target atomic.Pointer[string]
	target.Store(&first)
	o := smallBacklog(loopback.Serve(t, func(client net.Conn) {
		between(*target.Load(), func(frame []byte) []byte { return frame })(client)
	}))
	o.Restart = func(context.Context) (Restarted, error) {
		target.Store(&second)
		return Restarted{PIDs: []int{os.Getpid()}, Ready: time.Millisecond}, nil
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Forgotten != 2 || r.Lost != 500 || r.Good() || r.Ready != time.Millisecond || r.AnonymousReady <= 0 {
		t.Errorf("%+v, %+v", r, r.Backlog)
	}
	if !strings.Contains(r.trouble(), "500 lost") || !strings.Contains(r.trouble(), "2 sessions forgotten") {
		t.Error(r.trouble())
	}
}

// Sessions that outlive their connections are ended after a run, whatever its scenario, and even if it was interrupted.
func TestDurableSessionsAreEnded(t *testing.T) {
	b, address := penstock(t)
	o := small(withQoS(Pairs, 1), address)
	o.Durable = true
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Good() || r.Delivered == 0 || r.Acknowledged.P50 <= 0 {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	o.Duration = time.Minute
	if _, err := Run(ctx, o); err == nil {
		t.Error("an interrupted run has a result")
	}
	nothingLeft(t, b)
}

// One publisher is measured in turns with a plain file, which is removed.
func TestLone(t *testing.T) {
	b, address := penstock(t)
	o := small(Default(Lone), address)
	above := t.TempDir()
	o.Data = filepath.Join(above, "data")
	if err := os.Mkdir(o.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	l := r.Lone
	if l.Messages < turnLen || l.Broker <= 0 || l.Plain <= 0 || l.Ratio <= 0 || l.Append.P50 <= 0 || r.Acknowledged.P50 <= 0 {
		t.Errorf("%+v, %+v", r, l)
	}
	// Publishing begins at once in each turn, and waits for no other event.
	if l.Broker > tick/turnLen {
		t.Errorf("%v a message, of a broker that stores nothing", l.Broker)
	}
	nothingLeft(t, b)
	if left, err := os.ReadDir(above); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, error %v", left, err)
	}
}

// A data folder that is not there ends the run with the reason.
func TestLoneNeedsItsFolder(t *testing.T) {
	_, address := penstock(t)
	o := small(Default(Lone), address)
	o.Data = filepath.Join(t.TempDir(), "nothing", "data")
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "plain file") {
		t.Errorf("error %v", err)
	}
}

// A connection is counted as gone when a run hangs up, and its next one starts from nothing.
func TestHangUp(t *testing.T) {
	o := small(Default(Pairs), loopback.Serve(t, func(c net.Conn) { io.Copy(io.Discard, c) }))
	r, err := newRun(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.loop.close()
	if err := r.loop.open(0); err != nil {
		t.Fatal(err)
	}
	c := r.loop.conns[0]
	r.loop.hangUp(r.loop.conns, resume)
	if c.fd != -1 || c.unsent != nil || c.client.purpose != resume {
		t.Errorf("%+v, %+v", c, c.client)
	}
	r.loop.hangUp(r.loop.conns, forget) // twice is harmless
}
