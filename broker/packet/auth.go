package packet

import (
	"bytes"

	"github.com/mochi-mqtt/server/v2/packets"
)

// An Auth is an AUTH packet from a client: one step of enhanced authentication.
type Auth struct {
	Code    Code // ContinueAuthentication or ReAuthenticate
	Method  string
	Data    []byte
	HasData bool
	Reason  string
}

// DecodeAuth reads the body of an AUTH packet, which only MQTT 5 has. What it returns shares nothing with body.
func DecodeAuth(body []byte) (Auth, error) {
	// An empty body stands for Success (MQTT 5, 3.15.2.1), which only a server sends.
	if len(body) == 0 {
		return Auth{}, Refuse(ProtocolError, "AUTH: reason code not allowed") // [MQTT5-3.15.2-1]
	}
	r := cursor{rest: body}
	a := Auth{Code: Code(r.byte("reason code"))}
	if a.Code != ContinueAuthentication && a.Code != ReAuthenticate {
		r.fail(ProtocolError, "AUTH: reason code not allowed") // [MQTT5-3.15.2-1]
	}
	p := r.properties(authProperties, Limits{})
	for p.next() {
		switch p.id {
		case propAuthMethod:
			a.Method = string(p.value)
		case propAuthData:
			a.Data, a.HasData = bytes.Clone(p.value), true
		case propReasonString:
			a.Reason = string(p.value)
		}
	}
	r.adopt(&p)
	if !p.seen.has(propAuthMethod) {
		r.fail(ProtocolError, "AUTH: no authentication method") // MQTT 5, 3.15.2.2.2
	}
	r.end(AUTH)
	if r.err != nil {
		return Auth{}, r.err
	}
	return a, nil
}

// AppendAuth appends an AUTH packet. Empty data and reason are not sent, nor are ever user properties [MQTT5-3.15.2-3].
func AppendAuth(dst []byte, code Code, method string, data []byte, reason string) []byte {
	pk := packets.Packet{ReasonCode: byte(code)}
	pk.Properties.AuthenticationMethod = clip(method, textMax) // [MQTT5-4.12.0-5]
	pk.Properties.AuthenticationData = clipData(data)
	pk.Properties.ReasonString = clip(reason, reasonMax)
	return encode(dst, AUTH, &pk, (*packets.Packet).AuthEncode)
}
