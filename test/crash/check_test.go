package crash

import (
	"slices"
	"testing"
)

// A story is a history in which nothing is wrong, to be spoiled: one publisher, one subscriber, five messages with
// QoS 1 and five with QoS 2, and a retained topic.
//
// Moments: the session begins at 10, the subscription at 20; message n is sent at 100n and acknowledged at 100n+50.
type story struct {
	*run
	one, two, kept *stream
	session        *session
	life           *life
}

const storyMessages = 5

func newStory() *story {
	r := &run{over: make(chan struct{}), draining: make(chan struct{})}
	st := &story{
		run: r, one: r.newStream(&stream{topic: "t/1", qos: 1}), two: r.newStream(&stream{topic: "t/1", qos: 2}),
		kept: r.newStream(&stream{topic: "r/1", qos: 1, retain: true}),
		life: &life{filter: "t/#", qos: 2, start: span{20, 30}},
	}
	st.session = &session{client: "s", began: span{10, 15}, lives: []*life{st.life}, complete: true}
	r.addSession(st.session)
	for n := 1; n <= storyMessages; n++ {
		at := span{moment(100 * n), moment(100*n + 50)}
		for _, s := range []*stream{st.one, st.two} {
			s.add(publication{span: at, sends: 1})
			st.receive(receipt{stream: s.index, counter: n, link: 1, id: uint16(10*s.index + n), qos: s.qos})
		}
		st.kept.add(publication{span: at, sends: 1, deletes: n%2 == 0})
	}
	return st
}

func (st *story) receive(rc receipt) { st.session.receipts = append(st.session.receipts, rc) }

// find is the receipt of a message.
func (st *story) find(s *stream, counter int) *receipt {
	for i := range st.session.receipts {
		if rc := &st.session.receipts[i]; rc.stream == s.index && rc.counter == counter {
			return rc
		}
	}
	panic("no such receipt")
}

// again is another receipt of a message, on the next connection.
func (st *story) again(s *stream, counter int) receipt {
	rc := *st.find(s, counter)
	rc.link++
	rc.dup = true
	return rc
}

// repeatWill makes the QoS 2 messages wills of connections that were accepted after one start of the broker. The last comes again
// after another.
func (st *story) repeatWill(accepted, start uint64) {
	st.two.will = true
	for i := range st.two.sent {
		st.two.sent[i].accepted = accepted
	}
	rc := st.again(st.two, 5)
	rc.id, rc.start = 99, start
	st.receive(rc)
}

// lose removes the receipt of a message.
func (st *story) lose(s *stream, counter int) {
	rc := st.find(s, counter)
	rc.stream, rc.counter, rc.repeat = st.kept.index, 1, true // one that says nothing
}

// mistakes are what can be wrong with a history, and what only looks like it.
var mistakes = []struct {
	name  string
	spoil func(st *story)
	want  kind // empty: nothing is wrong
}{
	{"as it should be", func(*story) {}, ""},
	{"an acknowledged message is missing", func(st *story) { st.lose(st.one, 3) }, kindLost},
	{"one that was not acknowledged is missing", func(st *story) {
		st.lose(st.one, 3)
		st.one.sent[2].done = 0
	}, ""},
	{"one sent before SUBACK is missing", func(st *story) {
		st.lose(st.one, 1)
		st.life.start.done = 120
	}, ""},
	{"one is missing that UNSUBSCRIBE may have met", func(st *story) {
		st.lose(st.one, 5)
		st.life.end = span{begun: 520, done: 600}
	}, ""},
	{"one is missing of a session that has ended", func(st *story) {
		st.lose(st.one, 2)
		st.session.ended, st.session.complete = span{5000, 5010}, false
	}, ""},
	{"two are exchanged", func(st *story) {
		a, b := st.find(st.one, 2), st.find(st.one, 3)
		a.counter, b.counter = b.counter, a.counter
	}, kindOrder},
	{"two are exchanged that were sent again, with a subscription in between", func(st *story) {
		a, b := st.find(st.one, 1), st.find(st.one, 2)
		a.counter, b.counter = b.counter, a.counter
		st.one.sent[0].sends, st.one.sent[1].sends = 2, 2
		st.life.start = span{120, 130}
	}, ""},
	{"two are exchanged that were sent again under a subscription", func(st *story) {
		a, b := st.find(st.one, 1), st.find(st.one, 2)
		a.counter, b.counter = b.counter, a.counter
		st.one.sent[0].sends, st.one.sent[1].sends = 2, 2
	}, kindOrder},
	{"a QoS 1 message comes again on the next connection", func(st *story) { st.receive(st.again(st.one, 5)) }, ""},
	{"a QoS 1 message comes twice on one connection", func(st *story) {
		rc := st.again(st.one, 5)
		rc.link--
		st.receive(rc)
	}, kindTwice},
	{"the publisher sent it twice", func(st *story) {
		st.one.sent[4].sends = 2
		rc := st.again(st.one, 5)
		rc.link--
		rc.id = 99
		st.receive(rc)
	}, ""},
	{"it comes again with another identifier", func(st *story) {
		rc := st.again(st.one, 5)
		rc.id = 99
		st.receive(rc)
	}, kindPacketID},
	{"a QoS 2 message comes again", func(st *story) { st.receive(st.again(st.two, 5)) }, kindTwice},
	{"its PUBLISH comes again before PUBREL", func(st *story) {
		rc := st.again(st.two, 5)
		rc.repeat = true
		st.receive(rc)
	}, ""},
	{"what comes again goes back more often than connections broke", func(st *story) {
		for range 4 {
			st.receive(st.again(st.one, 5))
		}
	}, kindOrder},
	{"resent messages are out of order", func(st *story) {
		st.one.sent[3].sends, st.one.sent[4].sends = 2, 2
		for _, n := range []int{5, 4, 5, 4, 5, 4} {
			st.receive(st.again(st.one, n))
		}
	}, kindOrder},
	{"a message was sent after UNSUBACK", func(st *story) { st.life.end = span{410, 420} }, kindUncalled},
	{"a message was acknowledged before SUBSCRIBE", func(st *story) { st.life.start = span{160, 170} }, kindUncalled},
	{"a message was sent after its session had ended", func(st *story) {
		st.session.ended, st.session.complete = span{410, 420}, false
	}, kindUncalled},
	{"nothing is subscribed to", func(st *story) { st.life.filter = "other/#" }, kindUncalled},
	{"a message comes with a lower QoS than granted", func(st *story) { st.find(st.two, 4).qos = 1 }, kindQoS},
	{"a message comes with a higher QoS than granted", func(st *story) { st.life.qos = 1 }, kindQoS},
	{"a will that was taken back", func(st *story) { st.one.sent[1].forbidden = true }, kindUncalled},
	{"a will came again, because the broker ended while it published it", func(st *story) { st.repeatWill(3, 4) }, ""},
	{"a will came again, though the broker had not ended since", func(st *story) { st.repeatWill(3, 3) }, kindTwice},
	{"a retained message that was replaced before SUBSCRIBE", func(st *story) {
		st.session.lives = append(st.session.lives, &life{filter: "r/#", qos: 1, start: span{400, 410}})
		st.receive(receipt{stream: st.kept.index, counter: 1, link: 1, id: 77, qos: 1, retain: true})
		st.session.complete = false
	}, kindRetained},
	{"a retained message that was the last", func(st *story) {
		st.session.lives = append(st.session.lives, &life{filter: "r/#", qos: 1, start: span{400, 410}})
		st.receive(receipt{stream: st.kept.index, counter: 3, link: 1, id: 77, qos: 1, retain: true})
		st.session.complete = false
	}, ""},
}

