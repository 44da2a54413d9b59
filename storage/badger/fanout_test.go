package badger_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/badger"
)

// fanOut is how many queues get each message: channels on one filter.
const fanOut = 1000

// wide makes queues and the Enqueue that is for all of them.
func wide(b *testing.B, s storage.Store, m *packet.Message) *storage.Enqueue {
	b.Helper()
	e := &storage.Enqueue{Message: m}
	for i := range fanOut {
		id := fmt.Sprintf("queue-%08x", i*0x9E3779B)
		put(b, s, id)
		e.To = append(e.To, storage.Entry{Session: id, QoS: 1})
	}
	return e
}

// send enqueues n times with a window, each with Entries of its own, and waits for the last.
func sendWide(b *testing.B, s storage.Store, e *storage.Enqueue, n int) {
	b.Helper()
	w := &window{slots: make(chan struct{}, 64)}
	for range n {
		w.slots <- struct{}{}
		if _, err := s.Enqueue(&storage.Enqueue{Message: e.Message, To: append([]storage.Entry(nil), e.To...)}, slot{window: w}); err != nil {
			b.Fatal(err)
		}
	}
	w.drain()
	if w.err != nil {
		b.Fatal(w.err)
	}
}

// What each copy of a message costs when a thousand queues get one: to store it, and to be done with it. CPU is of the whole process.
func BenchmarkFanOut(b *testing.B) {
	s := open(b, badger.Options{Path: b.TempDir()})
	e := wide(b, s, message(64))
	b.ResetTimer()
	begun := cpuTime()
	sendWide(b, s, e, b.N)
	stored := cpuTime()
	for seq := range uint64(b.N) {
		for i := range e.To {
			if _, err := s.Ack(storage.Ack{Session: e.To[i].Session, Seq: seq + 1, Progress: storage.Done}, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	done := cpuTime()
	copies := float64(b.N) * fanOut
	b.ReportMetric(float64((stored-begun).Nanoseconds())/copies, "store-cpu-ns/copy")
	b.ReportMetric(float64((done-stored).Nanoseconds())/copies, "done-cpu-ns/copy")
	b.ReportMetric(float64(s.Stats().Bytes)/copies, "bytes/copy")
}

// Reading one message of a long queue: each after the one before, and anywhere. The queue is alone, or one of a thousand with the same messages.
func BenchmarkReadOne(b *testing.B) {
	for _, c := range []struct {
		name          string
		queues, depth int
	}{{"alone", 1, 200_000}, {"of-a-thousand", fanOut, 3000}} {
		s := open(b, badger.Options{Path: b.TempDir(), Sync: badger.SyncNever})
		e := wide(b, s, message(64))
		e.To = e.To[:c.queues]
		sendWide(b, s, e, c.depth)
		id := e.To[0].Session
		read := func(seq uint64) {
			found := uint64(0)
			err := s.Read(id, seq, storage.ReadLimit{Entries: 1, Bytes: 1}, func(e storage.Entry, _ storage.Progress, _ *packet.Message) bool {
				found = e.Seq
				return true
			})
			if err != nil || found != seq {
				b.Fatalf("number %d: found %d, %v", seq, found, err)
			}
		}
		b.Run(c.name+"/consecutive", func(b *testing.B) {
			begun := cpuTime()
			for i := range b.N {
				read(uint64(c.depth/3+i%1000) + 1)
			}
			b.ReportMetric(float64((cpuTime()-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
		b.Run(c.name+"/drain", func(b *testing.B) {
			begun := cpuTime()
			for i := range b.N {
				read(uint64(i%c.depth) + 1)
			}
			b.ReportMetric(float64((cpuTime()-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
		b.Run(c.name+"/random", func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 1))
			begun := cpuTime()
			for range b.N {
				read(1 + random.Uint64N(uint64(c.depth)))
			}
			b.ReportMetric(float64((cpuTime()-begun).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
		s.Close()
	}
}
