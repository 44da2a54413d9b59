package client

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/penstockmq/penstock/broker/packet"
)

// A workplace runs Consume and gives its deliveries to the test.
type workplace struct {
	deliveries chan *Delivery
	finish     chan error // what Work returns, once ctx has ended or at once for an error
	stop       context.CancelFunc
	result     chan error
}

func consume(t *testing.T, o Options, c Consumption) *workplace {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	w := &workplace{deliveries: make(chan *Delivery), finish: make(chan error, 1), stop: stop, result: make(chan error, 1)}
	c.Work = func(ctx context.Context, deliveries <-chan *Delivery) error {
		for {
			select {
			case d := <-deliveries:
				w.deliveries <- d
			case <-ctx.Done():
				return <-w.finish
			case err := <-w.finish:
				return err
			}
		}
	}
	go func() { w.result <- Consume(ctx, o, c) }()
	t.Cleanup(func() {
		stop()
		select {
		case w.finish <- nil:
		default:
		}
	})
	return w
}

func (w *workplace) take(t *testing.T, n int) []*Delivery {
	t.Helper()
	var taken []*Delivery
	for range n {
		select {
		case d := <-w.deliveries:
			taken = append(taken, d)
		case <-time.After(20 * time.Second):
			t.Fatal("no delivery")
		}
	}
	return taken
}

// acks reads acknowledgements.
func (s *scripted) acks(n int) (ids []uint16) {
	s.t.Helper()
	for range n {
		switch p := s.read().(type) {
		case *packets.Puback:
			ids = append(ids, p.PacketID)
		case *packets.Pubrec:
			ids = append(ids, p.PacketID)
		default:
			s.t.Fatalf("expected an acknowledgement, got %v", p)
		}
	}
	return ids
}

// Acknowledgements go out in the order of the messages, whatever order they are settled in, except
// to a channel. [MQTT5-4.6.0-2] [MQTT5-4.6.0-3]
func TestOrderOfAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		filter string
		qos    byte
		want   []uint16
	}{{"a", 1, []uint16{1, 2, 3}}, {"$share/g/a", 2, []uint16{1, 2, 3}}, {"$channel/c", 1, []uint16{3, 2, 1}}} {
		s := startScripted(t)
		w := consume(t, options(t, MQTT5, s.endpoint()), Consumption{Filters: []Filter{{Filter: c.filter, QoS: 1}}, Window: 3})
		if got := s.accept(true).Properties.ReceiveMaximum; got == nil || *got != 3 {
			t.Errorf("Receive Maximum %v for a window of 3", got)
		}
		s.publish(c.qos, 1, 2, 3)
		taken := w.take(t, 3)
		slices.Reverse(taken)
		for _, d := range taken {
			d.Ack()
			d.Ack() // the second is nothing
			d.Refuse(packet.UnspecifiedError, "too late", 0)
		}
		if got := s.acks(3); !slices.Equal(got, c.want) {
			t.Errorf("%s: acknowledged %d, want %d", c.filter, got, c.want)
		}
	}
}

// A refusal carries its code, its reason and when to try again; what is left is passed over.
func TestRefuseAndLeave(t *testing.T) {
	s := startScripted(t)
	w := consume(t, options(t, MQTT5, s.endpoint()), Consumption{Filters: []Filter{{Filter: "a", QoS: 2}}, Window: 9})
	s.accept(true)
	s.publish(1, 1, 2)
	s.publish(2, 3)
	taken := w.take(t, 3)
	taken[0].Leave()
	taken[2].Refuse(packet.QuotaExceeded, "", 0)
	taken[1].Refuse(packet.UnspecifiedError, "503 Service Unavailable", 2500*time.Millisecond)
	if rec, ok := s.read().(*packets.Pubrec); !ok || rec.PacketID != 3 || rec.ReasonCode != byte(packet.QuotaExceeded) {
		t.Errorf("got %v", rec)
	}
	ack, ok := s.read().(*packets.Puback)
	if !ok || ack.PacketID != 2 || ack.ReasonCode != 0x80 || ack.Properties.ReasonString != "503 Service Unavailable" {
		t.Fatalf("got %v", ack)
	}
	if want := (packets.User{Key: "retry-after", Value: "2.5"}); len(ack.Properties.User) != 1 || ack.Properties.User[0] != want {
		t.Errorf("got %v, want %v", ack.Properties.User, want)
	}
}

