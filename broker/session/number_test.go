package session

import (
	"slices"
	"strings"
	"testing"
)

// The packet identifier is the number's own for ever: never zero, and the same one again after 65535 numbers only
// [MQTT5-2.2.1-4] [MQTT311-2.3.1-4].
func TestPacketID(t *testing.T) {
	for number, want := range map[uint64]uint16{
		1: 1, 2: 2, 65534: 65534, 65535: 65535, 65536: 1, 131070: 65535, 131071: 1, 65535<<20 + 7: 7,
	} {
		if got := PacketID(number); got != want {
			t.Errorf("PacketID(%d) = %d, want %d", number, got, want)
		}
	}
}

// Identifiers go on from 65535 with 1.
func TestIdentifiersWrap(t *testing.T) {
	var o Outbound
	o.Skip(65534)
	o.Resume(10)
	push(&o, 1, "a", "b")
	push(&o, 2, "c", "d")
	expectSteps(t, &o, "publish 65534 a, publish 65535 b, publish 1 c, publish 2 d")
	answered(o.Pubrec(1, false)).expect(t, Released, 65536, "c")
	answered(o.Puback(65535)).expect(t, Completed, 65535, "b")
	answered(o.Puback(65534)).expect(t, Completed, 65534, "a")
	o.Suspend()
	o.Resume(10)
	expectSteps(t, &o, "pubrel 1 c, publish 2 d dup")
	answered(o.Pubcomp(1)).expect(t, Completed, 65536, "c")
	answered(o.Pubrec(2, true)).expect(t, Completed, 65537, "d")
	expectCounts(t, &o, 0, 0)
}

// No two open numbers share an identifier, whatever window the client asks for: a message that is never
// acknowledged holds the queue up before its identifier would be used again [MQTT5-2.2.1-4].
func TestStuckOldest(t *testing.T) {
	var o Outbound
	o.Resume(65535)
	for range WindowMax + 10 {
		o.Push(delivery("x", 1))
	}
	sent := 0
	used := make(map[uint16]bool)
	for step, ok := o.Next(0); ok; step, ok = o.Next(0) {
		if used[step.ID] || step.ID == 0 {
			t.Fatalf("identifier %d used twice", step.ID)
		}
		used[step.ID] = true
		if sent++; step.ID != 1 {
			answered(o.Puback(step.ID)).expect(t, Completed, step.Number, "x")
		}
	}
	if sent != WindowMax {
		t.Fatalf("sent %d, want %d", sent, WindowMax)
	}
	expectCounts(t, &o, 11, 1)
	if o.Room() {
		t.Fatal("room behind a queue that stands")
	}
	answered(o.Puback(65535)).expect(t, Unknown, 0, "")
	answered(o.Puback(1)).expect(t, Completed, 1, "x")
	if lines := steps(&o, 0); len(lines) != 10 || lines[0] != "publish 65535 x" || lines[1] != "publish 1 x" {
		t.Fatal(lines)
	}
}

// All of a full window can be unacknowledged at once, and is resent.
func TestFullWindow(t *testing.T) {
	var o Outbound
	o.Skip(40000)
	o.Resume(1 << 20)
	for range WindowMax + 1 {
		o.Push(delivery("x", 1))
	}
	for range 2 {
		if n := len(steps(&o, 0)); n != WindowMax || o.Inflight() != WindowMax {
			t.Fatalf("%d steps, %d in flight, want %d", n, o.Inflight(), WindowMax)
		}
		o.Suspend()
		o.Resume(1 << 20)
	}
}

// Numbers of the store may come out of order. Nothing is sent past one that is missing, and nothing is lost
// [MQTT5-4.6.0-5] [MQTT5-4.6.0-6].
func TestPutOutOfOrder(t *testing.T) {
	var o Outbound
	o.Resume(10)
	o.Put(3, delivery("c", 1))
	expectSteps(t, &o, "")
	expectCounts(t, &o, 1, 0)
	answered(o.Puback(3)).expect(t, Unknown, 0, "")
	answered(o.Puback(1)).expect(t, Unknown, 0, "")
	o.Put(1, delivery("a", 1))
	expectSteps(t, &o, "publish 1 a")
	answered(o.Puback(1)).expect(t, Completed, 1, "a")
	o.Put(5, delivery("e", 1))
	expectSteps(t, &o, "")
	o.Put(2, delivery("b", 1))
	expectSteps(t, &o, "publish 2 b, publish 3 c")
	o.Suspend()
	o.Put(4, delivery("d", 1))
	o.Resume(10)
	expectSteps(t, &o, "publish 2 b dup, publish 3 c dup, publish 4 d, publish 5 e")
}

