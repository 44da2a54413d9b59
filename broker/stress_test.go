package broker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
	"github.com/penstockmq/penstock/test/setting"
)

const (
	stressPublishers  = 4
	stressSubscribers = 3
	stressMessages    = 150 // of each publisher with each QoS
	stressWindow      = 8
)

// A storm is one run of the stress test.
type storm struct {
	t       *testing.T
	power   func(store storage.Store) *plug // how the broker's store is made of the one that keeps the records
	restart func(s *storm)                  // nil: the broker runs through
	heard   atomic.Int64

	mu     sync.Mutex // guards what follows
	b      *Broker
	store  *plug
	memory *memory.Store
}

// Clients come, are taken over, vanish and resume, and change subscriptions, while others publish with every
// QoS: QoS 2 arrives exactly once, QoS 1 at least once, everything in the order of its publisher; and when
// all have left, nothing is left of them. The broker itself is stopped and started again, or loses its power,
// with the same result.
func TestStorm(t *testing.T) {
	at := func(s storage.Store) *plug { return &plug{Store: s} }
	async := func(s storage.Store) *plug { return &plug{Store: storagetest.HoldAsync(s)} }
	for _, k := range []struct {
		name    string
		power   func(storage.Store) *plug
		restart func(s *storm)
	}{
		{"memory", at, nil},
		{"async", async, nil},
		{"memory, restarts", at, (*storm).orderly},
		{"async, restarts", async, (*storm).orderly},
		{"memory, power cuts", at, (*storm).powerCut},
		{"async, power cuts", async, (*storm).powerCut},
	} {
		t.Run(k.name, func(t *testing.T) {
			random := setting.Random(t)
			s := &storm{t: t, power: k.power, restart: k.restart, memory: memory.New()}
			s.begin()
			s.rage(random)
			until(t, "every connection has ended", func() bool { return s.b.Stats().Connections == 0 })
			until(t, fmt.Sprintf("nothing is left: %+v", s.b.Stats()), func() bool {
				got := s.b.Stats()
				return got.Sessions == 0 && got.Subscriptions == 0 && got.SharedSubscriptions == 0 && got.QueuedMessages == 0 &&
					got.QueuedBytes == 0 && got.InflightMessages == 0 && got.PendingStores == 0
			})
			if n := s.b.index.Len(); n != 0 {
				t.Errorf("%d subscriptions in the index, want 0", n)
			}
			stop(t, s.b)
			wantNoGoroutines(t)
		})
	}
}

// rage runs all clients until every message has arrived, and has each leave for good.
func (s *storm) rage(random *rand.Rand) {
	var subscribers []*hearer
	for i := range stressSubscribers {
		h := &hearer{wanderer: s.wanderer(fmt.Sprintf("hearer-%d", i), bothVersions[i%2], random), seen: map[string]int{}, heard: map[string]int{}}
		h.come()
		h.write(subscribePacket(h.v, 1, 2, "storm/#"))
		if p, err := h.read(); err != nil || packet.Type(p.FixedHeader.Type) != packet.SUBACK {
			s.t.Fatalf("%s subscribes: %s, %v", h.id, summary(p), err)
		}
		subscribers = append(subscribers, h)
	}
	var publishing, rest sync.WaitGroup
	done := make(chan struct{})
	for _, h := range subscribers {
		rest.Go(h.listen)
	}
	if s.restart != nil {
		rest.Go(func() { s.interrupt(3) })
	}
	for i := range 4 {
		gull := &gull{wanderer: s.wanderer(fmt.Sprintf("gull-%d", i%2), bothVersions[i/2], random)}
		rest.Go(func() { gull.fly(done) })
	}
	for i := range stressPublishers {
		sp := &speaker{wanderer: s.wanderer(fmt.Sprintf("speaker-%d", i), bothVersions[i%2], random)}
		publishing.Go(sp.speak)
	}
	publishing.Wait()
	close(done)
	rest.Wait()
	for i := range 2 { // whoever of the two gulls of a name was last may have left a session
		g := &gull{wanderer: s.wanderer(fmt.Sprintf("gull-%d", i), packet.V5, random)}
		g.leave()
	}
}

// A wanderer is a client with a session of its own, on one connection after the other.
type wanderer struct {
	s       *storm
	id      string
	v       packet.Version
	random  *rand.Rand
	nc      net.Conn
	present bool // the broker had the session
}

func (s *storm) wanderer(id string, v packet.Version, random *rand.Rand) wanderer {
	return wanderer{s: s, id: id, v: v, random: rand.New(rand.NewPCG(random.Uint64(), 2))}
}

// come connects and resumes the session. The old connection, if it is open still, is taken over.
func (w *wanderer) come() {
	ack := w.connect(hello{id: w.id, resume: true, expiry: 10_000, receiveMax: stressWindow})
	w.present = ack.SessionPresent
}

