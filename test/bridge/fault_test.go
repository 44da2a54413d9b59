package bridge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/setting"
)

const (
	faultsDefault = 10 // make bridge-faults: 200
	publishers    = 4  // of each QoS at each broker
)

// Edge and hub under load in both directions, while the link is cut and stalls and either broker is killed: what was acknowledged arrives
// at the other one, in order for each topic, and what has QoS 2 once.
func TestFaults(t *testing.T) {
	for _, version := range []string{"5", "3.1.1"} {
		t.Run(version, func(t *testing.T) { testFaults(t, version, setting.Count(t, "FAULTS", faultsDefault)) })
	}
}

// A side is a broker with its publishers and the collector of what the other's publish.
type side struct {
	process   *process
	below     string // of its publishers' topics
	collector *collector
	acked     []atomic.Int64 // for each publisher: messages acknowledged, 1 to n
}

func newSide(p *process, below string, c *collector) *side {
	return &side{process: p, below: below, collector: c, acked: make([]atomic.Int64, 2*publishers)}
}

func testFaults(t *testing.T, version string, faults int) {
	random := setting.Random(t)
	hub := startProcess(t, &process{name: "hub"}, "")
	link := startProxy(t, hub.address)
	edge := startProcess(t, &process{name: "edge"}, fmt.Sprintf(`bridges:
  - name: hub
    address: tcp://%s
    version: %q
    client_id: edge
    keep_alive: 2s
    retry_min: 20ms
    retry_max: 100ms
    topics:
      - {filter: "up/#", direction: out}
      - {filter: "down/#", direction: in}
`, link.address, version))
	hub.reachable()
	edge.reachable()
	ctx, cancel := context.WithCancel(context.Background())
	var collecting sync.WaitGroup
	defer collecting.Wait()
	defer cancel()
	sides := []*side{
		newSide(edge, "up", newCollector(hub.address, "collector", "up/#")),
		newSide(hub, "down", newCollector(edge.address, "collector", "down/#")),
	}
	for _, s := range sides {
		subscribed := make(chan struct{})
		collecting.Go(func() { s.collector.run(ctx, subscribed) })
		<-subscribed
	}
	warmUp(t, sides)
	publishing, stop := context.WithCancel(ctx)
	var busy sync.WaitGroup
	for _, s := range sides {
		for i := range s.acked {
			busy.Go(func() { s.publish(publishing, t, i) })
		}
	}
	for k := range faults {
		pause(time.Duration(20+random.IntN(300)) * time.Millisecond)
		inflict(random, k, link, edge, hub)
	}
	pause(200 * time.Millisecond)
	stop()
	busy.Wait()
	for _, s := range sides {
		s.check(t)
	}
}

// pause lets the load run on.
func pause(d time.Duration) { <-time.After(d) }

// warmUp waits until the link works: before its first connection the bridge has no session at the hub.
func warmUp(t *testing.T, sides []*side) {
	w := wire{address: sides[1].process.address, id: "warm-up"}
	defer w.close()
	for k := 1; sides[1].collector.last("down/warm") == ""; k++ {
		if k > 500 {
			t.Fatal("the bridge does not work")
		}
		if err := w.publish(context.Background(), "down/warm", uint16(k), "warm", 1); err != nil {
			t.Fatal(err)
		}
		pause(20 * time.Millisecond)
	}
}

// publish publishes 1, 2, 3 ... until ctx ends.
func (s *side) publish(ctx context.Context, t *testing.T, i int) {
	w := wire{address: s.process.address, id: fmt.Sprintf("publisher-%d", i), dialer: s.process.dialer}
	defer w.close()
	for n := 1; ctx.Err() == nil; n++ {
		err := w.publish(ctx, s.topic(i), uint16(n%65535)+1, strconv.Itoa(n), qosOf(i))
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("%s: %v", s.topic(i), err)
			}
			return
		}
		s.acked[i].Store(int64(n))
	}
}

// qosOf is 1 for the first half of the publishers.
func qosOf(i int) byte { return byte(1 + i/publishers) }

func (s *side) topic(i int) string { return fmt.Sprintf("%s/%d", s.below, i) }

// inflict does some harm.
func inflict(random *rand.Rand, k int, link *proxy, edge, hub *process) {
	switch (k + random.IntN(2)) % 5 {
	case 0, 1:
		link.cut()
	case 2:
		edge.kill()
		edge.start()
	case 3:
		hub.kill()
		hub.start()
	case 4: // longer than the keep-alive now and then
		link.setDead(true)
		pause(time.Duration(random.IntN(1000)) * time.Millisecond)
		link.setDead(false)
	}
}

// check wants every message that was acknowledged, in order, those of QoS 2 once.
func (s *side) check(t *testing.T) {
	duplicates, total := 0, 0
	for i := range s.acked {
		acked := s.acked[i].Load()
		await(t, fmt.Sprintf("%s: %d", s.topic(i), acked), func() bool { return s.has(i, acked) })
		next := 1
		s.collector.mu.Lock()
		for _, text := range s.collector.got[s.topic(i)] {
			n, err := strconv.Atoi(text)
			switch {
			case err != nil:
				t.Errorf("%s: %q", s.topic(i), text)
			case n == next:
				next++
			case n < next && qosOf(i) == 1:
				duplicates++
			default:
				t.Errorf("%s, QoS %d: %d where %d is next", s.topic(i), qosOf(i), n, next)
				next = max(next, n+1)
			}
		}
		s.collector.mu.Unlock()
		total += next - 1
		if int64(next) <= acked {
			t.Errorf("%s: %d were acknowledged, %d arrived", s.topic(i), acked, next-1)
		}
	}
	t.Logf("%s: %d messages, %d duplicates of QoS 1", s.below, total, duplicates)
}

func (s *side) has(i int, acked int64) bool {
	s.collector.mu.Lock()
	defer s.collector.mu.Unlock()
	all := s.collector.got[s.topic(i)]
	for k := len(all) - 1; k >= 0; k-- {
		if n, err := strconv.ParseInt(all[k], 10, 64); err == nil && n >= acked {
			return true
		}
	}
	return acked == 0
}
