package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
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
	t := new(traffic)
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

// A reading is what is measured as a difference.
type reading struct {
	at        time.Time
	broker    time.Duration // processor time
	generator time.Duration
	sent      uint64
	delivered uint64
	store     map[string]float64 // what the broker's metrics say of its store
}

func (r *run) read() (reading, error) {
	now := reading{at: time.Now(), sent: r.traffic.sent(), delivered: r.traffic.delivered}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		return now, fmt.Errorf("bench: %w", err)
	}
	now.generator = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	var err error
	if r.options.PID != 0 {
		if now.broker, err = process(r.options.PID).cpu(); err != nil {
			return now, err
		}
	}
	if r.options.Metrics != "" {
		now.store, err = storeMetrics(r.options.Metrics)
	}
	return now, err
}

// measure lets messages flow, first to warm up.
func (r *run) measure(ctx context.Context) error {
	if err := r.startTraffic(); err != nil {
		return err
	}
	if err := r.flow(ctx, "warming up", r.options.Warmup); err != nil {
		return err
	}
	r.startClocks()
	before, err := r.read()
	if err != nil {
		return err
	}
	if err := r.flow(ctx, "measuring", r.options.Duration); err != nil {
		return err
	}
	after, err := r.read()
	if err != nil {
		return err
	}
	if err := r.conclude(before, after); err != nil {
		return err
	}
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
	interval := int64(time.Second) / int64(r.options.Rate)
	start, count := r.loop.now(), int64(len(t.publishers))
	t.schedule = func(p *publisher, sequence uint64) int64 {
		return start + (int64(sequence-1)*count+int64(p.index))*interval
	}
	return r.loop.startTimer(time.Duration(interval))
}

// tick is how late a phase may end and Progress be called.
const tick = 100 * time.Millisecond

// flow serves the connections for a time, or until nothing moves any more.
func (r *run) flow(ctx context.Context, phase string, d time.Duration) error {
	t := r.traffic
	start := time.Now()
	lastChange, last := start, t.settled
	for now := start; now.Sub(start) < d && !r.result.Stalled; now = time.Now() {
		if err := r.loop.turn(ctx, min(tick, d-now.Sub(start))); err != nil {
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

// conclude works out what was measured between two readings.
func (r *run) conclude(before, after reading) error {
	res := &r.result
	res.Seconds = after.at.Sub(before.at).Seconds()
	res.Published = after.sent - before.sent
	res.Delivered = after.delivered - before.delivered
	res.DeliveriesPerSecond = float64(res.Delivered) / res.Seconds
	res.BrokerCores = (after.broker - before.broker).Seconds() / res.Seconds
	if res.Delivered > 0 {
		micros := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(res.Delivered) }
		res.BrokerMicros = micros(after.broker - before.broker)
		res.GeneratorMicros = micros(after.generator - before.generator)
	}
	res.Acknowledged = quantilesOf(r.traffic.acks)
	return r.countSyncs(before, after)
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

// drain lets nothing new be sent, waits for what is on its way and counts what does not come. In an open loop, what was
// due before the end is still sent, and timed: a broker that is late does not get away with it.
func (r *run) drain(ctx context.Context) error {
	t := r.traffic
	t.stop(r.loop.now())
	due := t.due()
	lastChange, last := time.Now(), t.delivered+t.settled
	for now := lastChange; t.settled < due && now.Sub(lastChange) < drainAfter; now = time.Now() {
		if err := r.loop.turn(ctx, tick); err != nil {
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
