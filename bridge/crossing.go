package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/broker/topic"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// Bounds of one turn of the sender.
const (
	readEntries = 512
	readBytes   = 1 << 20
)

// A crossing is what moves over one connection, both ways. One goroutine sends (serve); the remote calls the methods of peer on
// others, and the store calls back on its own. These leave word and wake the sender, who alone waits for the connection.
type crossing struct {
	// Fixed when newCrossing returns.
	link   *link
	remote remote
	terms  terms
	target string
	debts  *debts
	signal chan struct{} // holds one when something was left for the sender
	over   chan struct{} // closed when why is set

	// Only the sender touches these.
	next     uint64 // number to send next
	old      uint64 // numbers up to here may have been sent over an earlier connection
	read     []hooks.Queued
	throttle *throttle
	patience backoff   // of a remote that has no room
	until    time.Time // nothing is sent before, for the same reason

	door sync.RWMutex // held for reading while something is taken in; taken before mu
	shut bool         // guarded by door: nothing is taken in any more

	mu       sync.Mutex // guards what follows
	window   window
	done     []finished
	largest  int64    // size of what was acknowledged
	pubrecs  []uint64 // numbers whose PUBREC came
	pubrels  []uint64 // numbers whose PUBREC is on disk
	complete []uint16 // identifiers whose PUBREL is on disk
	retry    uint64   // the lowest number that the remote had no room for; 0 is none
	ended    bool
	why      error
}

func newCrossing(l *link, target string) *crossing {
	return &crossing{
		link: l, target: target, debts: newDebts(int(l.inboundMax())),
		signal: make(chan struct{}, 1), over: make(chan struct{}),
		throttle: newThrottle(l.config.RateLimit), patience: backoff{min: l.config.RetryMin, max: l.config.RetryMax, random: l.hook.random},
		window: window{max: int(l.config.MaxInflight)},
	}
}

// begin is called once the remote is open; messages may have arrived before.
func (c *crossing) begin(r remote) {
	c.remote, c.terms = r, r.terms()
	c.mu.Lock()
	c.window.max = c.link.suspicion.windowMax(min(c.window.max, c.terms.receiveMaximum)) // [MQTT5-3.3.4-7]
	c.mu.Unlock()
	if c.terms.version != packet.V5 && len(c.link.rules.out) > 0 {
		c.link.hook.twins.open(c.link.way())
	}
	c.next, c.old = c.link.head, max(c.link.suspect, c.link.high)
}

// end is called when the remote is closed. What a client still hands over is not taken: nobody would acknowledge it. It returns the first number that
// is to be sent again, and its flight if it has one.
func (c *crossing) end() (low uint64, first *flight) {
	c.debts.end() // who waits for room holds the door
	c.door.Lock()
	c.shut = true
	c.door.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link.finish(c.done)
	c.done = nil
	low = c.next
	if len(c.window.flights) > 0 {
		first = &c.window.flights[0]
		low = min(low, first.number)
	}
	if c.retry > 0 {
		low = min(low, c.retry)
	}
	return low, first
}

// lost implements peer.
func (c *crossing) lost(err error) { c.fail(err) }

func (c *crossing) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended, c.why = true, err
		close(c.over)
		c.debts.end()
	}
}

