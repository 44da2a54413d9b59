package session

import (
	"fmt"
	"slices"
	"testing"
)

func pushExtra(t *testing.T, o *Outbound, text string, qos byte) uint16 {
	t.Helper()
	id, ok := o.PushExtra(delivery(text, qos))
	if !ok {
		t.Fatalf("no room for %s", text)
	}
	return id
}

// texts are the payloads of deliveries.
func texts(all []Delivery) (texts []string) {
	for _, d := range all {
		texts = append(texts, string(d.Message.Payload))
	}
	return texts
}

// A delivery outside of the queue takes a place in the window and is acknowledged like any other
// [MQTT5-3.3.4-9] [MQTT5-4.3.2-3] [MQTT5-4.3.3-4].
func TestExtra(t *testing.T) {
	var o Outbound
	if _, ok := o.PushExtra(delivery("x", 1)); ok {
		t.Fatal("taken without a connection")
	}
	o.Resume(2)
	one, two := pushExtra(t, &o, "x", 1), pushExtra(t, &o, "y", 2)
	if _, ok := o.PushExtra(delivery("z", 1)); ok {
		t.Fatal("taken above the window")
	}
	push(&o, 1, "a")
	expectSteps(t, &o, "")
	expectCounts(t, &o, 1, 2)
	answered(o.Puback(two)).expect(t, Violation, 0, "")
	answered(o.Pubrec(one, false)).expect(t, Violation, 0, "")
	answered(o.Pubcomp(two)).expect(t, Violation, 0, "")
	answered(o.Puback(one)).expect(t, Completed, 0, "x")
	answered(o.Puback(one)).expect(t, Unknown, 0, "")
	expectSteps(t, &o, "publish 1 a")
	answered(o.Pubrec(two, false)).expect(t, Released, 0, "y")
	answered(o.Pubrec(two, false)).expect(t, Repeated, 0, "y")
	answered(o.Pubcomp(two)).expect(t, Completed, 0, "y")
	three := pushExtra(t, &o, "z", 2)
	o.DropExtra(three)
	o.DropExtra(three) // twice is harmless
	expectCounts(t, &o, 1, 1)
	answered(o.Pubrec(three, false)).expect(t, Unknown, 0, "")
}

// The identifier of an extra is none that the queue uses, nor one of those it uses next [MQTT5-2.2.1-4].
func TestExtraIdentifier(t *testing.T) {
	for _, c := range []struct {
		name         string
		first        uint64
		queued, sent int
	}{
		{"unused queue", 1, 0, 0},
		{"empty queue", 5, 0, 0},
		{"short queue", 1, 10, 5},
		{"identifiers wrap among the extras", 40000, 10, 10},
		{"identifiers wrap in the queue", 65530, 100, 50},
		{"long queue", 7, 60000, 60000},
		{"far on", 1 << 40, 3, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Outbound
			o.Skip(c.first)
			used := make(map[uint16]bool)
			for range c.queued {
				used[PacketID(o.Push(delivery("a", 1)))] = true
			}
			o.Resume(c.sent)
			if n := len(steps(&o, 0)); n != c.sent {
				t.Fatalf("%d sent", n)
			}
			o.window = WindowMax
			for n := range uint64(32767) {
				used[PacketID(c.first+n)] = true
			}
			for range min(1000, 65535-len(used)) {
				id := pushExtra(t, &o, "x", 1)
				if id == 0 || used[id] {
					t.Fatalf("identifier %d is taken", id)
				}
				used[id] = true
			}
		})
	}
}

// When every identifier is taken there is room for no extra, and finding that out is quick.
func TestExtraWithoutIdentifier(t *testing.T) {
	var o Outbound
	for range WindowMax {
		push(&o, 1, "a")
	}
	o.Resume(1)
	steps(&o, 0)
	o.window = WindowMax
	if id, ok := o.PushExtra(delivery("x", 1)); ok {
		t.Fatalf("identifier %d", id)
	}
	o.Puback(1)
	pushExtra(t, &o, "x", 1)
}

