package broker

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage/memory"
)

// wantEndAfter waits for the broker to close the connection and checks how long that took.
func wantEndAfter(t *testing.T, c *testClient, want time.Duration) {
	t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(want + time.Hour))
	begun := time.Now()
	var err error
	for err == nil {
		_, err = readPacket(c.nc, c.v)
	}
	if took := time.Since(begun); took < want || took > want+time.Second/10 {
		t.Errorf("closed after %s, want %s (%v)", took, want, err)
	}
}

// A client is closed 1.5 times its keep-alive after its last packet [MQTT5-3.1.2-22] [MQTT311-3.1.2-24];
// pieces of one do not put it off.
func TestKeepAlive(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{})
		c := connected(t, b, v, hello{id: "c", keepAlive: 10})
		for range 5 {
			elapse(14 * time.Second)
			c.wantNothing()
		}
		for _, piece := range []byte{0x30, 0x20} {
			elapse(5 * time.Second)
			c.write([]byte{piece})
		}
		wantEndAfter(t, c, 5*time.Second)
		if got := settled(b).Disconnected["keep_alive_timeout"]; got != 1 {
			t.Errorf("disconnected %v", settled(b).Disconnected)
		}
	})
}

// Without keep-alive a client may be silent for ever; a limit is in force where it can be told.
func TestNoKeepAlive(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{})
		c := connected(t, b, v, hello{id: "c"})
		elapse(1000 * time.Hour)
		c.wantNothing()
		limited := start(t, setup{limits: func(l *configs.Limits) { l.MaxKeepAlive = 20 }})
		c = pipe(t, limited, v)
		ack := c.connect(hello{id: "c"})
		if v == packet.V5 {
			if ack.Properties.ServerKeepAlive != 20 {
				t.Errorf("server keep alive %d, want 20", ack.Properties.ServerKeepAlive)
			}
			wantEndAfter(t, c, 30*time.Second)
		}
	})
}

// A connection that is not accepted within limits.connect_timeout of its arrival is closed, whatever it waits
// for.
func TestConnectTimeout(t *testing.T) {
	connect := hello{id: "c"}.packet(packet.V5)
	for name, sent := range map[string][]byte{"silent": nil, "half a CONNECT": connect[:9], "an authenticator that thinks": connect} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				think := make(chan struct{})
				b := start(t, setup{
					limits: func(l *configs.Limits) { l.ConnectTimeout = 10 * time.Second },
					hooks: []hooks.Hook{authenticate{"thinks", func(*hooks.Client, hooks.Credentials) hooks.Decision {
						<-think
						return pass
					}}},
				})
				defer close(think)
				near, far := net.Pipe()
				defer near.Close()
				b.Attach(far, listener.Peer{Listener: "tls", Accepted: time.Now().Add(-4 * time.Second)}) // a slow handshake
				c := &testClient{t: t, nc: near, v: packet.V5}
				if sent != nil {
					c.write(sent)
				}
				wantEndAfter(t, c, 6*time.Second)
				if got := settled(b).Refused["connect_timeout"]; got != 1 {
					t.Errorf("refused %v", settled(b).Refused)
				}
			})
		})
	}
}

// A client byte by byte within the time is no slower than any other; one that goes on too long is closed.
func TestSlowConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{limits: func(l *configs.Limits) { l.ConnectTimeout = 10 * time.Second }})
		script := hello{id: "c"}.packet(packet.V5)
		c := pipe(t, b, packet.V5)
		for i := range script {
			elapse(time.Second / 10)
			c.write(script[i : i+1])
		}
		c.want(packet.CONNACK)
		begun := time.Now()
		loris := pipe(t, b, packet.V5)
		for i := range script {
			if _, err := loris.nc.Write(script[i : i+1]); err != nil {
				break
			}
			elapse(time.Second)
		}
		if took := time.Since(begun); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("closed after %s, want 10 s", took)
		}
	})
}

// A restarter is a broker that is stopped, time passes, and another goes on with what the store kept.
func restart(t *testing.T, b *Broker, store *memory.Store, away time.Duration) (*Broker, *memory.Store) {
	t.Helper()
	stop(t, b)
	elapse(away)
	store = store.Reopen()
	return start(t, setup{store: store}), store
}