// connect dials until CONNECT is answered: once, unless the broker is interrupted.
func (w *wanderer) connect(h hello) (ack packets.Packet) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		w.dial()
		w.write(h.packet(w.v))
		ack, err := w.read()
		switch {
		case err == nil && packet.Type(ack.FixedHeader.Type) == packet.CONNACK && ack.ReasonCode == 0:
			return ack
		case w.s.restart == nil:
			w.s.t.Errorf("%s: got %s, %v instead of CONNACK", w.id, summary(ack), err)
			return ack
		}
		w.nc.Close()
	}
	w.s.t.Errorf("%s is never accepted", w.id)
	return ack
}

func (w *wanderer) dial() {
	near, far, err := tcpPair()
	if err != nil {
		panic(err) // out of sockets: no test is possible
	}
	w.s.broker().Attach(far, listener.Peer{Listener: "test", Remote: far.RemoteAddr()})
	w.nc = near
}

// stagger goes away and comes back: orderly, by a broken connection, or by taking itself over.
func (w *wanderer) stagger() {
	old := w.nc
	switch w.random.IntN(3) {
	case 0:
		w.write(framed(packet.DISCONNECT, 0, nil))
		old.Close()
	case 1:
		old.Close()
	case 2:
		defer old.Close()
	}
	w.come()
}

// leave ends the session.
func (w *wanderer) leave() {
	if w.nc != nil {
		w.nc.Close()
	}
	w.connect(hello{id: w.id})
	w.write(framed(packet.DISCONNECT, 0, nil))
	w.nc.Close()
}

// write ignores errors: whoever reads meets them.
func (w *wanderer) write(b []byte) {
	w.nc.SetWriteDeadline(time.Now().Add(patience))
	w.nc.Write(b)
}

func (w *wanderer) read() (packets.Packet, error) {
	w.nc.SetReadDeadline(time.Now().Add(patience))
	return readPacket(w.nc, w.v)
}

// A speaker publishes with every QoS, acts on acknowledgements as the specification says, and sends again
// what is open when it comes back.
type speaker struct {
	wanderer
	open  []*utterance // in the order they were sent first
	next  int
	count int // packets until it staggers
}

// An utterance is a QoS 1 or 2 message that is not acknowledged to the end.
type utterance struct {
	packet.Outgoing
	received bool // QoS 2: PUBREC came
}

func (sp *speaker) speak() {
	sp.come()
	sp.count = sp.random.IntN(200)
	for sp.next < 3*stressMessages || len(sp.open) > 0 {
		for sp.next < 3*stressMessages && len(sp.open) < stressWindow {
			sp.say()
		}
		if len(sp.open) == 0 {
			break
		}
		if sp.count--; sp.count < 0 {
			sp.count = 20 + sp.random.IntN(200)
			sp.again()
			continue
		}
		p, err := sp.read()
		if err != nil && sp.s.restart != nil {
			sp.again()
			continue
		}
		if err != nil {
			sp.s.t.Errorf("%s waits for %d acknowledgements: %v", sp.id, len(sp.open), err)
			return
		}
		sp.hear(p)
	}
	sp.leave()
}

// say sends the next message: QoS 0, 1 and 2 in turn, each with a topic and a count of its own.
func (sp *speaker) say() {
	qos := byte(sp.next % 3)
	u := &utterance{Outgoing: packet.Outgoing{
		Topic: fmt.Sprintf("storm/%s/%d", sp.id, qos), Payload: fmt.Appendf(nil, "%06d", sp.next/3), QoS: qos, ID: uint16(sp.next%1000 + 1),
	}}
	sp.next++
	sp.write(packet.AppendPublish(nil, sp.v, &u.Outgoing))
	if qos > 0 {
		sp.open = append(sp.open, u)
	}
}

// again comes back and sends what is open [MQTT5-4.4.0-1].
func (sp *speaker) again() {
	sp.stagger()
	if !sp.present {
		sp.s.t.Errorf("%s: the session is gone", sp.id)
	}
	for _, u := range sp.open {
		if u.received {
			sp.write(packet.AppendAck(nil, packet.PUBREL, sp.v, packet.Ack{ID: u.ID}))
			continue
		}
		u.Dup = true
		sp.write(packet.AppendPublish(nil, sp.v, &u.Outgoing))
	}
}

func (sp *speaker) hear(p packets.Packet) {
	for i, u := range sp.open {
		if u.ID != p.PacketID {
			continue
		}
		switch kind := packet.Type(p.FixedHeader.Type); {
		case p.ReasonCode >= 0x80:
			sp.s.t.Errorf("%s: %s refused with 0x%02x", sp.id, kind, p.ReasonCode)
		case kind == packet.PUBREC && u.QoS == 2:
			u.received = true
			sp.write(packet.AppendAck(nil, packet.PUBREL, sp.v, packet.Ack{ID: u.ID}))
		case kind == packet.PUBACK && u.QoS == 1, kind == packet.PUBCOMP && u.received:
			sp.open = append(sp.open[:i], sp.open[i+1:]...)
		}
		return
	}
}

// A hearer subscribes to everything with QoS 2 and keeps account of what arrives.
type hearer struct {
	wanderer
	held  map[uint16]bool // QoS 2 identifiers whose PUBREL has not come: the session's state in the client
	seen  map[string]int  // by topic, the highest number so far plus one
	heard map[string]int  // by topic and number, how often
	whole int             // topics of QoS 1 and 2 that arrived to the end
}

