package crash

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

const (
	publisherCount = 4
	topicsEach     = 3 // of a publisher, each with QoS 1 and QoS 2
	retainedTopics = 6
)

// newRun makes the clients of a run.
func newRun(o options) *run {
	r := &run{options: o, rng: rand.New(rand.NewPCG(o.seed, 0)), draining: make(chan struct{}), over: make(chan struct{})}
	for i := range publisherCount {
		p := &publisher{client: r.newClient(fmt.Sprint("publisher-", i), i), window: []int{1, 10, 30, 60}[i%4]}
		for n := range topicsEach {
			for qos := byte(1); qos <= 2; qos++ {
				p.streams = append(p.streams, r.newStream(&stream{topic: fmt.Sprintf("t/%d/%d", i, n), qos: qos}))
			}
		}
		r.others = append(r.others, p)
	}
	keeper := &publisher{client: r.newClient("keeper", 0), window: 8}
	for n := range retainedTopics {
		keeper.streams = append(keeper.streams, r.newStream(&stream{topic: fmt.Sprint("r/", n), qos: 1 + byte(n%2), retain: true}))
	}
	r.others = append(r.others, keeper)
	for i, delay := range []uint32{0, 0, 1, 0, 0} {
		m := &mourner{client: r.newClient(fmt.Sprint("mourner-", i), i), delay: delay}
		m.stream = r.newStream(&stream{topic: fmt.Sprint("w/", i), qos: 1 + byte(i%2), will: true})
		r.others = append(r.others, m)
	}
	for i, h := range habits() {
		s := &subscriber{client: r.newClient(fmt.Sprint("subscriber-", i), i), habit: h, ready: make(chan struct{})}
		r.subscribers = append(r.subscribers, s)
	}
	return r
}

// habits are those of the subscribers: filters that overlap and some that do not, sessions that stay and
// sessions that end, clients that are there and clients that are mostly away.
func habits() []habit {
	const here, away = 100 * time.Millisecond, time.Second
	return []habit{
		{base: []want{{"t/#", 2}, {"w/#", 2}}, pool: []want{{"t/+/0", 1}, {"t/0/#", 2}}, offline: here},
		{base: []want{{"t/0/#", 1}, {"t/+/1", 2}}, pool: []want{{"t/1/0", 1}, {"r/#", 1}}, offline: here},
		{base: []want{{"t/1/#", 2}}, pool: []want{{"t/#", 1}}, offline: away},
		{base: []want{{"t/2/#", 2}}, pool: []want{{"t/+/2", 1}, {"t/3/+", 2}}, offline: away},
		{base: []want{{"t/2/#", 1}, {"r/#", 2}}, pool: []want{{"t/3/0", 2}}, restarts: 0.2, volatile: 0.4, offline: here},
		{base: []want{{"t/+/2", 2}}, pool: []want{{"t/0/0", 2}, {"t/0/1", 1}}, restarts: 0.3, offline: here},
		{base: []want{{"t/3/+", 1}, {"w/+", 1}, {"r/+", 2}}, pool: []want{{"t/2/1", 2}}, offline: here},
	}
}

func (r *run) newClient(id string, n int) *client {
	return &client{r: r, id: id, version: versionOf(n), rng: rand.New(rand.NewPCG(r.seed, r.rng.Uint64()))}
}

func (r *run) newStream(s *stream) *stream {
	s.index = len(r.streams)
	r.streams = append(r.streams, s)
	return s
}

// publishAlone publishes a message with a client of its own and QoS 1, and wants it acknowledged.
func (r *run) publishAlone(out *packet.Outgoing) error {
	c := r.newClient("alone", 0)
	defer c.drop()
	out.QoS, out.ID = 1, 1
	if _, _, err := c.connect(hello{clean: true, volatile: true}); err != nil {
		return err
	}
	if err := c.link.write(packet.AppendPublish(nil, c.version, out)); err != nil {
		return err
	}
	ack, err := c.link.next()
	if err != nil {
		return err
	}
	if packet.Type(ack.FixedHeader.Type) != packet.PUBACK || ack.ReasonCode >= 0x80 {
		return fmt.Errorf("packet type %d, code 0x%02x instead of PUBACK", ack.FixedHeader.Type, ack.ReasonCode)
	}
	return nil
}
