package script

import (
	"slices"
	"testing"
)

// Words are separated by spaces, but not inside quotes.
func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                            nil,
		"alice  publish\ta 1":         {"alice", "publish", "a", "1"},
		`bob publish "a b" x="c d" e`: {"bob", "publish", `"a b"`, `x="c d"`, "e"},
		`raw s"a\" b" 00`:             {"raw", `s"a\" b"`, "00"},
	} {
		got, err := words(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", line, got, err, want)
		}
	}
	if _, err := words(`a "b`); err == nil {
		t.Error("an open quote passed")
	}
}

// Options are found by key or flag, each once, and what nobody asked for is an error.
func TestOptions(t *testing.T) {
	list, err := words(`topic "pay load" qos=1 retain user=a:1 user="b:x y"`)
	if err != nil {
		t.Fatal(err)
	}
	o := newOptions(list)
	first, _ := o.text("user")
	second, _ := o.text("user")
	_, third := o.text("user")
	if !o.flag("retain") || o.flag("retain") {
		t.Error("retain is there once")
	}
	if n := o.number("qos", 2, 0); n != 1 {
		t.Errorf("qos=%d", n)
	}
	if a, b := o.next("topic"), o.next("payload"); a != "topic" || b != "pay load" {
		t.Errorf("%q %q", a, b)
	}
	if first != "a:1" || second != "b:x y" || third {
		t.Errorf("users %q %q %v", first, second, third)
	}
	if err := o.done(); err != nil {
		t.Error(err)
	}
	if newOptions([]string{"unknown"}).done() == nil || newOptions([]string{"x=1"}).done() == nil {
		t.Error("an unknown word passed")
	}
	if o := newOptions([]string{"qos=9"}); o.number("qos", 2, 0) == 9 || o.done() == nil {
		t.Error("a number too large passed")
	}
	o = newOptions(nil)
	o.next("topic")
	if o.done() == nil {
		t.Error("a missing word passed")
	}
}

// The raw language writes hex, texts, repetitions and lengths.
func TestRawBytes(t *testing.T) {
	list, err := words(`30 [ s"a/b" [ 26 s"k" s"v" ] "x"*3 00*2 ] C000`)
	if err != nil {
		t.Fatal(err)
	}
	want := "\x30\x12\x00\x03a/b\x07\x26\x00\x01k\x00\x01vxxx\x00\x00\xC0\x00"
	if got, err := rawBytes(list); err != nil || string(got) != want {
		t.Errorf("% x, %v; want % x", got, err, want)
	}
	for _, wrong := range [][]string{{"["}, {"]"}, {"3"}, {"zz"}, {"00*x"}, {`s"a`}} {
		if got, err := rawBytes(wrong); err == nil {
			t.Errorf("%v gave % x", wrong, got)
		}
	}
	long, err := rawBytes([]string{"[", "61*200", "]"})
	if err != nil || len(long) != 202 || long[0] != 0xC8 || long[1] != 0x01 {
		t.Errorf("a length of two bytes: %d bytes % x, %v", len(long), long[:2], err)
	}
}
