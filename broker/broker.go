// Package broker is the running MQTT broker: it takes network connections, keeps sessions and routes messages.
//
// It does not listen (broker/listener does), does not decide who may do what (hooks do) and does not keep
// anything on disk (a storage.Store does). Its nouns are the conn (one connection as the protocol sees it,
// without a socket), the driver (which moves a conn's bytes: a loop for plain sockets on Linux, else a
// goroutine), the liveSession, the plan (who gets the messages of a topic), the routing (a message on its way)
// and the turn (a piece of work that flushes once at its end).
//
// The path of a PUBLISH: loop.round → loopDriver.read, or goroutineDriver.readOnce → conn.feed →
// conn.handlePublish → routing.route → liveSession.deliver or conn.publishNow → turn.end → driver.flush.
//
// It is tested as a whole by the scripts in test/scripts, by real clients in test/clients, and by the tests here.
//
// Lock order: registry.mu, liveSession.mu, conn.mu. groups.mu, retainedMessages.mu, connections.mu, loops.mu,
// loop.mu and counters.mu are leaves: nothing but the index's own locks is taken after them. No hook, store or
// socket is called with one of them held. hookQueue.mu and presence.mu come before all of them: they keep in
// order what a hook is told, and nothing that a hook may call takes them.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/listener"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// planCacheMax bounds the plans kept for topics in use, beside those that connections remember (topicMemo).
const planCacheMax = 16 << 10

// Options are what a Broker is made of.
type Options struct {
	Limits      configs.Limits
	HideReasons bool          // tell clients 0x80 and no reason string, whatever the reason
	SysInterval time.Duration // between updates of the $SYS topics; 0 turns them off
	Store       storage.Store // the broker closes it
	Hooks       []hooks.Hook  // asked in this order
	Log         *slog.Logger
	Version     string // of the program, for $SYS/broker/version
	// LoopAll has event loops serve every kind of connection on every system, and not only sockets on Linux. It saves
	// nothing; tests with fake time, whose connections are pipes, play with the loop's rules through it.
	LoopAll bool
}

// A Broker serves MQTT clients.
type Broker struct {
	// Fixed when New returns.
	limits      configs.Limits
	hideReasons bool
	observed    bool // a hook wants to hear of deliveries
	log         *slog.Logger
	store       storage.Store
	batcher     storage.Batcher // the store, if it is one
	hooks       *hooks.Chain
	version     string
	started     time.Time
	sessions    *registry
	queues      *hookQueues
	servings    *servings
	saved       []savedRecord // as loaded; nil once the hooks have started
	found       Stats         // once the store was loaded
	index       *topic.Index[*subscriber, *plan]
	groups      *groups
	retained    *retainedMessages
	counters    *counters
	connections *connections
	loops       *loops
	ctx         context.Context // ends when the broker is shut down
	cancel      context.CancelFunc
	sysDone     chan struct{}

	checks  atomic.Uint64  // counts Rechecks, from 1
	keys    atomic.Uint64  // the next session key
	tasks   sync.WaitGroup // questions to hooks, pages read from the store
	taskMu  sync.Mutex     // guards stopped, and tasks against being added to while it is waited for; a leaf in the lock order
	stopped bool
	group   *turn // of the store's goroutine
	fatal   chan error
	failure sync.Once // of the store: every write after the first that failed fails as well
	once    sync.Once // Shutdown
}

// New makes a broker, loads what the store holds and starts the hooks. It fails if the store cannot be read,
// or a hook cannot start.
func New(o Options) (*Broker, error) {
	chain, err := hooks.NewChain(o.Hooks...)
	if err != nil {
		return nil, fmt.Errorf("hooks: %w", err)
	}
	b := &Broker{
		limits: o.Limits, hideReasons: o.HideReasons, observed: chain.HasDeliveryObservers(),
		log: o.Log, store: o.Store, hooks: chain, version: o.Version, started: time.Now(),
		sessions: newRegistry(), queues: newHookQueues(), servings: new(servings), retained: newRetained(), counters: newCounters(),
		connections: newConnections(), sysDone: make(chan struct{}), fatal: make(chan error, 1),
	}
	b.checks.Store(1)
	b.keys.Store(uint64(b.started.UnixNano()))
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.loops = newLoops(b, o.LoopAll)
	b.index = topic.NewIndex(b.buildPlan, planCacheMax)
	b.groups = newGroups(b.index)
	chain.OnPanic(b.hookPanicked)
	b.batcher, _ = b.store.(storage.Batcher)
	b.store.Notify(b.settleStored)
	if e, ok := b.store.(storage.Expirer); ok {
		e.OnExpired(b.expired)
	}
	if f, ok := b.store.(storage.Failer); ok {
		f.OnFailure(func(err error) { b.storeResult(false, err) })
	}
	loaded, err := b.load()
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	b.found = b.Stats()
	if err := chain.Start(b); err != nil {
		b.cancel()
		return nil, fmt.Errorf("hooks: %w", err)
	}
	b.saved = nil
	chain.Open()
	loaded.goOn()
	go b.publishSys(o.SysInterval)
	return b, nil
}

