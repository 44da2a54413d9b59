package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// message makes a message that its text tells from the others of a test.
func message(text string) *packet.Message {
	return &packet.Message{Topic: "t", Payload: []byte(text), QoS: 2}
}

func delivery(text string, qos byte) Delivery { return Delivery{Message: message(text), QoS: qos} }

// push appends deliveries of one QoS.
func push(o *Outbound, qos byte, texts ...string) {
	for _, text := range texts {
		o.Push(delivery(text, qos))
	}
}

// steps takes every step the window allows, each as a line: kind, identifier, text, and dup.
func steps(o *Outbound, now int64) (lines []string) {
	for {
		step, ok := o.Next(now)
		if !ok {
			return lines
		}
		kind := []string{"publish", "pubrel", "expired"}[step.Kind]
		line := fmt.Sprintf("%s %d %s", kind, step.ID, step.Delivery.Message.Payload)
		if step.Dup {
			line += " dup"
		}
		lines = append(lines, line)
	}
}

// expectSteps takes the steps at the time 0 and compares them with lines separated by commas.
func expectSteps(t *testing.T, o *Outbound, want string) {
	t.Helper()
	if got := strings.Join(steps(o, 0), ", "); got != want {
		t.Fatalf("steps %q, want %q", got, want)
	}
}

// An answer is what one of Puback, Pubrec and Pubcomp returns.
type answer struct {
	outcome Outcome
	number  uint64
	d       Delivery
}

func answered(outcome Outcome, number uint64, d Delivery) answer { return answer{outcome, number, d} }

// expect compares an answer; text is empty when no delivery is to come with it.
func (a answer) expect(t *testing.T, outcome Outcome, number uint64, text string) {
	t.Helper()
	got := ""
	if a.d.Message != nil {
		got = string(a.d.Message.Payload)
	}
	if a.outcome != outcome || a.number != number || got != text {
		t.Fatalf("outcome %d, number %d, %q; want %d, %d, %q", a.outcome, a.number, got, outcome, number, text)
	}
}

func expectCounts(t *testing.T, o *Outbound, length, inflight int) {
	t.Helper()
	if o.Len() != length || o.Inflight() != inflight {
		t.Fatalf("Len %d, Inflight %d; want %d, %d", o.Len(), o.Inflight(), length, inflight)
	}
}

// No more is in flight than the window, and each PUBACK, each PUBCOMP and each failing PUBREC
// makes room for one [MQTT5-3.3.4-9] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2].
func TestWindow(t *testing.T) {
	var o Outbound
	push(&o, 2, "a", "b", "c", "d", "e")
	push(&o, 1, "f", "g")
	expectSteps(t, &o, "")
	o.Resume(2)
	expectSteps(t, &o, "publish 1 a, publish 2 b")
	answered(o.Pubrec(1, false)).expect(t, Released, 1, "a")
	expectSteps(t, &o, "") // PUBREC alone frees nothing
	answered(o.Pubcomp(1)).expect(t, Completed, 1, "a")
	expectSteps(t, &o, "publish 3 c")
	answered(o.Pubrec(2, true)).expect(t, Completed, 2, "b")
	answered(o.Pubrec(3, true)).expect(t, Completed, 3, "c")
	expectSteps(t, &o, "publish 4 d, publish 5 e")
	answered(o.Pubrec(4, true)).expect(t, Completed, 4, "d")
	answered(o.Pubrec(5, true)).expect(t, Completed, 5, "e")
	expectSteps(t, &o, "publish 6 f, publish 7 g")
	expectCounts(t, &o, 2, 2)
	answered(o.Puback(7)).expect(t, Completed, 7, "g")
	answered(o.Puback(6)).expect(t, Completed, 6, "f")
	expectCounts(t, &o, 0, 0)
	if o.Bytes() != 0 {
		t.Fatalf("Bytes %d of an empty queue", o.Bytes())
	}
}

// A window that a client may not have is no window [MQTT5-4.9.0-1].
func TestWindowOfNothing(t *testing.T) {
	for _, window := range []int{0, -1} {
		var o Outbound
		push(&o, 1, "a")
		o.Resume(window)
		expectSteps(t, &o, "")
		if _, ok := o.PushExtra(delivery("x", 1)); ok || o.Room() {
			t.Fatalf("room in a window of %d", window)
		}
	}
}

