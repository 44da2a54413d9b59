package crash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// A channelRun is a run whose broker has channels.
type channelRun struct {
	*run

	// Fixed when newChannelRun returns.
	outlets  []*outlet
	members  []*member
	authors  []*publisher
	operator *operator
	modern   []bool // by stream: its author speaks MQTT 5
	delayed  []bool // by stream: its messages are published with a delay

	complete bool // everything was dealt with in the end; only playChannels touches it, and what it calls

	mu     sync.Mutex // guards what follows
	sent   map[[2]int]time.Time
	deaths []moment // just before each end of the broker
}

// An obituary is a host that notes when it ends the broker.
type obituary struct {
	host
	r *channelRun
}

func (o *obituary) kill() error {
	o.r.mu.Lock()
	o.r.deaths = append(o.r.deaths, o.r.clock.now())
	o.r.mu.Unlock()
	return o.host.kill()
}

// deathAfter is when the broker was ended to which a connection was made at a moment.
func (r *channelRun) deathAfter(linked moment) moment {
	i, _ := slices.BinarySearch(r.deaths, linked)
	return r.deaths[i] // there is one: a run ends with it
}

const (
	authorCount  = 4
	authorTopics = 3
)

// newChannelRun makes the clients of a run.
func newChannelRun(o options) *channelRun {
	r := &channelRun{
		run: &run{
			options: o, rng: rand.New(rand.NewPCG(o.seed, 0)), draining: make(chan struct{}), over: make(chan struct{}),
		},
		outlets: outletsOnTrial(), sent: make(map[[2]int]time.Time),
	}
	r.host = &obituary{host: o.host, r: r}
	for i := range authorCount {
		r.addAuthor(i)
	}
	for _, out := range r.outlets {
		if !out.dead {
			r.addMembers(out)
		}
	}
	r.operator = &operator{client: r.newClient("operator", 0), r: r}
	return r
}

// addAuthor adds a publisher, of MQTT 5 or 3.1.1 in turns.
func (r *channelRun) addAuthor(i int) {
	p := &publisher{client: r.newClient(fmt.Sprint("author-", i), i), window: []int{1, 3, 6, 4}[i%4]}
	p.dress = func(o *outbound, out *packet.Outgoing) { r.dress(p, o, out) }
	for qos := byte(1); qos <= 2; qos++ {
		for n := range authorTopics {
			p.streams = append(p.streams, r.addStream(p, fmt.Sprintf("c/%d/%d", i, n), qos))
		}
		p.streams = append(p.streams, r.addStream(p, fmt.Sprint("later/", i), qos))
	}
	r.authors = append(r.authors, p)
}

func (r *channelRun) addStream(p *publisher, topic string, qos byte) *stream {
	r.modern = append(r.modern, p.version == packet.V5)
	r.delayed = append(r.delayed, strings.HasPrefix(topic, "later/"))
	return r.newStream(&stream{topic: topic, qos: qos})
}

// dress gives a message what channels look at: a key, a message-id, a delay.
func (r *channelRun) dress(p *publisher, o *outbound, out *packet.Outgoing) {
	index := o.stream.index
	if !out.Dup {
		r.mu.Lock()
		r.sent[[2]int{index, o.counter}] = time.Now()
		r.mu.Unlock()
	}
	delay := seconds(delayOf(o.counter))
	switch {
	case !r.modern[index] && r.delayed[index]:
		out.Topic = "$delayed/" + delay + "/" + out.Topic
	case !r.modern[index]:
	case r.delayed[index]:
		out.Properties = packet.AppendProperties(nil, &packet.Forwarded{User: []packet.UserProperty{{Key: delayProperty, Value: delay}}})
	default:
		out.Properties = packet.AppendProperties(nil, &packet.Forwarded{User: []packet.UserProperty{
			{Key: keyProperty, Value: o.stream.topic}, {Key: messageIDProperty, Value: fmt.Sprintf("%d.%d", index, o.counter)},
		}})
	}
}

// addMembers adds the members of an outlet. Where it orders its messages or delays them all are told the numbers of messages, which MQTT 3.1.1
// and shared subscriptions cannot.
func (r *channelRun) addMembers(out *outlet) {
	join := "$channel/" + out.Name
	made := []*member{
		{filter: join, qos: 1, receiveMax: 40},
		{filter: join, qos: 2, receiveMax: 5, volatile: true},
		{filter: join, qos: 1, volatile: true},
	}
	versions := []int{0, 0, 0}
	if out.Name == "plain" {
		made = append(made, &member{filter: join, qos: 1}, &member{filter: "$share/" + out.Name + "/" + out.Filter, qos: 1, receiveMax: 10})
		versions = append(versions, 1, 0)
	}
	for i, m := range made {
		m.outlet = out
		m.client = r.newClient(fmt.Sprintf("%s-%d", out.Name, i), versions[i])
		r.members = append(r.members, m)
		out.members = append(out.members, m)
	}
}

