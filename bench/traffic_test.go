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

// A publisher with a burst sends no more in one turn, goes on in the next, and rests when its window is full.
func TestBurst(t *testing.T) {
	o := Default(Pairs)
	o.Window = 5
	tr, pub, _ := pair(t, o)
	tr.burst = 2
	for turn, want := range []int{2, 2, 1, 0} {
		tr.eager, pub.publisher.queued = nil, false
		if sent := messages(t, pub.publisher, tr.fill(pub.publisher, nil)); len(sent) != want || pub.publisher.queued != (want == 2) {
			t.Errorf("turn %d: sent %d, want %d; eager %v", turn, len(sent), want, pub.publisher.queued)
		}
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
	tr := newTraffic(&o, p)
	tr.sending = true
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
		repeated   uint64
	}{{0, 0, 0}, {2, 0, 0}, {1, 1, 0}, {3, 1, 0}, {3, 1, 1}, {5, 1, 1}} {
		deliver(t, tr, sub, sent[step.message])
		if tr.misordered != step.misordered || tr.repeated != step.repeated {
			t.Errorf("after message %d: %d out of order, %d repeated, want %d and %d",
				step.message, tr.misordered, tr.repeated, step.misordered, step.repeated)
		}
	}
	if lost := tr.lost([]*subscriber{sub.subscriber}); lost != uint64(len(sent)-5) {
		t.Errorf("%d lost, want all but 5 of %d", lost, len(sent))
	}
}

// Of a shared subscription a member sees some messages, in order; what is missing is counted for all members together.
func TestPartialSubscribers(t *testing.T) {
	o := Default(Share)
	o.Clients, o.Subscribers = 1, 2
	p, err := newPlan(&o)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(&o, p)
	tr.sending = true
	subs, pub := newSubscribers(&o, p, tr), newPublishers(&o, p, tr)[0].publisher
	sent := messages(t, pub, tr.fill(pub, nil))
	for _, step := range []struct{ member, message int }{{0, 0}, {1, 1}, {0, 4}, {1, 3}, {1, 2}} {
		deliver(t, tr, subs[step.member], sent[step.message])
	}
	if tr.misordered != 1 {
		t.Errorf("%d out of order, want 1", tr.misordered)
	}
	if lost := tr.lost([]*subscriber{subs[0].subscriber, subs[1].subscriber}); lost != uint64(len(sent)-5) {
		t.Errorf("%d lost, want all but 5 of %d", lost, len(sent))
	}
}

// Publishers divide what is to be sent, send no more, and wait for nobody who is away.
func TestDivide(t *testing.T) {
	o := Default(Backlog)
	o.Clients, o.Subscribers, o.Window, o.Messages = 3, 2, 4, 10
	p, err := newPlan(&o)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTraffic(&o, p)
	tr.sending, tr.away, tr.acks = true, true, new(histogram)
	newPublishers(&o, p, tr)
	tr.divide(10)
	for i, pub := range tr.publishers {
		for want := []uint64{3, 3, 4}[i]; pub.sent < want; {
			tr.now = int64(1000 * pub.sent)
			sent := messages(t, pub, tr.fill(pub, nil))
			if len(sent) == 0 {
				t.Fatalf("publisher %d stops at %d of %d", i, pub.sent, want)
			}
			tr.now += 70
			for place := range sent {
				tr.acknowledge(pub, place)
			}
		}
		if more := tr.fill(pub, nil); len(more) > 0 {
			t.Errorf("publisher %d sends more than its share", i)
		}
	}
	if tr.settled != 10 || tr.total != 10 || tr.acks.max != 70 || tr.acks.count != 10 {
		t.Errorf("%d of %d settled, slowest %d of %d", tr.settled, tr.total, tr.acks.max, tr.acks.count)
	}
}

// The number of messages due before a time is that of those whose time is before it.
func TestScheduleEnds(t *testing.T) {
	s := &schedule{start: 1000, interval: 7, publishers: 3}
	for index := range 3 {
		p := &publisher{index: index}
		for end := int64(990); end < 1100; end++ {
			var want uint64
			for s.due(p, want+1) < end {
				want++
			}
			if got := s.until(p, end); got != want {
				t.Errorf("publisher %d before %d: got %d, want %d", index, end, got, want)
			}
		}
	}
}

// One message is due in each interval, and when in it is spread evenly: each tenth of the intervals has its share, for every
// rhythm that something else on the machine may have.
func TestScheduleHasNoRhythm(t *testing.T) {
	const interval, messages = 200_000, 100_000
	s := &schedule{start: 1000, interval: interval, publishers: 1}
	for _, every := range []int64{1, 20, 50} {
		var tenths [10]int64
		for i := int64(0); i < messages; i += every {
			offset := s.at(i) - s.start - i*interval
			if offset < 0 || offset >= interval {
				t.Fatalf("message %d is due %d after its interval began", i, offset)
			}
			tenths[offset*10/interval]++
		}
		for i, n := range tenths {
			if want := messages / every / 10; n < want*9/10 || n > want*11/10 {
				t.Errorf("one message in %d: %d are due in the interval's tenth %d, want about %d", every, n, i, want)
			}
		}
	}
}

// In an open loop a message goes out when it is due and carries that time, however late it is sent.
func TestScheduleCorrectsForLateness(t *testing.T) {
	tr, pub, sub := pair(t, Default(Latency))
	tr.schedule = &schedule{start: 1000, interval: 1000, publishers: 1}
	due := tr.schedule.at
	tr.latencies, tr.lateness, tr.since = new(histogram), new(histogram), due(1)
	tr.now = due(0) - 1
	if early := tr.fill(pub.publisher, nil); len(early) != 0 {
		t.Fatal("sent before it was due")
	}
	tr.now = due(2)
	sent := messages(t, pub.publisher, tr.fill(pub.publisher, nil))
	if len(sent) != 3 {
		t.Fatalf("sent %d, want the 3 that are due", len(sent))
	}
	tr.now += 100
	deliver(t, tr, sub, sent[0])
	if tr.latencies.count != 0 {
		t.Error("timed a message that was due before timing began")
	}
	deliver(t, tr, sub, sent[1])
	if late := due(2) - due(1); tr.latencies.max != late+100 || tr.lateness.max != late || tr.lateness.count != 2 {
		t.Errorf("latency %d, want %d: since it was due; late by %d, want %d", tr.latencies.max, late+100, tr.lateness.max, late)
	}
}

func BenchmarkDeliver(b *testing.B) {
	o := Default(Pairs)
	p, err := newPlan(&o)
	if err != nil {
		b.Fatal(err)
	}
	tr := newTraffic(&o, p)
	tr.sending = true
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