// Messages are first sent in the order they came, with identifiers that are free and not zero and without DUP
// [MQTT5-2.2.1-4] [MQTT5-4.3.2-1] [MQTT5-4.3.2-2] [MQTT5-4.3.3-1] [MQTT5-4.3.3-2] [MQTT5-4.6.0-5]
// [MQTT5-4.6.0-6].
func TestOrder(t *testing.T) {
	var o Outbound
	o.Resume(10)
	push(&o, 1, "a")
	push(&o, 2, "b")
	expectSteps(t, &o, "publish 1 a, publish 2 b")
	push(&o, 1, "c")
	expectSteps(t, &o, "publish 3 c")
	answered(o.Puback(3)).expect(t, Completed, 3, "c")
	push(&o, 1, "d") // not 3 again, though 3 is free
	expectSteps(t, &o, "publish 4 d")
}

// After a reconnect, and only then, what is unacknowledged is sent again: in its order, with its identifier
// and with DUP, and what was never sent without it
// [MQTT5-3.3.1-1] [MQTT5-3.3.1-3] [MQTT5-4.4.0-1] [MQTT311-4.4.0-1] [MQTT311-4.6.0-1].
func TestResend(t *testing.T) {
	var o Outbound
	o.Resume(4)
	push(&o, 1, "a", "b")
	push(&o, 2, "c", "d")
	push(&o, 1, "e")
	expectSteps(t, &o, "publish 1 a, publish 2 b, publish 3 c, publish 4 d")
	answered(o.Puback(2)).expect(t, Completed, 2, "b")
	expectSteps(t, &o, "publish 5 e")
	answered(o.Pubrec(4, false)).expect(t, Released, 4, "d")
	expectSteps(t, &o, "") // nothing again on a live connection
	if dropped := o.Suspend(); dropped != nil {
		t.Fatalf("gave back %v", dropped)
	}
	expectCounts(t, &o, 4, 0)
	push(&o, 1, "f")
	expectSteps(t, &o, "")
	o.Resume(10)
	expectSteps(t, &o, "pubrel 4 d, publish 1 a dup, publish 3 c dup, publish 5 e dup, publish 6 f")
}

// A smaller window holds the resending up, but does not change it [MQTT5-3.3.4-9] [MQTT5-4.4.0-1].
func TestResendThroughSmallerWindow(t *testing.T) {
	var o Outbound
	o.Resume(4)
	push(&o, 1, "a", "b", "c", "d", "e")
	steps(&o, 0)
	o.Suspend()
	o.Resume(1)
	expectSteps(t, &o, "publish 1 a dup")
	answered(o.Puback(3)).expect(t, Unknown, 0, "") // not sent on this connection
	answered(o.Puback(1)).expect(t, Completed, 1, "a")
	expectSteps(t, &o, "publish 2 b dup")
	o.Suspend()
	o.Resume(9)
	expectSteps(t, &o, "publish 2 b dup, publish 3 c dup, publish 4 d dup, publish 5 e")
}

// A message that was released is never published again, whatever happens
// [MQTT5-4.3.3-5] [MQTT5-4.3.3-6] [MQTT311-4.3.3-1].
func TestReleasedIsNotPublishedAgain(t *testing.T) {
	var o Outbound
	o.Resume(2)
	push(&o, 2, "a", "b")
	steps(&o, 0)
	answered(o.Pubrec(1, false)).expect(t, Released, 1, "a")
	answered(o.Pubrec(1, false)).expect(t, Repeated, 1, "a")
	for range 3 {
		o.Suspend()
		o.Resume(2)
		expectSteps(t, &o, "pubrel 1 a, publish 2 b dup")
	}
	answered(o.Pubrec(1, false)).expect(t, Repeated, 1, "a") // the client did not see the PUBREL
	answered(o.Pubcomp(1)).expect(t, Completed, 1, "a")
	answered(o.Pubcomp(1)).expect(t, Unknown, 0, "")
	expectCounts(t, &o, 1, 1)
}

