package script

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
)

const twoBlocks = `# A promise. [MQTT5-3.3.1-5]
use v3 v5
alice ping
----
alice < PINGRESP

# And another.
bob ping

carl ping
----
`

// A script is blocks of steps and output, and writes itself as it was read.
func TestParse(t *testing.T) {
	s, err := Parse(twoBlocks)
	if err != nil {
		t.Fatal(err)
	}
	if string(s.Versions) != "\x03\x05" {
		t.Errorf("versions %v", s.Versions)
	}
	if want := s.Want(); len(want) != 2 || !slices.Equal(want[0], []string{"alice < PINGRESP"}) || len(want[1]) != 0 {
		t.Errorf("want %q", want)
	}
	if got := s.Text(s.Want()); got != twoBlocks {
		t.Errorf("written as\n%s", got)
	}
	got := s.Text([][]string{{"alice < closed"}, {"bob < PINGRESP"}})
	if Diff(twoBlocks, got) == "" || !strings.Contains(Diff(twoBlocks, got), "- alice < PINGRESP\n+ alice < closed\n") {
		t.Errorf("difference:\n%s", Diff(twoBlocks, got))
	}
	for _, wrong := range []string{"alice ping\n----\n", "# No output.\nalice ping\n", "# Version.\nuse v9\n----\n"} {
		if _, err := Parse(wrong); err == nil {
			t.Errorf("passed: %q", wrong)
		}
	}
}

// A difference shows what is missing and what was not expected, in place.
func TestDiff(t *testing.T) {
	if d := Diff("a\nb\nc", "a\nx\nc"); d != "  a\n- b\n+ x\n  c\n" {
		t.Errorf("got\n%s", d)
	}
	if d := Diff("a\nb", "b\nc"); d != "- a\n  b\n+ c\n" {
		t.Errorf("got\n%s", d)
	}
	if d := Diff("a", "a"); d != "" {
		t.Errorf("got\n%s", d)
	}
}

// Settings have the names and kinds they have in the YAML file.
func TestSet(t *testing.T) {
	s := Setup{Limits: configs.Default().Limits}
	for key, value := range map[string]string{
		"max_qos": "1", "retain_available": "false", "connect_timeout": "3s", "max_packet_size": "2048", "hide_reasons": "true",
		"max_queue_bytes": "77", "sys_interval": "1m",
	} {
		if err := s.set(key, value); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	l := s.Limits
	if l.MaxQoS != 1 || l.RetainAvailable || l.ConnectTimeout != 3*time.Second || l.MaxPacketSize != 2048 || !s.HideReasons ||
		l.MaxQueueBytes != 77 || s.SysInterval != time.Minute {
		t.Errorf("%+v", s)
	}
	for key, value := range map[string]string{"max_qos": "256", "retain_available": "maybe", "nothing": "1", "connect_timeout": "3"} {
		if s.set(key, value) == nil {
			t.Errorf("%s=%s passed", key, value)
		}
	}
}

// A mistake in a script names its line.
func TestPlayErrors(t *testing.T) {
	for script, want := range map[string]string{
		"# x\nalice fly\n----\n":                           `2: alice fly: no step "fly"`,
		"# x\nalice publish a\n----\n":                     "2: alice publish a: payload is missing",
		"# x\nalice ping quickly\n----\n":                  "2: alice ping quickly: \"quickly\" is not understood",
		"# x\nalice drop\nalice ping\n----\n":              "3: alice ping: alice is not connected any more",
		"# x\nalice ping\nconfig max_qos=1\n----\n":        "3: config max_qos=1: the broker already runs",
		"# x\nconfig no_such=1\n----\n":                    "2: config no_such=1: config: no setting no_such",
		"# x\nacl permit publish a\n----\n":                `2: acl permit publish a: "permit" is neither allow nor deny`,
		"# x\nalice uncork\n----\n":                        "2: alice uncork: alice is not corked",
		"# x\nalice raw 3\n----\n":                         `2: alice raw 3: raw: "3": encoding/hex: odd length hex string`,
		"# x\nbroker dance\n----\n":                        `2: broker dance: no broker step "dance"`,
		"# x\nalice\n----\n":                               "2: alice: what should alice do?",
		"# x\nalice subscribe a color=1 , b\n----\n":       `2: alice subscribe a color=1 , b: subscribe: "color=1" is not understood`,
		"# x\nalice publish a 1 expiry=4294967296\n----\n": `expiry: strconv.ParseUint: parsing "4294967296": value out of range`,
	} {
		s, err := Parse(script)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			_, err := Play(s, 5, func(setup Setup) (Target, error) { return startMochi(t, setup) })
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %s", script, err, want)
			}
		})
	}
}

// A told remembers what a Waiter hears.
type told struct{ results []error }

func (w *told) Stored(err error) { w.results = append(w.results, err) }

// A gate holds writes back and lets them through in order, refuses those that need room when it is full, and
// loses what waits when it dies.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := memory.New()
		g := newGate(disk.Reopen())
		g.Notify(func() {})
		put := func(topic string) (bool, *told, error) {
			w := &told{}
			m := &packet.Message{Topic: topic, Payload: []byte("x")}
			pending, err := g.Update([]storage.Change{storage.PutRetained{Message: m}}, w)
			return pending, w, err
		}
		g.set(func(g *gate) { g.holds = true })
		pending, first, _ := put("held")
		if !pending || len(first.results) != 0 {
			t.Error("a held write went through")
		}
		g.release()
		if len(first.results) != 1 || first.results[0] != nil {
			t.Errorf("after release the waiter heard %v", first.results)
		}
		g.set(func(g *gate) { g.full = true })
		if _, _, err := put("full"); err != storage.ErrFull {
			t.Errorf("full: %v", err)
		}
		if _, err := g.Update([]storage.Change{storage.DeleteRetained{Topic: "none"}}, nil); err != nil {
			t.Errorf("a deletion in a full store: %v", err)
		}
		g.set(func(g *gate) { g.full, g.holds = false, true })
		put("lost")
		g.die()
		if _, _, err := put("dead"); err != storage.ErrClosed {
			t.Errorf("dead: %v", err)
		}
		v := &topics{}
		if err := disk.Reopen().Load(v); err != nil || !slices.Equal(v.names, []string{"held"}) {
			t.Errorf("on disk: %v, %v", v.names, err)
		}
	})
}

// topics is a Visitor that collects the topics of the retained messages.
type topics struct{ names []string }

func (*topics) Session(storage.Session) error           { return nil }
func (*topics) Subscription(storage.Subscription) error { return nil }
func (*topics) Received(storage.Received) error         { return nil }
func (*topics) Queue(storage.Queue) error               { return nil }
func (*topics) Counters(map[string]uint64) error        { return nil }
func (*topics) HookRecord(_, _ string, _ []byte) error  { return nil }

func (v *topics) Retained(m *packet.Message) error {
	v.names = append(v.names, m.Topic)
	return nil
}
