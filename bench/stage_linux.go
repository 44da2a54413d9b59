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
	each      []time.Duration // processor time of each process
	sent      uint64
	delivered uint64
	writes    uint64
	reads     uint64
}

func (r *run) read() (reading, error) {
	t := r.traffic
	now := reading{at: time.Now(), sent: t.sent, delivered: t.delivered, writes: t.writes, reads: t.reads}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return now, fmt.Errorf("bench: %w", err)
	}
	now.generator = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	for _, pid := range r.options.PIDs {
		used, err := process(pid).cpu()
		if err != nil {
			return now, err
		}
		now.each = append(now.each, used)
		now.broker += used
	}
	return now, nil
}

// observe measures while do works.
func (r *run) observe(do func() error) (Stage, error) {
	toldBefore, err := r.readMetrics()
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
	toldAfter, err := r.readMetrics()
	if err != nil {
		return Stage{}, err
	}
	seconds := after.at.Sub(before.at).Seconds()
	s := Stage{
		Seconds: seconds, Published: after.sent - before.sent, Delivered: after.delivered - before.delivered,
		BrokerCores:      (after.broker - before.broker).Seconds() / seconds,
		GeneratorCores:   (after.generator - before.generator).Seconds() / seconds,
		MessagesPerWrite: quotient(float64(after.sent-before.sent), float64(after.writes-before.writes)),
		MessagesPerRead:  quotient(float64(after.delivered-before.delivered), float64(after.reads-before.reads)),
	}
	for i, pid := range r.options.PIDs {
		s.Processes = append(s.Processes, ProcessUse{PID: pid, Cores: (after.each[i] - before.each[i]).Seconds() / seconds})
	}
	s.Store, s.Collector = newStoreWork(toldBefore, toldAfter, seconds), newCollectorWork(toldBefore, toldAfter, seconds)
	return s, nil
}

// readMetrics is what the broker says of itself.
func (r *run) readMetrics() (samples, error) {
	if r.options.Metrics == "" {
		return nil, nil
	}
	return readMetrics(r.options.Metrics)
}

// A watch looks at the broker's anonymous memory again and again.
type watch struct {
	pids   processes
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
	if w.lately, err = sum(w.pids, process.anonymous); err != nil {
		return err
	}
	w.peak = max(w.peak, w.lately)
	return nil
}
