package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"
)

// A run is one measurement from the first connection to the last message.
type run struct {
	options     Options
	loop        *loop
	traffic     *traffic
	subscribers []*subscriber
	senders     int // number of the first publisher's connection; those before it receive
	watch       watch
	result      Result
	told        time.Time // when Progress was last called
	toldOf      uint64    // what had arrived then
}

// Run measures a broker as options say. The calling goroutine keeps one processor busy.
func Run(ctx context.Context, o Options) (Result, error) {
	if err := o.Check(); err != nil {
		return Result{}, err
	}
	raiseFileLimit()
	// The processor time of the generator is that of its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := newRun(o)
	if err != nil {
		return Result{}, err
	}
	defer r.loop.close()
	err = r.pass(ctx)
	if forgetErr := r.forgetSessions(ctx); err == nil {
		err = forgetErr
	}
	if err != nil {
		return Result{}, err
	}
	return r.result, nil
}

// pass goes through the phases of the scenario.
func (r *run) pass(ctx context.Context) error {
	phases := []func(context.Context) error{r.connect, r.measure, r.drain}
	switch r.options.Scenario {
	case Backlog:
		phases = []func(context.Context) error{r.leaveSessions, r.grow, r.restart, r.readAll, r.settle}
	case Lone:
		phases = []func(context.Context) error{r.leaveSessions, r.alternate}
	}
	for _, phase := range phases {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return nil
}

func newRun(o Options) (*run, error) {
	p, err := newPlan(&o)
	if err != nil {
		return nil, err
	}
	t := &traffic{total: math.MaxUint64, burst: o.Burst}
	clients := append(newSubscribers(&o, p, t), newHolders(&o, p, t)...)
	r := &run{
		options: o, traffic: t, senders: len(clients), watch: watch{pid: process(o.PID)}, result: Result{Options: o}, told: time.Now(),
	}
	clients = append(clients, newPublishers(&o, p, t)...)
	if r.loop, err = newLoop(o.Address, t, o.Size+1<<10); err != nil {
		return nil, err
	}
	for _, c := range clients {
		r.loop.add(c)
		if c.subscriber != nil {
			r.subscribers = append(r.subscribers, c.subscriber)
		}
	}
	if o.PID != 0 {
		if r.result.RSSBefore, err = process(o.PID).rss(); err != nil {
			r.loop.close()
			return nil, err
		}
	}
	return r, nil
}

// connect opens every connection and waits until all are subscribed.
func (r *run) connect(ctx context.Context) error {
	start := time.Now()
	if err := r.bring(ctx, "connecting", 0, len(r.loop.conns)); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	r.result.ConnectsPerSecond = float64(r.traffic.ready) / seconds
	r.result.SubscriptionsPerSecond = float64(r.traffic.subscribed) / seconds
	return nil
}

// bring opens the connections from one number to below another and waits until each did what it is for.
func (r *run) bring(ctx context.Context, phase string, from, to int) error {
	l, t := r.loop, r.traffic
	before, opened := t.ready, from
	done := func() int { return t.ready - before }
	lastChange, last := time.Now(), -1
	for done() < to-from {
		for ; opened < to && opened-from-done() < openingMax; opened++ {
			if err := l.open(opened); err != nil {
				return err
			}
		}
		if err := l.turn(ctx, tick); err != nil {
			return err
		}
		now := time.Now()
		if progress := t.ready + t.subscribed; progress != last {
			lastChange, last = now, progress
		}
		if now.Sub(lastChange) > stallAfter {
			return fmt.Errorf("bench: broker does not answer for %v, with %d of %d clients connected", stallAfter, done(), to-from)
		}
		r.tell(phase, now)
	}
	return nil
}

// forgetSessions ends the sessions that outlive their connections, even if ctx is done.
func (r *run) forgetSessions(ctx context.Context) error {
	if !r.options.Durable {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	r.traffic.sending = false
	r.loop.rest = 0
	r.loop.hangUp(r.loop.conns, forget)
	return r.bring(ctx, "ending sessions", 0, len(r.loop.conns))
}

const forgetTimeout = 30 * time.Second

// measure lets messages flow, first to warm up.
func (r *run) measure(ctx context.Context) error {
	if err := r.startTraffic(); err != nil {
		return err
	}
	if err := r.flow(ctx, "warming up", r.options.Warmup); err != nil {
		return err
	}
	d := r.options.Duration
	stage, err := r.observe(func() error {
		r.startClocks()
		if r.options.Scenario == Latency {
			// Until everything that was due has arrived, so that what a broker is late with is timed, too.
			r.traffic.stop(r.traffic.since + int64(d))
			d += drainAfter
		}
		return r.flow(ctx, "measuring", d)
	})
	if err != nil {
		return err
	}
	r.conclude(stage)
	return r.measureMemory()
}

// startClocks begins to time messages.
func (r *run) startClocks() {
	t := r.traffic
	t.since = r.loop.now()
	if r.options.Scenario == Latency {
		t.latencies, t.lateness = new(histogram), new(histogram)
	}
	t.acks = new(histogram)
}

func (r *run) startTraffic() error {
	t := r.traffic
	if r.options.Scenario == Latency {
		if err := r.startSchedule(); err != nil {
			return err
		}
	}
	t.sending = true
	r.loop.rest = r.options.Rest
	for _, p := range t.publishers {
		t.wake(p)
	}
	return nil
}

// startSchedule has messages sent at the rate, in turn by all publishers.
func (r *run) startSchedule() error {
	t := r.traffic
	t.schedule = &schedule{
		start: r.loop.now(), interval: int64(time.Second) / int64(r.options.Rate), publishers: int64(len(t.publishers)),
	}
	return r.loop.startTimer(time.Duration(t.schedule.interval))
}

// tick is how late a phase may end and Progress be called.
const tick = 100 * time.Millisecond

// flow serves the connections for a time, until all messages there will be are settled, or until nothing moves any more.
func (r *run) flow(ctx context.Context, phase string, d time.Duration) error {
	t := r.traffic
	start := time.Now()
	lastChange, last := start, t.settled
	for now := start; now.Sub(start) < d && t.settled < t.total && !r.result.Stalled; now = time.Now() {
		if err := r.turn(ctx, min(tick, d-now.Sub(start))); err != nil {
			return err
		}
		if t.settled != last || len(t.publishers) == 0 {
			lastChange, last = now, t.settled
		}
		r.result.Stalled = now.Sub(lastChange) > stallAfter
		r.tell(phase, now)
	}
	return nil
}

// turn serves the connections once.
func (r *run) turn(ctx context.Context, timeout time.Duration) error {
	if err := r.watch.look(time.Now()); err != nil {
		return err
	}
	return r.loop.turn(ctx, timeout)
}

// conclude takes over what was measured while messages flowed.
func (r *run) conclude(s Stage) {
	res := &r.result
	res.Seconds, res.Published, res.Delivered = s.Seconds, s.Published, s.Delivered
	res.DeliveriesPerSecond = float64(s.Delivered) / s.Seconds
	res.BrokerCores, res.Store = s.BrokerCores, s.Store
	if s.Delivered > 0 {
		each := 1e6 * s.Seconds / float64(s.Delivered)
		res.BrokerMicros, res.GeneratorMicros = s.BrokerCores*each, s.GeneratorCores*each
	}
	if r.options.Durable {
		res.Acknowledged = quantilesOf(r.traffic.acks)
	}
}

func (r *run) measureMemory() (err error) {
	if r.options.PID == 0 {
		return nil
	}
	res := &r.result
	if res.RSSAfter, err = process(r.options.PID).rss(); err != nil {
		return err
	}
	grown := float64(res.RSSAfter - res.RSSBefore)
	switch r.options.Scenario {
	case Idle:
		res.RSSPerConnection = grown / float64(len(r.loop.conns))
	case Subs:
		res.RSSPerSubscription = grown / float64(r.traffic.subscribed)
	}
	return nil
}

// drainAfter is how long messages on their way may make no progress before they count as lost.
const drainAfter = 2 * time.Second

// drain lets nothing new be sent, waits for what is on its way and counts what does not come.
func (r *run) drain(ctx context.Context) error {
	t := r.traffic
	if t.schedule == nil {
		t.stop(0)
	}
	lastChange, last := time.Now(), t.delivered+t.settled
	for now := lastChange; t.settled < t.total && now.Sub(lastChange) < drainAfter; now = time.Now() {
		if err := r.turn(ctx, tick); err != nil {
			return err
		}
		if sum := t.delivered + t.settled; sum != last {
			lastChange, last = now, sum
		}
		r.tell("draining", now)
	}
	r.count()
	r.result.Latency, r.result.Lateness = quantilesOf(t.latencies), quantilesOf(t.lateness)
	if t.settled < t.sent() && r.result.Lost == 0 {
		return errors.New("bench: messages arrived that the broker never acknowledged")
	}
	return nil
}

// count notes what went wrong with messages.
func (r *run) count() {
	t := r.traffic
	r.result.Lost, r.result.Misordered, r.result.Repeated = t.lost(r.subscribers), t.misordered, t.repeated
}

// tell calls Progress once a second.
func (r *run) tell(phase string, now time.Time) {
	if r.options.Progress == nil || now.Sub(r.told) < time.Second {
		return
	}
	t := r.traffic
	arrived := t.delivered
	if t.away {
		arrived = t.settled
	}
	timed := t.acks
	if t.latencies != nil {
		timed = t.latencies
	}
	r.options.Progress(Progress{
		Phase: phase, Elapsed: now.Sub(r.loop.started), Connected: t.ready, Delivered: arrived - min(arrived, r.toldOf), P99: quantilesOf(timed).P99,
	})
	r.told, r.toldOf = now, arrived
}
