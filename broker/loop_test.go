package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// drivers are the ways to serve a TCP connection, by the setting that chooses them.
var drivers = map[string]int{"loop": 1, "loops": 3, "goroutine": configs.NoEventLoops}

// eachDriver runs a test over TCP with each way.
func eachDriver(t *testing.T, s setup, f func(t *testing.T, b *Broker)) {
	t.Helper()
	for name, count := range drivers {
		t.Run(name, func(t *testing.T) {
			own, more := s, s.limits
			own.limits = func(l *configs.Limits) {
				l.EventLoops = count
				if more != nil {
					more(l)
				}
			}
			f(t, start(t, own))
		})
	}
}

// here is dial and a CONNECT that is accepted.
func here(t testing.TB, b *Broker, v packet.Version, h hello) *testClient {
	t.Helper()
	c := dial(t, b, v, 0)
	c.connect(h)
	return c
}

// A client that shuts its side down gets the answers to all it has sent, and then the end of ours.
func TestAHalfClosedClientIsAnswered(t *testing.T) {
	eachDriver(t, setup{}, func(t *testing.T, b *Broker) {
		c := here(t, b, packet.V5, hello{id: "c"})
		for id := range uint16(100) {
			c.ask(1, id+1, "a", "x")
		}
		if err := c.nc.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for id := range uint16(100) {
			c.wantAck(packet.PUBACK, id+1, packet.NoMatchingSubscribers)
		}
		if _, err := c.read(); !errors.Is(err, io.EOF) {
			t.Errorf("read: %v, want the end", err)
		}
	})
}

// A client that vanishes with a reset has its will published.
func TestAResetPublishesTheWill(t *testing.T) {
	eachDriver(t, setup{}, func(t *testing.T, b *Broker) {
		heir := here(t, b, packet.V5, hello{id: "heir"})
		heir.subscribe(1, "will")
		c := here(t, b, packet.V5, hello{id: "c", will: &testWill{topic: "will", payload: "gone", qos: 1}})
		if err := c.nc.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.nc.Close()
		heir.wantMessage("will", "gone")
		until(t, "it is counted", func() bool { return b.Stats().Disconnected["connection_lost"] == 1 })
	})
}

// A client reads what it was told before the connection is closed, although it goes on sending.
func TestTheLastWordIsHeard(t *testing.T) {
	eachDriver(t, setup{}, func(t *testing.T, b *Broker) {
		c := here(t, b, packet.V5, hello{id: "c"})
		more := bytes.Repeat(framed(packet.PINGREQ, 0, nil), 50_000)
		c.write(append(framed(packet.CONNECT, 0, nil), more...)) // a second CONNECT
		c.wantDisconnect(packet.ProtocolError)
	})
}

// A hook that panics ends the connection it was asked about; others of the same loop go on, also those whose packets
// came with its own.
func TestAPanicIsOneConnectionsOnly(t *testing.T) {
	boom := authorizePublish{"boom", func(_ *hooks.Client, topic string) hooks.Decision { explode(topic); return pass }}
	eachDriver(t, setup{hooks: []hooks.Hook{boom}}, func(t *testing.T, b *Broker) {
		witness, victim := here(t, b, packet.V5, hello{id: "witness"}), here(t, b, packet.V5, hello{id: "victim"})
		witness.subscribe(1, "#")
		for id := range uint16(20) {
			witness.ask(1, id+1, "a", "x")
			if id == 10 {
				victim.say("boom", "x")
			}
		}
		for range 40 { // each message and its acknowledgement
			if _, err := witness.read(); err != nil {
				t.Fatal(err)
			}
		}
		victim.wantDisconnect(packet.ImplementationError)
	})
}

// Somebody who sends without a pause does not keep others waiting.
func TestAFloodLeavesRoom(t *testing.T) {
	eachDriver(t, setup{}, func(t *testing.T, b *Broker) {
		flood, other := here(t, b, packet.V5, hello{id: "flood"}), here(t, b, packet.V5, hello{id: "other"})
		batch := bytes.Repeat(packet.AppendPublish(nil, packet.V5, &packet.Outgoing{Topic: "a", Payload: make([]byte, 64)}), 1000)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					flood.nc.Write(batch)
				}
			}
		}()
		for range 50 {
			other.wantNothing()
		}
		close(stop)
		<-stopped
	})
}