// Each acknowledgement must be the one the message's QoS and progress ask for
// [MQTT5-2.2.1-5] [MQTT5-4.3.2-3] [MQTT5-4.3.3-3] [MQTT5-4.3.3-5].
func TestWrongAcknowledgement(t *testing.T) {
	puback := func(o *Outbound, id uint16) answer { return answered(o.Puback(id)) }
	pubrec := func(o *Outbound, id uint16) answer { return answered(o.Pubrec(id, false)) }
	pubrecFailed := func(o *Outbound, id uint16) answer { return answered(o.Pubrec(id, true)) }
	pubcomp := func(o *Outbound, id uint16) answer { return answered(o.Pubcomp(id)) }
	for _, c := range []struct {
		name  string
		ack   func(*Outbound, uint16) answer
		id    uint16
		wants Outcome
	}{
		{"PUBACK for QoS 2", puback, 2, Violation},
		{"PUBACK for QoS 2, released", puback, 3, Violation},
		{"PUBREC for QoS 1", pubrec, 1, Violation},
		{"failing PUBREC for QoS 1", pubrecFailed, 1, Violation},
		{"PUBCOMP for QoS 1", pubcomp, 1, Violation},
		{"PUBCOMP before PUBREC", pubcomp, 2, Violation},
		{"PUBACK for what was not sent", puback, 4, Unknown},
		{"PUBREC for what was not sent", pubrec, 4, Unknown},
		{"PUBCOMP for what was not sent", pubcomp, 4, Unknown},
		{"PUBACK for 0", puback, 0, Unknown},
		{"PUBREC for 65535", pubrec, 65535, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Outbound
			o.Resume(3)
			push(&o, 1, "a")
			push(&o, 2, "b", "c", "d")
			steps(&o, 0)
			o.Pubrec(3, false)
			if got := c.ack(&o, c.id); got.outcome != c.wants {
				t.Fatalf("outcome %d, want %d", got.outcome, c.wants)
			}
			expectCounts(t, &o, 4, 3)
		})
	}
}

// A message that expires while it waits is not sent, takes no place in the window and is reported; one that was
// sent goes on, however late it is [MQTT5-3.3.2-5] [MQTT5-4.3.3-7] [MQTT5-4.3.3-13].
func TestExpiry(t *testing.T) {
	var o Outbound
	expiring := func(text string, qos byte, at int64) Delivery {
		d := delivery(text, qos)
		d.Message.Expires = at
		return d
	}
	o.Push(expiring("a", 1, 100))
	o.Push(expiring("b", 2, 50))
	o.Push(expiring("c", 1, 50))
	o.Push(expiring("d", 2, 0))
	o.Resume(2)
	if got := steps(&o, 50); !slices.Equal(got, []string{"publish 1 a", "expired 2 b", "expired 3 c", "publish 4 d"}) {
		t.Fatal(got)
	}
	expectCounts(t, &o, 2, 2)
	answered(o.Pubrec(2, false)).expect(t, Unknown, 0, "")
	o.Suspend()
	o.Resume(2)
	if got := steps(&o, 1000); !slices.Equal(got, []string{"publish 1 a dup", "publish 4 d dup"}) {
		t.Fatal(got)
	}
	answered(o.Puback(1)).expect(t, Completed, 1, "a")
}

// The delivery of a DropExpired step can be read although its place in the queue is free again.
func TestExpiredDeliveryIsWhole(t *testing.T) {
	var o Outbound
	d := delivery("a", 1)
	d.Message.Expires = 1
	o.Push(d)
	o.Resume(1)
	step, ok := o.Next(1)
	if !ok || step.Kind != DropExpired || step.Number != 1 || step.Delivery.Message != d.Message {
		t.Fatalf("%+v, %v", step, ok)
	}
}

// A message that turns out too large for the client is as good as sent and acknowledged [MQTT5-3.1.2-25].
func TestFinish(t *testing.T) {
	var o Outbound
	o.Resume(1)
	push(&o, 2, "a", "b")
	for _, id := range []uint16{1, 2} {
		step, ok := o.Next(0)
		if !ok || step.ID != id {
			t.Fatalf("%+v, %v", step, ok)
		}
		o.Finish(step.Number)
		o.Finish(step.Number) // twice is harmless
	}
	expectCounts(t, &o, 0, 0)
	answered(o.Pubrec(1, false)).expect(t, Unknown, 0, "")
}

