package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
	"github.com/penstockmq/penstock/test/setting"
)

// A lent message is a copy with room for all that is lent, whatever it was before.
func TestLentMessagesAreCopies(t *testing.T) {
	for n := range lendMax + 1 {
		read := bytes.Repeat([]byte{byte(n)}, n)
		want := packet.Message{
			Topic: fmt.Sprint(n), Payload: read[:n/2], Properties: read[n/2:], Publisher: "p", Received: int64(n), Expires: 7, QoS: 1,
		}
		l := lendMessage(&want)
		got := l.message
		clear(read)
		for i, b := range append(bytes.Clone(got.Payload), got.Properties...) {
			if b != byte(n) {
				t.Fatalf("of %d bytes: %d at %d", n, b, i)
			}
		}
		if len(got.Payload) != n/2 || len(got.Properties) != n-n/2 || cap(got.Payload) != n/2 {
			t.Fatalf("of %d bytes: %d of %d, and %d", n, len(got.Payload), cap(got.Payload), len(got.Properties))
		}
		if got.Topic != want.Topic || got.Publisher != "p" || got.Received != int64(n) || got.Expires != 7 || got.QoS != 1 || got.Retain {
			t.Fatalf("%+v", got)
		}
		l.giveBack()
	}
}

// A message is lent again when nobody holds it, and not before.
func TestGuardLentMessagesComeBack(t *testing.T) {
	guarded(t)
	m := packet.Message{Topic: "a", Payload: []byte("x")}
	if got := testing.AllocsPerRun(100, func() {
		l := lendMessage(&m)
		l.hold()
		l.giveBack()
		other := lendMessage(&m)
		if other == l {
			t.Fatal("a message that is held was lent again")
		}
		other.giveBack()
		l.giveBack()
	}); got > 0 {
		t.Errorf("%v of two messages that nobody holds were not lent again", got)
	}
}

// Who gives back what he did not hold has given somebody else's away.
func TestGivingBackTwicePanics(t *testing.T) {
	l := lendMessage(&packet.Message{Topic: "a"})
	l.giveBack()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	l.giveBack()
}

// Who has a turn's frames made of a message holds it: a later one with the same address is not taken for it.
func TestFramesHoldTheirMessage(t *testing.T) {
	var f frames
	l := lendMessage(&packet.Message{Topic: "a", Payload: []byte("x")})
	f.of(&l.message, l)
	l.giveBack()
	if n := l.holders.Load(); n != 1 {
		t.Fatalf("%d hold the message, want the frames alone", n)
	}
	f.of(&l.message, l)
	if n := l.holders.Load(); n != 1 {
		t.Fatalf("%d hold the message after it was used twice, want the frames alone", n)
	}
	f.reset(nil, nil)
	if n := l.holders.Load(); n != 0 {
		t.Fatalf("%d hold the message that nobody needs", n)
	}
}

// Publishers send to subscribers of every kind: with each QoS and version, whose session ends with the connection or is stored, in a
// shared subscription, slow ones, and ones that vanish with messages unacknowledged. No subscriber ever gets a message that nobody published. With
// the race detector a message that somebody uses without holding it is found for certain.
func TestLentMessagesAreNobodyElses(t *testing.T) {
	for name, loops := range drivers {
		t.Run(name, func(t *testing.T) {
			random := setting.Random(t)
			limits := func(l *configs.Limits) {
				l.EventLoops, l.QueueFull, l.MaxQueueMessages = loops, configs.DropOldest, 300
			}
			x := &exchanged{t: t, b: start(t, setup{store: storagetest.HoldNumberedAsync(memory.New()), limits: limits})}
			x.run(random)
			if n := x.got.Load(); n < lentMessages {
				t.Errorf("%d messages arrived: too few to tell anything", n)
			}
		})
	}
}

const (
	lentPublishers  = 4
	lentSubscribers = 12   // one of each kind
	lentMessages    = 1500 // of each publisher
	lentWindow      = 40
)

// exchanged are messages on their way from publishers to subscribers.
type exchanged struct {
	t   *testing.T
	b   *Broker
	got atomic.Int64
}

func (x *exchanged) run(random *rand.Rand) {
	var subscribing, publishing sync.WaitGroup
	done := make(chan struct{})
	for i := range lentSubscribers {
		r := rand.New(rand.NewPCG(random.Uint64(), 0))
		begun := make(chan struct{})
		subscribing.Go(func() { x.subscriber(i, r, begun, done) })
		<-begun
	}
	for i := range lentPublishers {
		publishing.Go(func() { x.publish(i) })
	}
	publishing.Wait()
	close(done)
	subscribing.Wait()
}

