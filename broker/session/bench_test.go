package session

import (
	"fmt"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// BenchmarkCycle is one QoS 1 message's way through the queue while others are in flight.
func BenchmarkCycle(b *testing.B) {
	for _, inflight := range []int{0, 1000} {
		b.Run(fmt.Sprint("inflight=", inflight), func(b *testing.B) {
			o, d := cycled(inflight)
			b.ReportAllocs()
			for b.Loop() {
				cycle(o, d)
			}
		})
	}
}

// cycled is a queue with messages in flight whose ring has its size.
func cycled(inflight int) (*Outbound, Delivery) {
	o, d := &Outbound{}, delivery("a", 1)
	o.Resume(WindowMax)
	for range inflight {
		o.Push(d)
		o.Next(0)
	}
	for range 2 * (inflight + 1) {
		cycle(o, d)
	}
	return o, d
}

// cycle sends a message and acknowledges the oldest.
func cycle(o *Outbound, d Delivery) {
	o.Push(d)
	o.Next(0)
	o.Puback(PacketID(o.head))
}

// BenchmarkExactlyOnce is one QoS 2 message's way through the queue.
func BenchmarkExactlyOnce(b *testing.B) {
	o, d := &Outbound{}, delivery("a", 2)
	o.Resume(10)
	b.ReportAllocs()
	for b.Loop() {
		o.Push(d)
		step, _ := o.Next(0)
		o.Pubrec(step.ID, false)
		o.Pubcomp(step.ID)
	}
}

// BenchmarkBatch fills the queue and drains it again: what a message costs with the ring's growing and shrinking.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{64, 1000, 100_000} {
		b.Run(fmt.Sprint("messages=", size), func(b *testing.B) {
			o, d := &Outbound{}, delivery("a", 1)
			o.Resume(WindowMax)
			b.ReportAllocs()
			done := 0
			for b.Loop() {
				o.Push(d)
				if done++; done%size == 0 {
					drain(o)
				}
			}
		})
	}
}

// drain sends and acknowledges everything.
func drain(o *Outbound) {
	for step, ok := o.Next(0); ok; step, ok = o.Next(0) {
		o.Puback(step.ID)
	}
}

// BenchmarkExtra is one delivery outside of the queue with as many others in flight.
func BenchmarkExtra(b *testing.B) {
	for _, inflight := range []int{0, 1000} {
		b.Run(fmt.Sprint("inflight=", inflight), func(b *testing.B) {
			o, d := &Outbound{}, delivery("a", 1)
			o.Resume(WindowMax)
			ids := make([]uint16, inflight+1)
			for i := range ids {
				ids[i], _ = o.PushExtra(d)
			}
			b.ReportAllocs()
			oldest := 0
			for b.Loop() {
				o.Puback(ids[oldest])
				ids[oldest], _ = o.PushExtra(d)
				oldest = (oldest + 1) % len(ids)
			}
		})
	}
}

// BenchmarkOwed is one message of a client that has as many others waiting for the store.
func BenchmarkOwed(b *testing.B) {
	for _, qos := range []byte{1, 2} {
		for _, waiting := range []int{0, 1000, 65534} {
			b.Run(fmt.Sprintf("qos=%d/waiting=%d", qos, waiting), func(b *testing.B) {
				var in Inbound
				id := uint16(0)
				tickets := make([]uint64, waiting+1)
				for i := range tickets {
					id++
					tickets[i] = in.Owe(id, qos)
				}
				b.ReportAllocs()
				oldest := 0
				for b.Loop() {
					done := id - uint16(waiting) // identifiers go round
					in.Ready(tickets[oldest], done, qos, packet.Success)
					in.Pop()
					in.Forget(done)
					id++
					tickets[oldest] = in.Owe(id, qos)
					oldest = (oldest + 1) % len(tickets)
				}
			})
		}
	}
}
