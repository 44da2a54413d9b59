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
	options Options
	plan    *plan
	loop    *loop
	traffic *traffic
	result  Result
	told    time.Time // when Progress was last called
	toldOf  uint64    // what was delivered then
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
	for _, phase := range []func(context.Context) error{r.connect, r.measure, r.drain} {
		if err := phase(ctx); err != nil {
			return Result{}, err
		}
	}
	return r.result, nil
}

func newRun(o Options) (*run, error) {
	p, err := newPlan(&o)
	if err != nil {
		return nil, err
	}
	t := new(traffic)
	var clients []*client
	clients = append(clients, newSubscribers(&o, p, t)...)
	clients = append(clients, newHolders(&o, p, t)...)
	clients = append(clients, newPublishers(&o, p, t)...)
	l, err := newLoop(o.Address, t, o.Size+1<<10)
	if err != nil {
		return nil, err
	}
	for _, c := range clients {
		l.add(c)
	}
	return &run{options: o, plan: p, loop: l, traffic: t, result: Result{Options: o}, told: time.Now()}, nil
}

// connect opens every connection and waits until all are subscribed.
func (r *run) connect(ctx context.Context) error {
	var err error
	if r.options.PID != 0 {
		if r.result.RSSBefore, err = process(r.options.PID).rss(); err != nil {
			return err
		}
	}
	l, t := r.loop, r.traffic
	start := time.Now()
	lastChange, last := start, 0
	for t.ready < len(l.conns) {
		for l.opened < len(l.conns) && l.opened-t.ready < openingMax {
			l.opened++ // so that close closes a socket that failed
			if err := l.open(l.opened - 1); err != nil {
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
			return fmt.Errorf("bench: broker does not answer for %v, with %d of %d clients connected", stallAfter, t.ready, len(l.conns))
		}
		r.tell("connecting", now)
	}
	seconds := time.Since(start).Seconds()
	r.result.ConnectsPerSecond = float64(t.ready) / seconds
	r.result.SubscriptionsPerSecond = float64(t.subscribed) / seconds
	return nil
}

// A reading is what is measured as a difference.
type reading struct {
	at        time.Time
	broker    time.Duration // processor time
	generator time.Duration
	sent      uint64
	delivered uint64
}

func (r *run) read() (reading, error) {
	now := reading{at: time.Now(), sent: r.traffic.sent(), delivered: r.traffic.delivered}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		return now, fmt.Errorf("bench: %w", err)
	}
	now.generator = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if r.options.PID == 0 {
		return now, nil
	}
	var err error
	now.broker, err = process(r.options.PID).cpu()
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
	if r.options.Scenario == Latency {
		r.traffic.latencies = new(histogram)
	}
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
	r.conclude(before, after)
	return r.measureMemory()
}

func (r *run) startTraffic() error {
	t := r.traffic
	t.sending = true
	r.loop.rest = r.options.Rest
	for _, p := range t.publishers {
		t.wake(p)
	}
	if r.options.Scenario != Latency {
		return nil
	}
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
func (r *run) conclude(before, after reading) {
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
	if h := r.traffic.latencies; h != nil {
		res.LatencyP50, res.LatencyP99, res.LatencyP999 = h.quantile(0.5), h.quantile(0.99), h.quantile(0.999)
		res.LatencyMax = time.Duration(h.max)
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

// drain stops sending, waits for what is on its way and counts what does not come.
func (r *run) drain(ctx context.Context) error {
	t := r.traffic
	t.sending = false
	expected, sent := t.expected(), t.sent()
	lastChange, last := time.Now(), t.delivered+t.settled
	for now := lastChange; t.settled < sent && now.Sub(lastChange) < drainAfter; now = time.Now() {
		if err := r.loop.turn(ctx, tick); err != nil {
			return err
		}
		if sum := t.delivered + t.settled; sum != last {
			lastChange, last = now, sum
		}
		r.tell("draining", now)
	}
	if t.delivered < expected {
		r.result.Lost = expected - t.delivered
	}
	r.result.Misordered = t.misordered
	if t.settled < sent && r.result.Lost == 0 {
		return errors.New("bench: messages arrived that the broker never acknowledged")
	}
	return nil
}

// tell calls Progress once a second.
func (r *run) tell(phase string, now time.Time) {
	if r.options.Progress == nil || now.Sub(r.told) < time.Second {
		return
	}
	delivered := r.traffic.delivered
	r.options.Progress(Progress{
		Phase: phase, Elapsed: now.Sub(r.loop.started), Connected: r.traffic.ready, Delivered: delivered - r.toldOf,
	})
	r.told, r.toldOf = now, delivered
}
