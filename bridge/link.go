package bridge

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// A link is one bridge as it runs: it connects, again and again, and moves messages while it is connected.
type link struct {
	// Fixed when newLink returns.
	hook       *Hook
	config     configs.Bridge
	rules      rules
	clientID   string
	stateTopic string
	box        *outbox
	counts     *counts
	log        *slog.Logger
	stop       context.CancelFunc
	stopped    chan struct{}

	// Only the goroutine that runs the link touches these.
	head      uint64 // first number that is not done
	high      uint64 // last number that was sent since the start
	suspect   uint64 // last number that may have been sent before the start
	suspicion suspicion
	releases  map[uint64]bool           // numbers of QoS 2 whose PUBREC came
	versions  map[string]packet.Version // that a target was found to speak

	saving sync.WaitGroup // for the store
	taken  taken
	resume chan struct{} // holds one when pause or resume was asked for

	mu      sync.Mutex // guards what follows
	state   State
	where   string // target it is connected to, or tries
	version packet.Version
	since   time.Time // of the state
	reason  string    // what went wrong last
	failed  time.Time // when
	refused []string  // filters
	paused  bool
	present *crossing
}

// A State is what a bridge does.
type State string

// The states.
const (
	StateConnecting State = "connecting"
	StateConnected  State = "connected"
	StateWaiting    State = "waiting" // before the next attempt
	StateIdle       State = "idle"    // lazy, and nothing to send
	StatePaused     State = "paused"
	StateRemoved    State = "removed" // no longer in the configuration; its queue is kept
)

func newLink(h *Hook, config configs.Bridge, box *outbox) *link {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "host"
	}
	clientID := strings.NewReplacer("{bridge}", config.Name, "{host}", host).Replace(config.ClientID)
	if clientID == "" {
		clientID = "penstock-" + host + "-" + config.Name
	}
	names := strings.NewReplacer("{client}", clientID, "{bridge}", config.Name, "{host}", host)
	found := box.queue.Extent()
	l := &link{
		hook: h, config: config, rules: newRules(config.Topics, names), clientID: clientID, stateTopic: names.Replace(config.StateTopic),
		box: box, counts: box.counts, log: h.log.With("bridge", config.Name), stopped: make(chan struct{}),
		head: found.Head, suspect: min(found.Next-1, found.Head+spreadMax), versions: make(map[string]packet.Version),
		resume: make(chan struct{}, 1), since: time.Now(), state: StateConnecting,
		paused: h.record(pausedKey(config.Name)) != nil,
	}
	l.releases = decodeNumbers(h.record(releasedKey(config.Name)))
	l.taken.restore(nil)
	return l
}

// feed has the queue take messages by the rules of the link.
func (l *link) feed() error {
	return l.box.follow(&policy{
		rules: l.rules, messagesMax: int64(l.config.MaxQueueMessages), bytesMax: l.config.MaxQueueBytes, onFull: l.config.OnFull,
	})
}

// follow takes over from a link of the same name that was closed.
func (l *link) follow(old *link) {
	l.head, l.high, l.suspect, l.releases = old.head, old.high, old.suspect, old.releases
}

// begin runs the link until close.
func (l *link) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	go l.run(ctx)
}

// close ends the link and returns when nothing of it runs any more. Its queue stays.
func (l *link) close() {
	if l.stop != nil {
		l.stop()
		<-l.stopped
	}
}

// way is the name of the link where it is one of several on which a message may come.
func (l *link) way() string { return "link " + l.config.Name }

func (l *link) inboundMax() uint16 { return l.config.MaxInflight }

// run connects whenever there is reason to.
func (l *link) run(ctx context.Context) {
	defer close(l.stopped)
	defer l.saving.Wait()
	retry := backoff{min: l.config.RetryMin, max: l.config.RetryMax, random: l.hook.random}
	at := 0
	for ctx.Err() == nil {
		if !l.wanted(ctx) {
			continue
		}
		l.enter(StateConnecting, nil)
		began := time.Now()
		next, err := l.attempt(ctx, at)
		l.saving.Wait()
		switch {
		case ctx.Err() != nil, errors.Is(err, errIdle), errors.Is(err, errPaused):
			at = 0
			continue
		case errors.Is(err, errBetter):
			at = 0
			retry.reset()
			continue
		}
		if time.Since(began) > l.config.RetryMax || next.connected && next.moved {
			retry.reset()
		}
		at = next.at
		if next.more { // another address, at once
			continue
		}
		l.enter(StateWaiting, err)
		l.wait(ctx, retry.wait())
	}
	l.enter(StateWaiting, errStopped)
}

