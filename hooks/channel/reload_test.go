package channel_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks/channel"
	"github.com/penstockmq/penstock/test/setting"
)

// variants are configurations of a channel that differ in everything that can change.
func variants(t *testing.T) (all [][]configs.Channel) {
	t.Helper()
	for _, v := range [][]configs.Channel{
		{{Name: "a", Filter: "a/#"}, {Name: "b", Filter: "b/#", DeadLetter: "dead"}},
		{{Name: "a", Filter: "a/+", DedupWindow: time.Hour, MaxAttempts: 1, MemberMax: 3}},
		{{Name: "a", Filter: "b/#", OnFull: configs.OnFullDropOldest, Messages: 10, Sample: "50%"}, {Name: "c", Filter: "a/#", Ephemeral: true}},
		nil,
	} {
		for i := range v {
			v[i].Fill()
			if key, err := v[i].Check(); err != nil {
				t.Fatal(key, err)
			}
		}
		all = append(all, v)
	}
	return all
}

// While configurations follow each other, operators make and delete channels, and publishers publish, nothing is stuck and nobody
// races; afterwards what the last configuration says is in force.
func TestReloadAmongOperatorsAndPublishers(t *testing.T) {
	all := variants(t)
	r := newRig(t, all[0]...)
	defer func() { r.expect(r.broker.Shutdown(context.Background())) }()
	first := setting.Seed(t)
	var busy sync.WaitGroup
	for worker := range uint64(3) {
		random := rand.New(rand.NewPCG(first, worker))
		busy.Go(func() {
			for range 300 {
				switch name := string(rune('a' + random.IntN(4))); random.IntN(6) {
				case 0:
					r.expect(r.channels.Create(configs.Channel{Name: name, Filter: "a/#"}, nil), channel.ErrExists, channel.ErrBusy)
				case 1:
					r.expect(r.channels.Delete(name, nil), channel.ErrUnknown, channel.ErrDeclared)
				case 2:
					r.expect(r.channels.Pause(name, nil), channel.ErrUnknown)
					r.expect(r.channels.Resume(name, nil), channel.ErrUnknown)
				default:
					r.broker.Publish(&packet.Message{Topic: name + "/x", QoS: 1, Received: time.Now().UnixNano()}, nil)
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(first, 99))
	for range 200 {
		_, err := r.channels.Reload(all[random.IntN(len(all))])
		r.expect(err, channel.ErrExists, channel.ErrBusy)
	}
	busy.Wait()
	r.settle()
	if waiting, err := r.channels.Reload(all[0]); len(waiting) > 0 || err != nil {
		t.Errorf("got %v, %v", waiting, err)
	}
	for i := range all[0] {
		want := &all[0][i]
		got, err := r.channels.Stat(want.Name)
		if err != nil || got.Settings != *want || got.Origin != "config" {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	before, _ := r.channels.Stat("a")
	r.publishStored("a/x")
	r.publishStored("b/x")
	if after, _ := r.channels.Stat("a"); after.Depth != before.Depth+1 {
		t.Errorf("depth %d, and %d after a message for it and one for another", before.Depth, after.Depth)
	}
}

// settle waits until nothing that was deleted is about any more.
func (r *rig) settle() {
	for _, name := range []string{"a", "b", "c", "d", "b.dead"} {
		for errors.Is(r.channels.Create(configs.Channel{Name: name, Filter: "none"}, nil), channel.ErrBusy) {
			runtime.Gosched()
		}
	}
}

func (r *rig) expect(err error, allowed ...error) {
	for _, a := range allowed {
		if errors.Is(err, a) {
			return
		}
	}
	if err != nil {
		r.Error(err)
	}
}

// publishStored publishes and waits until that is safe.
func (r *rig) publishStored(name string) {
	r.Helper()
	done := make(chan error, 1)
	r.broker.Publish(&packet.Message{Topic: name, QoS: 1, Received: time.Now().UnixNano()}, func(err error) { done <- err })
	if err := <-done; err != nil {
		r.Error(err)
	}
}
