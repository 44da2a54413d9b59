package crash

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"
)

func TestTmpWills(t *testing.T) {
	n := seed(t)
	var h host
	if number(t, "CUT", 1) == 1 {
		h = newPowercut(t.TempDir(), n, func(folder string) *exec.Cmd { return penstock(t, folder, "always")() })
	} else {
		h = newProcess(penstock(t, t.TempDir(), "always"))
	}
	o := options{host: h, seed: n, kills: number(t, "KILLS", 20), pause: 150 * time.Millisecond}
	r := &run{options: o, rng: rand.New(rand.NewPCG(o.seed, 0)), draining: make(chan struct{}), over: make(chan struct{})}
	for i := range 12 {
		m := &mourner{client: r.newClient(fmt.Sprint("mourner-", i), i)}
		m.stream = r.newStream(&stream{topic: fmt.Sprint("w/", i), qos: 1 + byte(i%2), will: true})
		r.others = append(r.others, m)
	}
	for i, h := range []habit{{base: []want{{"w/#", 2}}, offline: 100 * time.Millisecond}} {
		s := &subscriber{client: r.newClient(fmt.Sprint("subscriber-", i), i), habit: h, ready: make(chan struct{})}
		r.subscribers = append(r.subscribers, s)
	}
	r.begin()
	publishing := start(r.others)
	subscribing := start(r.subscribers)
	if r.killing() {
		r.drain(publishing, subscribing)
	}
	r.finish()
	<-publishing
	<-subscribing
	r.stop()
	r.check()
	judge(t, r)
}
