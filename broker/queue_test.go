package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
)

// A basin is a hook with one queue. It decides by the first word of a payload and writes down what it is told.
type basin struct {
	hookName
	filters []string
	b       hooks.Broker
	queue   hooks.Queue
	made    error
	saved   map[string]string
	notes
}

func newBasin(filters ...string) *basin {
	return &basin{hookName: "basin", filters: filters, made: errors.New("not told"), saved: make(map[string]string)}
}

// Start implements hooks.Starter.
func (k *basin) Start(b hooks.Broker) (err error) {
	k.b = b
	b.Saved("basin", func(key string, value []byte) { k.saved[key] = string(value) })
	if k.queue, err = b.OpenQueue("basin", "q", k, func(err error) { k.made = err }); err != nil {
		return err
	}
	for _, filter := range k.filters {
		if _, err := k.queue.Feed(filter); err != nil {
			return err
		}
	}
	return nil
}

// Admit implements hooks.Intake.
func (k *basin) Admit(m *packet.Message) hooks.Admission {
	word, _, _ := strings.Cut(string(m.Payload), " ")
	switch word {
	case "skip":
		return hooks.Admission{}
	case "again":
		return hooks.Admission{Verdict: hooks.Duplicate}
	case "full":
		return hooks.Admission{Verdict: hooks.Refuse, Reason: "the basin is full"}
	case "bad":
		return hooks.Admission{Verdict: hooks.Refuse, Code: packet.ImplementationError}
	case "hold":
		return hooks.Admission{Verdict: hooks.Take, Hold: true}
	case "note":
		return hooks.Admission{Verdict: hooks.Take, Records: []hooks.Record{{Key: "last", Value: m.Payload}}}
	case "boom":
		panic("boom")
	}
	return hooks.Admission{Verdict: hooks.Take}
}

// Queued implements hooks.Intake.
func (k *basin) Queued(number uint64, m *packet.Message) { k.note("%d %s", number, m.Payload) }

// Settled implements hooks.Intake.
func (k *basin) Settled(hooks.Batch) { k.note("settled") }

// Withdrawn implements hooks.Intake.
func (k *basin) Withdrawn(m *packet.Message) { k.note("withdrawn %s", m.Payload) }

// Expired implements hooks.Intake.
func (k *basin) Expired(messages int, bytes int64) { k.note("expired %d", messages) }