// listen reads until the last message of every speaker has come with QoS 1 and 2.
func (h *hearer) listen() {
	h.held = map[uint16]bool{}
	for h.whole < 2*stressPublishers {
		p, err := h.read()
		if err != nil && h.s.restart != nil {
			h.nc.Close()
			h.come()
			continue
		}
		if err != nil {
			h.s.t.Errorf("%s has %d of %d topics to the end: %v", h.id, h.whole, 2*stressPublishers, err)
			break
		}
		h.hear(p)
		if h.random.IntN(150) == 0 {
			h.stagger()
		}
	}
	h.check()
	h.leave()
}

func (h *hearer) hear(p packets.Packet) {
	switch packet.Type(p.FixedHeader.Type) {
	case packet.PUBLISH:
		h.take(p)
	case packet.PUBREL:
		delete(h.held, p.PacketID)
		h.write(packet.AppendAck(nil, packet.PUBCOMP, h.v, packet.Ack{ID: p.PacketID}))
	}
}

func (h *hearer) take(p packets.Packet) {
	switch p.FixedHeader.Qos {
	case 1:
		h.write(packet.AppendAck(nil, packet.PUBACK, h.v, packet.Ack{ID: p.PacketID}))
	case 2:
		h.write(packet.AppendAck(nil, packet.PUBREC, h.v, packet.Ack{ID: p.PacketID}))
		if h.held[p.PacketID] {
			return // the same message again [MQTT5-4.3.3-10]
		}
		h.held[p.PacketID] = true
	}
	h.s.heard.Add(1)
	h.heard[p.TopicName+" "+string(p.Payload)]++
	var n int
	if _, err := fmt.Sscanf(string(p.Payload), "%d", &n); err != nil {
		h.s.t.Errorf("%s: %s %q", h.id, p.TopicName, p.Payload)
	}
	seen := h.seen[p.TopicName]
	switch {
	case n == seen, n > seen && p.FixedHeader.Qos == 0:
		h.seen[p.TopicName] = n + 1
		if n == stressMessages-1 && p.FixedHeader.Qos > 0 {
			h.whole++
		}
	case n > seen:
		h.s.t.Errorf("%s: %s jumps from %d to %d", h.id, p.TopicName, seen-1, n)
		h.seen[p.TopicName] = n + 1
	case !p.FixedHeader.Dup && p.FixedHeader.Qos != 1: // a publisher's own resend of QoS 1 arrives as a new message
		h.s.t.Errorf("%s: %s goes back from %d to %d", h.id, p.TopicName, seen-1, n)
	}
}

// check counts: QoS 2 exactly once, QoS 1 at least once, QoS 0 at most once.
func (h *hearer) check() {
	for publisher := range stressPublishers {
		for qos := range 3 {
			for n := range stressMessages {
				key := fmt.Sprintf("storm/speaker-%d/%d %06d", publisher, qos, n)
				times := h.heard[key]
				if qos == 2 && times != 1 || qos == 1 && times < 1 || qos == 0 && times > 1 {
					h.s.t.Errorf("%s heard %s %d times", h.id, key, times)
				}
			}
		}
	}
}

// A gull shares its name with another and is forever taken over; it subscribes and unsubscribes, leaves
// messages unread, and now and then begins with a clean session.
type gull struct{ wanderer }

func (g *gull) fly(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		g.dial()
		g.swoop()
		g.nc.Close()
	}
}

// swoop is one connection.
func (g *gull) swoop() {
	g.write(hello{id: g.id, resume: g.random.IntN(2) == 0, expiry: uint32(g.random.IntN(2)) * 500, receiveMax: 2}.packet(g.v))
	filters := []string{"storm/+/1", "storm/speaker-1/#", "$share/gulls/storm/+/2", "#"}
	for range g.random.IntN(10) {
		filter := filters[g.random.IntN(len(filters))]
		if g.random.IntN(3) == 0 {
			g.write(unsubscribePacket(g.v, 1, filter))
		} else {
			g.write(subscribePacket(g.v, 1, byte(g.random.IntN(3)), filter))
		}
		g.write(framed(packet.PINGREQ, 0, nil))
		for kind := packet.Type(0); kind != packet.PINGRESP; {
			p, err := g.read()
			if err != nil { // taken over
				return
			}
			kind = packet.Type(p.FixedHeader.Type)
		}
	}
}

// wantNoGoroutines waits until no goroutine of any broker is left.
func wantNoGoroutines(t *testing.T) {
	t.Helper()
	var stacks bytes.Buffer
	left := func() bool {
		stacks.Reset()
		pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		return strings.Contains(stacks.String(), "broker.(*goroutineDriver)") || strings.Contains(stacks.String(), "broker.(*Broker)") ||
			strings.Contains(stacks.String(), "broker.(*conn)")
	}
	until(t, "all goroutines of the broker have ended", func() bool { return !left() })
}