// One round takes no more than one buffer from a connection, and hands on what each has published, although all
// read into the same buffer.
func TestARoundIsBoundedAndSharesItsBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{limits: func(l *configs.Limits) { l.EventLoops = configs.NoEventLoops }})
		p := &heapPoller{}
		l := newLoop(b, p)
		to := p.connect(t, l, hello{id: "to"})
		to.feed(subscribePacket(packet.V311, 1, 0, "#"))
		one := p.connect(t, l, hello{id: "one"})
		others := p.connectAll(t, l, loopFew)
		p.sockets[one.socket].in = bytes.Repeat(say("of one"), 2*len(l.buf)/len(say("of one")))
		for _, o := range others {
			p.sockets[o.socket].in = say("of two")
		}
		p.sockets[to.socket].out = nil
		l.wait()
		l.collect()
		l.round()
		if left := len(p.sockets[one.socket].in); left < len(l.buf)/2 || len(l.more) != 1 {
			t.Errorf("%d bytes left, %d connections for the next round; want about %d and 1", left, len(l.more), len(l.buf))
		}
		got := p.sockets[to.socket].out
		if n := bytes.Count(got, say("of one")); n != len(l.buf)/len(say("of one")) || !bytes.HasSuffix(got, bytes.Repeat(say("of two"), len(others))) {
			t.Errorf("%d messages of one, and at the end %q", n, got[max(0, len(got)-20):])
		}
	})
}

// What a client has sent is not kept for the others that are ready while they are few, and written with theirs when they are many.
func TestAFewAreNotGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{limits: func(l *configs.Limits) { l.EventLoops = configs.NoEventLoops }})
		p := &heapPoller{}
		l := newLoop(b, p)
		to := p.connect(t, l, hello{id: "to"})
		to.feed(subscribePacket(packet.V311, 1, 0, "#"))
		all := p.connectAll(t, l, loopFew+1)
		for n := 1; n <= len(all); n++ {
			for _, from := range all[:n] {
				p.sockets[from.socket].in = say("one each")
			}
			s := p.sockets[to.socket]
			s.out, s.writes = nil, 0
			p.round(l)
			want := n
			if n > loopFew {
				want = 1
			}
			if s.writes != want || !bytes.Equal(s.out, bytes.Repeat(say("one each"), n)) {
				t.Errorf("%d were ready: %d bytes in %d writes, want %d in %d", n, len(s.out), s.writes, n*len(say("one each")), want)
			}
		}
	})
}

func say(payload string) []byte {
	return packet.AppendPublish(nil, packet.V311, &packet.Outgoing{Topic: "a", Payload: []byte(payload)})
}

// A client that takes some bytes while the clock runs is slow, and stays; one that takes none is cut off.
func TestTheWriteClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := time.Minute
		b := start(t, setup{limits: func(l *configs.Limits) { l.WriteTimeout = limit }})
		p := &heapPoller{}
		l := newLoop(b, p)
		d := p.connect(t, l, hello{id: "c"})
		s := p.sockets[d.socket]
		s.room = 10
		for range 10 {
			d.feed(framed(packet.PINGREQ, 0, nil))
		}
		p.round(l)
		for i := range 3 {
			s.room, s.happening.room = 1, true
			p.round(l)
			elapse(limit)
			p.round(l)
			if d.stage != atWork {
				t.Fatalf("cut off after %d minutes, in which it took a byte each", i+1)
			}
		}
		elapse(limit)
		p.round(l)
		if d.stage == atWork || !d.c.stopped() {
			t.Error("not cut off")
		}
	})
}

// What cannot be written when a connection ends is given up in time, and so is waiting for the client's end.
func TestAnEndTakesBoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{})
		p := &heapPoller{}
		l := newLoop(b, p)
		d := p.connect(t, l, hello{id: "c"})
		p.sockets[d.socket].room = 1
		d.feed(framed(packet.PINGREQ, 0, nil))
		b.Disconnect("c", packet.ServerBusy, "")
		for _, k := range []struct {
			after time.Duration
			stage loopStage
		}{{0, draining}, {drainTime - time.Second, draining}, {time.Second, lingering}, {lingerTime - 1, lingering}, {1, gone}} {
			elapse(k.after)
			p.round(l)
			if d.stage != k.stage {
				t.Fatalf("stage %d after %v more, want %d", d.stage, k.after, k.stage)
			}
		}
		if p.sockets[d.socket] != nil || !d.c.finished {
			t.Error("not closed")
		}
	})
}
