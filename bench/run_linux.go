package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// A run is one measurement from the first connection to the last message.
type run struct {
	options     Options
	loop        *loop
	traffic     *traffic
	subscribers []*subscriber
	holders     int // number of the first connection that holds something; those before it receive
	senders     int // number of the first publisher's connection
	watch       watch
	result      Result
	told        time.Time     // when Progress was last called
	toldOf      uint64        // what had arrived then
	patience    time.Duration // for a bridge
}

// Run measures a broker as options say. The calling goroutine keeps one processor busy. The processor time that the result has
// for the generator is this process's.
func Run(ctx context.Context, o Options) (Result, error) {
	if err := o.Check(); err != nil {
		return Result{}, err
	}
	raiseFileLimit()
	r, err := newRun(o)
	if err != nil {
		return Result{}, err
	}
	defer r.loop.close()
	err = r.pass(ctx)
	if cleanUpErr := r.cleanUp(ctx); err == nil {
		err = cleanUpErr
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
	t := newTraffic(&o, p)
	r := &run{options: o, traffic: t, watch: watch{pids: o.PIDs}, result: Result{Options: o}, told: time.Now(), patience: stallAfter}
	clients := newSubscribers(&o, p, t)
	r.holders = len(clients)
	clients = slices.Concat(clients, newHolders(&o, p, t), newKeepers(&o, p, t))
	r.senders = len(clients)
	clients = append(clients, newPublishers(&o, p, t)...)
	if r.loop, err = newLoop(t, o.Size+1<<10); err != nil {
		return nil, err
	}
	if err = r.enter(clients); err == nil {
		r.result.RSSBefore, err = sum(processes(o.PIDs), process.rss)
	}
	if err != nil {
		r.loop.close()
		return nil, err
	}
	return r, nil
}

// enter gives each client a connection, to the broker where it belongs.
func (r *run) enter(clients []*client) error {
	near, err := resolve(r.options.Address)
	if err != nil {
		return err
	}
	far := near
	if r.options.Scenario == Bridge {
		if far, err = resolve(r.options.To); err != nil {
			return err
		}
	}
	for _, c := range clients {
		target := near
		if c.subscriber != nil {
			r.subscribers = append(r.subscribers, c.subscriber)
			target = far
		}
		r.loop.add(c, target)
	}
	return nil
}

// connect opens every connection and waits until all are subscribed.
func (r *run) connect(ctx context.Context) error {
	if err := r.hold(ctx); err != nil {
		return err
	}
	if err := r.restart(ctx); err != nil {
		return err
	}
	start, subscribed := time.Now(), r.traffic.subscribed
	if err := r.bring(ctx, "connecting", 0, r.holders); err != nil {
		return err
	}
	if err := r.bring(ctx, "connecting", r.senders, len(r.loop.conns)); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	r.result.ConnectsPerSecond = float64(r.holders+len(r.loop.conns)-r.senders) / seconds
	if r.result.SubscriptionsPerSecond == 0 {
		r.result.SubscriptionsPerSecond = float64(r.traffic.subscribed-subscribed) / seconds
	}
	return r.probe(ctx)
}

// visitorsMax is how many clients that do not stay are connected at once: few enough for the limits on open files.
const visitorsMax = 5000

// visit brings clients and lets them go, not all at once. Those who come next come for what is next.
func (r *run) visit(ctx context.Context, phase string, from, to int, next purpose) error {
	for ; from < to; from += visitorsMax {
		end := min(from+visitorsMax, to)
		if err := r.bring(ctx, phase, from, end); err != nil {
			return err
		}
		r.loop.hangUp(r.loop.conns[from:end], next)
	}
	return nil
}

// hold has the broker hold what this run is measured beside.
func (r *run) hold(ctx context.Context) error {
	if r.holders == r.senders {
		return nil
	}
	start := time.Now()
	holders := r.senders - len(r.keepers())
	hold := func() error { return r.bring(ctx, "subscribing", r.holders, holders) }
	if r.options.Away {
		hold = func() error { return r.visit(ctx, "making sessions", r.holders, holders, resume) }
	}
	if err := hold(); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	r.result.SubscriptionsPerSecond = float64(r.traffic.subscribed) / seconds
	if r.options.Away {
		r.result.SessionsPerSecond = float64(holders-r.holders) / seconds
	}
	start = time.Now()
	if err := r.visit(ctx, "retaining", holders, r.senders, forget); err != nil {
		return err
	}
	r.result.RetainedPerSecond = float64(r.traffic.kept) / time.Since(start).Seconds()
	return nil
}

// keepers are the connections of those who publish what is retained.
func (r *run) keepers() []*conn {
	all := r.loop.conns[r.holders:r.senders]
	first := slices.IndexFunc(all, func(c *conn) bool { return c.client.keeper != nil })
	if first < 0 {
		return nil
	}
	return all[first:]
}

// probe waits until messages of every publisher of a bridge arrive: it may be late to connect or to learn of subscriptions.
func (r *run) probe(ctx context.Context) error {
	if r.options.Scenario != Bridge {
		return nil
	}
	t := r.traffic
	for start, next := time.Now(), time.Now(); t.probed < len(t.publishers); {
		now := time.Now()
		if now.Sub(start) > r.patience {
			return fmt.Errorf("bench: nothing comes through from %s to %s for %v: is there a bridge for %s/#?", r.options.Address, r.options.To,
				r.patience, r.options.Prefix)
		}
		if !now.Before(next) {
			next = now.Add(probeInterval)
			if err := r.sendProbes(); err != nil {
				return err
			}
		}
		if err := r.turn(ctx, probeInterval/2); err != nil {
			return err
		}
		r.tell("waiting for the bridge", now)
	}
	return nil
}

// probeInterval is the time between two probes of a publisher.
const probeInterval = 50 * time.Millisecond

func (r *run) sendProbes() error {
	for _, p := range r.traffic.publishers {
		if p.heard {
			continue
		}
		if err := r.loop.write(p.conn, r.loop.conns[p.conn], p.probe.append(nil, 0, 0, 0)); err != nil {
			return err
		}
	}
	return nil
}

// bring opens the connections from one number to below another and waits until each did what it is for.
func (r *run) bring(ctx context.Context, phase string, from, to int) error {
	l, t := r.loop, r.traffic
	before, greeted, opened := t.ready, t.greeted, from
	done := func() int { return t.ready - before }
	lastChange, last := time.Now(), -1
	for done() < to-from {
		for ; opened < to && opened-from-(t.greeted-greeted) < openingMax && opened-from-done() < unreadyMax; opened++ {
			if err := l.open(opened); err != nil {
				return err
			}
		}
		if err := l.turn(ctx, tick); err != nil {
			return err
		}
		now := time.Now()
		if progress := t.ready + t.subscribed + t.kept; progress != last {
			lastChange, last = now, progress
		}
		if now.Sub(lastChange) > stallAfter {
			return fmt.Errorf("bench: broker does not answer for %v, with %d of %d clients connected", stallAfter, done(), to-from)
		}
		r.tell(phase, now)
	}
	return nil
}

// cleanUp ends the sessions that outlive their connections and has what is retained forgotten, even if ctx is done.
func (r *run) cleanUp(ctx context.Context) error {
	if r.options.Abandon {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	r.traffic.sending = false
	r.loop.rest = 0
	r.loop.hangUp(r.loop.conns, forget)
	if r.options.Durable {
		if err := r.visit(ctx, "ending sessions", 0, len(r.loop.conns), forget); err != nil {
			return err
		}
	}
	return r.visit(ctx, "clearing up", r.senders-len(r.keepers()), r.senders, forget)
}

const cleanUpTimeout = time.Minute

// measure lets messages flow, first to warm up.
func (r *run) measure(ctx context.Context) error {
	if err := r.startTraffic(); err != nil {
		return err
	}
	if err := r.empty(ctx); err != nil {
		return err
	}
	if err := r.flow(ctx, "warming up", r.options.Warmup); err != nil {
		return err
	}
	d := r.options.Duration
	stage, err := r.observe(func() error {
		if err := r.settleMetrics(ctx); err != nil {
			return err
		}
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

// emptyMax is how long it may take until what a channel had kept of others is out of the way.
const emptyMax = 10 * time.Minute

// empty waits for the first message of this run where those of others may come before it: a channel gives first what it had kept.
func (r *run) empty(ctx context.Context) error {
	t := r.traffic
	if !t.strangers {
		return nil
	}
	start := time.Now()
	lastChange, last := start, t.strange
	for now := start; t.delivered == 0 && !r.result.Stalled; now = time.Now() {
		if now.Sub(start) > emptyMax {
			return fmt.Errorf("bench: %d messages of others arrived in %v and none of this run's: is somebody else publishing?", t.strange, emptyMax)
		}
		if err := r.turn(ctx, tick); err != nil {
			return err
		}
		if t.strange != last {
			lastChange, last = now, t.strange
		}
		r.result.Stalled = now.Sub(lastChange) > stallAfter
		r.tell("emptying", now)
	}
	return nil
}

// afterMetrics is how long an open loop goes on untimed after the broker was asked for its metrics, during which nothing was sent.
const afterMetrics = 100 * time.Millisecond

// settleMetrics lets what became due in an open loop while the broker was asked for its metrics arrive before anything is timed.
func (r *run) settleMetrics(ctx context.Context) error {
	if r.options.Metrics == "" || r.options.Scenario != Latency {
		return nil
	}
	return r.flow(ctx, "warming up", afterMetrics)
}

// startClocks begins to time messages.
func (r *run) startClocks() {
	t := r.traffic
	t.since = r.loop.now()
	if r.options.Scenario != Backlog {
		t.latencies = new(histogram)
	}
	if t.schedule != nil {
		t.lateness, t.silence = new(histogram), newSilence(t.schedule.interval)
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
	return r.loop.startTimer()
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
	res.BrokerCores, res.Store, res.Collector = s.BrokerCores, s.Store, s.Collector
	res.MessagesPerWrite, res.MessagesPerRead, res.Processes = s.MessagesPerWrite, s.MessagesPerRead, s.Processes
	if s.Delivered > 0 {
		each := 1e6 * s.Seconds / float64(s.Delivered)
		res.BrokerMicros, res.GeneratorMicros = s.BrokerCores*each, s.GeneratorCores*each
		for i := range res.Processes {
			res.Processes[i].Micros = res.Processes[i].Cores * each
		}
	}
	if r.options.Durable {
		res.Acknowledged = quantilesOf(r.traffic.acks)
	}
}

func (r *run) measureMemory() (err error) {
	res := &r.result
	if res.RSSAfter, err = sum(processes(r.options.PIDs), process.rss); err != nil {
		return err
	}
	grown := float64(res.RSSAfter - res.RSSBefore)
	switch r.options.Scenario {
	case Idle:
		res.RSSPerConnection = grown / float64(len(r.loop.conns))
	case Subs:
		res.RSSPerSubscription = grown / float64(r.traffic.subscribed)
	case Retained:
		res.RSSPerRetained = grown / float64(r.options.Retained)
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
	r.result.Latency, r.result.Lateness, r.result.Silence = quantilesOf(t.latencies), quantilesOf(t.lateness), t.silence.result()
	if t.settled < t.sent && r.result.Lost == 0 {
		return errors.New("bench: messages arrived that the broker never acknowledged")
	}
	return nil
}

// count notes what went wrong with messages.
func (r *run) count() {
	t := r.traffic
	r.result.Lost, r.result.Misordered, r.result.Repeated = t.lost(r.subscribers), t.misordered, t.repeated
	r.result.Strange = t.strange
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
		Phase: phase, Elapsed: now.Sub(r.loop.started), Connected: t.ready, P99: quantilesOf(timed).P99,
		PerSecond: float64(arrived-min(arrived, r.toldOf)) / now.Sub(r.told).Seconds(),
	})
	r.told, r.toldOf = now, arrived
}