// contents reads the whole queue.
func (k *basin) contents(t *testing.T) (all []string) {
	t.Helper()
	err := k.queue.Read(1, 100, 1<<20, func(q hooks.Queued) bool {
		all = append(all, fmt.Sprintf("%d %s", q.Number, q.Message.Payload))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (k *basin) wantContents(t *testing.T, want ...string) {
	t.Helper()
	if got := k.contents(t); !slices.Equal(got, want) {
		t.Errorf("the queue holds %q, want %q", got, want)
	}
}

// A message is acknowledged when the queue has it, whatever its QoS was it is there once, and it stays until it is done with.
func TestQueueTakesAndKeeps(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		disk, k := memory.New(), newBasin("a/#", "a/b")
		h := hold(t, setup{store: disk, hooks: []hooks.Hook{k}})
		h.release()
		if k.made != nil {
			t.Fatal(k.made)
		}
		c := h.connect(v, hello{id: "c"})
		c.ask(1, 7, "a/b", "one")
		c.wantNothing()
		k.want(t)
		h.release()
		c.wantAck(packet.PUBACK, 7, packet.Success)
		c.say("a/b", "two")
		c.ask(2, 8, "a", "three")
		h.release()
		c.wantAck(packet.PUBREC, 8, packet.Success)
		k.want(t, "1 one", "settled", "2 two", "3 three", "settled")
		k.queue.Done(2, nil)
		h.release()
		k.wantContents(t, "1 one", "3 three")
		stop(t, h.Broker)

		after := newBasin()
		start(t, setup{store: disk.Reopen(), hooks: []hooks.Hook{after}})
		if got, want := after.queue.Extent(), (hooks.Extent{Head: 1, Next: 4, Len: 2, Bytes: 12}); got != want {
			t.Errorf("extent after a restart %+v, want %+v", got, want)
		}
		after.wantContents(t, "1 one", "3 three")
	})
}

// What the hook decides is what the publisher hears, and nobody gets a message that the hook refuses.
func TestQueueAdmission(t *testing.T) {
	for _, c := range []struct {
		payload  string
		code     packet.Code // of PUBACK, MQTT 5
		reaches  bool        // a subscriber beside the queue
		told     []string
		contents []string
	}{
		{"one", packet.Success, true, []string{"1 one", "settled"}, []string{"1 one"}},
		{"skip", packet.Success, true, nil, nil},
		{"again", packet.Success, true, nil, nil},
		{"full", packet.QuotaExceeded, false, nil, nil},
		{"bad", packet.ImplementationError, false, nil, nil},
		{"boom", packet.QuotaExceeded, false, nil, nil},
		{"note x", packet.Success, true, []string{"1 note x", "settled"}, []string{"1 note x"}},
	} {
		t.Run(c.payload, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newBasin("a")
				b := start(t, setup{hooks: []hooks.Hook{k}})
				sub := connected(t, b, packet.V5, hello{id: "sub"})
				sub.subscribe(0, "a")
				pub := connected(t, b, packet.V5, hello{id: "pub"})
				pub.ask(1, 1, "a", c.payload)
				pub.wantAck(packet.PUBACK, 1, c.code)
				if c.reaches {
					sub.wantMessage("a", c.payload)
				} else {
					sub.wantNothing()
				}
				k.want(t, c.told...)
				k.wantContents(t, c.contents...)
			})
		})
	}
}

// MQTT 3.1.1 has no word for a full queue: the connection is closed, and the client must keep the message.
func TestQueueFullClosesOldClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{hooks: []hooks.Hook{newBasin("a")}})
		pub := connected(t, b, packet.V311, hello{id: "pub"})
		pub.ask(1, 1, "a", "full")
		pub.wantClosed()
	})
}

// If one of two queues refuses, the other hears that it will not have the message.
func TestQueueRefusalWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newBasin("a"), newBasin("a")
		second.hookName = "second"
		b := start(t, setup{hooks: []hooks.Hook{first}})
		picky := intakeFunc{basin: second, admit: func(*packet.Message) hooks.Admission { return hooks.Admission{Verdict: hooks.Refuse} }}
		q, err := b.OpenQueue("second", "q", picky, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Feed("a"); err != nil {
			t.Fatal(err)
		}
		pub := connected(t, b, packet.V5, hello{id: "pub"})
		pub.ask(1, 1, "a", "x")
		pub.wantAck(packet.PUBACK, 1, packet.QuotaExceeded)
		first.want(t, "withdrawn x")
		first.wantContents(t)
	})
}

type intakeFunc struct {
	*basin
	admit func(*packet.Message) hooks.Admission
}

// Admit implements hooks.Intake.
func (i intakeFunc) Admit(m *packet.Message) hooks.Admission { return i.admit(m) }

// A store that is full refuses the message for the queue too.
func TestQueueStoreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBasin("a")
		h := hold(t, setup{hooks: []hooks.Hook{k}})
		c := h.connect(packet.V5, hello{id: "c"})
		c.ask(1, 1, "a", "x")
		synctest.Wait()
		h.held.Fail(storage.ErrFull)
		c.wantAck(packet.PUBACK, 1, packet.QuotaExceeded)
		k.want(t, "withdrawn x")
	})
}

