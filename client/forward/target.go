package forward

import (
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"
)

// A target is an endpoint.
type target struct {
	text  string // the URL as given; with GET it has %s for the payload
	shown string // the same without a password

	// Guarded by targets.mu.
	failures int       // since its last success
	rests    time.Time // until when it is not asked, if another can be
}

// How long a target rests after a failure: twice as long after each.
const (
	restFirst = time.Second
	restMax   = 30 * time.Second
)

// A set of targets is asked in turn, or the first one that works.
type targets struct {
	// Fixed when newTargets returns.
	all      []*target
	failover bool
	log      *slog.Logger

	mu   sync.Mutex // guards what follows
	next int
}

func newTargets(urls []string, failover bool, log *slog.Logger) *targets {
	t := &targets{failover: failover, log: log}
	for _, text := range urls {
		shown := text
		if u, err := url.Parse(strings.Replace(text, "%s", "", 1)); err == nil {
			shown = u.Redacted()
		}
		t.all = append(t.all, &target{text: text, shown: shown})
	}
	return t
}

// pick chooses a target that was not tried in this round: one that does not rest, if there is one. nil is the end of the round.
func (t *targets) pick(tried map[*target]bool, now time.Time) *target {
	t.mu.Lock()
	defer t.mu.Unlock()
	var resting *target
	for i := range t.all {
		candidate := t.all[i]
		if !t.failover {
			candidate = t.all[(t.next+i)%len(t.all)]
		}
		switch {
		case tried[candidate]:
		case now.Before(candidate.rests):
			if resting == nil || candidate.rests.Before(resting.rests) {
				resting = candidate
			}
		default:
			t.next++
			return candidate
		}
	}
	if resting != nil && len(tried) == 0 {
		return resting // all rest; the message's own pauses set the pace
	}
	return nil
}

// note keeps what an answer says about its target. What it says about the message is no matter here.
func (t *targets) note(asked *target, o outcome, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.verdict != again {
		if asked.failures > 0 {
			t.log.Info("endpoint works again", "url", asked.shown)
		}
		asked.failures, asked.rests = 0, time.Time{}
		return
	}
	if asked.failures == 0 {
		t.log.Warn("endpoint fails", "url", asked.shown, "reason", o.reason)
	}
	rest := max(o.after, pause(restFirst, restMax, asked.failures))
	asked.failures++
	if until := now.Add(rest); until.After(asked.rests) {
		asked.rests = until
	}
}

// pause is the n-th pause, from 0, of those that double.
func pause(first, longest time.Duration, n int) time.Duration {
	for ; n > 0 && first < longest; n-- {
		first *= 2
	}
	return min(first, longest)
}
