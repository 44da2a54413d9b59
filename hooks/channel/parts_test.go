package channel

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/channel/spread"
)

// A delay is seconds and nothing else.
func TestParseDelay(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "5": 5e9, "0.25": 25e7, "1e1": 1e10, "3600": time.Hour, "0.000000001": 1} {
		if got, err := parseDelay(text, time.Hour); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1", "3600.1", "NaN", "Inf", "infinity", "1s", "0x10", "1_0", " 1", "1e400"} {
		if got, err := parseDelay(text, time.Hour); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

// What is kept of an attempt is read as it was written; what is cut short is not read.
func TestAttemptRecord(t *testing.T) {
	a := spread.Attempt{Deliveries: 7, Failures: math.MaxUint32, First: -5, Last: math.MaxInt64, Due: 1}
	r := attemptRecord("x.jobs", 4711, &a)
	s := &saved{
		declarations: map[string]declaration{}, attempts: map[string]map[uint64]spread.Attempt{}, seen: map[string][]sighting{},
	}
	if err := s.read(r.Key, r.Value); err != nil || s.attempts["x.jobs"][4711] != a {
		t.Errorf("got %+v, %v", s.attempts, err)
	}
	for n := range r.Value {
		if _, err := parseAttempt(r.Value[:n]); err == nil {
			t.Errorf("%d of %d bytes are read", n, len(r.Value))
		}
	}
	for key, value := range map[string]string{
		"attempt/x/!": "", "attempt/x": "", "seen/x/00": "12345678", "channel/a": "{", "what/x": "",
		"seen/x/000102030405060708090a0b0c0d0e0f": "1234567", "seen/x/0001020304050607Z8090a0b0c0d0e0f": "12345678",
	} {
		if err := s.read(key, []byte(value)); err == nil {
			t.Errorf("%s: no error", key)
		}
	}
}

// Message-ids are remembered for the window and no longer, and no more of them than allowed; the records say the same.
func TestSeen(t *testing.T) {
	disk := map[string][]byte{}
	id := func(i int) sum { return sum{byte(i), byte(i >> 8)} }
	keep := func(records []hooks.Record) {
		for _, r := range records {
			if disk[r.Key] = r.Value; r.Value == nil {
				delete(disk, r.Key)
			}
		}
	}
	s := newSeen(100, 50)
	now := int64(0)
	for i := range 3000 {
		if now++; s.holds(id(i), now) {
			t.Fatalf("%d is new", i)
		}
		keep(s.add(id(i), now, "x"))
		if !s.holds(id(i), now+99) || s.holds(id(i), now+100) {
			t.Fatalf("%d is not remembered for the window", i)
		}
		if len(s.at) > 50 || len(s.at) != len(disk) || len(s.order)-s.head < len(s.at) {
			t.Fatalf("%d remembered, %d on disk, %d in order", len(s.at), len(disk), len(s.order)-s.head)
		}
	}
	if s.holds(id(2900), now) || !s.holds(id(2951), now) {
		t.Error("not the oldest were forgotten")
	}
	s.withdraw(id(2999))
	if s.holds(id(2999), now) {
		t.Error("what was withdrawn is remembered")
	}
	read := &saved{seen: map[string][]sighting{}}
	for key, value := range disk {
		if err := read.read(key, value); err != nil {
			t.Fatal(err)
		}
	}
	again := newSeen(100, 50)
	again.restore(read.seen["x"])
	if len(again.at) != 50 || !again.holds(id(2951), now) {
		t.Errorf("%d restored", len(again.at))
	}
	keep(again.add(id(1), now+1000, "x"))
	if len(again.at) != 1 || len(disk) != 1 {
		t.Errorf("%d remembered, %d on disk after the window", len(again.at), len(disk))
	}
	keep(again.records("x"))
	if len(disk) != 0 {
		t.Errorf("left on disk: %v", slices.Collect(maps.Keys(disk)))
	}
}

// What is due first comes first, of equals what was queued first.
func TestDueHeap(t *testing.T) {
	var h dueHeap
	var want []dueTime
	for i := range uint64(5000) {
		d := dueTime{int64(i * 7919 % 100), i}
		h.push(d)
		want = append(want, d)
	}
	slices.SortFunc(want, func(a, b dueTime) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return int(a.number) - int(b.number)
	})
	for _, w := range want {
		if got := h.pop(); got != w {
			t.Fatalf("got %v, want %v", got, w)
		}
	}
}

