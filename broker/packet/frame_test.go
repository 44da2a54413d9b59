package packet

import (
	"bytes"
	"testing"
)

func TestSplit(t *testing.T) {
	cases := []struct {
		name    string
		b       string
		max     uint32
		n, need int
		want    Code
	}{
		{"nothing", ``, 0, 0, 0, Success},
		{"type alone", `c0`, 0, 0, 0, Success},
		{"smallest", `c0 00`, 0, 2, 2, Success},
		{"one and a half", `c0 00 c0`, 0, 2, 2, Success},
		{"length known", `30 05 00`, 0, 0, 7, Success},
		{"length incomplete", `30 80`, 0, 0, 0, Success},
		{"length of two bytes", `30 8001 00`, 0, 0, 131, Success},
		{"largest length", `30 ffffff7f`, 0, 0, 5 + remainingLengthMax, Success},
		{"length of five bytes", `30 ffffffff 7f`, 0, 0, 0, MalformedPacket},
		{"length of five bytes, fourth seen", `30 ffffffff`, 0, 0, 0, MalformedPacket},
		{"as large as allowed", `30 02 0000`, 4, 4, 4, Success},
		{"too large, seen at once", `30 03`, 4, 0, 5, PacketTooLarge},
		{"type 0", `00`, 0, 0, 0, ProtocolError},
		{"header flags, seen at once", `81`, 0, 0, 0, MalformedPacket},
		{"QoS 3, seen at once", `36`, 0, 0, 0, MalformedPacket},
		{"DUP with QoS 0, seen at once", `38`, 0, 0, 0, MalformedPacket},
	}
	for _, c := range cases {
		b := wire(c.b)
		head, body, n, need, err := Split(b, c.max)
		if codeOf(t, err) != c.want || n != c.n || need != c.need {
			t.Errorf("%s: n %d, need %d, %v; want %d, %d, %v", c.name, n, need, err, c.n, c.need, c.want)
		}
		if n > 0 && (head != b[0] || !bytes.HasSuffix(b[:n], body)) {
			t.Errorf("%s: head %x, body % x", c.name, head, body)
		}
	}
}

// Appending to a body does not overwrite the packet behind it.
func TestSplitBodyIsClipped(t *testing.T) {
	b := wire(`30 03 s:t c0 00`)
	_, body, n, _, err := Split(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(body, 0xff)
	if b[n] != 0xc0 {
		t.Error("append to body changed the next packet")
	}
}

// A value takes the fewest bytes, and reading it gives it back [MQTT5-1.5.5-1].
func TestVarintRoundTrip(t *testing.T) {
	for _, v := range []uint32{0, 1, 127, 128, 16383, 16384, 2097151, 2097152, remainingLengthMax} {
		b := appendVarint(nil, v)
		got, width := varint(append(b, 0xff))
		if got != v || width != len(b) || width != varintSize(v) {
			t.Errorf("%d: % x reads as %d in %d bytes, varintSize %d", v, b, got, width, varintSize(v))
		}
	}
}
