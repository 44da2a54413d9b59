package bench

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A reading is what is measured as a difference.
type reading struct {
	at        time.Time
	broker    time.Duration // processor time
	generator time.Duration
	sent      uint64
	delivered uint64
}

func (r *run) read() (reading, error) {
	now := reading{at: time.Now(), sent: r.traffic.sent(), delivered: r.traffic.delivered}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		return now, fmt.Errorf("bench: %w", err)
	}
	now.generator = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if r.options.PID == 0 {
		return now, nil
	}
	var err error
	now.broker, err = process(r.options.PID).cpu()
	return now, err
}

// observe measures while do works.
func (r *run) observe(do func() error) (Stage, error) {
	storeBefore, err := r.readStore()
	if err != nil {
		return Stage{}, err
	}
	before, err := r.read()
	if err != nil {
		return Stage{}, err
	}
	if err := do(); err != nil {
		return Stage{}, err
	}
	after, err := r.read()
	if err != nil {
		return Stage{}, err
	}
	storeAfter, err := r.readStore()
	if err != nil {
		return Stage{}, err
	}
	seconds := after.at.Sub(before.at).Seconds()
	s := Stage{
		Seconds: seconds, Published: after.sent - before.sent, Delivered: after.delivered - before.delivered,
		BrokerCores:    (after.broker - before.broker).Seconds() / seconds,
		GeneratorCores: (after.generator - before.generator).Seconds() / seconds,
	}
	s.Store = newStoreWork(storeBefore, storeAfter, seconds)
	return s, nil
}

// readStore is what the broker's metrics say of its store.
func (r *run) readStore() (samples, error) {
	if r.options.Metrics == "" {
		return nil, nil
	}
	return storeMetrics(r.options.Metrics)
}

// A watch looks at the broker's anonymous memory again and again.
type watch struct {
	pid    process // 0 for none
	last   time.Time
	lately int64
	peak   int64
}

// watchInterval lets the looking cost neither side anything.
const watchInterval = 200 * time.Millisecond

func (w *watch) look(now time.Time) error {
	if now.Sub(w.last) < watchInterval {
		return nil
	}
	w.last = now
	return w.see()
}

// see looks now.
func (w *watch) see() (err error) {
	if w.pid == 0 {
		return nil
	}
	if w.lately, err = w.pid.anonymous(); err != nil {
		return err
	}
	w.peak = max(w.peak, w.lately)
	return nil
}