// A rate follows what happens, and falls when nothing does.
func TestRate(t *testing.T) {
	var r rate
	now := int64(1e18)
	for range 60_000 {
		now += 1e6
		r.add(1, now)
	}
	if got := r.perSecond(now); math.Abs(got-1000) > 20 {
		t.Errorf("got %f a second, want 1000", got)
	}
	if got := r.perSecond(now + 60e9); got > 30 {
		t.Errorf("got %f a second after a minute of silence", got)
	}
	if r.total != 60_000 {
		t.Errorf("counted %d", r.total)
	}
	for depth, want := range map[int]time.Duration{0: 0, 100: 10 * time.Second} {
		if got := drainTime(depth, 10); got != want {
			t.Errorf("drain %d: got %v, want %v", depth, got, want)
		}
	}
	if drainTime(5, 0) >= 0 || drainTime(5, -3) >= 0 {
		t.Error("what does not shrink does not drain")
	}
}

// A dead letter says where it comes from, and is again what it was when it is put back.
func TestDeadLetterAndBack(t *testing.T) {
	h := New(Options{})
	c := &channel{h: h, name: "jobs"}
	c.terms.Store(&terms{dead: "dead"})
	h.byName["jobs"] = c
	m := &packet.Message{Topic: "jobs/a", Payload: []byte("x"), Retain: true, Expires: 5, Publisher: "alice"}
	m.Properties = packet.AppendProperties(nil, &packet.Forwarded{ContentType: "text", User: []packet.UserProperty{{Key: "k", Value: "v"}}})
	dead := c.deadLetter(spread.Effect{Message: m, Reason: spread.DropTimeout, Attempt: spread.Attempt{Deliveries: 3, Failures: 2}})
	if dead.Topic != "dead" || dead.QoS != 1 || dead.Retain || dead.Expires != 0 || dead.Publisher != "alice" || string(dead.Payload) != "x" {
		t.Errorf("got %+v", dead)
	}
	for name, want := range map[string]string{"k": "v", deadChannel: "jobs", deadTopic: "jobs/a", deadReason: "timeout", deadDeliveries: "3", deadFailures: "2"} {
		if got, _ := userProperty(dead, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	back, err := h.backInto(dead)
	if err != nil || c.topicOf(back) != "jobs/a" || string(back.Properties) != string(m.Properties) {
		t.Errorf("got %+v, %v", back, err)
	}
	delete(h.byName, "jobs")
	for _, lost := range []*packet.Message{dead, m} {
		if _, err := h.backInto(lost); err == nil {
			t.Errorf("%s has a way back", lost.Topic)
		}
	}
}

// The topics that a channel keeps to itself are told from those that only look like it.
func TestSelects(t *testing.T) {
	h := New(Options{})
	for name, want := range map[string]bool{"$delayed/1/a": true, "$channel/a/touch": true, "a": false, "delayed/$": false} {
		if got := h.Selects(&packet.Message{Topic: name}); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	for key, want := range map[string]bool{"delay": true, "delays": false, "elay": false, "k": false} {
		p := packet.AppendProperties(nil, &packet.Forwarded{User: []packet.UserProperty{{Key: key, Value: strconv.Itoa(5)}}})
		if got := h.Selects(&packet.Message{Topic: "a", Properties: p}); got != want {
			t.Errorf("%s: got %v", key, got)
		}
	}
}