func (c *crossing) poke() {
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// serve moves messages until the connection is over or ctx ends. It returns why.
func (c *crossing) serve(ctx context.Context) error {
	defer c.debts.end()
	if err := c.subscribe(ctx); err != nil {
		return err
	}
	c.link.settleLeft(c)
	if err := c.announce(stateConnected); err != nil {
		return err
	}
	c.link.box.online.Store(true)
	defer c.link.box.online.Store(false)
	c.link.enter(StateConnected, nil)
	idle := idler{config: &c.link.config}
	for {
		wait, err := c.turn()
		if err != nil {
			return err
		}
		if wait = min(wait, idle.left(c.busy(), time.Now())); wait <= 0 {
			return errIdle
		}
		pause := time.NewTimer(wait)
		select {
		case <-c.signal:
		case <-c.link.box.wake:
		case <-pause.C:
		case <-c.over:
			pause.Stop()
			return c.why
		case <-ctx.Done():
			pause.Stop()
			return c.leave()
		}
		pause.Stop()
	}
}

// An idler says when a lazy link is to end.
type idler struct {
	config *configs.Bridge
	since  time.Time
}

// left is how long the link stays if nothing happens.
func (i *idler) left(busy bool, now time.Time) time.Duration {
	if i.config.Start != configs.StartLazy {
		return forever
	}
	if busy || i.since.IsZero() {
		i.since = now
	}
	return i.config.IdleTimeout - now.Sub(i.since)
}

// forever is how long the sender waits when only others can give it something to do.
const forever = time.Hour

// turn does all there is to do, and returns how long to wait if nothing happens.
func (c *crossing) turn() (time.Duration, error) {
	if err := c.settle(); err != nil {
		return 0, err
	}
	if wait, waiting := c.waitForRoom(); waiting {
		return wait, nil
	}
	if c.link.box.excess() {
		if err := c.link.trim(); err != nil {
			return 0, err
		}
	}
	wait, err := c.pump()
	if err != nil {
		return 0, err
	}
	return wait, c.passOn()
}

// settle deals with what others left.
func (c *crossing) settle() error {
	c.mu.Lock()
	done, pubrecs, pubrels, complete := c.done, c.pubrecs, c.pubrels, c.complete
	c.done, c.pubrecs, c.pubrels, c.complete = nil, nil, nil, nil
	c.mu.Unlock()
	if len(done) > 0 {
		c.link.finish(done)
		c.patience.reset()
	}
	if len(pubrecs) > 0 {
		c.link.saveReleased(pubrecs, func(err error) { c.pubrecsSaved(pubrecs, err) })
	}
	for _, number := range pubrels {
		if err := c.remote.answer(packet.PUBREL, identifierOf(number)); err != nil {
			return plain(err)
		}
	}
	for _, id := range complete {
		if err := c.remote.answer(packet.PUBCOMP, id); err != nil {
			return plain(err)
		}
	}
	for _, d := range c.debts.due() {
		if d.qos == 0 {
			continue
		}
		if err := c.remote.answer(d.answer(), d.id); err != nil {
			return plain(err)
		}
	}
	return nil
}

// pubrecsSaved is told by the store: PUBREL may leave, since after a crash it will be sent again and not PUBLISH.
func (c *crossing) pubrecsSaved(numbers []uint64, err error) {
	if err != nil {
		c.fail(fmt.Errorf("store: %w", err))
		return
	}
	c.mu.Lock()
	for _, number := range numbers {
		if f := c.window.find(identifierOf(number)); f != nil && f.number == number {
			f.step = releasing
			c.pubrels = append(c.pubrels, number)
		}
	}
	c.mu.Unlock()
	c.poke()
}

// waitForRoom goes back to the first message that the remote had no room for, once the others are settled, after a while.
func (c *crossing) waitForRoom() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retry != 0 {
		if c.window.count > 0 {
			return forever, true
		}
		c.next, c.retry = c.retry, 0
		c.window.reset()
		c.until = time.Now().Add(c.patience.wait())
	}
	left := time.Until(c.until)
	return left, left > 0
}

// pump sends messages of the queue while the window has room. It returns how long the rate limit wants to wait.
func (c *crossing) pump() (time.Duration, error) {
	for {
		room := c.room()
		if room == 0 {
			return forever, nil
		}
		box := c.link.box
		read, after, err := box.read(c.read[:0], c.next, c.next > c.link.high, min(room, readEntries), readBytes)
		if err != nil {
			return 0, fmt.Errorf("queue: %w", err)
		}
		c.read = read
		for _, q := range read {
			if wait := c.throttle.take(time.Now()); wait > 0 {
				c.next = q.Number
				return wait, nil
			}
			if sent, err := c.send(q); err != nil || !sent {
				return forever, err
			}
			c.next = q.Number + 1
		}
		clear(c.read)
		if after == c.next && len(read) == 0 {
			return forever, nil
		}
		c.next = after
	}
}

func (c *crossing) room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, c.window.max-c.window.count)
}

func (c *crossing) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.window.count > 0 || c.link.box.pending(c.next)
}

