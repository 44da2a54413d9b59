package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

// A Publication says what Publish sends.
type Publication struct {
	Message        // without a payload
	Source  Source // where the payloads come from
	Window  int    // how many messages may wait for their acknowledgement; below 1 is 1
	// MessageID gives each message a user property message-id of its own (MQTT 5), by which a
	// channel knows it again when it is sent twice.
	MessageID bool
	// Reconnect makes a lost connection again, and sends again what was not acknowledged. It
	// needs a clean session, because what was sent before is not taken up.
	Reconnect bool
	Warn      func(error) // is told of lost connections, if set
}

// Publish connects, sends one message per payload in order, waits until every one is acknowledged
// (with QoS 0: written), and disconnects. The first refusal ends it, and so does the end of the
// connection without Reconnect. It returns how many were acknowledged.
func Publish(ctx context.Context, o Options, p Publication) (int, error) {
	if err := checkMessage(o.Version, &p.Message); err != nil {
		return 0, err
	}
	if err := o.Check(); err != nil {
		return 0, err
	}
	switch {
	case p.MessageID && o.Version != MQTT5:
		return 0, errors.New("a message-id needs MQTT 5")
	case p.Reconnect && !o.Clean:
		return 0, errors.New("to reconnect and to take up a session exclude each other")
	}
	if p.Warn == nil {
		p.Warn = func(error) {}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	publisher := publisher{message: p.Message, window: max(1, p.Window), timeout: o.Timeout}
	if p.MessageID {
		publisher.mark = rand.Text()
	}
	return publisher.publishAll(ctx, &o, &p)
}

// A publisher sends messages and collects what becomes of them, in order.
type publisher struct {
	// Fixed when Publish makes it.
	message Message
	window  int
	timeout time.Duration
	mark    string // what message-ids begin with; empty gives none

	link    link      // of this connection
	pending []pending // outcomes not known yet, oldest first; at most window
	source  <-chan piece
	ended   bool // there is nothing more to come from source
	sent    uint64
	settled int
}

// errSource is that there is no more to publish, though there should be.
var errSource = errors.New("reading what to publish")

// A pending message was sent and is not acknowledged.
type pending struct {
	message *Message
	outcome <-chan error
}

// publishAll makes connections, one after the other if need be, until everything is sent.
func (p *publisher) publishAll(ctx context.Context, o *Options, what *Publication) (int, error) {
	p.source = what.Source.pieces(ctx)
	connected := false
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		stood, err := p.serve(ctx, o)
		if stood {
			connected, wait = true, retryFirst
		}
		if err == nil || !what.Reconnect || !connected || ctx.Err() != nil || !worthAnother(err) {
			return p.settled, err
		}
		what.Warn(err)
		select {
		case <-time.After(wait/2 + mathrand.N(wait/2)):
		case <-ctx.Done():
			return p.settled, context.Cause(ctx)
		}
	}
}

// serve is one connection.
func (p *publisher) serve(ctx context.Context, o *Options) (stood bool, err error) {
	s := newState()
	defer s.close()
	if p.link, err = open(ctx, o, s, nil); err != nil {
		return false, err
	}
	defer p.link.disconnect()
	if err := p.resend(ctx); err != nil {
		return true, err
	}
	return true, p.run(ctx)
}

// worthAnother reports whether a connection, and not a message or its source, was in the way.
func worthAnother(err error) bool {
	var r *Refusal
	if errors.As(err, &r) {
		return r.ofConnection() && !r.Final()
	}
	return !errors.Is(err, errSource)
}

// resend sends what the last connection left, in its order.
func (p *publisher) resend(ctx context.Context) error {
	for i := range p.pending {
		if err := p.publish(ctx, &p.pending[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *publisher) run(ctx context.Context) error {
	for !p.ended || len(p.pending) > 0 {
		next := p.source
		if p.ended || len(p.pending) >= p.window {
			next = nil
		}
		var err error
		select {
		case got := <-next:
			if errors.Is(got.err, io.EOF) {
				p.ended = true
				continue
			}
			err = p.send(ctx, got)
		case err = <-p.oldest():
			if err == nil {
				p.pending = p.pending[1:]
				p.settled++
			}
		case <-p.idleEnd():
			err = p.link.why()
		case <-p.overdue():
			err = fmt.Errorf("publish %s: no acknowledgement within %s", p.message.Topic, p.timeout)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *publisher) send(ctx context.Context, next piece) error {
	if next.err != nil {
		return fmt.Errorf("%w: %w", errSource, next.err)
	}
	m := p.message
	m.Payload = next.payload
	if p.mark != "" {
		p.sent++
		id := packet.UserProperty{Key: "message-id", Value: p.mark + "-" + strconv.FormatUint(p.sent, 10)}
		m.Properties.User = append(slices.Clip(m.Properties.User), id)
	}
	p.pending = append(p.pending, pending{message: &m})
	return p.publish(ctx, &p.pending[len(p.pending)-1])
}

func (p *publisher) publish(ctx context.Context, next *pending) (err error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if next.outcome, err = p.link.publish(ctx, next.message); err != nil {
		return p.explain(err)
	}
	return nil
}

// explain prefers the broker's reason for the end of the connection to an error that the end caused.
func (p *publisher) explain(err error) error {
	var r *Refusal
	if errors.As(err, &r) {
		return err
	}
	select {
	case <-p.link.ended():
		if why := p.link.why(); why != nil {
			return why
		}
	default:
	}
	return fmt.Errorf("publish %s: %w", p.message.Topic, err)
}

func (p *publisher) oldest() <-chan error {
	if len(p.pending) == 0 {
		return nil
	}
	return p.pending[0].outcome
}

// idleEnd is closed with the connection. While outcomes are owed they tell of its end, each
// in its turn: those that came before it still count.
func (p *publisher) idleEnd() <-chan struct{} {
	if len(p.pending) > 0 {
		return nil
	}
	return p.link.ended()
}

// overdue fires when nothing happened for so long that the acknowledgements owed will not come.
func (p *publisher) overdue() <-chan time.Time {
	if len(p.pending) == 0 {
		return nil
	}
	return time.After(p.timeout)
}
