package crash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// A host starts a broker and ends it without warning, again and again, over the same data.
type host interface {
	// launch starts the broker without waiting for it.
	launch() error
	// ready waits until the broker serves and returns its address.
	ready() (address string, err error)
	// kill ends the broker at once. What its promises allow it to forget is then forgotten.
	kill() error
	// said is the end of the broker's log.
	said() string
	// ended gives the error with which the broker ended by itself.
	ended() <-chan error
}

// Options say what a run is to be.
type options struct {
	host  host
	seed  uint64
	kills int
	// pause is the mean time between a broker that serves and its end.
	pause time.Duration
	// stopAtFirst ends the run at the first violation.
	stopAtFirst bool
}

// startupKills is how many of the kills hit a broker that is still starting.
const startupKills = 0.15

// A run is a broker under load that is ended again and again.
type run struct {
	// Fixed when newRun returns.
	options
	rng         *rand.Rand
	streams     []*stream
	subscribers []*subscriber
	others      []player // publishers and mourners: they end by themselves when the run drains
	draining    chan struct{}
	over        chan struct{}

	clock       clock
	door        door
	incarnation atomic.Uint64 // counts starts of the broker
	counts      counts

	mu         sync.Mutex // guards what follows
	violations []violation
	sessions   []*session
	deaths     []moment // just before each kill
	isOverNow  bool
}

// A player is a client that goes on until the run drains.
type player interface{ run() }

// counts are what a run did.
type counts struct {
	kills         atomic.Int64
	acknowledged  atomic.Int64 // messages
	received      atomic.Int64
	resent        atomic.Int64 // of what subscribers had in flight
	sessionsEnded atomic.Int64
	retained      atomic.Int64 // retained topics compared
	duplicates    atomic.Int64 // of QoS 1
	slowestStart  time.Duration
}

// violationsMax ends a run: what follows the first ones says little.
const violationsMax = 20

// play does a whole run and checks it. The result is valid even if there are violations.
func play(o options) *run {
	r := newRun(o)
	if !r.begin() {
		return r
	}
	publishing := start(r.others)
	subscribing := start(r.subscribers)
	if r.killing() && r.drain(publishing, subscribing) {
		r.aftermath()
	}
	r.finish()
	<-publishing
	<-subscribing
	r.stop()
	r.check()
	return r
}

// start runs clients. The channel is closed when all have ended.
func start[P player](players []P) <-chan struct{} {
	var running sync.WaitGroup
	for _, p := range players {
		running.Go(p.run)
	}
	done := make(chan struct{})
	go func() { running.Wait(); close(done) }()
	return done
}

// begin starts the broker for the first time.
func (r *run) begin() bool {
	if err := r.start(); err != nil {
		r.report(kindBroker, "the first start: %v\n%s", err, r.host.said())
		return false
	}
	return true
}

// start starts the broker and lets the clients in, once what is retained has been looked at.
func (r *run) start() error {
	begun := time.Now()
	r.incarnation.Add(1)
	if err := r.host.launch(); err != nil {
		return err
	}
	address, err := r.host.ready()
	if err != nil {
		return err
	}
	r.counts.slowestStart = max(r.counts.slowestStart, time.Since(begun))
	r.probe(address)
	r.door.open(address)
	return nil
}

// killing ends the broker as often as asked and leaves it running. It reports false if the run is to end at once.
func (r *run) killing() bool {
	for r.counts.kills.Load() < int64(r.kills) {
		if !r.wait(time.Duration(r.rng.Int64N(int64(2 * r.pause)))) {
			return false
		}
		if err := r.kill(); err != nil {
			r.report(kindBroker, "kill: %v", err)
			return false
		}
		for r.rng.Float64() < startupKills && r.counts.kills.Load() < int64(r.kills) {
			if err := r.killStarting(); err != nil {
				r.report(kindBroker, "a start that was cut short: %v", err)
				return false
			}
		}
		if err := r.start(); err != nil {
			r.report(kindBroker, "start %d: %v\n%s", r.incarnation.Load(), err, r.host.said())
			return false
		}
	}
	return true
}

func (r *run) kill() error {
	r.door.shut()
	r.counts.kills.Add(1) // before the kill: see lives
	r.mu.Lock()
	r.deaths = append(r.deaths, r.clock.now())
	r.mu.Unlock()
	return r.host.kill()
}

// lives waits until the broker serves. Until the count of kills is another than the one returned, it goes on.
func (r *run) lives() (kills int64, ok bool) {
	for {
		kills = r.counts.kills.Load()
		if _, ok := r.door.wait(); !ok {
			return 0, false
		}
		if kills == r.counts.kills.Load() {
			return kills, true
		}
	}
}

// deathAfter is the moment just before the first kill after m; 0 if there was none.
func (r *run) deathAfter(m moment) moment {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.deaths, func(death moment) bool { return death > m }); i >= 0 {
		return r.deaths[i]
	}
	return 0
}