// playChannels does a whole run and checks it. The result is valid even if there are violations.
func playChannels(o options) *channelRun {
	r := newChannelRun(o)
	if !r.begin() {
		return r
	}
	authors := start(r.authors)
	operating := start([]*operator{r.operator})
	taking := []<-chan struct{}{start(r.members)}
	if r.killing() && r.settle(authors, operating) {
		reading, all := r.openLetters()
		taking, r.complete = append(taking, reading), all
	}
	r.finish()
	for _, done := range append(taking, authors, operating) {
		<-done
	}
	r.stop()
	r.judge()
	return r
}

// settle lets every message be dealt with. Then the broker is ended once more: what was dealt with must not come back.
func (r *channelRun) settle(authors, operating <-chan struct{}) bool {
	close(r.draining)
	if !r.await(authors, "not everything that was published is acknowledged") || !r.await(operating, "a channel is not resumed") {
		return false
	}
	if !r.emptied(func(out *outlet) bool { return !out.dead }) {
		return false
	}
	if _, err := r.operator.tell("resume", r.outlets[0].Name); err != nil { // so that everything before is on disk
		r.report(kindStalled, "the last order: %v", err)
		return false
	}
	before := r.counts.received.Load()
	r.operator.hangUp()
	if err := r.kill(); err != nil {
		r.report(kindBroker, "kill: %v", err)
		return false
	}
	if err := r.start(); err != nil {
		r.report(kindBroker, "start %d: %v\n%s", r.incarnation.Load(), err, r.host.said())
		return false
	}
	if !r.emptied(func(out *outlet) bool { return !out.dead }) {
		return false
	}
	if again := r.counts.received.Load() - before; again != 0 {
		r.report(kindTwice, "%d messages that had been dealt with came again after the last kill", again)
	}
	return true
}

// openLetters has the dead letters read, and reports whether they were.
func (r *channelRun) openLetters() (reading <-chan struct{}, all bool) {
	var readers []*member
	for _, out := range r.outlets {
		if out.dead {
			m := &member{client: r.newClient("reader-"+out.Name, 0), outlet: out, filter: "$channel/" + out.Name, qos: 1}
			out.members = append(out.members, m)
			readers = append(readers, m)
		}
	}
	reading = start(readers)
	return reading, r.emptied(func(out *outlet) bool { return out.dead })
}

// lookAgain is the time between two looks at how much is left.
const lookAgain = 20 * time.Millisecond

// emptied waits until nothing is left in some outlets, nor deferred. It reports a stall when that gets nowhere.
func (r *channelRun) emptied(which func(*outlet) bool) bool {
	progress, last := time.Now(), ""
	for {
		depths, err := r.operator.depths()
		if err != nil {
			r.report(kindStalled, "asking for depths: %v\n%s", err, r.host.said())
			return false
		}
		left := depths["deferred"]
		for _, out := range r.outlets {
			if which(out) {
				left += depths[out.Name]
			}
		}
		if left == 0 {
			return true
		}
		if now := fmt.Sprint(left, r.counts.received.Load()); now != last {
			progress, last = time.Now(), now
		}
		if time.Since(progress) > standstill {
			r.report(kindStalled, "messages are left with members there to take them: %v\n%s", depths, r.host.said())
			return false
		}
		if !r.wait(lookAgain) {
			return false
		}
	}
}

// standstill is how long nothing may happen while messages are left.
const standstill = 20 * time.Second

// summary is one line of figures.
func (r *channelRun) summary() string {
	refused, late, again, dead := 0, 0, 0, 0
	for _, h := range r.handouts(func(*outlet) bool { return true }) {
		switch {
		case h.letter != nil:
			dead++
		case h.refuse && !h.answered.IsZero():
			refused++
		case h.answered.Sub(h.clock) > channelsOnTrial()[0].AckTimeout:
			late++
		}
		if h.deliveries > 0 {
			again++
		}
	}
	return fmt.Sprintf("%d kills, %d messages acknowledged, %d handed out, of these %d again, %d refused, %d acknowledged after the timeout; "+
		"%d dead letters, %d pauses, slowest start %v, PENSTOCK_SEED=%d", r.counts.kills.Load(), r.counts.acknowledged.Load(), r.counts.received.Load(),
		again, refused, late, dead, r.pauses(), r.counts.slowestStart.Round(time.Millisecond), r.seed)
}

func (r *channelRun) pauses() (n int) {
	for _, out := range r.outlets {
		n += len(out.paused)
	}
	return n
}

// feeds reports whether the messages of a stream go into an outlet.
func (r *channelRun) feeds(out *outlet, s *stream) bool {
	return !out.dead && matches(out.Filter, s.topic)
}

// strict reports whether a member obeys the rules of shared subscriptions.
func (m *member) strict() bool { return strings.HasPrefix(m.filter, "$share/") }
