package forward

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/client"
)

// Options say where messages go and what is done about failures.
type Options struct {
	Method      string // POST, PUT, or GET with %s in the URLs for the payload
	URLs        []string
	Failover    bool              // the first URL that works, instead of one after the other
	Header      http.Header       // of every request, above all others
	ContentType string            // of messages that have none
	JSON        bool              // the body is the whole message as JSON, not its payload
	Transport   http.RoundTripper // how to get there
	Timeout     time.Duration     // of a request
	Workers     int               // how many requests are under way at once
	Sample      float64           // which part of the messages is sent, up to 1; the others are taken without

	// A message that fails is tried again after RetryFirst, then after twice as long, up to RetryMax.
	RetryFirst, RetryMax time.Duration
	// After RetryFor it is returned to its channel, if there is one.
	RetryFor time.Duration
	// Requeues says that there is: what is refused or left is delivered again.
	Requeues bool
	// Refuses says that the protocol has a refusal (MQTT 5).
	Refuses bool
	// StatusEvery is after how many messages a line about them is logged; 0 is never.
	StatusEvery uint64
	Log         *slog.Logger
}

// A Forwarder sends messages.
type Forwarder struct {
	options Options
	targets *targets
	http    *http.Client
	now     func() time.Time
	tally   tally
}

// A tally counts what became of messages.
type tally struct {
	sent, returned, unwanted, skipped, tries atomic.Uint64
}

// New makes a forwarder.
func New(o Options) *Forwarder {
	o.Workers = max(1, o.Workers)
	return &Forwarder{
		options: o, targets: newTargets(o.URLs, o.Failover, o.Log),
		http: &http.Client{Transport: o.Transport, CheckRedirect: stay}, now: time.Now,
	}
}

// Run sends what comes until ctx ends. It returns when the requests under way are answered.
func (f *Forwarder) Run(ctx context.Context, deliveries <-chan *client.Delivery) error {
	var workers sync.WaitGroup
	for range f.options.Workers {
		workers.Go(func() { f.work(ctx, deliveries) })
	}
	workers.Wait()
	return nil
}

func (f *Forwarder) work(ctx context.Context, deliveries <-chan *client.Delivery) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case d := <-deliveries:
			f.forward(ctx, d)
		}
	}
}

// forward sends a message until something has become of it.
func (f *Forwarder) forward(ctx context.Context, d *client.Delivery) {
	if f.options.Sample < 1 && rand.Float64() >= f.options.Sample {
		f.tally.skipped.Add(1)
		d.Ack()
		return
	}
	begun := f.now()
	for round := 0; !d.Void(); round++ {
		o := f.round(ctx, d)
		if o.verdict != again {
			f.settle(d, o)
			return
		}
		wait := max(o.after, jitter(pause(f.options.RetryFirst, f.options.RetryMax, round)))
		if f.options.Requeues && f.now().Add(wait).Sub(begun) > f.options.RetryFor {
			f.giveBack(d, o, wait)
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done(): // its connection ends next, and the broker keeps it
			d.Leave()
			return
		}
	}
}

// jitter is a part of a pause, so that those who failed together do not come back together.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// round asks one target after the other until one does not fail. Requests go on to their end
// though ctx has ended, but no more begin.
func (f *Forwarder) round(ctx context.Context, d *client.Delivery) (last outcome) {
	tried := make(map[*target]bool, len(f.targets.all))
	last.verdict = again
	for to := f.targets.pick(tried, f.now()); to != nil; to = f.targets.pick(tried, f.now()) {
		tried[to] = true
		f.tally.tries.Add(1)
		last = f.ask(context.WithoutCancel(ctx), to, d)
		f.targets.note(to, last, f.now())
		if last.verdict != again || ctx.Err() != nil {
			return last
		}
		f.options.Log.Debug("not taken", "topic", d.Topic, "url", to.shown, "reason", last.reason)
	}
	return last
}

// settle tells the broker what an endpoint made of a message.
func (f *Forwarder) settle(d *client.Delivery, o outcome) {
	if o.verdict == taken {
		f.count(&f.tally.sent)
		d.Ack()
		return
	}
	f.options.Log.Debug("unwanted", "topic", d.Topic, "reason", o.reason)
	switch {
	case f.options.Refuses:
		d.Refuse(packet.UnspecifiedError, o.reason, 0)
	case f.options.Requeues:
		d.Leave()
	default: // nobody takes it back, and it would be in the way forever
		f.options.Log.Warn("message dropped", "topic", d.Topic, "reason", o.reason)
		d.Ack()
	}
	f.count(&f.tally.unwanted)
}

// giveBack returns a message to its channel, which delivers it again after a while: to whom
// and how often is the channel's business.
func (f *Forwarder) giveBack(d *client.Delivery, o outcome, after time.Duration) {
	d.Refuse(packet.UnspecifiedError, o.reason, after)
	f.count(&f.tally.returned)
}

func (f *Forwarder) count(what *atomic.Uint64) {
	what.Add(1)
	t := &f.tally
	done := t.sent.Load() + t.returned.Load() + t.unwanted.Load()
	if f.options.StatusEvery > 0 && done%f.options.StatusEvery == 0 {
		f.Report("status")
	}
}

// Report logs what became of the messages so far.
func (f *Forwarder) Report(event string) {
	t := &f.tally
	f.options.Log.Info(event, "sent", t.sent.Load(), "returned", t.returned.Load(), "unwanted", t.unwanted.Load(),
		"skipped", t.skipped.Load(), "tries", t.tries.Load())
}
