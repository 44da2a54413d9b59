package packet

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"
)

var versions = []Version{V31, V311, V5}

// FuzzDecode feeds any bytes in any version to Split and to each decoder. Nothing panics,
// errors are refusals, and what is accepted keeps the promises of its type.
func FuzzDecode(f *testing.F) {
	for _, b := range []string{
		`10 0e s:MQTT 05 02 000a 00 s:c`, `10 0f s:MQIsdp 03 02 000a s:c`, `32 08 s:t 0001 00 "xy"`, `40 04 0001 00 00`,
		`82 07 0001 00 s:f 02`, `a2 06 0001 00 s:f`, `c0 00`, `e0 02 00 00`, `f0 06 18 04 15 s:m`,
	} {
		for v := range versions {
			f.Add(wire(b), byte(v), uint16(0))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, version byte, max uint16) {
		v := versions[int(version)%len(versions)]
		head, body, n, need, err := Split(b, uint32(max))
		checkSplit(t, b, uint32(max), n, need, err)
		if n > 0 {
			if !bytes.Equal(b[n-len(body):n], body) || head != b[0] {
				t.Fatalf("body is not the end of the packet")
			}
			got, err := decodeWhole(b[:n], v, Limits{MaxUserProperties: 3})
			checkDecoded(t, got, err)
		}
		for _, typ := range []Type{CONNECT, PUBACK, PUBREL, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH} {
			got, err := decodeWhole(frame(byte(typ)<<4|headFlags[typ], b), v, Limits{})
			checkDecoded(t, got, err)
		}
	})
}

func checkSplit(t *testing.T, b []byte, max uint32, n, need int, err error) {
	t.Helper()
	var r *Refusal
	switch {
	case err != nil && (n != 0 || !errors.As(err, &r)):
		t.Fatalf("refused with n %d: %v", n, err)
	case n < 0 || n > len(b) || n > 0 && n != need:
		t.Fatalf("n %d, need %d of %d bytes", n, need, len(b))
	case err == nil && max > 0 && need > int(max):
		t.Fatalf("need %d over the maximum %d", need, max)
	case err == nil && n == 0 && need > 0 && need <= len(b):
		t.Fatalf("need %d, has %d, not taken", need, len(b))
	}
}

// checkDecoded checks what the decoders promise.
func checkDecoded(t *testing.T, got any, err error) {
	t.Helper()
	if err != nil {
		var r *Refusal
		if !errors.As(err, &r) || !r.Code.Failed() {
			t.Fatalf("not a refusal: %v", err)
		}
		return
	}
	switch p := got.(type) {
	case *Connect:
		checkConnect(t, p)
	case *Publish:
		checkPublish(t, p)
	case Ack:
		if p.ID == 0 {
			t.Fatalf("%+v", p)
		}
	case *Subscribe:
		for _, s := range p.Subscriptions {
			if !goodText(s.Filter) || s.Filter == "" || s.QoS > 2 || s.RetainHandling > 2 {
				t.Fatalf("%+v", s)
			}
		}
		if p.ID == 0 || len(p.Subscriptions) == 0 || p.SubscriptionID > remainingLengthMax {
			t.Fatalf("%+v", p)
		}
	case *Unsubscribe:
		if p.ID == 0 || len(p.Filters) == 0 {
			t.Fatalf("%+v", p)
		}
	case Auth:
		if p.Code != ContinueAuthentication && p.Code != ReAuthenticate || !goodText(p.Method) {
			t.Fatalf("%+v", p)
		}
	}
}

func checkConnect(t *testing.T, c *Connect) {
	t.Helper()
	bad := !goodText(c.ClientID) || !goodText(c.Username) || c.ReceiveMaximum == 0 || len(c.AuthData) > 0 && !c.HasAuthMethod
	if w := c.Will; w != nil {
		_, err := ParseProperties(w.Properties)
		bad = bad || w.QoS > 2 || w.Topic == "" || !goodText(w.Topic) || hasWildcard([]byte(w.Topic)) || err != nil
	}
	if bad {
		t.Fatalf("%+v", c)
	}
}

func checkPublish(t *testing.T, p *Publish) {
	t.Helper()
	f, err := ParseProperties(p.Properties)
	if err != nil || (f.PayloadFormat != nil) != p.HasPayloadFormat {
		t.Fatalf("%+v: %v", p, err)
	}
	if p.QoS > 2 || (p.ID != 0) != (p.QoS > 0) || !goodText(string(p.Topic)) || len(p.Topic) == 0 && p.Alias == 0 {
		t.Fatalf("%+v", p)
	}
}

func goodText(s string) bool { return utf8.ValidString(s) && bytes.IndexByte([]byte(s), 0) < 0 }

// FuzzPublish encodes what it could decode, decodes that, and expects the same message again,
// also from a Publish that has held another packet.
func FuzzPublish(f *testing.F) {
	f.Add(byte(0x30), wire(`s:t "x"`), byte(1))
	f.Add(byte(0x3d), wire(`s:t 0001 10 26 s:k s:v 02 00000005 03 s:c "x"`), byte(2))
	f.Add(byte(0x31), wire(`0000 0a 23 0001 26 s:k s:v "x"`), byte(2))
	var again Publish
	f.Fuzz(func(t *testing.T, head byte, body []byte, version byte) {
		v := versions[int(version)%len(versions)]
		var p Publish
		if err := p.Decode(head, body, v, Limits{}); err != nil {
			checkDecoded(t, nil, err)
			return
		}
		checkPublish(t, &p)
		o := Outgoing{
			Topic: string(p.Topic), Payload: p.Payload, Properties: p.Properties, QoS: p.QoS, Retain: p.Retain, Dup: p.Dup, ID: p.ID,
			Expiry: p.Expiry, HasExpiry: p.HasExpiry, Alias: p.Alias,
		}
		b := AppendPublish(nil, v, &o)
		if len(b) != PublishSize(v, &o) {
			t.Fatalf("size %d of %d", PublishSize(v, &o), len(b))
		}
		first, rest, n, _, err := Split(b, 0)
		if err != nil || n != len(b) {
			t.Fatalf("% x: %v", b, err)
		}
		if err := again.Decode(first, rest, v, Limits{}); err != nil {
			t.Fatalf("% x: %v", b, err)
		}
		p.Dup = p.Dup && p.QoS > 0 // MQTT 3.1 tolerates it, we never send it
		got, want := again, p
		got.scratch, want.scratch = nil, nil
		if len(want.Properties) == 0 {
			got.Properties, want.Properties = nil, nil
		}
		wantEqual(t, "sent and received again", got, want)
	})
}
