package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
)

// A crash while a will is on its way to the store does not lose it: the session has it until the message is
// stored [MQTT5-3.1.2-8].
func TestWillOutlivesACrashWhileItIsPublished(t *testing.T) {
	for name, delay := range map[string]uint32{"at once": 0, "with a delay": 5} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kept := memory.New()
				h := hold(t, setup{store: kept})
				watch := h.subscriber(packet.V5, "watch", 1, "will")
				c := h.connect(packet.V5, hello{id: "c", resume: true, expiry: 1000,
					will: &testWill{topic: "will", payload: "gone", qos: 1, delay: delay}})
				c.nc.Close()
				elapse(time.Duration(delay)*time.Second + time.Second)
				h.wantWaiting(1)  // the will
				h.held.Release(0) // what the store was told before it, and no more
				if !hasWill(t, kept.Reopen(), "c") {
					t.Error("the session has no will any more, and its message is not stored")
				}
				h.held.ReleaseAll()
				synctest.Wait()
				h.held.ReleaseAll()
				watch.wantMessage("will", "gone")
				if hasWill(t, kept.Reopen(), "c") {
					t.Error("the will was stored as a message, and the session still has it")
				}
			})
		})
	}
}

// A client that is quicker than the timers, as one can be after a start of the broker, finds what they would have done: its will is
// published if its delay has passed, and not if it has not [MQTT5-3.1.3-9]; its session is gone if its expiry has [MQTT5-4.1.0-2].
func TestClientQuickerThanTheTimers(t *testing.T) {
	for _, c := range []struct {
		away            time.Duration
		present, willed bool
	}{{50 * time.Second, true, false}, {60 * time.Second, true, true}, {100 * time.Second, false, true}} {
		t.Run(c.away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := start(t, setup{})
				watch := connected(t, b, packet.V5, hello{id: "watch"})
				watch.subscribe(1, "will")
				connected(t, b, packet.V5, hello{id: "c", resume: true, expiry: 100,
					will: &testWill{topic: "will", payload: "gone", qos: 1, delay: 60}}).nc.Close()
				synctest.Wait()
				s := b.sessions.find("c")
				s.mu.Lock()
				s.stopTimersLocked()
				s.mu.Unlock()
				elapse(c.away)
				if got := pipe(t, b, packet.V5).connect(hello{id: "c", resume: true, expiry: 100}).SessionPresent; got != c.present {
					t.Errorf("session present %v, want %v", got, c.present)
				}
				if c.willed {
					watch.wantMessage("will", "gone")
				}
				watch.wantNothing()
			})
		})
	}
}

// hasWill reports whether the record of a client's session has a will.
func hasWill(t *testing.T, s storage.Store, clientID string) bool {
	t.Helper()
	found := &willFinder{clientID: clientID}
	if err := s.Load(found); err != nil {
		t.Fatal(err)
	}
	return found.has
}

type willFinder struct {
	clientID string
	has      bool
}

// Session implements storage.Visitor.
func (f *willFinder) Session(s storage.Session) error {
	f.has = f.has || s.ClientID == f.clientID && s.Will != nil
	return nil
}

// Subscription implements storage.Visitor.
func (f *willFinder) Subscription(storage.Subscription) error { return nil }

// Received implements storage.Visitor.
func (f *willFinder) Received(storage.Received) error { return nil }

// Queue implements storage.Visitor.
func (f *willFinder) Queue(storage.Queue) error { return nil }

// Retained implements storage.Visitor.
func (f *willFinder) Retained(*packet.Message) error { return nil }

// Counters implements storage.Visitor.
func (f *willFinder) Counters(map[string]uint64) error { return nil }

// HookRecord implements storage.Visitor.
func (f *willFinder) HookRecord(string, string, []byte) error { return nil }
