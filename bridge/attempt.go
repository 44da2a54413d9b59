package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
)

// An outcome is what became of an attempt to connect.
type outcome struct {
	at        int  // index of the address to try next
	more      bool // and to try it at once
	connected bool
	moved     bool // something was acknowledged while it was connected
}

// attempt connects to the address of that index, and stays until the connection is over.
func (l *link) attempt(ctx context.Context, at int) (outcome, error) {
	targets, err := targetsOf(ctx, &l.config, l.hook.lookup)
	if err != nil {
		return outcome{}, err
	}
	at %= len(targets)
	next := outcome{at: (at + 1) % len(targets), more: at+1 < len(targets)}
	t := targets[at]
	before := l.counts.sent.Load() + l.counts.received.Load()
	c, r, err := l.connect(ctx, t)
	if err != nil {
		return next, err
	}
	defer func() { l.setPresent(nil) }()
	l.setPresent(c)
	l.counts.connects.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if at > 0 && l.config.FailBack > 0 {
		go l.watchBetter(ctx, targets[:at], cancel)
	}
	go l.watchPause(ctx, cancel)
	err = c.serve(ctx)
	r.close()
	low, first := c.end()
	l.head, l.suspicion.largest = low, max(l.suspicion.largest, c.largest)
	moved := l.counts.sent.Load()+l.counts.received.Load() != before
	l.dropPoison(c.terms.version, err, moved, first)
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, errStopped) {
		err = cause
	}
	return outcome{
		at: at, connected: true, moved: moved, // where it was is tried first
	}, err
}

func (l *link) setPresent(c *crossing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.present = c
	if c != nil {
		l.version = c.terms.version
	}
}

// watchBetter ends a connection to a later address when an earlier one can be reached again.
func (l *link) watchBetter(ctx context.Context, better []target, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(l.config.FailBack)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for i := range better {
			probe, stop := context.WithTimeout(ctx, l.config.AnswerTimeout)
			socket, err := better[i].dial(probe)
			stop()
			if err == nil {
				socket.Close()
				cancel(errBetter)
				return
			}
		}
	}
}

// watchPause ends a connection when somebody pauses the bridge.
func (l *link) watchPause(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.resume:
			if l.isPaused() {
				cancel(errPaused)
				return
			}
		}
	}
}

// connect opens a connection in the version that the other broker speaks.
func (l *link) connect(ctx context.Context, t target) (*crossing, remote, error) {
	l.mu.Lock()
	l.where = t.name
	l.mu.Unlock()
	o, err := l.optionsFor(t)
	if err != nil {
		return nil, nil, err
	}
	for {
		c, r, err := l.connectAs(ctx, o)
		if errors.Is(err, errVersion) && o.version == packet.V5 && l.config.Version == configs.VersionAuto {
			l.log.Info("the other broker does not speak MQTT 5, trying 3.1.1", "address", t.name)
			o.version = packet.V311
			continue
		}
		if errors.Is(err, errVersion) && o.version == packet.V311 && o.bridgeBit {
			o.bridgeBit = false // it takes the protocol level for one that it does not know
			continue
		}
		if err != nil {
			delete(l.versions, t.name)
			return nil, nil, err
		}
		l.versions[t.name] = o.version
		return c, r, nil
	}
}

func (l *link) optionsFor(t target) (*options, error) {
	username, password, err := credentialsOf(&l.config)
	if err != nil {
		return nil, err
	}
	version := packet.Version(packet.V5)
	if known, ok := l.versions[t.name]; ok {
		version = known
	}
	switch l.config.Version {
	case configs.Version5:
		version = packet.V5
	case configs.Version311:
		version = packet.V311
	}
	return &options{
		target: t, version: version, clientID: l.clientID, username: username, password: password,
		keepAlive: uint16(l.config.KeepAlive / time.Second), durable: l.config.Session != configs.SessionClean,
		bridgeBit: l.config.BridgeBit, broker: l.hook.broker, stateTopic: l.stateTopic, packetMax: l.hook.packetMax,
		window: l.inboundMax(), timeout: l.config.AnswerTimeout,
	}, nil
}

// connectAs opens a connection. The first one to an address forgets what the other broker may have of somebody with our client
// identifier: its packet identifiers are not ours.
func (l *link) connectAs(ctx context.Context, o *options) (*crossing, remote, error) {
	known := o.durable && string(l.hook.record(l.sessionKey(o.target.name))) == l.clientID
	o.clean = !known
	o.spareID = identifierOf(l.head + identifiers - 1) // just outside of the window
	l.taken.restore(l.takenAt(o.target.name))
	c := newCrossing(l, o.target.name)
	r, err := open(ctx, o, c)
	if err != nil {
		return nil, nil, err
	}
	if o.clean && o.durable {
		if o.version != packet.V5 { // a clean session of MQTT 3.1.1 is not kept
			r.close()
			o.clean = false
			c = newCrossing(l, o.target.name)
			if r, err = open(ctx, o, c); err != nil {
				return nil, nil, err
			}
		}
		if err := l.rememberSession(o.target.name); err != nil {
			r.close()
			return nil, nil, err
		}
	}
	c.begin(r)
	if known && !c.terms.sessionPresent {
		l.log.Warn("the other broker has forgotten the session", "address", o.target.name)
	}
	if !c.terms.sessionPresent {
		l.forgetSession(o.target.name)
	}
	if err := l.moveTo(o.target.name); err != nil {
		r.close()
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	return c, r, nil
}