// send sends one message of the queue, or drops it with a reason. It reports false if its number does not fit in the window yet.
func (c *crossing) send(q hooks.Queued) (bool, error) {
	l, m, now := c.link, q.Message, time.Now()
	rule := l.rules.sending(m.Topic)
	switch {
	case rule == nil:
		l.drop(q, dropNoRule, "no rule matches any more")
		return true, nil
	case m.Expired(now.UnixNano()):
		return true, l.box.expire(q.Number)
	}
	release := l.isReleased(q.Number)
	again := q.Number <= max(l.suspect, l.high)
	o := c.outgoing(m, rule, q.Number, again, now)
	if c.terms.packetMax > 0 && packet.PublishSize(c.terms.version, o) > int(c.terms.packetMax) { // [MQTT5-3.2.2-15]
		l.drop(q, dropTooLarge, fmt.Sprintf("larger than the %d bytes that the other broker takes", c.terms.packetMax))
		return true, nil
	}
	f := flight{number: q.Number, size: int64(m.Size()), sent: now.UnixNano(), qos: o.QoS}
	if release {
		f.step = releasing
	}
	c.mu.Lock()
	fits := o.QoS == 0 || c.window.fits(q.Number)
	if fits && o.QoS > 0 {
		c.window.add(f)
	}
	c.mu.Unlock()
	if !fits {
		return false, nil
	}
	if m.Expires != 0 {
		l.box.queue.Sent(q.Number) // the store does not drop it any more
	}
	return true, c.dispatch(o, f)
}

func (c *crossing) dispatch(o *packet.Outgoing, f flight) error {
	l := c.link
	if f.number <= l.high {
		l.counts.resent.Add(1)
	}
	l.high = max(l.high, f.number)
	if f.step == releasing {
		return c.answer(packet.PUBREL, identifierOf(f.number))
	}
	if err := c.remote.publish(o); err != nil {
		return plain(err)
	}
	if o.QoS == 0 { // the other broker takes nothing better
		l.finish([]finished{{f.number, f.size}})
		l.countSent(1, f.size)
	}
	return nil
}

func (c *crossing) answer(t packet.Type, id uint16) error {
	if err := c.remote.answer(t, id); err != nil {
		return plain(err)
	}
	return nil
}

// outgoing is the PUBLISH packet of a message.
func (c *crossing) outgoing(m *packet.Message, r *rule, number uint64, again bool, now time.Time) *packet.Outgoing {
	o := &packet.Outgoing{
		Topic: r.there(m), Payload: m.Payload, Properties: m.Properties, QoS: min(m.QoS, r.qos, c.terms.qosMax), // [MQTT5-3.2.2-11]
		Retain: m.Retain && !r.clear && c.terms.retain, // [MQTT5-3.2.2-14]
	}
	if o.QoS > 0 {
		o.ID, o.Dup = identifierOf(number), number <= c.old && c.terms.sessionPresent // [MQTT5-3.3.1-1] [MQTT311-3.3.1-1]
	}
	if again && c.terms.version == packet.V5 {
		o.Properties = appendMark(o.Properties[:len(o.Properties):len(o.Properties)], againMark, c.link.clientID)
	}
	if m.Expires != 0 {
		o.Expiry, o.HasExpiry = uint32((m.Expires-now.UnixNano()+1e9-1)/1e9), true // [MQTT5-3.3.2-6]
	}
	return o
}

// passOn sends the messages of QoS 0.
func (c *crossing) passOn() error {
	for _, m := range c.link.box.takeVolatile() {
		r := c.link.rules.sending(m.Topic)
		now := time.Now()
		if r == nil || m.Expired(now.UnixNano()) {
			continue
		}
		o := c.outgoing(m, r, 0, false, now)
		o.QoS = 0
		if c.terms.packetMax > 0 && packet.PublishSize(c.terms.version, o) > int(c.terms.packetMax) {
			c.link.counts.drop(dropTooLarge, 1)
			continue
		}
		if err := c.remote.publish(o); err != nil {
			return plain(err)
		}
		c.link.countSent(1, int64(m.Size()))
	}
	return nil
}

// announce tells the other broker's clients of the link.
func (c *crossing) announce(state string) error {
	if c.link.stateTopic == "" {
		return nil
	}
	err := c.remote.publish(&packet.Outgoing{Topic: c.link.stateTopic, Payload: []byte(state), Retain: c.terms.retain})
	if err != nil {
		return plain(err)
	}
	return nil
}

// leave ends the connection in order.
func (c *crossing) leave() error {
	// If the connection is gone, the will says the same.
	_ = c.announce(stateDisconnected)
	return errStopped
}

