package bridge

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
)

// A trace is found among other properties, and what is no trace is none.
func TestReadTrace(t *testing.T) {
	f := packet.Forwarded{ContentType: "text/plain", User: []packet.UserProperty{{Key: "a", Value: "b"}}}
	b := appendOrigin(packet.AppendProperties(nil, &f), "one", 12345)
	b = appendMark(appendMark(appendMark(b, pathMark, "two"), againMark, "client"), pathMark, "three")
	got, ok := readTrace(b)
	if !ok || got.origin != "one" || got.number != 12345 || got.again != "client" || !slices.Equal(got.path, []string{"two", "three"}) {
		t.Errorf("got %+v, %t", got, ok)
	}
	for _, broker := range []string{"one", "two", "three"} {
		if !got.passed(broker) {
			t.Errorf("it was not at %s", broker)
		}
	}
	if got.passed("four") {
		t.Error("it was at four")
	}
	parsed, err := packet.ParseProperties(b)
	if err != nil || len(parsed.User) != 5 || parsed.User[1] != (packet.UserProperty{Key: PropertyOrigin, Value: "one:9ix"}) {
		t.Errorf("parsed %+v, %v", parsed, err)
	}
	kept, err := packet.ParseProperties(untraced(b))
	if err != nil || kept.ContentType != "text/plain" || !slices.Equal(kept.User, f.User) {
		t.Errorf("without the trace %+v, %v", kept, err)
	}
	for _, value := range []string{"", "one", "one:", ":1", "one:-1", "one:zzzzzzzzzzzzzzzzzzzz"} {
		if got, ok := readTrace(appendMark(nil, originMark, value)); ok {
			t.Errorf("%q is %+v", value, got)
		}
	}
	for n := range b { // cut anywhere
		readTrace(b[:n])
	}
}

// A message is taken once whoever brings it; from who may have brought it before without knowing, again.
func TestSeen(t *testing.T) {
	s := newSeen()
	m := &trace{origin: "one", number: 7}
	if !s.take(m, "a", false) || s.take(m, "a", false) || s.take(m, "b", false) {
		t.Error("it was taken not once")
	}
	if !s.take(m, "a", true) {
		t.Error("a cannot bring it again")
	}
	if s.take(m, "b", true) {
		t.Error("b brought what a did")
	}
	s.forget(m, "a")
	if !s.take(m, "b", false) {
		t.Error("nobody can bring it after it was not stored")
	}
	after := newSeen()
	for origin, value := range s.save() {
		after.load(origin, value)
	}
	if after.take(m, "c", false) {
		t.Error("it was taken again after a restart")
	}
	if len(s.save()) != 0 {
		t.Error("what did not change is saved again")
	}
}

// Without a trace, the k-th message of one content on one way is the k-th on any other, where there are two ways.
func TestTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tw := newTwins()
		m := &packet.Message{Topic: "t", Payload: []byte("x")}
		for range 3 {
			if tw.repeated("a", m, time.Now()) {
				t.Error("with one way, a repeated message was taken for another")
			}
		}
		tw.open("b")
		for k := range 3 {
			if !tw.repeated("b", m, time.Now()) {
				t.Errorf("b brought the message %d that a did", k)
			}
		}
		if tw.repeated("b", m, time.Now()) || !tw.repeated("a", m, time.Now()) {
			t.Error("the fourth was not taken once")
		}
		tw.note(m, time.Now())
		time.Sleep(twinsSpan + time.Second)
		if tw.repeated("b", m, time.Now()) {
			t.Error("it is remembered for too long")
		}
		tw.forget(time.Now())
		tw.note(m, time.Now())
		if !tw.repeated("a", m, time.Now()) {
			t.Error("what began here came back")
		}
	})
}

// Topics are renamed as the rules say, and back.
func TestRenaming(t *testing.T) {
	topics := []configs.BridgeTopic{
		{Filter: "a/#", Direction: configs.DirectionBoth, LocalPrefix: "l/", RemotePrefix: "r/"},
		{Filter: "b", Direction: configs.DirectionOut, RemotePrefix: "by/{publisher}/"},
	}
	r := newRules(topics, nopReplacer())
	for _, c := range []struct{ local, publisher, remote string }{
		{"l/a/x", "p", "r/a/x"}, {"l/a", "p", "r/a"}, {"b", "x/y+z#", "by/x_y_z_/b"}, {"b", "", "by/_/b"},
	} {
		rule := r.sending(c.local)
		if rule == nil {
			t.Errorf("%s: no rule", c.local)
			continue
		}
		if got := rule.there(&packet.Message{Topic: c.local, Publisher: c.publisher}); got != c.remote {
			t.Errorf("%s is %s there, want %s", c.local, got, c.remote)
		}
	}
	if rule := r.receiving("r/a/x"); rule == nil || rule.here("r/a/x") != "l/a/x" {
		t.Errorf("r/a/x: %+v", rule)
	}
	for _, name := range []string{"a/x", "l/b", "c"} {
		if r.sending(name) != nil || r.receiving(name) != nil {
			t.Errorf("%s moves", name)
		}
	}
}
