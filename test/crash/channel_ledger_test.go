package crash

import (
	"slices"
	"testing"
	"time"

	"github.com/penstockmq/penstock/configs"
)

// A recorded is a run that was made up: one stream into one channel, whose messages 1, 2 and 3 have the numbers 1, 2 and 3.
type recorded struct {
	*channelRun
	out    *outlet
	stream *stream
	member *member
	epoch  time.Time
}

func newRecorded(o configs.Channel) *recorded {
	o.Name, o.Filter, o.MaxAttempts, o.DeadLetter = "c", "c/#", 3, "dead/c"
	s := &stream{topic: "c/1", qos: 2}
	out := &outlet{Channel: o}
	dead := &outlet{Channel: configs.Channel{Name: "c.dead", Filter: "dead/c"}, dead: true, members: []*member{{}}}
	r := &recorded{
		channelRun: &channelRun{
			run: &run{streams: []*stream{s}, over: make(chan struct{})}, outlets: []*outlet{out, dead}, modern: []bool{true}, delayed: []bool{false},
			sent: map[[2]int]time.Time{}, deaths: []moment{1000, 2000}, complete: true,
		},
		out: out, stream: s, member: &member{client: &client{id: "m"}, outlet: out}, epoch: time.Now(),
	}
	out.members = []*member{r.member}
	for n := 1; n <= 3; n++ {
		begun := moment(10 * n)
		s.add(publication{span: span{begun, begun + 5}, sends: 1})
		r.sent[[2]int{0, n}] = r.at(begun)
	}
	return r
}

// at is the time of a moment: a moment takes a millisecond.
func (r *recorded) at(m moment) time.Time { return r.epoch.Add(time.Duration(m) * time.Millisecond) }

// hand has the member get a message, and acknowledge it after two moments.
func (r *recorded) hand(number int, at moment) *handout {
	h := &handout{
		member: r.member, number: uint64(number), counter: number, linked: at - 2, at: at, clock: r.at(at),
		answered: r.at(at + 2), confirmed: at + 3, retryAfter: -1,
	}
	r.member.handouts = append(r.member.handouts, h)
	return h
}

// bury makes a dead letter of a message.
func (r *recorded) bury(number int, at moment) *handout {
	h := &handout{counter: number, number: uint64(number), at: 5000, letter: map[string]string{
		"failures": "3", "deliveries": "3", "channel": "c", "topic": "c/1", "last": r.at(at).Format(time.RFC3339Nano),
	}}
	reader := r.outlets[1].members[0]
	reader.handouts = append(reader.handouts, h)
	return h
}

// The ledger finds each mistake, by the violation that it is, and none where there is none.
func TestLedger(t *testing.T) {
	inOrder, patient := configs.Channel{Order: configs.OrderTopic}, configs.Channel{AckTimeout: time.Hour, Backoff: 20 * time.Millisecond, BackoffMax: time.Second}
	refused := func(r *recorded, number int, at moment) *handout {
		h := r.hand(number, at)
		h.refuse = true
		return h
	}
	for _, c := range []struct {
		name    string
		channel configs.Channel
		make    func(r *recorded)
		found   []kind
	}{
		{"in order", inOrder, func(r *recorded) { r.hand(1, 100); r.hand(2, 110); r.hand(3, 120) }, nil},
		{"one is dead", inOrder, func(r *recorded) { refused(r, 1, 100); r.bury(1, 103); r.hand(2, 110); r.hand(3, 120) }, nil},
		{"one is missing", inOrder, func(r *recorded) { r.hand(1, 100); r.hand(3, 120) }, []kind{kindLost, kindLost}},
		{"one is refused and forgotten", inOrder, func(r *recorded) { r.hand(1, 100); r.hand(2, 110); refused(r, 3, 120) }, []kind{kindLost, kindLost}},
		{"one overtakes", inOrder, func(r *recorded) { r.hand(1, 100); r.hand(3, 109); r.hand(2, 110) }, []kind{kindOrder}},
		{"one comes too soon", inOrder, func(r *recorded) { r.hand(1, 100); r.hand(2, 101); r.hand(3, 120) }, []kind{kindOrder}},
		{"one comes before it is buried", inOrder, func(r *recorded) { refused(r, 1, 100); r.bury(1, 113); r.hand(2, 110); r.hand(3, 120) }, []kind{kindOrder}},
		{"swapped", inOrder, func(r *recorded) { r.hand(1, 100).counter = 2; r.hand(2, 110).counter = 1; r.hand(3, 120) }, []kind{kindOrder}},
		{"one is back after a kill", configs.Channel{}, func(r *recorded) { r.hand(1, 100); r.hand(1, 1100); r.hand(2, 110); r.hand(3, 120) }, nil},
		{"one is back", configs.Channel{}, func(r *recorded) { r.hand(1, 100); r.hand(1, 130); r.hand(2, 110); r.hand(3, 120) }, []kind{kindTwice}},
		{"two copies", configs.Channel{}, func(r *recorded) { r.hand(1, 100); r.hand(4, 130).counter = 1; r.hand(2, 110); r.hand(3, 120) }, []kind{kindTwice}},
		{"buried twice", configs.Channel{}, func(r *recorded) {
			refused(r, 1, 100)
			r.bury(1, 103)
			r.bury(1, 104)
			r.hand(2, 110)
			r.hand(3, 120)
		}, []kind{kindTwice, kindTwice}},
		{"buried too soon", configs.Channel{}, func(r *recorded) {
			r.bury(1, 103).letter["failures"] = "2"
			r.hand(1, 100)
			r.hand(2, 110)
			r.hand(3, 120)
		}, []kind{kindFailures}},
		{"failures are forgotten", configs.Channel{}, func(r *recorded) {
			refused(r, 1, 5).failures = 1
			r.hand(1, 1100)
			r.hand(2, 110)
			r.hand(3, 120)
		}, []kind{kindFailures}},
		{"too many failures", configs.Channel{}, func(r *recorded) { r.hand(1, 100).failures = 3; r.hand(2, 110); r.hand(3, 120) }, []kind{kindFailures}},
		{"retry as asked", patient, func(r *recorded) { refused(r, 1, 100); r.hand(1, 122).failures = 1; r.hand(2, 110); r.hand(3, 120) }, nil},
		{"retry too soon", patient, func(r *recorded) {
			refused(r, 1, 100).retryAfter = 50 * time.Millisecond
			r.hand(1, 122).failures = 1
			r.hand(2, 110)
			r.hand(3, 120)
		}, []kind{kindEarly}},
		{"paused", configs.Channel{}, func(r *recorded) {
			r.hand(1, 100)
			r.hand(2, 110)
			r.hand(3, 120)
			r.out.paused = []span{{105, 115}}
		}, []kind{kindPaused}},
		{"before its time", configs.Channel{}, func(r *recorded) {
			r.delayed[0] = true
			for n := 1; n <= 3; n++ {
				r.hand(n, moment(delayOf(n)/time.Millisecond)+moment(10*n))
			}
			r.member.handouts[1].clock = r.at(0)
		}, []kind{kindEarly}},
	} {
		r := newRecorded(c.channel)
		c.make(r)
		r.judge()
		var found []kind
		for _, v := range r.violations {
			found = append(found, v.kind)
		}
		if !slices.Equal(found, c.found) {
			t.Errorf("%s: found %v, want %v", c.name, r.violations, c.found)
		}
	}
}