var (
	errStopped = errors.New("stopped")
	errIdle    = errors.New("nothing to send")
)

// acknowledged implements peer.
func (c *crossing) acknowledged(t packet.Type, id uint16, code packet.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.window.find(id)
	if f == nil {
		return // of an earlier connection
	}
	switch {
	case t == packet.PUBREC && f.qos == 2 && code.Failed(), t == packet.PUBACK && f.qos == 1 && code.Failed():
		c.refusedLocked(f, code)
	case t == packet.PUBACK && f.qos == 1, t == packet.PUBCOMP && f.qos == 2 && f.step == releasing:
		c.link.countSent(1, f.size)
		c.link.counts.roundTrip(time.Duration(time.Now().UnixNano() - f.sent))
		c.doneLocked(f)
	case t == packet.PUBREC && f.qos == 2 && f.step == published:
		f.step = received
		c.pubrecs = append(c.pubrecs, f.number)
	case t == packet.PUBREC && f.qos == 2 && f.step == releasing:
		c.pubrels = append(c.pubrels, f.number)
	}
	c.poke()
}

func (c *crossing) doneLocked(f *flight) {
	c.done = append(c.done, finished{f.number, f.size})
	c.largest = max(c.largest, f.size)
	c.window.end(f)
}

// refusedLocked deals with a message that the other broker does not want: one that it has no room for is sent again later.
func (c *crossing) refusedLocked(f *flight, code packet.Code) {
	if code != packet.QuotaExceeded {
		c.link.counts.drop(dropRefused, 1)
		c.link.report("message refused by the other broker", code.String())
		c.doneLocked(f)
		return
	}
	if c.retry == 0 || f.number < c.retry {
		c.retry = f.number
	}
	c.link.report("no room at the other broker", code.String())
	c.window.end(f)
}

// releasedBy is told by the store that an identifier is forgotten: PUBCOMP may leave.
func (c *crossing) releasedBy(id uint16, err error) {
	if err != nil {
		c.fail(fmt.Errorf("store: %w", err))
		return
	}
	c.mu.Lock()
	c.complete = append(c.complete, id)
	c.mu.Unlock()
	c.poke()
}

// subscribe asks for what the rules bring here. What the other broker refuses is reported; the rest works.
func (c *crossing) subscribe(ctx context.Context) error {
	var filters []subscription
	for i := range c.link.rules.in {
		r := &c.link.rules.in[i]
		known := false
		for j := range filters {
			if filters[j].filter == r.remote {
				known, filters[j].qos = true, max(filters[j].qos, r.qos)
			}
		}
		if !known {
			filters = append(filters, subscription{r.remote, r.qos})
		}
	}
	c.link.refuse(nil)
	ctx, cancel := context.WithTimeout(ctx, c.link.config.AnswerTimeout)
	defer cancel()
	gone, err := c.link.noteFilters(c, filters)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		if err := c.serving(func() error { return c.remote.unsubscribe(ctx, gone) }); err != nil {
			return err
		}
	}
	if len(filters) == 0 {
		return nil
	}
	var codes []packet.Code
	err = c.serving(func() (err error) {
		codes, err = c.remote.subscribe(ctx, filters)
		return err
	})
	if err != nil {
		return err
	}
	var refused []string
	for i, code := range codes {
		if code.Failed() {
			refused = append(refused, fmt.Sprintf("%s: %s (0x%02x)", filters[i].filter, code, byte(code)))
			c.link.report("subscription refused by the other broker: "+filters[i].filter, code.String())
		}
	}
	c.link.refuse(refused)
	return nil
}

// serving asks the other broker something, and answers it meanwhile: it may send what its session held before.
func (c *crossing) serving(ask func() error) error {
	answered := make(chan error, 1)
	go func() { answered <- ask() }()
	for {
		select {
		case err := <-answered:
			return err
		case <-c.signal:
			if failed := c.settle(); failed != nil {
				c.fail(failed)
			}
		case <-c.over:
			c.remote.close()
			<-answered
			return c.why
		}
	}
}

// publishable reports whether a name is a topic that a client could publish to here.
func publishable(name string) bool {
	return topic.CheckName(name, topic.Limits{}) == nil && (name[0] != '$' || !reservedHere(name))
}