// A session's expiry counts on while the broker is away.
func TestSessionExpiryAcrossARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		b := startOnly(t, setup{store: store})
		for _, expiry := range []uint32{50, 200, 0xFFFFFFFF} {
			id := fmt.Sprint(expiry)
			c := connected(t, b, packet.V5, hello{id: id, resume: true, expiry: expiry})
			c.subscribe(1, "a")
			c.nc.Close()
		}
		synctest.Wait()
		elapse(20 * time.Second)
		b, store = restart(t, b, store, 40*time.Second)
		synctest.Wait()
		if got := settled(b); got.Sessions != 2 || got.Subscriptions != 2 {
			t.Errorf("%d sessions, %d subscriptions after 60 s, want 2", got.Sessions, got.Subscriptions)
		}
		elapse(150 * time.Second)
		if got := settled(b); got.Sessions != 1 || got.SessionsExpired != 2 {
			t.Errorf("%d sessions after 210 s, %d expired", got.Sessions, got.SessionsExpired)
		}
		b, _ = restart(t, b, store, 10*365*24*time.Hour)
		if got := settled(b).Sessions; got != 1 {
			t.Errorf("%d sessions after ten years, want the one that never ends", got)
		}
	})
}

// A will's delay counts on while the broker is away, and the will is published once.
func TestWillDelayAcrossARestart(t *testing.T) {
	for _, away := range []time.Duration{10 * time.Second, 100 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memory.New()
				b := startOnly(t, setup{store: store})
				connected(t, b, packet.V5, hello{id: "watch", resume: true, expiry: 10_000}).subscribe(1, "will")
				connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 10_000,
					will: &testWill{topic: "will", payload: "gone", qos: 1, delay: 60}}).nc.Close()
				synctest.Wait()
				b, store = restart(t, b, store, away)
				watch := connected(t, b, packet.V5, hello{id: "watch", resume: true, expiry: 10_000})
				if away < time.Minute {
					watch.wantNothing()
					elapse(55 * time.Second)
				}
				watch.ack(packet.PUBACK, watch.wantMessage("will", "gone").PacketID)
				synctest.Wait()
				b, _ = restart(t, b, store, time.Hour/2)
				connected(t, b, packet.V5, hello{id: "watch", resume: true, expiry: 10_000}).wantNothing()
			})
		})
	}
}

// A will that was due when the broker stopped under its client is published by the broker that goes on, if the
// client's session lives and it is delayed, and by the one that stops if not [MQTT5-3.1.2-8].
func TestWillsAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		b := startOnly(t, setup{store: store})
		connected(t, b, packet.V5, hello{id: "watch", resume: true, expiry: 10_000}).subscribe(1, "will/#")
		for name, delay := range map[string]uint32{"now": 0, "later": 60} {
			connected(t, b, packet.V5, hello{id: name, resume: true, expiry: 10_000,
				will: &testWill{topic: "will/" + name, payload: "x", qos: 1, delay: delay}})
		}
		b, _ = restart(t, b, store, time.Second)
		watch := connected(t, b, packet.V5, hello{id: "watch", resume: true, expiry: 10_000})
		watch.wantMessage("will/now", "x")
		watch.wantNothing()
		elapse(time.Minute)
		watch.wantMessage("will/later", "x")
	})
}

// A client that says goodbye and is back before its old socket is closed has no will published
// [MQTT5-3.1.2-10] [MQTT311-3.1.2-10].
func TestNoWillOfAClientThatIsBackAtOnce(t *testing.T) {
	for _, resume := range []bool{true, false} {
		t.Run(fmt.Sprintf("resume %v", resume), func(t *testing.T) {
			for _, v := range bothVersions {
				b := start(t, setup{})
				watch := connected(t, b, v, hello{id: "watch"})
				watch.subscribe(0, "will")
				first := dial(t, b, v, 0)
				first.connect(hello{id: "c", resume: resume, expiry: 100, will: &testWill{topic: "will", payload: "x"}})
				first.disconnect() // over TCP the broker lingers for the client to close
				until(t, "DISCONNECT was read", connOf(t, b, "c").stopped)
				second := dial(t, b, v, 0)
				second.connect(hello{id: "c", resume: resume, expiry: 100})
				second.wantNothing()
				watch.wantNothing()
			}
		})
	}
}