// Finish is harmless for what is done even when it was the last of a long queue, whose memory is gone.
func TestFinishAfterLongQueue(t *testing.T) {
	var o Outbound
	o.Resume(WindowMax)
	for range 1000 {
		push(&o, 1, "a")
	}
	steps(&o, 0)
	for n := uint64(1); n <= 1000; n++ {
		o.Finish(n)
		o.Finish(n)
	}
	expectCounts(t, &o, 0, 0)
}

// Room says whether Next would send one more at once.
func TestRoom(t *testing.T) {
	var o Outbound
	o.Resume(2)
	room := func(want bool) {
		t.Helper()
		if o.Room() != want {
			t.Fatalf("Room %v", !want)
		}
	}
	room(true)
	push(&o, 1, "a")
	room(false) // what is queued takes it
	steps(&o, 0)
	room(true)
	push(&o, 1, "b")
	steps(&o, 0)
	room(false)
	o.Puback(1)
	room(true)
	o.Suspend()
	room(false)
}

// Drain gives every delivery back, oldest first, and says which of them the client may have [MQTT5-4.8.2-4]
// [MQTT5-4.8.2-5].
func TestDrain(t *testing.T) {
	var o Outbound
	o.Resume(3)
	push(&o, 1, "a", "b")
	push(&o, 2, "c", "d")
	steps(&o, 0)
	o.Puback(1)
	o.Pubrec(3, false)
	o.Suspend()
	var got []string
	o.Drain(func(d Delivery, wasSent bool) { got = append(got, fmt.Sprint(string(d.Message.Payload), " ", wasSent)) })
	if want := []string{"b true", "c true", "d false"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	expectCounts(t, &o, 0, 0)
	o.Drain(func(Delivery, bool) { t.Fatal("drained twice") })
}

// After Drain the queue goes on with its number, and still knows which it had.
func TestTailAfterDrain(t *testing.T) {
	var o Outbound
	o.Skip(7)
	push(&o, 1, "a", "b")
	o.Drain(func(Delivery, bool) {})
	if o.Tail() != 9 || !o.Has(8) || o.Has(9) {
		t.Fatalf("Tail %d", o.Tail())
	}
}

// The oldest message that was never sent makes room; what the client may have stays.
func TestDropOldest(t *testing.T) {
	var o Outbound
	if _, _, ok := o.DropOldest(); ok {
		t.Fatal("dropped from an empty queue")
	}
	o.Resume(2)
	push(&o, 1, "a", "b", "c", "d")
	steps(&o, 0)
	o.Put(6, delivery("f", 1))
	drop := func(want string) {
		t.Helper()
		n, d, ok := o.DropOldest()
		if !ok || fmt.Sprint(n, " ", string(d.Message.Payload)) != want {
			t.Fatalf("dropped %d, want %s", n, want)
		}
	}
	drop("3 c")
	drop("4 d")
	drop("6 f")
	if _, _, ok := o.DropOldest(); ok {
		t.Fatal("dropped what was sent")
	}
	o.Puback(1)
	o.Puback(2)
	expectSteps(t, &o, "")
	o.Put(5, delivery("e", 1)) // it was missing, not done
	o.Put(7, delivery("g", 1))
	expectSteps(t, &o, "publish 5 e, publish 7 g")
}

// A message that waited longer than the operator allows is dropped as if it had expired.
func TestMaxAge(t *testing.T) {
	o := Outbound{MaxAge: 100}
	for i, text := range []string{"a", "b", "c"} {
		d := delivery(text, 1)
		d.Message.Received = int64(50 * i)
		o.Push(d)
	}
	o.Resume(1)
	if got := steps(&o, 150); !slices.Equal(got, []string{"expired 1 a", "publish 2 b"}) {
		t.Fatal(got)
	}
	o.Puback(2)
	o.Drain(func(Delivery, bool) {})
	o.Resume(1)
	d := delivery("d", 1)
	o.Push(d)
	if got := steps(&o, 101); !slices.Equal(got, []string{"expired 4 d"}) {
		t.Fatal(got)
	}
}
