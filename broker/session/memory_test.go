package session

import (
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// places is how many places all rings of a queue have.
func places(o *Outbound) int { return len(o.slots) + len(o.line.places) }

// A message on its way through the queue, or waiting for the store, allocates nothing.
func TestNoAllocation(t *testing.T) {
	o, d := cycled(100)
	var in Inbound
	id := uint16(0)
	for name, once := range map[string]func(){
		"QoS 1": func() { cycle(o, d) },
		"QoS 2": func() {
			o.Push(Delivery{Message: d.Message, QoS: 2})
			step, _ := o.Next(0)
			o.Pubrec(step.ID, false)
			o.Pubcomp(step.ID)
		},
		"owed": func() {
			id++
			in.Ready(in.Owe(id, 1), id, 1, packet.Success)
			in.Pop()
		},
		"owed, never idle": func() {
			id++
			in.Ready(in.Owe(id, 1), id, 1, packet.Success)
			in.Owe(id, 1)
			in.Pop()
			in.Ready(in.first+uint64(in.gone), id, 1, packet.Success)
			in.Pop()
		},
	} {
		if n := testing.AllocsPerRun(1000, once); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A long queue gives its memory back when it drains, though it may never be quite empty.
func TestDrainedQueueIsSmall(t *testing.T) {
	o, d := &Outbound{}, delivery("a", 1)
	o.Resume(WindowMax)
	for range 100_000 {
		o.Push(d)
	}
	for range 60_000 {
		o.Next(0)
	}
	for n := uint64(1); n <= 100_000; n++ {
		o.Push(d)
		o.Next(0)
		answered(o.Puback(PacketID(n))).expect(t, Completed, n, "a")
	}
	for o.Len() > 3 {
		o.Next(0)
		o.Puback(PacketID(o.head))
	}
	if n := places(o); n > 2*ringKept {
		t.Fatalf("%d places for %d messages", n, o.Len())
	}
	o.Next(0)
	for o.Len() > 0 {
		o.Next(0)
		o.Puback(PacketID(o.head))
	}
	o.Suspend()
	if n := places(o); n > 0 {
		t.Fatalf("%d places for an empty queue without a connection", n)
	}
}

// What is read from the store and not sent is no memory after Evict.
func TestEvictedQueueIsSmall(t *testing.T) {
	var o Outbound
	for n := range uint64(10_000) {
		o.Restore(n+1, delivery("a", 1), false, false)
	}
	o.Resume(3)
	steps(&o, 0)
	o.Suspend()
	if o.Evict(); places(&o) > 2*ringKept || o.Len() != 3 {
		t.Fatalf("%d places for %d messages", places(&o), o.Len())
	}
}

// A client that stays but never answers has what it holds and what waits in memory, not what was dropped
// meanwhile.
func TestDropOldestBehindStuckClient(t *testing.T) {
	o, d := &Outbound{}, delivery("a", 1)
	o.Resume(10)
	for range 1_000_000 {
		o.Push(d)
		o.Next(0)
		if o.Len() > 100 {
			if _, _, ok := o.DropOldest(); !ok {
				t.Fatal("nothing to drop")
			}
		}
	}
	if o.Len() != 100 || places(o) > 4*128 {
		t.Fatalf("%d places for %d messages", places(o), o.Len())
	}
	for id := range uint16(10) {
		answered(o.Puback(id+1)).expect(t, Completed, uint64(id+1), "a")
	}
	if step, ok := o.Next(0); !ok || step.Number != 1_000_000-89 {
		t.Fatalf("%+v, %v", step, ok)
	}
}

// A gap in the numbers costs nothing, but is never bridged with an identifier that is in use [MQTT5-2.2.1-4].
func TestWideGap(t *testing.T) {
	for _, c := range []struct {
		name   string
		number uint64
		sent   bool
	}{{"narrow", 1 + WindowMax - 1, true}, {"wide", 1 + WindowMax, false}, {"very wide", 1 << 40, false}} {
		t.Run(c.name, func(t *testing.T) {
			var o Outbound
			o.Resume(10)
			push(&o, 1, "a")
			steps(&o, 0)
			o.Restore(c.number, delivery("b", 1), false, false)
			if places(&o) > 2*ringMin {
				t.Fatalf("%d places", places(&o))
			}
			step, ok := o.Next(0)
			if ok != c.sent || ok && step.Number != c.number {
				t.Fatalf("%+v, %v", step, ok)
			}
			if o.Puback(1); !c.sent {
				step, ok = o.Next(0)
			}
			if !ok || step.Number != c.number || o.Len() != 1 {
				t.Fatalf("%+v, %v", step, ok)
			}
			answered(o.Puback(step.ID)).expect(t, Completed, c.number, "b")
		})
	}
}

// A client that always has acknowledgements waiting keeps memory for those, not for all it ever had; and when
// nothing waits, none for its longest line.
func TestOwedIsSmall(t *testing.T) {
	var in Inbound
	var tickets []uint64
	for id := range uint16(10_000) {
		tickets = append(tickets, in.Owe(id, 1))
		if id >= 10 {
			in.Ready(tickets[id-10], id-10, 1, packet.Success)
			in.Pop()
		}
	}
	if in.Owing() != 10 || cap(in.owed) > 64 {
		t.Fatalf("%d places for %d acknowledgements", cap(in.owed), in.Owing())
	}
	for id := range uint16(10_000) {
		tickets = append(tickets, in.Owe(id, 1))
	}
	for i, ticket := range tickets {
		in.Ready(ticket, uint16(i), 1, packet.Success)
	}
	popped(&in)
	if !in.Idle() || cap(in.owed) > owedKept {
		t.Fatalf("%d places for nothing", cap(in.owed))
	}
}

// Without open exchanges a session that is offline keeps no memory of those it had.
func TestInboundAtRest(t *testing.T) {
	var in Inbound
	for id := range uint16(1000) {
		in.Keep(id)
		in.Forget(id)
	}
	in.Owe(1, 1)
	in.Reset()
	if in.receipts != nil || in.owed != nil || in.repeats != nil {
		t.Fatalf("%+v", in)
	}
}
