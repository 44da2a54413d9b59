package packet

import (
	"bytes"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// encode appends what one of mochi's encoders makes of pk, in MQTT 5. The encoders cut no
// string to the 65535 bytes that its length can tell, so pk's must have gone through clip.
func encode(dst []byte, t Type, pk *packets.Packet, with func(*packets.Packet, *bytes.Buffer) error) []byte {
	pk.ProtocolVersion = byte(V5)
	pk.FixedHeader = packets.FixedHeader{Type: byte(t)}
	pk.Mods.AllowResponseInfo = true // the caller decided what to send
	buf := bytes.NewBuffer(dst)
	if err := with(pk, buf); err != nil {
		panic(fmt.Sprintf("packet: mochi cannot encode %v: %v", t, err)) // these encoders have no way to fail
	}
	return buf.Bytes()
}