// A number that was used is refused with its value: the queue would be wrong from there on.
func TestPutTwice(t *testing.T) {
	for _, c := range []struct {
		name   string
		number uint64
	}{{"open", 2}, {"done", 1}, {"acknowledged and gone", 3}, {"zero", 0}} {
		t.Run(c.name, func(t *testing.T) {
			var o Outbound
			if c.number > 0 {
				o.Resume(10)
				push(&o, 1, "a", "b", "c")
				steps(&o, 0)
				o.Puback(1)
				o.Puback(3)
			}
			defer func() {
				if s, _ := recover().(string); !strings.Contains(s, "put twice") {
					t.Fatalf("panic %q", s)
				}
			}()
			o.Put(c.number, delivery("x", 1))
		})
	}
}

// A restart keeps order, identifiers, DUP and PUBREL; numbers that the store left out are done
// [MQTT5-4.4.0-1] [MQTT311-4.4.0-1] [MQTT5-3.3.1-1].
func TestRestore(t *testing.T) {
	var o Outbound
	o.Restore(70000, delivery("a", 1), true, false)
	o.Restore(70002, delivery("b", 2), false, true)
	o.Restore(70003, delivery("c", 2), true, true)
	o.Restore(70007, delivery("d", 2), false, false)
	o.Skip(70010)
	expectCounts(t, &o, 4, 0)
	if n := o.Push(delivery("e", 1)); n != 70010 {
		t.Fatalf("number %d", n)
	}
	o.Resume(10)
	expectSteps(t, &o, "pubrel 4467 b, pubrel 4468 c, publish 4465 a dup, publish 4472 d, publish 4475 e")
	answered(o.Pubcomp(4466)).expect(t, Unknown, 0, "")
	answered(o.Pubcomp(4467)).expect(t, Completed, 70002, "b")
}

// An empty queue goes on with the number the store will use next, however far that is.
func TestSkipWhileEmpty(t *testing.T) {
	for name, used := range map[string]func(o *Outbound){
		"never used": func(*Outbound) {},
		"used before": func(o *Outbound) {
			o.Resume(1)
			push(o, 1, "x")
			steps(o, 0)
			o.Puback(1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var o Outbound
			used(&o)
			const next = 1 << 40
			o.Skip(next)
			o.Skip(next) // twice is harmless
			if n := len(o.slots) + len(o.line.places); n > 2*ringMin {
				t.Fatalf("%d places for nothing", n)
			}
			o.Put(next+1, delivery("b", 1))
			o.Resume(10)
			expectSteps(t, &o, "")
			o.Put(next, delivery("a", 1))
			if lines := steps(&o, 0); len(lines) != 2 {
				t.Fatal(lines)
			}
		})
	}
}

// A new session's queue begins with 1, whether or not it is told so.
func TestFirstNumber(t *testing.T) {
	for _, skip := range []uint64{0, 1} {
		var o Outbound
		o.Skip(skip)
		o.Resume(1)
		if n := o.Push(delivery("a", 1)); n != 1 {
			t.Fatalf("number %d", n)
		}
		expectSteps(t, &o, "publish 1 a")
	}
}

