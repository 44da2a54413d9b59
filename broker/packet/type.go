package packet

import "fmt"

// A Version is the protocol level of a CONNECT packet (MQTT 5, 3.1.2.2).
type Version byte

// The versions there are.
const (
	V31  Version = 3 // MQTT 3.1, protocol name MQIsdp
	V311 Version = 4 // MQTT 3.1.1
	V5   Version = 5 // MQTT 5
)

// String is the version as people write it.
func (v Version) String() string {
	switch v {
	case V31:
		return "3.1"
	case V311:
		return "3.1.1"
	case V5:
		return "5"
	}
	return fmt.Sprintf("level %d", byte(v))
}

// A Type is the control packet type in the upper half of a fixed header (MQTT 5, table 2-1).
type Type byte

// The control packet types.
const (
	CONNECT     Type = 1
	CONNACK     Type = 2
	PUBLISH     Type = 3
	PUBACK      Type = 4
	PUBREC      Type = 5
	PUBREL      Type = 6
	PUBCOMP     Type = 7
	SUBSCRIBE   Type = 8
	SUBACK      Type = 9
	UNSUBSCRIBE Type = 10
	UNSUBACK    Type = 11
	PINGREQ     Type = 12
	PINGRESP    Type = 13
	DISCONNECT  Type = 14
	AUTH        Type = 15
)

var typeNames = [16]string{
	"reserved", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
}

// String is the specification's name of the type.
func (t Type) String() string { return typeNames[t&0x0f] }

// TypeOf is the control packet type in the first byte of a packet.
func TypeOf(head byte) Type { return Type(head >> 4) }