// After a lost connection what was not settled is void, and settling it says nothing to the new connection.
func TestALostConnectionTakesItsDeliveriesBack(t *testing.T) {
	s := startScripted(t)
	w := consume(t, options(t, MQTT5, s.endpoint()), Consumption{Filters: []Filter{{Filter: "$channel/c", QoS: 1}}, Window: 9})
	s.accept(true)
	s.publish(1, 1, 2)
	old := w.take(t, 2)
	if old[0].Void() {
		t.Error("void while its connection stands")
	}
	s.hangUp()
	s.accept(true)
	s.publish(1, 7)
	again := w.take(t, 1)
	if !old[0].Void() || again[0].Void() {
		t.Errorf("void: %t of the lost connection, %t of the new one", old[0].Void(), again[0].Void())
	}
	AckAll([]*Delivery{old[0], old[1], again[0]})
	if got := s.acks(1); got[0] != 7 {
		t.Errorf("acknowledged %d, want 7", got)
	}
}

// When ctx ends, Work can settle what it has before the connection does.
func TestWorkIsFinishedBeforeTheConnection(t *testing.T) {
	s := startScripted(t)
	w := consume(t, options(t, MQTT5, s.endpoint()), Consumption{Filters: []Filter{{Filter: "a", QoS: 1}}, Window: 9})
	s.accept(true)
	s.publish(1, 1)
	d := w.take(t, 1)[0]
	w.stop()
	d.Ack()
	w.finish <- nil
	if got := s.acks(1); got[0] != 1 {
		t.Errorf("acknowledged %d", got)
	}
	if _, ok := s.read().(*packets.Disconnect); !ok {
		t.Error("no DISCONNECT")
	}
	if err := <-w.result; err != nil {
		t.Error(err)
	}
}

