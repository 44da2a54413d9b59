package channel_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks/channel"
)

const jobsShare = "$share/jobs/a/#"

var jobs = configs.Channel{Name: "jobs", Filter: "a/#"}

// makeAgain makes the channel once the one of its name that was deleted is gone.
func (r *rig) makeAgain() error {
	for {
		if err := r.channels.Create(jobs, nil); !errors.Is(err, channel.ErrBusy) {
			return err
		}
		runtime.Gosched()
	}
}

// served reports whether somebody serves the shared subscription of jobs.
func (r *rig) served() bool {
	release, err := r.broker.Serve(jobsShare, r.channels)
	if err != nil {
		return true
	}
	release()
	return false
}

// A channel is deleted, and another one of its name made, at the moment at which the first begins to serve its shared subscription.
// Neither hears of the other, and the second one serves it.
func TestDeletedWhileItBeginsToServe(t *testing.T) {
	var r *rig
	var begun atomic.Bool
	again := make(chan error, 1)
	r = newWatchedRig(t, func(filter string) {
		if filter != jobsShare || begun.Swap(true) {
			return
		}
		r.expect(r.channels.Delete("jobs", nil))
		go func() { again <- r.makeAgain() }()
		for _, err := r.channels.Stat("jobs"); err != nil; _, err = r.channels.Stat("jobs") {
			runtime.Gosched()
		}
		for n := 0; n < 10_000 && len(again) == 0; n++ { // it may have to wait for this one
			runtime.Gosched()
		}
	})
	defer func() { r.expect(r.broker.Shutdown(context.Background())) }()
	r.expect(r.channels.Create(jobs, nil))
	r.expect(<-again)
	if !r.served() {
		t.Error("nobody serves the shared subscription")
	}
	r.expect(r.channels.Delete("jobs", nil))
	if r.served() {
		t.Error("the shared subscription is served after the channel was deleted")
	}
}

// Operators who make and delete channels of one name hear of nothing but each other.
func TestCreateAndDeleteAtOnce(t *testing.T) {
	r := newRig(t)
	defer func() { r.expect(r.broker.Shutdown(context.Background())) }()
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for range 500 {
				r.expect(r.channels.Create(jobs, nil), channel.ErrExists, channel.ErrBusy)
				r.expect(r.channels.Delete("jobs", nil), channel.ErrUnknown)
			}
		})
	}
	busy.Wait()
	if err := r.makeAgain(); err != nil && !errors.Is(err, channel.ErrExists) {
		t.Error(err)
	}
	if !r.served() {
		t.Error("nobody serves the shared subscription")
	}
}
