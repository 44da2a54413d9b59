package script

import (
	"strings"
	"testing"
)

// What a server sends is printed one packet a line.
func TestLine(t *testing.T) {
	for _, c := range []struct {
		raw     string
		version byte
		want    string
	}{
		{`20 02 01 00`, 4, "CONNACK success present"},
		{`20 02 00 05`, 4, "CONNACK not authorized"},
		{`20 [ 00 8C [ 1F s"why" ] ]`, 5, "CONNACK bad authentication method"},
		{`20 [ 00 00 [ 21 00 05 12 s"id" 24 01 ] ]`, 5, "CONNACK success assigned=id max_qos=1"},
		{`30 [ s"a" "x y" ]`, 4, `PUBLISH a "x y"`},
		{`30 [ s"a b" ]`, 4, `PUBLISH "a b" ""`},
		{`3D [ s"a" 00 07 [ 26 s"k" s"2" 0B 09 26 s"j" s"1" 0B 02 ] "x" ]`, 5,
			"PUBLISH a x qos=2 id=7 retain dup subid=2 subid=9 user=k:2 user=j:1"},
		{`40 02 00 05`, 5, "PUBACK 5"},
		{`40 03 00 05 10`, 5, "PUBACK 5 no matching subscribers"},
		{`62 02 01 00`, 4, "PUBREL 256"},
		{`90 [ 00 01 [ ] 01 A2 ]`, 5, "SUBACK 1 granted 1, wildcard subscriptions not supported"},
		{`90 [ 00 01 02 80 ]`, 4, "SUBACK 1 granted 2, failure"},
		{`B0 [ 00 01 [ ] 00 00 ]`, 5, "UNSUBACK 1"},
		{`B0 [ 00 01 [ ] 00 11 ]`, 5, "UNSUBACK 1 success, no subscription existed"},
		{`B0 02 00 01`, 4, "UNSUBACK 1"},
		{`D0 00`, 4, "PINGRESP"},
		{`E0 00`, 5, "DISCONNECT normal"},
		{`E0 01 8E`, 5, "DISCONNECT session taken over"},
		{`F0 [ 18 [ 15 s"M" 16 s"d" ] ]`, 5, "AUTH continue authentication method=M data=d"},
		{`30 [ s"a" "x"*100 ]`, 4, "PUBLISH a <100 bytes>"},
	} {
		p, err := decode(bytesOf(t, c.raw), c.version)
		if err != nil {
			t.Errorf("%s: %v", c.raw, err)
			continue
		}
		if got := p.line(c.version, false); got != c.want {
			t.Errorf("%s:\n%s, want\n%s", c.raw, got, c.want)
		}
	}
}

func bytesOf(t *testing.T, raw string) []byte {
	t.Helper()
	list, err := words(raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := rawBytes(list)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What no server may send is an error, not a line.
func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		raw     string
		version byte
		want    string
	}{
		{`20 02 02 00`, 4, "flags"},
		{`20 02 01 05`, 4, "session present"},
		{`20 02 00 06`, 4, "reason code"},
		{`20 03 00 A2 00`, 5, "reason code"},
		{`21 02 00 00`, 4, "flags"},
		{`38 [ s"a" ]`, 4, "DUP"},
		{`36 [ s"a" 00 01 ]`, 4, "QoS 3"},
		{`32 [ s"a" 00 00 ]`, 4, "identifier 0"},
		{`30 [ s"a" [ 21 00 01 ] ]`, 5, "property 0x21 in PUBLISH"},
		{`30 [ s"a" [ 01 01 01 01 ] ]`, 5, "twice"},
		{`30 [ s"a" 05 01 01 ]`, 5, "too early"},
		{`30 [ 00 05 "a" ]`, 4, "too early"},
		{`40 03 00 01 00`, 4, "too many"},
		{`90 02 00 01`, 4, "no reason code"},
		{`90 [ 00 01 03 ]`, 4, "reason code"},
		{`E0 00`, 4, "before MQTT 5"},
		{`E0 [ 8B [ 11 00 00 00 01 ] ]`, 5, "3.14.2-2"},
		{`10 00`, 5, "not the server's"},
		{`D0 80 00`, 4, "longer than"},
	} {
		_, err := decode(bytesOf(t, c.raw), c.version)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want … %s …", c.raw, err, c.want)
		}
	}
}

// The conduct of a server is watched whatever the script is about.
func TestConduct(t *testing.T) {
	for _, c := range []struct {
		raw  []string // packets; a word <PUBACK n> is one that the client sends
		want string
	}{
		{[]string{`D0 00`}, "3.2.0-1"},
		{[]string{`20 03 00 00 00`, `20 03 00 00 00`}, "3.2.0-2"},
		{[]string{`20 03 00 00 00`, `E0 00`, `D0 00`}, "3.14.4-1"},
		{[]string{`20 03 00 00 00`, `30 [ s"a" [ ] "x"*100 ]`}, "3.1.2-24"},
		{[]string{`20 03 00 00 00`, `30 [ s"a" [ 23 00 03 ] ]`}, "3.1.2-26"},
		{[]string{`20 03 00 00 00`, `30 [ s"" [ 23 00 01 ] ]`}, "unknown topic alias"},
		{[]string{`20 03 00 00 00`, `32 [ s"a" 00 01 [ ] ]`, `32 [ s"a" 00 01 [ ] ]`}, "2.2.1-4"},
		{[]string{`20 03 00 00 00`, `32 [ s"a" 00 01 [ ] ]`, `32 [ s"a" 00 02 [ ] ]`, `32 [ s"a" 00 03 [ ] ]`}, "3.3.4-9"},
		{[]string{`20 03 00 00 00`, `34 [ s"a" 00 01 [ ] ]`, `<PUBREC 1>`, `34 [ s"a" 00 01 [ ] ]`}, "4.3.3-6"},
		{[]string{`20 03 00 00 00`, `40 [ 00 01 00 [ 1F s"x" ] ]`}, "3.1.2-29"},
		{[]string{`20 03 00 00 00`, `32 [ s"a" 00 01 [ 23 00 02 ] ]`, `<PUBACK 1>`, `32 [ s"" 00 01 [ 23 00 02 ] ]`}, ""},
	} {
		rules := newConduct(5)
		rules.window, rules.maxPacket, rules.aliasMax, rules.noProblems = 2, 50, 2, true
		wrong := ""
		for _, raw := range c.raw {
			switch raw {
			case "<PUBACK 1>":
				rules.sent(puback, 1, false)
				continue
			case "<PUBREC 1>":
				rules.sent(pubrec, 1, false)
				continue
			}
			p, err := decode(bytesOf(t, raw), 5)
			if err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if wrong != "" {
				t.Errorf("%v: %s came too early", c.raw, wrong)
			}
			wrong = rules.received(p)
		}
		if !strings.Contains(wrong, c.want) || (c.want == "") != (wrong == "") {
			t.Errorf("%v: %q, want … %s …", c.raw, wrong, c.want)
		}
	}
}