// A new session of a client does not suffer from the end of its old one, however long that takes.
func TestANewSessionSurvivesTheEndOfTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ending := make(chan struct{})
		var slow atomic.Bool
		store := memory.New()
		b := startOnly(t, setup{store: store, hooks: []hooks.Hook{authorizePublish{"slow", func(_ *hooks.Client, topic string) hooks.Decision {
			if topic == "will" && slow.Load() {
				<-ending
			}
			return pass
		}}}})
		c := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 10, will: &testWill{topic: "will", payload: "x", delay: 20}})
		c.nc.Close()
		slow.Store(true)
		elapse(11 * time.Second) // the session has expired; its will is on the way
		again := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 1000})
		again.subscribe(1, "a")
		close(ending)
		synctest.Wait()
		from := connected(t, b, packet.V5, hello{id: "from"})
		from.ask(1, 1, "a", "x")
		from.wantAck(packet.PUBACK, 1, packet.Success)
		again.wantMessage("a", "x")
		b, _ = restart(t, b, store, time.Second)
		again = pipe(t, b, packet.V5)
		if ack := again.connect(hello{id: "c", resume: true, expiry: 1000}); !ack.SessionPresent {
			t.Error("the new session is gone after a restart")
		}
		again.wantMessage("a", "x")
	})
}

// A clean start ends what it replaces, the messages that waited for it included, and they are counted.
func TestACleanStartForgetsTheQueue(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{})
		c := connected(t, b, v, hello{id: "c", resume: true, expiry: 1000})
		c.subscribe(1, "a")
		c.nc.Close()
		synctest.Wait()
		from := connected(t, b, v, hello{id: "from"})
		for id := range uint16(3) {
			from.ask(1, id+1, "a", "x")
			from.wantAck(packet.PUBACK, id+1, packet.Success)
		}
		connected(t, b, v, hello{id: "c"}).wantNothing()
		synctest.Wait()
		s := settled(b)
		if s.QueuedMessages != 0 || s.QueuedBytes != 0 || s.Subscriptions != 0 || s.Dropped[hooks.DropSessionEnded] != 3 {
			t.Errorf("queued %d (%d bytes), %d subscriptions, %d dropped; want 0, 0, 0, 3",
				s.QueuedMessages, s.QueuedBytes, s.Subscriptions, s.Dropped[hooks.DropSessionEnded])
		}
	})
}

// Shutdown tells MQTT 5 clients, lets everybody read what was sent, and leaves no connection.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startOnly(t, setup{})
		var all []*testClient
		for i, v := range []packet.Version{packet.V31, packet.V311, packet.V5} {
			all = append(all, connected(t, b, v, hello{id: fmt.Sprint("c", i)}))
			all[i].subscribe(0, "a")
		}
		b.Publish(&packet.Message{Topic: "a", Payload: []byte("last words")}, nil)
		done := make(chan struct{})
		go func() { stop(t, b); close(done) }()
		for _, c := range all {
			c.wantMessage("a", "last words")
			if c.v == packet.V5 {
				c.wantDisconnect(packet.ServerShuttingDown)
			} else {
				c.wantClosed()
			}
		}
		<-done
		if err := b.Shutdown(t.Context()); err != nil {
			t.Errorf("the second time: %v", err)
		}
		near, far := net.Pipe()
		b.Attach(far, listener.Peer{})
		if _, err := near.Read(make([]byte, 1)); err == nil {
			t.Error("a connection was taken after the end")
		}
	})
}

// Shutdown does not wait longer than it is allowed to for a client that reads nothing, and nothing goes on
// for long after it.
func TestShutdownWithAStuckClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startOnly(t, setup{})
		stuck := connected(t, b, packet.V5, hello{id: "stuck"})
		pipe(t, b, packet.V5) // says nothing
		stuck.subscribe(0, "a")
		b.Publish(&packet.Message{Topic: "a", Payload: []byte("x")}, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		if err := b.Shutdown(ctx); err == nil {
			t.Error("no word of the client that was still there")
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("took %s, allowed 2 s", took)
		}
		elapse(drainTime)
		if n := len(b.connections.all()); n != 0 {
			t.Errorf("%d connections %s later", n, drainTime)
		}
	})
}