// Sent tells of everything that a later resend must mark with DUP, also when the last connection
// was too short or its window too small to send it again [MQTT5-3.3.1-1].
func TestSent(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(o *Outbound)
		want []uint64
	}{
		{"nothing sent", func(*Outbound) {}, nil},
		{"some acknowledged", func(o *Outbound) {
			o.Resume(4)
			steps(o, 0)
			o.Puback(1)
			o.Pubrec(3, false)
		}, []uint64{2, 4}},
		{"a shorter connection afterwards", func(o *Outbound) {
			o.Resume(4)
			steps(o, 0)
			o.Suspend()
			o.Resume(1)
			steps(o, 0)
		}, []uint64{1, 2, 3, 4}},
		{"a connection that sent nothing", func(o *Outbound) {
			o.Resume(2)
			steps(o, 0)
			o.Suspend()
			o.Resume(2)
		}, []uint64{1, 2}},
		{"read from the store", func(o *Outbound) {
			o.Resume(1)
			o.Restore(6, delivery("f", 1), true, false)
			o.Restore(8, delivery("g", 2), true, true)
			o.Restore(9, delivery("h", 1), false, false)
		}, []uint64{6}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Outbound
			push(&o, 1, "a", "b")
			push(&o, 2, "c", "d")
			push(&o, 1, "e")
			c.do(&o)
			var got []uint64
			o.Sent(func(n uint64) { got = append(got, n) })
			if !slices.Equal(got, c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
		})
	}
}

// What Has and Awaits say of each number of a queue with a gap.
func TestHasAndAwaits(t *testing.T) {
	var o Outbound
	if o.Has(1) || o.Awaits(1) || o.Tail() != 1 {
		t.Fatal("an unused queue has or awaits 1")
	}
	o.Skip(4)
	o.Resume(10)
	o.Put(4, delivery("a", 1))
	o.Put(5, delivery("b", 1))
	steps(&o, 0)
	o.Puback(5)
	o.Put(7, delivery("c", 1))
	for number, want := range []string{3: "has", 4: "has", 5: "has", 6: "awaits", 7: "has", 8: "", 9: ""} {
		if n := uint64(number); n >= 3 && (o.Has(n) != (want == "has") || o.Awaits(n) != (want == "awaits")) {
			t.Errorf("%d: has %v, awaits %v; want %q", n, o.Has(n), o.Awaits(n), want)
		}
	}
	if o.Tail() != 8 {
		t.Fatalf("Tail %d", o.Tail())
	}
}

// Evict leaves what the client may have in its place, and takes out the rest so that it can be read
// again, in order and with its identifiers [MQTT5-4.4.0-1] [MQTT5-4.6.0-5].
func TestEvict(t *testing.T) {
	for _, c := range []struct {
		name       string
		do         func(o *Outbound)
		deliveries int
		tail       uint64
	}{
		{"nothing sent", func(*Outbound) {}, 6, 1},
		{"half sent", func(o *Outbound) {
			o.Resume(3)
			steps(o, 0)
		}, 3, 4},
		{"half sent, the last acknowledged", func(o *Outbound) {
			o.Resume(3)
			steps(o, 0)
			o.window = 0
			o.Puback(3)
		}, 3, 4},
		{"all of what was sent acknowledged", func(o *Outbound) {
			o.Resume(1)
			steps(o, 0)
			o.window = 0
			o.Puback(1)
		}, 5, 2},
		{"released", func(o *Outbound) {
			o.Resume(4)
			steps(o, 0)
			o.Pubrec(4, false)
		}, 2, 5},
		{"a number missing", func(o *Outbound) {
			o.Resume(3)
			steps(o, 0)
			o.Put(9, delivery("i", 1))
		}, 4, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Outbound
			push(&o, 1, "a", "b", "c")
			push(&o, 2, "d", "e", "f")
			c.do(&o)
			o.Suspend()
			length, size := o.Len(), o.Bytes()
			deliveries, bytes := o.Evict()
			if deliveries != c.deliveries || bytes != int64(2*deliveries) || o.Tail() != c.tail {
				t.Fatalf("%d deliveries, %d bytes, tail %d; want %d, tail %d", deliveries, bytes, o.Tail(), c.deliveries, c.tail)
			}
			if o.Len() != length-deliveries || o.Bytes() != size-bytes {
				t.Fatalf("Len %d, Bytes %d", o.Len(), o.Bytes())
			}
			for n := o.Tail(); n <= 6; n++ {
				o.Restore(n, delivery(string(rune('a'+n-1)), 1), false, false)
			}
			o.Resume(10)
			lines := strings.Join(steps(&o, 0), ", ")
			if !strings.HasSuffix(lines, "publish 5 e, publish 6 f") || o.Len() != o.Inflight() {
				t.Fatal(lines)
			}
		})
	}
}
