package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
)

// channelPrefix begins the filters that join a channel.
const channelPrefix = "$channel/"

// A Consumption says what Consume asks for and who works on it.
type Consumption struct {
	Filters []Filter
	// Window is how many messages wait for Work or are being worked on; below 1 is 1. With MQTT 5
	// it is the Receive Maximum; other brokers' limits hold before that.
	Window uint16
	// Work takes deliveries and settles them until its ctx ends, as it does with the ctx of Consume. Before it
	// returns it may settle what it has begun. An error ends Consume with it.
	Work func(ctx context.Context, deliveries <-chan *Delivery) error
	// Warn, if set, is told of refused filters and lost connections.
	Warn func(error)
	// Ready, if set, is called when the subscriptions are made, after each connection.
	Ready func()
}

// Requeues reports whether what is refused or left is delivered again: every filter is one of a channel.
func (c *Consumption) Requeues() bool {
	for _, f := range c.Filters {
		if !strings.HasPrefix(f.Filter, channelPrefix) {
			return false
		}
	}
	return len(c.Filters) > 0
}

// Consume connects, subscribes, and has what arrives worked on until ctx ends or Work returns. A lost connection is made again
// as with Subscribe.
//
// Acknowledgements go out in the order in which the messages came [MQTT5-4.6.0-2] [MQTT5-4.6.0-3] [MQTT311-4.6.0-2]
// [MQTT311-4.6.0-3], except to a channel: its members share the work, and one that waits for the slowest
// of its messages would have the others delivered twice.
func Consume(ctx context.Context, o Options, c Consumption) error {
	if err := o.Check(); err != nil {
		return err
	}
	c.Window = max(1, c.Window)
	o.ReceiveMaximum = c.Window
	if c.Warn == nil {
		c.Warn = func(error) {}
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	i := &workIntake{
		Consumption: c, work: work, worked: make(chan struct{}), queue: make(chan *Delivery, room(o.Version, c.Window)),
	}
	var worked error
	go func() {
		defer close(i.worked)
		defer stop()
		worked = c.Work(work, i.queue)
	}()
	err := i.serveAll(&o)
	stop()
	<-i.worked
	if worked != nil {
		return worked
	}
	return err
}

// room is the length of the queue in front of the work. What the broker may send at once fits in, so
// nobody waits for the work to read what comes behind: answers to pings, for one.
func room(version byte, window uint16) int {
	if version == MQTT5 {
		return int(window)
	}
	return 1<<16 - 1
}

// A workIntake passes what arrives to the work.
type workIntake struct {
	Consumption
	work      context.Context // ends when no more is to be begun
	worked    chan struct{}   // closed when Work has returned
	queue     chan *Delivery
	connected bool // a connection has stood; only serveAll touches it
}

// serveAll makes connections, one after the other, until the work is done or there is no use in going on.
func (i *workIntake) serveAll(o *Options) error {
	state := newState()
	defer state.close()
	for pause := retryFirst; ; pause = min(2*pause, retryMax) {
		stood, err := i.serve(o, state)
		if stood {
			i.connected, pause = true, retryFirst
			o.Clean = o.Clean && o.SessionExpiry == 0
		}
		if err == nil || !i.connected || final(err) || errors.Is(err, errAllRefused) {
			return err
		}
		i.Warn(err)
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-i.work.Done():
			return nil
		}
	}
}

// serve is one connection. It ends with the work, or before it with the reason.
func (i *workIntake) serve(o *Options, s *state) (stood bool, err error) {
	h := newHandover(i)
	l, err := open(i.work, o, s, h)
	h.connect(l)
	if err != nil {
		if i.work.Err() != nil {
			return false, nil
		}
		return false, err
	}
	defer func() {
		h.ledger.close(i.Requeues() || !o.Clean || o.SessionExpiry > 0)
		l.disconnect()
	}()
	asking := asking{filters: i.Filters, warn: i.Warn, ready: i.Ready, over: func() bool { return i.work.Err() != nil }}
	if err := asking.subscribe(i.work, o, l); err != nil {
		return true, err
	}
	select {
	case <-i.worked:
		return true, nil
	case <-l.ended():
		return true, l.why()
	}
}

// A handover is the receiver of one connection.
type handover struct {
	intake    *workIntake
	ledger    *ledger
	connected chan struct{} // closed when link is set: a session taken up may deliver before that
	link      link          // nil if there is no connection
}

func newHandover(i *workIntake) *handover {
	h := &handover{intake: i, connected: make(chan struct{})}
	h.ledger = newLedger(!i.Requeues(), h.settle)
	return h
}

func (h *handover) connect(l link) {
	h.link = l
	close(h.connected)
}

func (h *handover) settle(due []settlement) {
	<-h.connected
	if h.link != nil {
		_ = h.link.settle(due) // a lost connection is noticed by its end
	}
}

// take puts a message into the queue.
func (h *handover) take(m *Message, r receipt) bool {
	d := &Delivery{Message: *m, Received: time.Now(), receipt: r, ledger: h.ledger}
	h.ledger.add(d)
	select {
	case h.intake.queue <- d:
	case <-h.intake.work.Done(): // the broker keeps it, if it is one to be kept
	}
	return false
}

func (h *handover) taken() {}