// The queue waits before an identifier that an extra has, and goes on after it [MQTT5-2.2.1-4].
func TestQueueMeetsExtra(t *testing.T) {
	var o Outbound
	o.Resume(10)
	id := pushExtra(t, &o, "x", 2)
	sent := 0
	for range 2 * 65535 {
		push(&o, 1, "a")
		step, ok := o.Next(0)
		if !ok {
			break
		}
		if sent++; step.ID == id {
			t.Fatalf("identifier %d twice", id)
		}
		o.Puback(step.ID)
	}
	if sent < 32767 || sent > 65535 {
		t.Fatalf("%d sent before the queue waits", sent)
	}
	o.Pubrec(id, false)
	o.Pubcomp(id)
	expectSteps(t, &o, fmt.Sprintf("publish %d a", id))
}

// When the connection ends, what the client has not taken is given back in the order it was sent. The
// identifiers of QoS 2 stay taken: the client may remember them and would take another message with one of
// them for a repeat, so they are released first [MQTT5-4.3.3-10] [MQTT5-4.4.0-1].
func TestExtrasAfterConnection(t *testing.T) {
	var o Outbound
	o.Resume(10)
	var given []string
	byText := make(map[string]uint16)
	for i, text := range []string{"p", "q", "r", "s", "t", "u", "v", "w"} {
		byText[text] = pushExtra(t, &o, text, byte(1+i%2))
	}
	o.Pubrec(byText["u"], false)
	o.Pubrec(byText["q"], false)
	given = texts(o.Suspend())
	if want := []string{"p", "r", "s", "t", "v", "w"}; !slices.Equal(given, want) {
		t.Fatalf("gave back %q, want %q", given, want)
	}
	o.Resume(10)
	// Those the client answered come first, in the order of its PUBRECs [MQTT311-4.6.0-4].
	released := []uint16{byText["u"], byText["q"], byText["s"], byText["w"]}
	if got := o.ReleasedExtras(); !slices.Equal(got, released) {
		t.Fatalf("released %d, want %d", got, released)
	}
	expectCounts(t, &o, 0, 4)
	for range 6 {
		if id := pushExtra(t, &o, "x", 1); slices.Contains(released, id) {
			t.Fatalf("identifier %d is not free", id)
		}
	}
	for _, id := range released {
		if got := answered(o.Pubcomp(id)); got.outcome != Completed {
			t.Fatal(got)
		}
	}
	expectCounts(t, &o, 0, 6)
}

// Who delivered an extra hears of it once.
func TestExtraIsToldOnce(t *testing.T) {
	for name, end := range map[string]func(o *Outbound, id uint16) []Delivery{
		"PUBCOMP":        func(o *Outbound, id uint16) []Delivery { return []Delivery{answered(o.Pubcomp(id)).d} },
		"another PUBREC": func(o *Outbound, id uint16) []Delivery { return []Delivery{answered(o.Pubrec(id, false)).d} },
		"failing PUBREC": func(o *Outbound, id uint16) []Delivery { return []Delivery{answered(o.Pubrec(id, true)).d} },
		"Suspend":        func(o *Outbound, _ uint16) []Delivery { return o.Suspend() },
		"Suspend, Drain": func(o *Outbound, _ uint16) (all []Delivery) {
			all = o.Suspend()
			o.Drain(func(d Delivery, _ bool) { all = append(all, d) })
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			var o Outbound
			o.Resume(10)
			d := delivery("x", 2)
			d.Tag = "whose"
			id, _ := o.PushExtra(d)
			outcome, _, got := o.Pubrec(id, false)
			if outcome != Released || got.Tag == nil {
				t.Fatal("PUBREC does not tell")
			}
			for _, d := range end(&o, id) {
				if d.Tag != nil {
					t.Fatal("told twice")
				}
			}
		})
	}
}

// Without a Suspend before it, Drain gives back extras too.
func TestDrainWithExtras(t *testing.T) {
	var o Outbound
	o.Resume(10)
	push(&o, 1, "a")
	for _, text := range []string{"p", "q", "r"} {
		pushExtra(t, &o, text, 1)
	}
	var got []Delivery
	o.Drain(func(d Delivery, wasSent bool) {
		if got = append(got, d); wasSent == (string(d.Message.Payload) == "a") {
			t.Errorf("%s: sent %v", d.Message.Payload, wasSent)
		}
	})
	if want := []string{"a", "p", "q", "r"}; !slices.Equal(texts(got), want) {
		t.Fatalf("%q, want %q", texts(got), want)
	}
	expectCounts(t, &o, 0, 0)
}