// startupMax is how long a start may go on before it is cut short.
const startupMax = 150 * time.Millisecond

// killStarting starts the broker and ends it before anybody can know that it is there.
func (r *run) killStarting() error {
	r.incarnation.Add(1)
	if err := r.host.launch(); err != nil {
		return err
	}
	r.wait(time.Duration(r.rng.Int64N(int64(startupMax))))
	return r.kill()
}

// wait lets time pass. It reports false if the run is to end: a broker that ended by itself, too many violations.
func (r *run) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case err := <-r.host.ended():
		r.report(kindBroker, "it ended by itself: %v\n%s", err, r.host.said())
		return false
	case <-r.over:
		return false
	}
}

// drain lets everything that is owed be delivered. It reports whether that happened.
func (r *run) drain(publishing, subscribing <-chan struct{}) bool {
	close(r.draining)
	for _, s := range r.subscribers {
		if !r.await(s.ready, s.id+" does not get its subscriptions") {
			return false
		}
	}
	if !r.await(publishing, "not everything that was published is acknowledged") {
		return false
	}
	if err := r.publishAlone(&packet.Outgoing{Topic: endTopic}); err != nil {
		r.report(kindStalled, "the last message: %v", err)
		return false
	}
	return r.await(subscribing, "the last message did not reach every subscriber")
}

// quiet ends a wait for a broker from which nothing comes any more.
const quiet = 20 * time.Second

// await waits for a channel to be closed, as long as something comes to anybody. It reports a stall if nothing does.
func (r *run) await(done <-chan struct{}, what string) bool {
	ticker := time.NewTicker(quiet)
	defer ticker.Stop()
	for heard := r.heard(); ; {
		select {
		case <-done:
			return true
		case <-ticker.C:
			now := r.heard()
			if now == heard {
				r.report(kindStalled, "%s\n%s", what, r.host.said())
				return false
			}
			heard = now
		case err := <-r.host.ended():
			r.report(kindBroker, "it ended by itself: %v\n%s", err, r.host.said())
			return false
		case <-r.over:
			return false
		}
	}
}

// heard grows with every message that came and every message that was acknowledged.
func (r *run) heard() int64 { return r.counts.received.Load() + r.counts.acknowledged.Load() }

// finish has every client stop where it is.
func (r *run) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finishLocked()
}

func (r *run) finishLocked() {
	if !r.isOverNow {
		r.isOverNow = true
		close(r.over)
		r.door.end()
	}
}

func (r *run) stop() {
	if err := r.host.kill(); err != nil {
		r.report(kindBroker, "the last kill: %v", err)
	}
}

func (r *run) isDraining() bool { return closed(r.draining) }
func (r *run) isOver() bool     { return closed(r.over) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// report notes a violation.
func (r *run) report(k kind, format string, args ...any) {
	v := violation{k, fmt.Sprintf(format, args...)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.violations) < violationsMax {
		r.violations = append(r.violations, v)
	}
	if len(r.violations) == violationsMax || r.stopAtFirst {
		r.finishLocked()
	}
}

func (r *run) addSession(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = append(r.sessions, s)
}

// name describes a message for a violation.
func (r *run) name(a arrival) string {
	if a.stream < 0 {
		return fmt.Sprintf("the deletion of a retained message (id %d, QoS %d)", a.id, a.qos)
	}
	s := r.streams[a.stream]
	return fmt.Sprintf("%s/QoS %d/%d (id %d, QoS %d)", s.topic, s.qos, a.counter, a.id, a.qos)
}

// summary is one line of figures.
func (r *run) summary() string {
	c := &r.counts
	return fmt.Sprintf("%d kills, %d messages acknowledged, %d received, %d resent from flight, %d duplicates (QoS 1), %d sessions ended, "+
		"%d retained topics compared, slowest start %v, PENSTOCK_SEED=%d", c.kills.Load(), c.acknowledged.Load(), c.received.Load(), c.resent.Load(),
		c.duplicates.Load(), c.sessionsEnded.Load(), c.retained.Load(), c.slowestStart.Round(time.Millisecond), r.seed)
}

// A door keeps clients away from a broker that is not ready for them.
type door struct {
	mu      sync.Mutex // guards what follows
	address string
	changed chan struct{} // closed at every change; nil if nobody waits
	ended   bool
}

// wait waits until the door is open. It reports false when the run is over.
func (d *door) wait() (address string, ok bool) {
	for {
		d.mu.Lock()
		address, ended := d.address, d.ended
		if d.changed == nil {
			d.changed = make(chan struct{})
		}
		changed := d.changed
		d.mu.Unlock()
		if ended || address != "" {
			return address, !ended
		}
		<-changed
	}
}

func (d *door) open(address string) { d.change(func() { d.address = address }) }
func (d *door) shut()               { d.change(func() { d.address = "" }) }
func (d *door) end()                { d.change(func() { d.ended = true }) }

func (d *door) change(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
	if d.changed != nil {
		close(d.changed)
		d.changed = nil
	}
}
