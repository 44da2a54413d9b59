package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Publication says what Publish sends.
type Publication struct {
	Message        // without a payload
	Source  Source // where the payloads come from
	Window  int    // how many messages may wait for their acknowledgement; below 1 is 1
}

// Publish connects, sends one message per payload in order, waits until every one is acknowledged
// (with QoS 0: written), and disconnects. The first refusal ends it. It returns how many were acknowledged.
func Publish(ctx context.Context, o Options, p Publication) (int, error) {
	if err := checkMessage(o.Version, &p.Message); err != nil {
		return 0, err
	}
	if err := o.Check(); err != nil {
		return 0, err
	}
	s := newState()
	defer s.close()
	l, err := open(ctx, &o, s, nil)
	if err != nil {
		return 0, err
	}
	defer l.disconnect()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	publisher := publisher{link: l, message: p.Message, window: max(1, p.Window), timeout: o.Timeout}
	return publisher.run(ctx, p.Source.pieces(ctx))
}

// A publisher sends messages and collects what becomes of them, in order.
type publisher struct {
	link    link
	message Message
	window  int
	timeout time.Duration

	pending []<-chan error // outcomes not known yet, oldest first; at most window
	settled int
}

func (p *publisher) run(ctx context.Context, pieces <-chan piece) (int, error) {
	for pieces != nil || len(p.pending) > 0 {
		next := pieces
		if len(p.pending) >= p.window {
			next = nil
		}
		var err error
		select {
		case got := <-next:
			if errors.Is(got.err, io.EOF) {
				pieces = nil
				continue
			}
			err = p.send(ctx, got)
		case err = <-p.oldest():
			p.pending = p.pending[1:]
			if err == nil {
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
			return p.settled, err
		}
	}
	return p.settled, nil
}

func (p *publisher) send(ctx context.Context, next piece) error {
	if next.err != nil {
		return fmt.Errorf("reading what to publish: %w", next.err)
	}
	m := p.message
	m.Payload = next.payload
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	outcome, err := p.link.publish(ctx, &m)
	if err != nil {
		return p.explain(err)
	}
	p.pending = append(p.pending, outcome)
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
	return p.pending[0]
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
