package packet

import "github.com/mochi-mqtt/server/v2/packets"

// A Disconnect is a DISCONNECT packet from a client.
type Disconnect struct {
	Code             Code // Success in MQTT 3.1 and 3.1.1
	SessionExpiry    uint32
	HasSessionExpiry bool
	Reason           string
}

// DecodeDisconnect reads the body of a DISCONNECT packet. Whether the session expiry may be
// changed depends on CONNECT and is for the caller (MQTT 5, 3.14.2.2.2).
func DecodeDisconnect(body []byte, v Version) (Disconnect, error) {
	if len(body) == 0 { // MQTT 5, 3.14.2.1: without reason code it is a normal disconnection
		return Disconnect{}, nil
	}
	r := cursor{rest: body}
	var d Disconnect
	if v == V5 {
		d.Code = Code(r.byte("reason code"))
		r.disconnectCode(d.Code)
		if len(r.rest) > 0 { // MQTT 5, 3.14.2.2.1: without property length there are none
			d.readProperties(&r)
		}
	}
	r.end(DISCONNECT) // of MQTT 3.1 and 3.1.1: it has no body
	if r.err != nil {
		return Disconnect{}, r.err
	}
	return d, nil
}

// disconnectCode refuses reason codes that a client may not send (MQTT 5, table 3-10).
func (c *cursor) disconnectCode(code Code) {
	switch code {
	case Success, DisconnectWithWill, UnspecifiedError, MalformedPacket, ProtocolError, ImplementationError,
		TopicNameInvalid, ReceiveMaximumExceeded, TopicAliasInvalid, PacketTooLarge, MessageRateTooHigh,
		QuotaExceeded, AdministrativeAction, PayloadFormatInvalid:
	default:
		c.fail(ProtocolError, "DISCONNECT: reason code not allowed") // [MQTT5-3.14.2-1]
	}
}

func (d *Disconnect) readProperties(r *cursor) {
	p := r.properties(disconnectProperties, Limits{})
	for p.next() {
		switch p.id {
		case propSessionExpiry:
			d.SessionExpiry, d.HasSessionExpiry = p.number, true
		case propReasonString:
			d.Reason = string(p.value)
		}
	}
	r.adopt(&p)
}

// AppendDisconnect appends a DISCONNECT packet, which before MQTT 5 a server cannot send. serverRef
// goes with UseAnotherServer and ServerMoved; empty strings are not sent. It never has a session expiry
// interval [MQTT5-3.14.2-2] nor user properties [MQTT5-3.14.2-4].
func AppendDisconnect(dst []byte, code Code, reason, serverRef string) []byte {
	pk := packets.Packet{ReasonCode: byte(DISCONNECT.listed(code))}
	pk.Properties.ReasonString = clip(reason, reasonMax)
	pk.Properties.ServerReference = clip(serverRef, textMax)
	return encode(dst, DISCONNECT, &pk, (*packets.Packet).DisconnectEncode)
}
