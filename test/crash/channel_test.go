package crash

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/penstockmq/penstock/test/setting"
)

// Every promise of channels holds for a broker that is ended with kill -9 at random moments, while members join, leave, stall,
// refuse and forget messages, and an operator pauses channels.
func TestChannelKill(t *testing.T) {
	t.Parallel()
	channelRounds(t, setting.Count(t, "CHANNEL_KILLS", 6), func(t *testing.T, _ uint64) host {
		return newProcess(channelCommand(t.TempDir(), "none"))
	})
}

// channelRounds splits many kills into runs with a seed each.
func channelRounds(t *testing.T, kills int, newHost func(t *testing.T, seed uint64) host) {
	t.Helper()
	first := setting.Seed(t)
	for done := 0; done < kills; done += runMax {
		n := min(runMax, kills-done)
		t.Run(fmt.Sprintf("%d-%d", done+1, done+n), func(t *testing.T) {
			seed := first + uint64(done)
			r := playChannels(options{host: newHost(t, seed), seed: seed, kills: n, pause: pause})
			t.Log(r.summary())
			blame(t, r.run)
		})
	}
}

// A broker with a fault below its channels is found out, each fault by the violation that it is.
func TestChannelFaultsAreFound(t *testing.T) {
	needBites(t)
	for _, f := range channelFaults() {
		t.Run(f.name, func(t *testing.T) {
			n := setting.Seed(t)
			f.judge(t, func() *run {
				n++
				h := newProcess(channelCommand(t.TempDir(), f.name))
				return playChannels(options{host: h, seed: n, kills: cmp.Or(f.kills, 6), pause: time.Second}).run
			})
		})
	}
}
