package broker

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// The guards keep what a delivery costs from growing unnoticed: what it allocates exactly, what processor time it takes as a ratio to
// a fixed loop on the same machine in the same moment, because times differ from machine to machine. They run without the race
// detector (make guard).

// A guardedLoad is messages that pass through the protocol, without sockets.
type guardedLoad struct {
	name       string
	deliveries int // in one pass
	pass       func()
	// limit is how many rounds of the fixed loop a delivery may take: twice what it took when it was set.
	limit float64
}

// guardedLoads are those that are guarded, of a broker with hooks.
func guardedLoads(tb testing.TB, with ...hooks.Hook) (all []guardedLoad) {
	tb.Helper()
	for _, v := range bothVersions {
		all = append(all,
			guardedLoad{"pair QoS 0 version " + v.String(), 32, plainLoad(tb, v, 1, 32, with), 11},
			guardedLoad{"fan-out QoS 0 version " + v.String(), 100, plainLoad(tb, v, 100, 1, with), 9},
			guardedLoad{"pair QoS 1 version " + v.String(), 32, ackedLoad(tb, v, 1, "a/b", 32, with), 33},
			guardedLoad{"pair QoS 1 in bursts version " + v.String(), 200, ackedLoad(tb, v, 1, "a/b", 200, with), 33},
			guardedLoad{"shared QoS 1 version " + v.String(), 32, ackedLoad(tb, v, 1, "$share/g/a/b", 32, with), 36},
			guardedLoad{"pair QoS 2 version " + v.String(), 32, ackedLoad(tb, v, 2, "a/b", 32, with), 60},
		)
	}
	return all
}

// plainLoad is a read with n messages, to each of some subscribers.
func plainLoad(tb testing.TB, v packet.Version, subscribers, n int, with []hooks.Hook) func() {
	b := start(tb, setup{hooks: with})
	for i := range subscribers {
		fake(tb, b, v, hello{id: fmt.Sprint("to", i)}).feed(subscribePacket(v, 1, 0, "a/b"))
	}
	from := fake(tb, b, v, hello{id: "from"})
	batch := batchOf(v, 0, n)
	return func() { from.feed(batch) }
}

// ackedLoad is a read with n messages with QoS 1 or 2 to a subscriber, one with its acknowledgements, and all that follows with QoS 2.
func ackedLoad(tb testing.TB, v packet.Version, qos byte, filter string, n int, with []hooks.Hook) func() {
	b := start(tb, setup{hooks: with})
	to := fake(tb, b, v, hello{id: "to"})
	to.feed(subscribePacket(v, 1, qos, filter))
	from := fake(tb, b, v, hello{id: "from"})
	batch := batchOf(v, qos, n)
	var last uint16 // packet identifier of the last delivery
	var acks []byte
	answer := func(who *fakeDriver, kind packet.Type, after uint16) (id uint16) {
		id, acks = after, acks[:0]
		for range n {
			if id++; id == 0 {
				id = 1
			}
			acks = packet.AppendAck(acks, kind, v, packet.Ack{ID: id})
		}
		who.feed(acks)
		return id
	}
	return func() {
		from.feed(batch)
		if qos == 1 {
			last = answer(to, packet.PUBACK, last)
			return
		}
		answer(to, packet.PUBREC, last)
		last = answer(to, packet.PUBCOMP, last)
		answer(from, packet.PUBREL, 0)
	}
}

func batchOf(v packet.Version, qos byte, n int) (batch []byte) {
	for i := range n {
		batch = packet.AppendPublish(batch, v, &packet.Outgoing{Topic: "a/b", Payload: make([]byte, 64), QoS: qos, ID: uint16(i + 1)})
	}
	return batch
}

// allocations are those of one delivery.
func (l *guardedLoad) allocations() float64 {
	return testing.AllocsPerRun(200, l.pass) / float64(l.deliveries)
}

// bytes are those that one delivery allocates.
func (l *guardedLoad) bytes() float64 {
	const passes = 200
	var before, after runtime.MemStats
	l.pass()
	runtime.ReadMemStats(&before)
	for range passes {
		l.pass()
	}
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / float64(passes*l.deliveries)
}

// A delivery allocates nothing, with any QoS: the message that waits for an acknowledgement is lent.
func TestGuardAllocations(t *testing.T) {
	guarded(t)
	for _, l := range guardedLoads(t) {
		const limit, bytes = 0.02, 16.0 // a pass may grow a buffer now and then
		if got := l.allocations(); got > limit {
			t.Errorf("%s: %.2f allocations a delivery, want %v at most", l.name, got, limit)
		}
		if got := l.bytes(); got > bytes {
			t.Errorf("%s: %.1f bytes allocated for a delivery, want %v at most", l.name, got, bytes)
		}
	}
}

// Neither does one that comes alone, over sockets and with either driver, allocate more.
func TestGuardAllocationsOverSockets(t *testing.T) {
	guarded(t)
	for name, count := range drivers {
		for qos := range byte(2) {
			l := guardedLoad{deliveries: 100, pass: socketLoad(t, count, qos, 100)}
			if got := l.allocations(); got > 0.05 { // a timer now and then
				t.Errorf("%s, QoS %d: %.2f allocations a delivery, want none", name, qos, got)
			}
		}
	}
}