// An error of Work ends Consume, and acknowledges nothing.
func TestWorkThatFails(t *testing.T) {
	s := startScripted(t)
	w := consume(t, options(t, MQTT5, s.endpoint()), Consumption{Filters: []Filter{{Filter: "a", QoS: 1}}, Window: 9})
	s.accept(true)
	s.publish(1, 1)
	w.take(t, 1)
	full := errors.New("the disk is full")
	w.finish <- full
	if p, ok := s.read().(*packets.Disconnect); !ok {
		t.Errorf("got %v, want DISCONNECT", p)
	}
	if err := <-w.result; !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

// Every version holds acknowledgements back until they are given: what is not acknowledged comes again.
func TestUnsettledComesAgain(t *testing.T) {
	f := startForeign(t)
	for _, v := range versions {
		o := options(t, v, f.tcp)
		o.Clean = false
		if v == MQTT5 {
			o.SessionExpiry = 100
		}
		c := Consumption{Filters: []Filter{{Filter: "a/#", QoS: 2}}, Window: 10}
		ready := make(chan struct{}, 1)
		c.Ready = func() { ready <- struct{}{} }
		w := consume(t, o, c)
		<-ready
		name := "a/" + o.ClientID
		for qos := range byte(2) {
			if err := publish(t, options(t, v, f.tcp), Message{Topic: name, QoS: qos + 1}, "1", "2"); err != nil {
				t.Fatal(err)
			}
		}
		taken := w.take(t, 4)
		AckAll([]*Delivery{taken[0], taken[2]})
		w.stop()
		w.finish <- nil
		if err := <-w.result; err != nil {
			t.Fatal(err)
		}
		f.waitLeft(t, o.ClientID)
		w = consume(t, o, c)
		again := w.take(t, 2)
		for _, d := range again {
			if string(d.Payload) != "2" {
				t.Errorf("version %d: got %s with QoS %d", v, d.Payload, d.QoS)
			}
		}
		if again[0].QoS == again[1].QoS {
			t.Errorf("version %d: got QoS %d twice", v, again[0].QoS)
		}
		w.stop()
	}
}

// A watchedConn knows of writes that are not under its lock.
type watchedConn struct {
	net.Conn
	mu                sync.Mutex
	written, unlocked int
}

func (w *watchedConn) Lock()   { w.mu.Lock() }
func (w *watchedConn) Unlock() { w.mu.Unlock() }

func (w *watchedConn) Write(b []byte) (int, error) {
	w.written++
	if w.mu.TryLock() {
		w.unlocked++
		w.mu.Unlock()
	}
	return len(b), nil
}

// What settles messages holds the connection's lock while it writes: Paho, which answers PUBREL meanwhile, writes
// the header of its PUBCOMP first and the rest of it behind that.
func TestSettlingWritesUnderTheLock(t *testing.T) {
	conn := new(watchedConn)
	state := newState()
	defer state.close()
	if err := state.mqtt5.ConAckReceived(conn, &packets.Connect{}, &packets.Connack{}); err != nil {
		t.Fatal(err)
	}
	l := &link5{conn: conn, session: &session5{State: state.mqtt5}, pinger: paho.NewDefaultPinger()}
	var settlements []settlement
	for qos := byte(1); qos <= 2; qos++ {
		for _, r := range []*refusal{nil, {code: packet.UnspecifiedError}} {
			p := &packets.Publish{QoS: qos, PacketID: uint16(len(settlements) + 1)}
			settlements = append(settlements, settlement{receipt{mqtt5: p}, r})
		}
	}
	if err := l.settle(settlements); err != nil {
		t.Fatal(err)
	}
	if conn.written == 0 || conn.unlocked > 0 {
		t.Errorf("%d of %d writes without the lock", conn.unlocked, conn.written)
	}
}

// A publisher that reconnects sends again what was not acknowledged, in order and with the same message-id.
func TestPublishReconnects(t *testing.T) {
	s := startScripted(t)
	sources := make(chan []byte, 3)
	for _, p := range []string{"1", "2", "3"} {
		sources <- []byte(p)
	}
	close(sources)
	done, result := make(chan int, 1), make(chan error, 1)
	go func() {
		n, err := Publish(t.Context(), options(t, MQTT5, s.endpoint()), Publication{
			Message: Message{Topic: "a", QoS: 1}, Window: 3, MessageID: true, Reconnect: true,
			Source: AtMost(3, func() ([]byte, error) { return <-sources, nil }),
		})
		done <- n
		result <- err
	}()
	s.accept(false)
	ids := map[string]string{}
	receive := func(want string) uint16 {
		t.Helper()
		p, ok := s.read().(*packets.Publish)
		if !ok || string(p.Payload) != want || len(p.Properties.User) != 1 || p.Properties.User[0].Key != "message-id" {
			t.Fatalf("got %v, want %s", p, want)
		}
		id := p.Properties.User[0].Value
		if known, sent := ids[want]; sent && known != id {
			t.Errorf("%s has message-id %s, had %s", want, id, known)
		}
		ids[want] = id
		return p.PacketID
	}
	first := receive("1")
	receive("2")
	receive("3")
	s.write(&packets.Puback{PacketID: first, Properties: &packets.Properties{}})
	s.hangUp()
	s.accept(false)
	for _, want := range []string{"2", "3"} {
		s.write(&packets.Puback{PacketID: receive(want), Properties: &packets.Properties{}})
	}
	if n := <-done; n != 3 {
		t.Errorf("%d were acknowledged", n)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if ids["2"] == ids["3"] {
		t.Error("two messages have the same message-id")
	}
}
