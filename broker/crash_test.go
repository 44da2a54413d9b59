package broker

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
)

// A ledger is a store that notes the writes about sessions in their order, and whose reading can be kept waiting.
type ledger struct {
	storage.Store
	gate chan struct{} // nil, or what readers wait for

	mu    sync.Mutex // guards what follows
	lines []string
}

// Ack implements storage.Store.
func (l *ledger) Ack(a storage.Ack, w storage.Waiter) (pending bool, err error) {
	l.note(fmt.Sprintf("progress %d", a.Progress))
	return l.Store.Ack(a, w)
}

// Update implements storage.Store.
func (l *ledger) Update(changes []storage.Change, w storage.Waiter) (pending bool, err error) {
	for _, c := range changes {
		if put, ok := c.(storage.PutSession); ok {
			l.note(fmt.Sprintf("left %v", put.Session.Disconnected != 0))
		}
	}
	return l.Store.Update(changes, w)
}

// Read implements storage.Store.
func (l *ledger) Read(
	session string, from uint64, limit storage.ReadLimit, visit func(storage.Entry, storage.Progress, *packet.Message) bool,
) error {
	if l.gate != nil {
		<-l.gate
	}
	return l.Store.Read(session, from, limit, visit)
}

func (l *ledger) note(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// The record that says that a client has left follows the marks on what was sent to it: a crash between the two
// must not make a resend look like a first delivery [MQTT5-3.3.1-1].
func TestWhatWasSentIsMarkedBeforeTheClientHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{Store: memory.New()}
		b := start(t, setup{store: l})
		c := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 100})
		c.subscribe(1, "a")
		connected(t, b, packet.V5, hello{id: "p"}).ask(1, 1, "a", "x")
		c.wantMessage("a", "x")
		c.nc.Close()
		synctest.Wait()
		want := []string{"left false", fmt.Sprint("progress ", storage.Sent), "left true"}
		if !slices.Equal(l.lines, want) {
			t.Errorf("written %q, want %q", l.lines, want)
		}
	})
}

// After a crash, a client that leaves before its queue was read, and another crash, what was sent before the first carries DUP.
func TestDupAfterTwoCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := memory.New()
		power := &plug{Store: kept}
		b := startOnly(t, setup{store: power})
		c := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 100})
		c.subscribe(1, "a")
		connected(t, b, packet.V5, hello{id: "p"}).ask(1, 1, "a", "x")
		c.wantMessage("a", "x")
		power.pulled.Store(true)
		stop(t, b)

		kept = kept.Reopen()
		power = &plug{Store: kept}
		l := &ledger{Store: power, gate: make(chan struct{})}
		b = startOnly(t, setup{store: l})
		connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 100}).nc.Close()
		synctest.Wait()
		power.pulled.Store(true)
		close(l.gate)
		stop(t, b)

		b = start(t, setup{store: kept.Reopen()})
		if p := connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 100}).wantMessage("a", "x"); !p.FixedHeader.Dup {
			t.Error("the message is sent again without DUP")
		}
	})
}