// Each mistake in a history is found as what it is, and what looks like one but is allowed is not.
func TestChecker(t *testing.T) {
	for _, c := range mistakes {
		t.Run(c.name, func(t *testing.T) {
			st := newStory()
			c.spoil(st)
			st.check()
			switch {
			case c.want == "" && len(st.violations) > 0:
				t.Errorf("%v, though nothing is wrong", st.violations)
			case c.want != "" && !slices.ContainsFunc(st.violations, func(v violation) bool { return v.kind == c.want }):
				t.Errorf("found %v, want %s", st.violations, c.want)
			}
		})
	}
}

// What a restarted broker retains is judged by the last acknowledged message and those after it. Messages 2 and 4 delete.
func TestRetainedJudge(t *testing.T) {
	st := newStory()
	for _, c := range []struct {
		name  string
		acked int // of the first messages; the others were sent
		holds int // counter of what is retained, 0 is nothing
		wrong bool
	}{
		{"the last one", 5, 5, false},
		{"nothing, though the last one was acknowledged", 5, 0, true},
		{"one that was replaced", 5, 3, true},
		{"one that was deleted", 4, 3, true},
		{"deleted", 4, 0, false},
		{"one later than acknowledged", 3, 5, false},
		{"deleted by one later than acknowledged", 3, 0, false},
		{"the acknowledged one, later ones did not come", 3, 3, false},
		{"nothing was acknowledged", 0, 0, false},
		{"one is there before any was acknowledged", 0, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range st.kept.sent {
				st.kept.sent[i].done = 0
				if i < c.acked {
					st.kept.sent[i].done = st.kept.sent[i].begun + 50
				}
			}
			var payload []byte
			if c.holds > 0 {
				payload = st.kept.payload(c.holds)
			}
			if err := st.kept.judgeRetained(payload); (err != nil) != c.wrong {
				t.Errorf("judged %v, want wrong %v", err, c.wrong)
			}
		})
	}
	if err := st.kept.judgeRetained([]byte("2.77.never sent")); err == nil {
		t.Error("a payload that nobody published passes")
	}
}

// Filters match as the specification's examples say (MQTT 5, 4.7.1).
func TestMatches(t *testing.T) {
	for _, c := range []struct {
		filter, topic string
		want          bool
	}{
		{"t/#", "t", true}, {"t/#", "t/a/b", true}, {"t/+", "t/a", true}, {"t/+", "t/a/b", false}, {"t/+", "t", false},
		{"#", "t/a", true}, {"+/a", "t/a", true}, {"t/a", "t/a", true}, {"t/a", "t/b", false}, {"t/a", "t/a/b", false},
	} {
		if got := matches(c.filter, c.topic); got != c.want {
			t.Errorf("%s matches %s: %v, want %v", c.filter, c.topic, got, c.want)
		}
	}
}