// socketLoad is n messages over sockets, each sent when the one before it has arrived and is acknowledged.
func socketLoad(t *testing.T, loops int, qos byte, n int) func() {
	b := start(t, setup{limits: func(l *configs.Limits) { l.EventLoops = loops }})
	to := here(t, b, packet.V311, hello{id: "to"})
	to.subscribe(qos, "a/b")
	from := here(t, b, packet.V311, hello{id: "from"})
	publish := batchOf(packet.V311, qos, 1)
	delivery, ack := make([]byte, len(publish)), []byte{0x40, 2, 0, 0}
	return func() {
		for range n {
			from.exchange(publish, nil)
			to.exchange(nil, delivery)
			if qos > 0 {
				copy(ack[2:], delivery[2+2+len("a/b"):]) // the packet identifier
				to.exchange(ack, nil)
				from.exchange(nil, ack)
			}
		}
	}
}

// exchange writes bytes and reads as many as in holds.
func (c *testClient) exchange(out, in []byte) {
	if _, err := c.nc.Write(out); err != nil {
		c.t.Error(err)
	}
	if _, err := io.ReadFull(c.nc, in); err != nil {
		c.t.Error(err)
	}
}

// The guard of allocations finds a single one for each message.
func TestGuardAllocationsBites(t *testing.T) {
	guarded(t)
	without := guardedLoads(t)
	for i, l := range guardedLoads(t, changing("copies", func(*packet.Message) {})) {
		messages := 1 / float64(l.deliveries) // of a delivery
		if !strings.HasPrefix(l.name, "fan-out") {
			messages = 1
		}
		if more := l.allocations() - without[i].allocations(); more < messages {
			t.Errorf("%s: %.2f more allocations a delivery, want %.2f", l.name, more, messages)
		}
	}
}

// A delivery takes no more than so many rounds of the fixed loop.
func TestGuardTime(t *testing.T) {
	guarded(t)
	for _, l := range guardedLoads(t) {
		if got, kept := l.judge(); !kept {
			t.Errorf("%s: a delivery takes %.1f rounds of the fixed loop, want %v at most", l.name, got, l.limit)
		} else {
			t.Logf("%s: %.2f rounds of %v", l.name, got, l.limit)
		}
	}
}

// The guard of time finds a broker that is so much slower that no other machine makes up for it.
func TestGuardTimeBites(t *testing.T) {
	guarded(t)
	for _, l := range guardedLoads(t) {
		slow := l
		slow.pass = func() {
			for range 6 {
				l.pass()
			}
		}
		if got, kept := slow.judge(); kept {
			t.Errorf("%s: six times the work takes %.1f rounds of the fixed loop, and %v are allowed", l.name, got, l.limit)
		}
	}
}

// guarded skips what a race detector distorts.
func guarded(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("the race detector takes time and has pools forget at random")
	}
}

const (
	// guardSlice is short beside the time that a scheduler gives a thread, so that on a busy machine too some slices are undisturbed.
	guardSlice = 300 * time.Microsecond
	guardTries = 200 // of slices of each; the fastest count
)

// judge is what a delivery takes in rounds of the fixed loop, and whether that is within the limit. It ends as soon as it is, because
// nothing that disturbs makes it faster.
func (l *guardedLoad) judge() (rounds float64, kept bool) {
	fixed := newFixedLoop()
	l.pass()
	fastest, delivery := math.Inf(1), math.Inf(1)
	for try := range guardTries {
		fastest = min(fastest, perThing(fixed.rounds, fixedRounds))
		delivery = min(delivery, perThing(l.pass, l.deliveries))
		// The fixed loop needs its best time as well: a disturbed one would let anything pass.
		if rounds = delivery / fastest; try > guardTries/10 && rounds <= l.limit {
			return rounds, true
		}
	}
	return rounds, false
}

// perThing runs f for a slice of time and returns nanoseconds for each of the things it does.
func perThing(f func(), things int) float64 {
	n := 0
	begun := time.Now()
	elapsed := time.Duration(0)
	for ; elapsed < guardSlice; elapsed = time.Since(begun) {
		f()
		n += things
	}
	return float64(elapsed) / float64(n)
}

// A fixedLoop does what a broker does with a message, a little of each and always the same: it locks, looks up, hashes and copies.
type fixedLoop struct {
	mu     sync.Mutex
	topics map[string]int
	seed   maphash.Seed
	in     [80]byte
	out    []byte
	sum    uint64
}

func newFixedLoop() *fixedLoop {
	l := &fixedLoop{topics: make(map[string]int), seed: maphash.MakeSeed()}
	for i := range 64 {
		l.topics[fmt.Sprint("a/topic/", i)] = i
	}
	return l
}

// fixedRounds are so many that looking at the clock in between costs nothing.
const fixedRounds = 64

func (l *fixedLoop) rounds() {
	for range fixedRounds {
		l.round()
	}
}

func (l *fixedLoop) round() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sum += uint64(l.topics["a/topic/7"]) + maphash.Bytes(l.seed, l.in[:])
	l.out = append(l.out[:0], l.in[:]...)
	binary.BigEndian.PutUint64(l.in[:], l.sum)
}

// BenchmarkGuard shows what the guards compare.
func BenchmarkGuard(b *testing.B) {
	b.Run("fixed loop", func(b *testing.B) {
		fixed := newFixedLoop()
		for b.Loop() {
			fixed.round()
		}
	})
	for _, l := range guardedLoads(b) {
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.pass()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(l.deliveries), "ns/delivery")
		})
	}
}
