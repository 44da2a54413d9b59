package broker

import (
	"fmt"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// fan makes n subscribers of a topic without sockets, a publisher, and a PUBLISH packet.
func fan(tb testing.TB, n int, v packet.Version, qos byte) (from *fakeDriver, publish []byte) {
	tb.Helper()
	b := start(tb, setup{})
	for i := range n {
		d := fake(tb, b, v, hello{id: fmt.Sprint("to", i)})
		d.feed(subscribePacket(v, 1, qos, "a/b"))
	}
	from = fake(tb, b, v, hello{id: "from"})
	return from, packet.AppendPublish(nil, v, &packet.Outgoing{Topic: "a/b", Payload: make([]byte, 64), QoS: qos, ID: 1})
}

// A QoS 0 message to 100 subscribers allocates nothing for any of them.
func TestFanOutDoesNotAllocate(t *testing.T) {
	guarded(t)
	for _, v := range bothVersions {
		from, publish := fan(t, 100, v, 0)
		if got := testing.AllocsPerRun(500, func() { from.feed(publish) }); got > 1 {
			t.Errorf("version %s: %.0f allocations for 100 deliveries", v, got)
		}
	}
}

// A batch of messages to one subscriber allocates nothing per message.
func TestABatchDoesNotAllocate(t *testing.T) {
	guarded(t)
	for _, v := range bothVersions {
		from, publish := fan(t, 1, v, 0)
		var batch []byte
		for range 100 {
			batch = append(batch, publish...)
		}
		if got := testing.AllocsPerRun(500, func() { from.feed(batch) }); got > 1 {
			t.Errorf("version %s: %.0f allocations for 100 messages", v, got)
		}
	}
}

// BenchmarkFanOut is one PUBLISH to 100 subscribers, without sockets.
func BenchmarkFanOut(b *testing.B) {
	for _, v := range bothVersions {
		b.Run(v.String(), func(b *testing.B) {
			from, publish := fan(b, 100, v, 0)
			b.ReportAllocs()
			for b.Loop() {
				from.feed(publish)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/delivery")
		})
	}
}

// BenchmarkPair is one QoS 0 PUBLISH to one subscriber, 32 in a read.
func BenchmarkPair(b *testing.B) {
	for _, v := range bothVersions {
		b.Run(v.String(), func(b *testing.B) {
			from, publish := fan(b, 1, v, 0)
			var batch []byte
			for range 32 {
				batch = append(batch, publish...)
			}
			b.ReportAllocs()
			for b.Loop() {
				from.feed(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32, "ns/message")
		})
	}
}
