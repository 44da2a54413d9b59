package memory_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
)

func TestStore(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Fixture {
		s := memory.New()
		return storagetest.Fixture{Store: s, Reopen: func(*testing.T) storage.Store { return s.Reopen() }}
	})
}

// Nothing is ever pending, so a broker without a disk never waits.
func TestNothingIsPending(t *testing.T) {
	s := memory.New()
	put(t, s, "a")
	e := &storage.Enqueue{Message: message("t"), To: []storage.Entry{{Session: "a", QoS: 1}}}
	if pending, err := s.Enqueue(e, nil); pending || err != nil {
		t.Errorf("Enqueue: pending %v, error %v", pending, err)
	}
	if pending, err := s.Ack(storage.Ack{Session: "a", Seq: 1, Progress: storage.Done}, nil); pending || err != nil {
		t.Errorf("Ack: pending %v, error %v", pending, err)
	}
}

// A message that every queue is done with can be collected, though the session lives on.
func TestDoneFreesTheMessage(t *testing.T) {
	s := memory.New()
	put(t, s, "a")
	put(t, s, "b")
	freed := make(chan struct{})
	func() {
		m := message("t")
		runtime.AddCleanup(m, func(c chan struct{}) { close(c) }, freed)
		s.Enqueue(&storage.Enqueue{Message: m, To: []storage.Entry{{Session: "a", QoS: 1}, {Session: "b", QoS: 1}}}, nil)
	}()
	s.Ack(storage.Ack{Session: "a", Seq: 1, Progress: storage.Done}, nil)
	s.Ack(storage.Ack{Session: "b", Seq: 1, Progress: storage.Done}, nil)
	runtime.GC()
	<-freed
	runtime.KeepAlive(s)
}

// A queue that was long and is short again does not keep the memory it had.
func TestEmptiedQueueGivesMemoryBack(t *testing.T) {
	s := memory.New()
	put(t, s, "a")
	m := message("t")
	const count = 100_000
	before := heap()
	for range count {
		s.Enqueue(&storage.Enqueue{Message: m, To: []storage.Entry{{Session: "a", QoS: 1}}}, nil)
	}
	if grown := heap() - before; grown < count*16 {
		t.Fatalf("a queue of %d messages takes %d bytes, so this test measures nothing", count, grown)
	}
	for seq := range uint64(count) {
		s.Ack(storage.Ack{Session: "a", Seq: seq + 1, Progress: storage.Done}, nil)
	}
	if left := heap() - before; left > 64<<10 {
		t.Errorf("an emptied queue keeps %d bytes", left)
	}
	runtime.KeepAlive(s)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func put(t testing.TB, s storage.Store, id string) {
	t.Helper()
	change := storage.PutSession{Session: storage.Session{ID: id, Version: 5, ExpiryInterval: 3600}}
	if _, err := s.Update([]storage.Change{change}, nil); err != nil {
		t.Fatal(err)
	}
}

func message(topic string) *packet.Message {
	return &packet.Message{Topic: topic, Payload: []byte("payload"), QoS: 1}
}

// What a QoS 1 message costs a durable session: Enqueue and Ack.
func BenchmarkEnqueueAck(b *testing.B) {
	s := memory.New()
	put(b, s, "a")
	e := &storage.Enqueue{Message: message("t"), To: []storage.Entry{{Session: "a", QoS: 1}}}
	b.ReportAllocs()
	for b.Loop() {
		s.Enqueue(e, nil)
		s.Ack(storage.Ack{Session: "a", Seq: e.To[0].Seq, Progress: storage.Done}, nil)
	}
}

// The same with a session for each publisher, all at once, and 10 000 others beside them.
func BenchmarkEnqueueAckParallel(b *testing.B) {
	s := memory.New()
	for i := range 10_000 {
		put(b, s, fmt.Sprint("session-", i))
	}
	var clients atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		id := fmt.Sprint("session-", clients.Add(1))
		e := &storage.Enqueue{Message: message("t"), To: []storage.Entry{{Session: id, QoS: 1}}}
		for pb.Next() {
			s.Enqueue(e, nil)
			s.Ack(storage.Ack{Session: id, Seq: e.To[0].Seq, Progress: storage.Done}, nil)
		}
	})
}