// Found is what the store held when the broker started.
func (b *Broker) Found() Stats { return b.found }

func (b *Broker) topicLimits() topic.Limits {
	return topic.Limits{Length: b.limits.MaxTopicLength, Levels: b.limits.MaxTopicLevels}
}

// Attach serves a network connection until it ends, on an event loop or goroutines of its own. It returns at once.
func (b *Broker) Attach(nc net.Conn, p listener.Peer) {
	c := newConn(b, p)
	if b.loops.attach(c, nc, p.Accepted) {
		return
	}
	d := newGoroutineDriver(c, nc)
	c.driver = d
	if !b.connections.add(c) {
		nc.Close()
		return
	}
	c.watchConnect(p.Accepted)
	go d.run()
}

// newSessionKey makes a key that no session of this store has had: it counts up from the time of the start.
func (b *Broker) newSessionKey() string { return strconv.FormatUint(b.keys.Add(1), 36) }

// Fatal gives the error after which the broker can no longer keep its promises: the store failed. The program
// must end.
func (b *Broker) Fatal() <-chan error { return b.fatal }

// startTask reports whether the broker still starts goroutines; tasks.Done is then owed.
func (b *Broker) startTask() bool {
	b.taskMu.Lock()
	defer b.taskMu.Unlock()
	if b.stopped {
		return false
	}
	b.tasks.Add(1)
	return true
}

// waitTasks lets no more begin and waits for those that run.
func (b *Broker) waitTasks() {
	b.taskMu.Lock()
	b.stopped = true
	b.taskMu.Unlock()
	b.tasks.Wait()
}

// storeResult looks at what a store method returned to somebody who does not wait.
func (b *Broker) storeResult(_ bool, err error) {
	if err == nil || errors.Is(err, storage.ErrFull) || errors.Is(err, storage.ErrClosed) {
		return
	}
	b.failure.Do(func() { b.fatal <- err })
}

// update writes changes that nobody waits for, unless w is set.
func (b *Broker) update(w storage.Waiter, changes ...storage.Change) {
	b.storeResult(b.store.Update(changes, w))
}

// storeTurn is the turn of the group of Waiters that the store is telling now. Only they may call it.
func (b *Broker) storeTurn() *turn {
	if b.group == nil {
		b.group = b.begin()
	}
	return b.group
}

// settleStored is called by the store after each group of Waiters.
func (b *Broker) settleStored() {
	if t := b.group; t != nil {
		b.group = nil
		t.end()
	}
}

// Shutdown ends the broker in order: no new connections, MQTT 5 clients are told (0x8B) and every outbox is
// written, sessions and wills are stored, hooks stop, the store is closed. It returns when that is done or
// ctx ends. Twice is harmless.
func (b *Broker) Shutdown(ctx context.Context) error {
	var err error
	b.once.Do(func() { err = b.shutdown(ctx) })
	return err
}

func (b *Broker) shutdown(ctx context.Context) error {
	gone := b.connections.close()
	t := b.begin()
	for _, c := range b.connections.all() {
		c.end(t, packet.ServerShuttingDown, "the server is shutting down", "server shutting down")
	}
	t.end()
	b.cancel()
	var late error
	select {
	case <-gone:
	case <-ctx.Done():
		late = fmt.Errorf("shutdown: %d connections still open: %w", len(b.connections.all()), ctx.Err())
	}
	b.loops.end(ctx)
	<-b.sysDone
	b.retained.stop()
	b.sessions.stopTimers()
	b.waitTasks()
	b.update(nil, storage.PutCounters{Values: b.counters.save()})
	return errors.Join(late, b.hooks.Stop(), b.store.Close())
}

// connections are all connections, accepted by CONNECT or not yet.
type connections struct {
	mu     sync.Mutex // guards what follows; a leaf in the lock order
	set    map[*conn]struct{}
	closed bool
	gone   chan struct{} // closed when closed is set and set is empty
}

func newConnections() *connections {
	return &connections{set: make(map[*conn]struct{}), gone: make(chan struct{})}
}

// add reports false when the broker is shutting down.
func (cs *connections) add(c *conn) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return false
	}
	cs.set[c] = struct{}{}
	return true
}

// forget is called when a connection has ended for good.
func (cs *connections) forget(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.set, c)
	if cs.closed && len(cs.set) == 0 {
		close(cs.gone)
	}
}

// close refuses further connections. The channel is closed when the last one has ended.
func (cs *connections) close() <-chan struct{} {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	if len(cs.set) == 0 {
		close(cs.gone)
	}
	return cs.gone
}

func (cs *connections) all() []*conn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	out := make([]*conn, 0, len(cs.set))
	for c := range cs.set {
		out = append(out, c)
	}
	return out
}

// stopTimers is for a broker that ends: the store knows when each session was left.
func (r *registry) stopTimers() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.byID {
		s.mu.Lock()
		s.stopTimersLocked()
		s.mu.Unlock()
	}
}
