package bench

import (
	"context"
	"fmt"
	"time"
)

// leaveSessions makes the sessions, subscribes them and leaves them alone. Then the publishers connect.
func (r *run) leaveSessions(ctx context.Context) error {
	start := time.Now()
	if err := r.bring(ctx, "making sessions", 0, r.senders); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	r.result.ConnectsPerSecond = float64(r.traffic.ready) / seconds
	r.result.SubscriptionsPerSecond = float64(r.traffic.subscribed) / seconds
	r.loop.hangUp(r.loop.conns[:r.senders], resume)
	r.traffic.away = true
	return r.bring(ctx, "connecting", r.senders, len(r.loop.conns))
}

// grow publishes everything while nobody is there to receive it.
func (r *run) grow(ctx context.Context) error {
	var err error
	b := new(Backlogged)
	r.result.Backlog = b
	if b.DiskBefore, err = r.disk(); err != nil {
		return err
	}
	r.traffic.divide(uint64(r.options.Messages))
	b.Growth, err = r.observe(func() error {
		r.startClocks()
		if err := r.startTraffic(); err != nil {
			return err
		}
		return r.flow(ctx, "publishing", durationMax)
	})
	if err != nil {
		return err
	}
	r.result.Published, r.result.Acknowledged = b.Growth.Published, quantilesOf(r.traffic.acks)
	r.traffic.sending = false
	if err := r.watch.see(); err != nil {
		return err
	}
	b.Anonymous, b.AnonymousPeak = r.watch.lately, r.watch.peak
	r.loop.hangUp(r.loop.conns[r.senders:], forget)
	b.DiskQueued, err = r.disk()
	return err
}

// disk is the size of the data folder; 0 if that is not known.
func (r *run) disk() (int64, error) {
	if r.options.Data == "" {
		return 0, nil
	}
	return folderBytes(r.options.Data)
}

// restart has the broker ended and started again, if that was asked for.
func (r *run) restart(ctx context.Context) error {
	if r.options.Restart == nil {
		return nil
	}
	again, err := r.options.Restart(ctx)
	if err != nil {
		return fmt.Errorf("bench: restart: %w", err)
	}
	r.options.PIDs, r.watch.pids, r.result.Ready = again.PIDs, again.PIDs, again.Ready
	if err := r.watch.see(); err != nil {
		return err
	}
	r.result.AnonymousReady = r.watch.lately
	return nil
}

// readAll has the sessions' clients come back, read everything and acknowledge it.
func (r *run) readAll(ctx context.Context) error {
	var err error
	t, b := r.traffic, r.result.Backlog
	t.away = false
	b.Drain, err = r.observe(func() error {
		if err := r.bring(ctx, "reading", 0, r.senders); err != nil {
			return err
		}
		return r.readOn(ctx)
	})
	if err != nil {
		return err
	}
	// What the broker answers to PINGREQ it answers after the acknowledgements in front of it.
	if err := r.ping(ctx, r.loop.conns[:r.senders]); err != nil {
		return err
	}
	r.count()
	r.result.Forgotten, r.result.Delivered = t.forgotten, t.delivered
	b.AnonymousPeak = max(b.AnonymousPeak, r.watch.peak)
	b.DiskRead, err = r.disk()
	return err
}

// readOn waits until everything that was published is there, or nothing comes any more.
func (r *run) readOn(ctx context.Context) error {
	t := r.traffic
	expected := t.expected()
	lastChange, last := time.Now(), t.delivered
	for now := lastChange; t.delivered-t.repeated < expected; now = time.Now() {
		if now.Sub(lastChange) > drainAfter {
			return nil
		}
		if err := r.turn(ctx, tick); err != nil {
			return err
		}
		if t.delivered != last {
			lastChange, last = now, t.delivered
		}
		r.tell("reading", now)
	}
	return nil
}

// ping waits until the broker has worked off everything that connections sent it.
func (r *run) ping(ctx context.Context, conns []*conn) error {
	t := r.traffic
	t.pongs = 0
	for i, c := range conns {
		if err := r.loop.write(i, c, appendPing(nil)); err != nil {
			return err
		}
	}
	for start := time.Now(); t.pongs < len(conns); {
		if time.Since(start) > stallAfter {
			return fmt.Errorf("bench: broker does not answer PINGREQ for %v", stallAfter)
		}
		if err := r.turn(ctx, tick); err != nil {
			return err
		}
	}
	return nil
}

// diskInterval is the time between two looks at the size of the data folder.
const diskInterval = time.Second

// settle watches the disk after everything was read.
func (r *run) settle(ctx context.Context) error {
	b := r.result.Backlog
	b.DiskSettled = b.DiskRead
	start := time.Now()
	for next := start; time.Since(start) < r.options.Settle && b.DiskSettled >= r.options.SettleBelow; {
		if err := r.turn(ctx, tick); err != nil {
			return err
		}
		now := time.Now()
		r.tell("settling", now)
		if now.Before(next) {
			continue
		}
		next = now.Add(diskInterval)
		var err error
		if b.DiskSettled, err = r.disk(); err != nil {
			return err
		}
		b.Disk = append(b.Disk, DiskSize{now.Sub(start).Seconds(), b.DiskSettled})
	}
	b.SettleSeconds = time.Since(start).Seconds()
	b.AnonymousPeak = max(b.AnonymousPeak, r.watch.peak)
	return nil
}
