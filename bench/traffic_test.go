package bench

import (
	"testing"
)

// messages splits what a publisher sent into payloads.
func messages(t *testing.T, p *publisher, frames []byte) [][]byte {
	t.Helper()
	size := len(p.stamp.frame)
	if len(frames)%size != 0 {
		t.Fatalf("%d bytes are not packets of %d", len(frames), size)
	}
	var payloads [][]byte
	for ; len(frames) > 0; frames = frames[size:] {
		payloads = append(payloads, frames[p.stamp.header:size])
	}
	return payloads
}

// A publisher has no more than its window on the way, and the oldest message holds the window.
func TestWindow(t *testing.T) {
	o := Default(Pairs)
	o.Window = 3
	tr, pub, sub := pair(t, o)
	p := pub.publisher
	sent := messages(t, p, tr.fill(p, nil))
	if len(sent) != 3 {
		t.Fatalf("sent %d", len(sent))
	}
	deliver(t, tr, sub, sent[1])
	if more := tr.fill(p, nil); len(more) != 0 {
		t.Error("sent beyond a message that is missing")
	}
	deliver(t, tr, sub, sent[0])
	if more := messages(t, p, tr.fill(p, nil)); len(more) != 2 {
		t.Errorf("sent %d more, want 2", len(more))
	}
}

func deliver(t *testing.T, tr *traffic, c *client, payload []byte) {
	t.Helper()
	if !tr.deliver(c.subscriber, payload) {
		t.Fatal("not the subscriber's")
	}
}

// A message that goes to several subscribers holds its place until the last has it.
func TestFanOutWaitsForAll(t *testing.T) {
	o := Default(FanOut)
	o.Subscribers, o.Window = 2, 1
	p, err := newPlan(&o)
	if err != nil {
		t.Fatal(err)
	}
	tr := &traffic{sending: true}
	subs, pub := newSubscribers(&o, p, tr), newPublishers(&o, p, tr)[0].publisher
	sent := messages(t, pub, tr.fill(pub, nil))
	deliver(t, tr, subs[0], sent[0])
	if tr.settled != 0 || len(tr.eager) != 0 {
		t.Error("settled by the first of two")
	}
	deliver(t, tr, subs[1], sent[0])
	if tr.settled != 1 || len(tr.eager) != 1 || tr.expected() != 2 {
		t.Errorf("settled %d, eager %d, expected %d", tr.settled, len(tr.eager), tr.expected())
	}
}

// Messages behind a later one and second copies are counted.
func TestOrderViolations(t *testing.T) {
	o := Default(Pairs)
	tr, pub, sub := pair(t, o)
	sent := messages(t, pub.publisher, tr.fill(pub.publisher, nil))
	for _, step := range []struct {
		message    int
		misordered uint64
	}{{0, 0}, {2, 0}, {1, 1}, {3, 1}, {3, 2}, {4, 2}} {
		deliver(t, tr, sub, sent[step.message])
		if tr.misordered != step.misordered {
			t.Errorf("after message %d: %d out of order, want %d", step.message, tr.misordered, step.misordered)
		}
	}
}

// In an open loop a message goes out when it is due and carries that time, however late it is sent.
func TestScheduleCorrectsForLateness(t *testing.T) {
	tr, pub, sub := pair(t, Default(Latency))
	tr.schedule = func(_ *publisher, sequence uint64) int64 { return int64(sequence) * 1000 }
	tr.latencies = new(histogram)
	tr.now = 999
	if early := tr.fill(pub.publisher, nil); len(early) != 0 {
		t.Fatal("sent before it was due")
	}
	tr.now = 3500
	sent := messages(t, pub.publisher, tr.fill(pub.publisher, nil))
	if len(sent) != 3 {
		t.Fatalf("sent %d, want the 3 that are due", len(sent))
	}
	tr.now = 3600
	deliver(t, tr, sub, sent[0])
	if tr.latencies.max != 2600 {
		t.Errorf("latency %d, want 2600: since it was due", tr.latencies.max)
	}
}

func BenchmarkDeliver(b *testing.B) {
	o := Default(Pairs)
	p, err := newPlan(&o)
	if err != nil {
		b.Fatal(err)
	}
	tr := &traffic{sending: true}
	sub, pub := newSubscribers(&o, p, tr)[0], newPublishers(&o, p, tr)[0].publisher
	var frames []byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%o.Window == 0 {
			for _, p := range tr.eager {
				p.queued = false
			}
			tr.eager = tr.eager[:0]
			frames = tr.fill(pub, frames[:0])
		}
		at := i % o.Window * len(pub.stamp.frame)
		if _, _, err := sub.feed(frames[at:at+len(pub.stamp.frame)], nil); err != nil {
			b.Fatal(err)
		}
	}
}
