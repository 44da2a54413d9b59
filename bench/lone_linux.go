package bench

import (
	"context"
	"fmt"
	"time"
)

// A turn of a comparison is long enough to even out how long it takes to change over.
const turnLen = 20

// alternate publishes messages one after the other, and appends the same bytes to a plain file, in turns.
func (r *run) alternate(ctx context.Context) error {
	plain, err := newPlainFile(r.options.Data)
	if err != nil {
		return err
	}
	defer plain.close()
	if err := r.startTraffic(); err != nil {
		return err
	}
	// The first turn only warms up, and once the warm-up is over it all begins anew.
	var warm duel
	if err := r.duel(ctx, plain, &warm, r.options.Warmup); err != nil {
		return err
	}
	var d duel
	stage, err := r.observe(func() error {
		r.startClocks()
		return r.duel(ctx, plain, &d, r.options.Duration)
	})
	if err != nil {
		return err
	}
	r.result.Published, r.result.Seconds, r.result.Store = stage.Published, stage.Seconds, stage.Store
	r.result.Acknowledged = quantilesOf(r.traffic.acks)
	r.result.Lone = d.result()
	return nil
}

// A duel is how long the broker and the plain file took.
type duel struct {
	messages      int
	broker, plain time.Duration
	appends       histogram
}

func (d *duel) result() *LoneResult {
	each := func(t time.Duration) time.Duration { return t / time.Duration(max(d.messages, 1)) }
	res := &LoneResult{Messages: d.messages, Broker: each(d.broker), Plain: each(d.plain), Append: quantilesOf(&d.appends)}
	if d.plain > 0 {
		res.Ratio = float64(d.broker) / float64(d.plain)
	}
	return res
}

// duel takes turns for a time, and one turn at least.
func (r *run) duel(ctx context.Context, plain *plainFile, d *duel, length time.Duration) error {
	frame := r.traffic.publishers[0].stamp.frame
	for start := time.Now(); d.messages == 0 || time.Since(start) < length; d.messages += turnLen {
		begun := time.Now()
		if err := r.publishSome(ctx, turnLen); err != nil {
			return err
		}
		published := time.Now()
		for range turnLen {
			before := time.Now()
			if err := plain.append(frame); err != nil {
				return err
			}
			d.appends.add(int64(time.Since(before)))
		}
		d.broker += published.Sub(begun)
		d.plain += time.Since(published)
	}
	return nil
}

// publishSome sends so many messages and waits until they are acknowledged.
func (r *run) publishSome(ctx context.Context, n uint64) error {
	t := r.traffic
	t.divide(t.sent + n)
	for _, p := range t.publishers {
		t.wake(p)
	}
	if err := r.flow(ctx, "measuring", durationMax); err != nil {
		return err
	}
	if r.result.Stalled {
		return fmt.Errorf("bench: broker does not acknowledge a message for %v", stallAfter)
	}
	return nil
}
