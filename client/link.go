package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A link is one connection to a broker, of any version.
type link interface {
	// publish sends m and does not wait: the channel gives the outcome, once. It
	// may wait for room, if the broker allows only so many messages at once.
	publish(ctx context.Context, m *Message) (<-chan error, error)
	// subscribe asks for all filters and returns what became of each, in their order.
	subscribe(ctx context.Context, filters []Filter) ([]error, error)
	// settle acknowledges or refuses messages that the receiver kept, in this order. After
	// disconnect it does nothing: another connection may use the same packet identifiers.
	settle(settlements []settlement) error
	// disconnect takes leave of the broker. It returns when nothing of the link runs any more.
	disconnect()
	// ended is closed when the connection is gone, and why tells the reason.
	ended() <-chan struct{}
	why() error
}

// A receiver takes the messages of a link, one at a time.
type receiver interface {
	// take reports whether the message is to be acknowledged now. If not, it can
	// be settled later, with the receipt.
	take(m *Message, r receipt) bool
	// taken is called after a message was acknowledged.
	taken()
}

// A receipt is what a link needs to acknowledge a message later.
type receipt struct {
	mqtt5 *packets.Publish
	mqtt3 mqtt.Message
}

// A settlement says what becomes of a message.
type settlement struct {
	receipt
	refusal *refusal // nil acknowledges
}

// open connects. What arrives goes to r; nil is for who does not subscribe. What
// survives a connection on the client's side is in s.
func open(ctx context.Context, o *Options, s *state, r receiver) (link, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if r == nil {
		r = ignore{}
	}
	if o.Version == MQTT5 {
		return open5(ctx, o, s, r)
	}
	return open3(ctx, o, s, r)
}

// ignore takes everything: a session may hold messages for a client that only publishes.
type ignore struct{}

func (ignore) take(*Message, receipt) bool { return true }
func (ignore) taken()                      {}

// An ending is told once how a connection ended.
type ending struct {
	once sync.Once
	done chan struct{}
	err  error // valid when done is closed
}

func newEnding() *ending { return &ending{done: make(chan struct{})} }

func (e *ending) end(err error) {
	e.once.Do(func() {
		e.err = err
		close(e.done)
	})
}

func (e *ending) ended() <-chan struct{} { return e.done }

func (e *ending) why() error {
	<-e.done
	return e.err
}

// settled is the outcome of a publication that needs no acknowledgement.
func settled() <-chan error {
	c := make(chan error, 1)
	c <- nil
	return c
}

func notConnected(e *Endpoint, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // the rest of it says the address again
	}
	return fmt.Errorf("connect to %s: %w", e.Address, err)
}
