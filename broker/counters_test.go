package broker

import (
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage/memory"
)

// The counters of $SYS go on after a restart; after a crash from when they were written last, which every interval is.
func TestCountersGoOnAfterARestart(t *testing.T) {
	store := memory.New()
	b := startOnly(t, setup{store: store})
	c := connected(t, b, packet.V5, hello{id: "c"})
	c.ask(1, 1, "a", "x")
	c.want(packet.PUBACK)
	c.nc.Close()
	stop(t, b)
	before := b.Stats()
	store = store.Reopen()
	b = start(t, setup{store: store, sys: time.Millisecond})
	if now := b.Stats(); now.PublishReceived != 1 || now.PublishReceived != before.PublishReceived || now.BytesReceived != before.BytesReceived {
		t.Errorf("%d messages and %d bytes received, before the restart %d and %d", now.PublishReceived, now.BytesReceived,
			before.PublishReceived, before.BytesReceived)
	}
	c = connected(t, b, packet.V5, hello{id: "c"})
	c.ask(1, 1, "a", "x")
	c.want(packet.PUBACK)
	until(t, "the counters are written", func() bool {
		v := &countersFinder{}
		if err := store.Reopen().Load(v); err != nil {
			t.Fatal(err)
		}
		return v.values["publish_received"] == 2
	})
}

// countersFinder looks for counters in a store.
type countersFinder struct {
	willFinder
	values map[string]uint64
}

// Counters implements storage.Visitor.
func (f *countersFinder) Counters(values map[string]uint64) error {
	f.values = values
	return nil
}
