package broker

import (
	"bytes"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/test/setting"
)

// However what a client sends is cut, and however large its packets are, its messages arrive as they were sent.
func TestAnyCutIsTheSame(t *testing.T) {
	random := setting.Random(t)
	for _, v := range bothVersions {
		b := start(t, setup{})
		to, from := fake(t, b, v, hello{id: "to"}), fake(t, b, v, hello{id: "from"})
		to.feed(subscribePacket(v, 1, 0, "#"))
		to.keep = true
		var sent []byte
		for range 300 {
			payload := make([]byte, random.IntN(1<<random.IntN(15)))
			for i := range payload {
				payload[i] = byte(random.Uint32())
			}
			sent = packet.AppendPublish(sent, v, &packet.Outgoing{Topic: "a", Payload: payload})
		}
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), random.IntN(1<<random.IntN(17))+1)
			from.feed(bytes.Clone(rest[:n]))
			rest = rest[n:]
		}
		if !bytes.Equal(to.sent, sent) {
			t.Errorf("version %s: %d bytes arrived that are not the %d sent", v, len(to.sent), len(sent))
		}
		if cap(from.c.partial) > partialKeep {
			t.Errorf("version %s: a buffer of %d bytes is left", v, cap(from.c.partial))
		}
	}
}
