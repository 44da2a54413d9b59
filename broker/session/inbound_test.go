package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// receive does what a PUBLISH asks for: it is owed, and if its message is here already, at once.
func receive(in *Inbound, id uint16, qos byte) (ticket uint64, repeated bool) {
	known, ready := false, false
	if qos == 2 {
		known, ready = in.Received(id)
	}
	ticket = in.Owe(id, qos)
	if ready {
		in.Ready(ticket, id, qos, packet.Success)
	}
	return ticket, known
}

// popped takes what is ready, as text: qos/id, with the code if it is a failure.
func popped(in *Inbound) string {
	var all []string
	for w, ok := in.Pop(); ok; w, ok = in.Pop() {
		s := fmt.Sprintf("%d/%d", w.QoS, w.ID)
		if w.Code.Failed() {
			s += "!"
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

func expectPopped(t *testing.T, in *Inbound, want string) {
	t.Helper()
	if got := popped(in); got != want {
		t.Fatalf("acknowledged %q, want %q", got, want)
	}
}

func expectOpen(t *testing.T, in *Inbound, want int) {
	t.Helper()
	if in.Open() != want {
		t.Fatalf("Open %d, want %d", in.Open(), want)
	}
}

// Acknowledgements leave in the order of the PUBLISH packets, whatever order the store answers
// in, with the identifier of each [MQTT5-2.2.1-5] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8].
func TestOwedInOrder(t *testing.T) {
	var in Inbound
	var tickets []uint64
	for i := range uint16(6) {
		ticket, _ := receive(&in, 10+i, byte(1+i%2))
		tickets = append(tickets, ticket)
	}
	expectPopped(t, &in, "")
	for _, c := range []struct {
		ready int
		want  string
	}{{2, ""}, {1, ""}, {0, "1/10 2/11 1/12"}, {5, ""}, {4, ""}, {3, "2/13 1/14 2/15"}} {
		if in.Idle() {
			t.Fatal("idle")
		}
		in.Ready(tickets[c.ready], uint16(10+c.ready), byte(1+c.ready%2), packet.Success)
		expectPopped(t, &in, c.want)
	}
	if !in.Idle() {
		t.Fatal("not idle")
	}
	next, _ := receive(&in, 16, 1)
	in.Ready(tickets[5], 15, 1, packet.Success) // a ticket that was used up is harmless
	expectPopped(t, &in, "")
	in.Ready(next, 16, 1, packet.Success)
	expectPopped(t, &in, "1/16")
}

// Open counts what the client counts: QoS 1 until PUBACK, QoS 2 until PUBCOMP or a failing PUBREC
// [MQTT5-3.3.4-7].
func TestOpen(t *testing.T) {
	var in Inbound
	one, _ := receive(&in, 1, 1)
	two, _ := receive(&in, 2, 2)
	three, _ := receive(&in, 3, 2)
	expectOpen(t, &in, 3)
	receive(&in, 2, 2) // the same message
	expectOpen(t, &in, 3)
	in.Ready(one, 1, 1, packet.Success)
	expectOpen(t, &in, 3)
	expectPopped(t, &in, "1/1")
	expectOpen(t, &in, 2)
	in.Ready(two, 2, 2, packet.Success)
	in.Ready(three, 3, 2, packet.QuotaExceeded)
	expectPopped(t, &in, "2/2 2/3! 2/2")
	expectOpen(t, &in, 1)
	in.Keep(4) // acknowledged without waiting for anything
	in.Keep(4)
	expectOpen(t, &in, 2)
	in.Release(2)
	expectOpen(t, &in, 2)
	in.Forget(2)
	in.Forget(2)
	in.Forget(99)
	expectOpen(t, &in, 1)
}

// A client's quota begins anew with each connection, so what it left open on the last one does not count
// against it (MQTT 5, 4.9) [MQTT5-3.3.4-7]. What it sends again does.
func TestOpenAfterReconnect(t *testing.T) {
	var in Inbound
	for id := range uint16(4) {
		ticket, _ := receive(&in, id+1, 2)
		if id < 3 {
			in.Ready(ticket, id+1, 2, packet.Success)
		}
	}
	popped(&in)
	in.Release(1)
	in.Reset()
	in.Reconnected()
	expectOpen(t, &in, 0)
	receive(&in, 2, 2)
	receive(&in, 2, 2)
	expectOpen(t, &in, 1)
	in.Ready(3, 4, 2, packet.QuotaExceeded) // of the last connection
	expectOpen(t, &in, 1)
	in.Release(2)
	in.Forget(2)
	expectOpen(t, &in, 0)
	in.Release(3)
	in.Forget(3)
	expectOpen(t, &in, 0)
}

// A QoS 2 message is known by its identifier until PUBREL, also over reconnects and restarts; before PUBREC
// is allowed a repeat waits as the message itself does [MQTT5-4.3.3-10] [MQTT311-4.3.3-2].
func TestRepeatedPublish(t *testing.T) {
	var in Inbound
	in.Keep(9) // from the store
	in.Reconnected()
	first, repeated := receive(&in, 7, 2)
	if repeated {
		t.Fatal("a new message counts as a repeat")
	}
	for _, id := range []uint16{7, 9, 7} {
		if _, repeated := receive(&in, id, 2); !repeated {
			t.Fatalf("%d is not known", id)
		}
	}
	expectPopped(t, &in, "")
	in.Ready(first, 7, 2, packet.Success)
	expectPopped(t, &in, "2/7 2/7 2/9 2/7")
	if _, repeated := receive(&in, 7, 2); !repeated {
		t.Fatal("not known after PUBREC")
	}
	expectPopped(t, &in, "2/7")
	in.Release(7)
	in.Forget(7)
	if _, repeated := receive(&in, 7, 2); repeated {
		t.Fatal("known after PUBREL") // [MQTT5-4.3.3-12]
	}
}

// A QoS 1 PUBLISH is a new message each time, whatever else has its identifier [MQTT5-4.3.2-5].
func TestQoS1IsNeverARepeat(t *testing.T) {
	var in Inbound
	in.Keep(5)
	first, _ := receive(&in, 5, 1)
	second, _ := receive(&in, 5, 1)
	expectOpen(t, &in, 3)
	in.Ready(second, 5, 1, packet.NotAuthorized)
	expectPopped(t, &in, "")
	in.Ready(first, 5, 1, packet.Success)
	expectPopped(t, &in, "1/5 1/5!")
	if known, ready := in.Received(5); !known || !ready {
		t.Fatal("the QoS 2 identifier is gone")
	}
}

// A message that is refused frees its identifier: the next PUBLISH with it is another message [MQTT5-4.3.3-9].
func TestFailedFreesIdentifier(t *testing.T) {
	var in Inbound
	ticket, _ := receive(&in, 7, 2)
	receive(&in, 7, 2)
	in.Ready(ticket, 7, 2, packet.QuotaExceeded)
	if known, _ := in.Received(7); known {
		t.Fatal("still known")
	}
	expectOpen(t, &in, 0)
	expectPopped(t, &in, "2/7! 2/7!")
	if _, repeated := receive(&in, 7, 2); repeated {
		t.Fatal("a repeat")
	}
}

// An acknowledgement that was decided stays as it is when its identifier is used again.
func TestReadyIsFinal(t *testing.T) {
	var in Inbound
	before, _ := receive(&in, 1, 1) // keeps what follows waiting
	refused, _ := receive(&in, 7, 2)
	in.Ready(refused, 7, 2, packet.QuotaExceeded)
	again, repeated := receive(&in, 7, 2)
	if repeated {
		t.Fatal("a repeat of a message that was refused")
	}
	in.Ready(again, 7, 2, packet.Success)
	in.Ready(before, 1, 1, packet.Success)
	expectPopped(t, &in, "1/1 2/7! 2/7")
}

// What the store says of a message of the last connection settles its identifier, and leaves what is owed on this
// one alone, but for repeats of that very message [MQTT5-4.3.3-10].
func TestTicketOfEarlierConnection(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  packet.Code
		wants string
	}{{"stored", packet.Success, "2/2"}, {"refused", packet.QuotaExceeded, "2/2!"}} {
		t.Run(c.name, func(t *testing.T) {
			var in Inbound
			one, _ := receive(&in, 1, 1)
			two, _ := receive(&in, 2, 2)
			in.Reset()
			in.Reconnected()
			if !in.Idle() {
				t.Fatal("something is owed on a new connection")
			}
			if known, ready := in.Received(2); !known || ready {
				t.Fatalf("known %v, ready %v", known, ready)
			}
			if _, repeated := receive(&in, 2, 2); !repeated {
				t.Fatal("not a repeat")
			}
			again, _ := receive(&in, 1, 1)
			in.Ready(one, 1, 1, packet.ImplementationError)
			expectPopped(t, &in, "")
			in.Ready(two, 2, 2, c.code)
			expectPopped(t, &in, c.wants)
			in.Ready(again, 1, 1, packet.Success)
			expectPopped(t, &in, "1/1")
			if known, _ := in.Received(2); known == c.code.Failed() {
				t.Fatalf("known %v", known)
			}
		})
	}
}

// PUBREL counts once, for identifiers whose PUBREC was due [MQTT5-4.3.3-11] [MQTT311-4.3.3-2].
func TestRelease(t *testing.T) {
	var in Inbound
	ticket, _ := receive(&in, 7, 2)
	release := func(id uint16, known, begun bool) {
		t.Helper()
		if k, b := in.Release(id); k != known || b != begun {
			t.Fatalf("known %v, begun %v; want %v, %v", k, b, known, begun)
		}
	}
	release(1, false, false)
	release(7, false, false) // no PUBREC was sent
	in.Ready(ticket, 7, 2, packet.Success)
	popped(&in)
	release(7, true, false)
	release(7, true, true)
	in.Reset()
	in.Reconnected() // the client did not see PUBCOMP and sends PUBREL again
	release(7, true, false)
	in.Forget(7)
	release(7, false, false)
	if known, _ := in.Received(7); known {
		t.Fatal("known after Forget") // [MQTT5-4.3.3-12]
	}
}