// Hold keeps the acknowledgement of QoS 1 and 2 back, and stops reading from a publisher of QoS 0.
func TestQueueHolds(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		k := newBasin("a")
		b := start(t, setup{hooks: []hooks.Hook{k}})
		asking := connected(t, b, v, hello{id: "asking"})
		asking.ask(1, 1, "a", "hold 1")
		asking.wantNothing()
		saying := connected(t, b, v, hello{id: "saying"})
		saying.say("a", "hold 2")
		go saying.say("a", "late")
		k.want(t, "1 hold 1", "settled", "2 hold 2", "settled")
		k.queue.Relieve()
		asking.wantAck(packet.PUBACK, 1, packet.Success)
		k.want(t, "3 late", "settled")
		saying.wantNothing()
	})
}

// A message moves from the queue to whoever subscribes to another topic, or stays if it cannot.
func TestQueueMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBasin("a", "dead")
		b := start(t, setup{hooks: []hooks.Hook{k}})
		pub := connected(t, b, packet.V5, hello{id: "pub"})
		for i, payload := range []string{"one", "two"} {
			pub.ask(1, uint16(i+1), "a", payload)
			pub.wantAck(packet.PUBACK, uint16(i+1), packet.Success)
		}
		var errs []error
		tell := func(err error) { errs = append(errs, err) }
		k.queue.Move(1, &packet.Message{Topic: "dead", Payload: []byte("one"), QoS: 1}, tell)
		k.queue.Move(2, &packet.Message{Topic: "dead", Payload: []byte("full")}, tell)
		k.wantContents(t, "2 two", "3 one")
		if len(errs) != 2 || errs[0] != nil || errs[1] == nil {
			t.Errorf("told %v", errs)
		}
	})
}

// Records are there after a restart; one written with a message, and one deleted.
func TestHookRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, k := memory.New(), newBasin("a")
		b := startOnly(t, setup{store: disk, hooks: []hooks.Hook{k}})
		told := 0
		count := func(err error) {
			if err == nil {
				told++
			}
		}
		b.Save("basin", []hooks.Record{{Key: "x", Value: []byte("1")}, {Key: "y", Value: []byte("2")}}, count)
		b.Save("basin", []hooks.Record{{Key: "y"}}, count)
		b.Save("other", []hooks.Record{{Key: "z", Value: []byte("3")}}, count)
		b.PublishSaving("basin", &packet.Message{Topic: "b"}, []hooks.Record{{Key: "p", Value: []byte("4")}}, count)
		pub := connected(t, b, packet.V5, hello{id: "pub"})
		pub.ask(1, 1, "a", "note 5")
		pub.wantAck(packet.PUBACK, 1, packet.Success)
		stop(t, b)
		if told != 4 {
			t.Errorf("told %d times, want 4", told)
		}
		after := newBasin()
		start(t, setup{store: disk.Reopen(), hooks: []hooks.Hook{after}})
		if got := fmt.Sprint(after.saved); got != "map[last:note 5 p:4 x:1]" {
			t.Errorf("saved %s", got)
		}
	})
}

// A deleted queue gets nothing more, and one of the same name starts empty.
func TestQueueDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newBasin("a")
		b := start(t, setup{hooks: []hooks.Hook{k}})
		pub := connected(t, b, packet.V5, hello{id: "pub"})
		pub.ask(1, 1, "a", "one")
		pub.wantAck(packet.PUBACK, 1, packet.Success)
		if _, err := b.OpenQueue("basin", "q", k, nil); err == nil {
			t.Error("opened twice")
		}
		if got := b.Queues("basin"); !slices.Equal(got, []string{"q"}) {
			t.Errorf("queues %q", got)
		}
		k.queue.Delete(nil)
		if _, err := k.queue.Feed("b"); err == nil {
			t.Error("fed after it was deleted")
		}
		pub.ask(1, 2, "a", "two")
		pub.wantAck(packet.PUBACK, 2, packet.NoMatchingSubscribers)
		fresh, err := b.OpenQueue("basin", "q", k, nil)
		if err != nil {
			t.Fatal(err)
		}
		k.queue = fresh
		k.wantContents(t)
		k.want(t, "1 one", "settled")
	})
}
