package packet

import "testing"

// A failure that the specification does not list for a packet is sent as unspecified error: what a hook asks for
// cannot break a client. [MQTT5-3.2.2-8] [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.9.3-2] [MQTT5-3.11.3-2] [MQTT5-3.14.2-1]
func TestCodesAreListed(t *testing.T) {
	encoders := map[Type]func(c Code) byte{
		CONNACK: func(c Code) byte {
			return AppendConnack(nil, V5, &Connack{Code: c, RetainAvailable: true, WildcardAvailable: true,
				SubscriptionIDAvailable: true, SharedAvailable: true})[3]
		},
		PUBACK:     func(c Code) byte { return AppendAck(nil, PUBACK, V5, Ack{ID: 1, Code: c})[4] },
		PUBREC:     func(c Code) byte { return AppendAck(nil, PUBREC, V5, Ack{ID: 1, Code: c})[4] },
		SUBACK:     func(c Code) byte { return AppendSuback(nil, V5, 1, []Code{c}, "")[5] },
		UNSUBACK:   func(c Code) byte { return AppendUnsuback(nil, V5, 1, []Code{c}, "")[5] },
		DISCONNECT: func(c Code) byte { return AppendDisconnect(nil, c, "", "")[2] },
	}
	// How many of the failures each table lists: the tables were typed by hand twice.
	listed := map[Type]int{CONNACK: 21, PUBACK: 7, PUBREC: 7, SUBACK: 9, UNSUBACK: 5, DISCONNECT: 28}
	for packet, encode := range encoders {
		kept := 0
		for c := UnspecifiedError; c != 0; c++ {
			switch got := Code(encode(c)); got {
			case c:
				kept++
			case UnspecifiedError:
			default:
				t.Errorf("%v: %v is sent as %v", packet, c, got)
			}
		}
		if kept != listed[packet] {
			t.Errorf("%v: %d failures are sent as they are, want %d", packet, kept, listed[packet])
		}
	}
	for _, c := range []struct {
		in       Type
		code     Code
		expected byte
	}{
		{CONNACK, Banned, 0x8a}, {CONNACK, AdministrativeAction, 0x80}, {PUBACK, PayloadFormatInvalid, 0x99},
		{PUBREC, ServerBusy, 0x80}, {SUBACK, QuotaExceeded, 0x97}, {UNSUBACK, QuotaExceeded, 0x80},
		{DISCONNECT, AdministrativeAction, 0x98}, {DISCONNECT, Banned, 0x80},
	} {
		if got := encoders[c.in](c.code); got != c.expected {
			t.Errorf("%v in %v: 0x%02x, want 0x%02x", c.code, c.in, got, c.expected)
		}
	}
}