// lentPayload is what publisher p sends as its nth message. It says which it is, and all of its bytes follow from that.
func lentPayload(p, n int) []byte {
	r := rand.New(rand.NewPCG(uint64(p), uint64(n)))
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(p)), uint32(n))
	size := r.IntN(100)
	if n%8 == 0 {
		size = r.IntN(lendMax + 100)
	}
	for range size {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

func lentTopic(p, n int) string { return fmt.Sprintf("lent/%d/%d", p, n%5) }

// publish sends with QoS 1 and 2, as many as the window allows, and waits for all to be acknowledged.
func (x *exchanged) publish(p int) {
	v := bothVersions[p%2]
	c := here(x.t, x.b, v, hello{id: fmt.Sprint("publisher", p)})
	open := 0
	for n := 0; n < lentMessages || open > 0; {
		var out []byte
		for ; n < lentMessages && open < lentWindow; n++ {
			o := packet.Outgoing{Topic: lentTopic(p, n), Payload: lentPayload(p, n), QoS: byte(1 + n%7/6), ID: uint16(n%60_000 + 1)}
			out = packet.AppendPublish(out, v, &o)
			open++
		}
		c.write(out)
		got, err := c.read()
		if err != nil {
			x.t.Errorf("publisher %d: %v", p, err)
			return
		}
		switch packet.Type(got.FixedHeader.Type) {
		case packet.PUBREC:
			c.ack(packet.PUBREL, got.PacketID)
		case packet.PUBACK, packet.PUBCOMP:
			open--
		}
	}
	c.disconnect()
}

// subscriber is one that comes again and again until done.
func (x *exchanged) subscriber(i int, random *rand.Rand, begun, done chan struct{}) {
	h := hello{id: fmt.Sprint("subscriber", i), receiveMax: uint16(1 + random.IntN(lentWindow))}
	filter := "lent/#"
	qos, stored, shared := byte(i%3), i/3%2 == 1, i/6%2 == 1
	if stored {
		h.resume, h.expiry = true, 1000
	}
	if shared {
		filter = "$share/g/lent/#"
	}
	for {
		select {
		case <-done:
			return
		default:
		}
		c := here(x.t, x.b, bothVersions[i%2], h)
		c.write(subscribePacket(c.v, 1, qos, filter))
		if begun != nil {
			close(begun)
			begun = nil
		}
		x.take(c, random, 50+random.IntN(1000))
		c.nc.Close()
	}
}

// take reads up to n packets, or what comes in a while, acknowledges most of the messages, late, and looks at all of them.
func (x *exchanged) take(c *testClient, random *rand.Rand, n int) {
	var owed []packets.Packet
	pay := func() {
		for _, o := range owed {
			acknowledge(c, o)
		}
		owed = owed[:0]
	}
	for range n {
		c.nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		p, err := readPacket(c.nc, c.v)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			pay()
			return
		}
		if err != nil {
			x.t.Errorf("subscriber: %v", err)
			return
		}
		if packet.Type(p.FixedHeader.Type) == packet.PUBLISH {
			x.look(p)
		}
		if owed = append(owed, p); random.IntN(20) == 0 {
			pay()
		}
	}
}

func acknowledge(c *testClient, p packets.Packet) {
	switch kind := packet.Type(p.FixedHeader.Type); {
	case kind == packet.PUBLISH && p.FixedHeader.Qos == 1:
		c.ack(packet.PUBACK, p.PacketID)
	case kind == packet.PUBLISH && p.FixedHeader.Qos == 2:
		c.ack(packet.PUBREC, p.PacketID)
	case kind == packet.PUBREL:
		c.ack(packet.PUBCOMP, p.PacketID)
	}
}

// look checks that the message is one that was published, from its first byte to its last.
func (x *exchanged) look(p packets.Packet) {
	x.got.Add(1)
	if len(p.Payload) < 8 {
		x.t.Errorf("%s: % x", p.TopicName, p.Payload)
		return
	}
	from, n := int(binary.BigEndian.Uint32(p.Payload)), int(binary.BigEndian.Uint32(p.Payload[4:]))
	if from >= lentPublishers || n >= lentMessages || p.TopicName != lentTopic(from, n) || !bytes.Equal(p.Payload, lentPayload(from, n)) {
		x.t.Errorf("%s: %d bytes that nobody published, as message %d of %d", p.TopicName, len(p.Payload), n, from)
	}
}