var (
	errPaused = errors.New("paused")
	errBetter = errors.New("a better address can be reached")
)

// wanted waits until the link is to be up. It returns false when something else has to be looked at first.
func (l *link) wanted(ctx context.Context) bool {
	l.drain()
	l.mu.Lock()
	paused := l.paused
	l.mu.Unlock()
	switch {
	case paused:
		l.enter(StatePaused, nil)
	case l.config.Start == configs.StartLazy && l.box.len.Load() == 0:
		l.box.online.Store(true) // QoS 0 starts it too
		l.enter(StateIdle, nil)
	default:
		return true
	}
	if l.box.excess() {
		l.trimIdle()
	}
	select {
	case <-ctx.Done():
		return false
	case <-l.resume:
		return false
	case <-l.box.wake:
		return !paused && l.box.pending(l.head)
	}
}

// drain forgets an old word.
func (l *link) drain() {
	select {
	case <-l.resume:
	default:
	}
}

// wait waits before the next attempt, and keeps the queue within its limits meanwhile.
func (l *link) wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		if l.box.excess() {
			l.trimIdle()
		}
		select {
		case <-ctx.Done():
			return
		case <-l.resume:
			return
		case <-l.box.wake:
		case <-t.C:
			return
		}
	}
}

func (l *link) trimIdle() {
	if err := l.trim(); err != nil {
		l.report("queue", err.Error())
	}
}

// enter notes a state, and publishes it if it says something else to others.
func (l *link) enter(s State, err error) {
	l.mu.Lock()
	changed := l.state != s
	if changed {
		l.state, l.since = s, time.Now()
	}
	if err != nil && !errors.Is(err, errStopped) {
		l.reason, l.failed = err.Error(), time.Now()
	}
	where := l.where
	l.mu.Unlock()
	switch {
	case err != nil && s == StateWaiting && !errors.Is(err, errStopped):
		l.log.Warn("bridge down", "address", where, "err", err)
	case changed:
		l.log.Info("bridge "+string(s), "address", where)
	}
	if changed {
		l.publishState(s)
	}
}

// publishState tells this broker's clients.
func (l *link) publishState(s State) {
	text := stateDisconnected
	if s == StateConnected {
		text = stateConnected
	}
	l.hook.publish("$SYS/bridges/"+l.config.Name+"/state", text)
	l.hook.publish("$SYS/bridges/"+l.config.Name+"/detail", string(s))
}

// report notes what an operator should know, at most once a second in the log.
func (l *link) report(what, why string) {
	l.mu.Lock()
	quiet := time.Since(l.failed) < time.Second && strings.HasPrefix(l.reason, what)
	l.reason, l.failed = what+": "+why, time.Now()
	l.mu.Unlock()
	if !quiet {
		l.log.Warn(what, "reason", why)
	}
}

// refuse notes which subscriptions the other broker refused.
func (l *link) refuse(filters []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = filters
}

// setPaused stops or starts the link; it is remembered across restarts.
func (l *link) setPaused(paused bool) {
	l.mu.Lock()
	l.paused = paused
	l.mu.Unlock()
	select {
	case l.resume <- struct{}{}:
	default:
	}
}

func (l *link) isPaused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused
}

// finish forgets messages that the other broker has.
func (l *link) finish(all []finished) {
	for _, f := range all {
		delete(l.releases, f.number)
	}
	l.box.finish(all)
}

func (l *link) countSent(n int, size int64) {
	l.counts.sent.Add(uint64(n))
	l.counts.sentBytes.Add(uint64(size))
	l.counts.out.add(n, time.Now())
}

// drop forgets a message that cannot be sent.
func (l *link) drop(q hooks.Queued, reason, why string) {
	l.counts.drop(reason, 1)
	l.report("message dropped", why)
	l.finish([]finished{{q.Number, int64(q.Message.Size())}})
}

// trim drops the oldest messages that were not sent, until the queue is within its limits.
func (l *link) trim() error {
	number := l.high + 1
	for l.box.excess() {
		read, after, err := l.box.read(nil, number, true, 64, readBytes)
		if err != nil || len(read) == 0 {
			return err
		}
		for _, q := range read {
			if !l.box.excess() {
				return nil
			}
			l.counts.drop(dropFull, 1)
			l.finish([]finished{{q.Number, int64(q.Message.Size())}})
			l.high = q.Number // what is in memory behind it was not sent either
		}
		number = after
	}
	return nil
}
