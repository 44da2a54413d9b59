package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/penstockmq/penstock/broker/topic"
)

// A Filter is one subscription.
type Filter struct {
	Filter string // as sent, $share/<group>/ included
	QoS    byte
	// The following need MQTT 5 and are ignored otherwise.
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte // 0 sends retained messages, 1 only for a new subscription, 2 never
}

// A Subscription says what Subscribe asks for and does with it.
type Subscription struct {
	Filters      []Filter // none takes up a session with the subscriptions it has
	Exclude      []string // filters of messages to be left out
	SkipRetained bool     // leaves out retained messages
	RetainedOnly bool     // ends with the first message that is not retained
	Count        int      // ends after so many messages; 0 is no end
	// Handle is given each message, one at a time. A message is acknowledged after Handle returns
	// nil. An error ends Subscribe with it.
	Handle func(*Message) error
	// Warn, if set, is told of refused filters and lost connections.
	Warn func(error)
	// Ready, if set, is called when the subscriptions are made, after each connection.
	Ready func()
}

const (
	retryFirst = time.Second
	retryMax   = 30 * time.Second
)

// errAllRefused means that there is nothing left to wait for.
var errAllRefused = errors.New("every subscription was refused")

// Subscribe connects, subscribes, and hands over what arrives until Count messages came or ctx
// ends, which is no error. A lost connection is made again, with growing pauses, unless the broker's reason
// is final. It returns how many messages were handled.
func Subscribe(ctx context.Context, o Options, s Subscription) (int, error) {
	if err := o.Check(); err != nil {
		return 0, err
	}
	i := &intake{Subscription: s, done: make(chan struct{})}
	if i.Warn == nil {
		i.Warn = func(error) {}
	}
	state := newState()
	defer state.close()
	for pause := retryFirst; ; pause = min(2*pause, retryMax) {
		stood, err := i.serve(ctx, &o, state)
		if stood {
			i.connected, pause = true, retryFirst
			o.Clean = o.Clean && (o.SessionExpiry == 0 || o.ClientID == "") // the session outlives the connection: take it up
		}
		if err == nil || !i.connected || final(err) || errors.Is(err, errAllRefused) {
			return i.result(err)
		}
		i.Warn(err)
		select {
		case <-time.After(pause/2 + rand.N(pause/2)): // so that clients of a restarted broker do not all come at once
		case <-ctx.Done():
			return i.result(nil)
		}
	}
}

// serve is one connection. It reports whether it stood, and why it ended; nil means that all is done.
func (i *intake) serve(ctx context.Context, o *Options, s *state) (stood bool, err error) {
	l, err := open(ctx, o, s, i)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, err
	}
	defer l.disconnect()
	asking := asking{filters: i.Filters, warn: i.Warn, ready: i.Ready, over: i.finished}
	if err := asking.subscribe(ctx, o, l); err != nil {
		return true, err
	}
	select {
	case <-i.done:
		return true, nil
	case <-ctx.Done():
		return true, nil
	case <-l.ended():
		return true, l.why()
	}
}

// An asking is the request for subscriptions, after each connection.
type asking struct {
	filters []Filter
	warn    func(error)
	ready   func()      // may be nil
	over    func() bool // whether the subscriptions are not wanted any more
}

func (a *asking) subscribe(ctx context.Context, o *Options, l link) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	var outcomes []error
	if len(a.filters) > 0 {
		var err error
		outcomes, err = l.subscribe(ctx, a.filters)
		if a.over() || errors.Is(ctx.Err(), context.Canceled) {
			return nil // a session that was taken up may have had enough messages
		}
		if err != nil {
			return err
		}
	}
	refused := 0
	for _, err := range outcomes {
		if err != nil {
			refused++
			a.warn(err)
		}
	}
	if refused == len(a.filters) && refused > 0 {
		return errAllRefused
	}
	if a.ready != nil {
		a.ready()
	}
	return nil
}

// An intake counts and sorts what arrives. A link calls take and taken from one goroutine, one message at a time.
type intake struct {
	Subscription
	connected bool          // only Subscribe touches it
	done      chan struct{} // closed after the last message was acknowledged

	mu    sync.Mutex // guards what follows; held while a message is handled
	count int
	err   error
	full  bool // no message is wanted any more
}

func (i *intake) take(m *Message, _ receipt) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.full:
		return false // the broker keeps it for the next time, if it keeps the session
	case i.RetainedOnly && !m.Retain:
		i.full = true
		return true
	case i.SkipRetained && m.Retain, i.excluded(m.Topic):
		return true
	}
	if i.err = i.Handle(m); i.err != nil {
		i.full = true
		close(i.done)
		return false
	}
	i.count++
	i.full = i.Count > 0 && i.count >= i.Count
	return true
}

func (i *intake) taken() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.full && !i.finished() {
		close(i.done)
	}
}

func (i *intake) finished() bool {
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}

func (i *intake) excluded(name string) bool {
	for _, f := range i.Exclude {
		if topic.Match(f, name) {
			return true
		}
	}
	return false
}

// result ends the intake: what still arrives is not wanted.
func (i *intake) result(err error) (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.full = true
	if i.err != nil {
		err = i.err
	}
	return i.count, err
}
