package packet

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// wire builds bytes from words: hexadecimal digits stand for themselves, "text" for its
// bytes, s:text for a string with its length in front.
func wire(words string) []byte {
	var b []byte
	for _, w := range strings.Fields(words) {
		switch {
		case strings.HasPrefix(w, `"`):
			b = append(b, strings.Trim(w, `"`)...)
		case strings.HasPrefix(w, "s:"):
			b = binary.BigEndian.AppendUint16(b, uint16(len(w)-2))
			b = append(b, w[2:]...)
		default:
			raw, err := hex.DecodeString(w)
			if err != nil {
				panic("wire: " + w)
			}
			b = append(b, raw...)
		}
	}
	return b
}

// frame puts head and the remaining length in front of body.
func frame(head byte, body []byte) []byte {
	return append(appendVarint([]byte{head}, uint32(len(body))), body...)
}

// decodeWhole decodes one whole packet as a broker would.
func decodeWhole(b []byte, v Version, l Limits) (any, error) {
	splitter := Split
	if v == V31 {
		splitter = SplitV31
	}
	head, body, n, need, err := splitter(b, 0)
	if err != nil {
		return nil, err
	}
	if n != len(b) || need != n {
		return nil, errors.New("not one whole packet")
	}
	switch t := TypeOf(head); t {
	case CONNECT:
		return DecodeConnect(body, l)
	case PUBLISH:
		var p Publish
		err := p.Decode(head, body, v, l)
		return &p, err
	case PUBACK, PUBREC, PUBREL, PUBCOMP:
		return DecodeAck(t, body, v, Limits{})
	case SUBSCRIBE:
		return DecodeSubscribe(body, v, l)
	case UNSUBSCRIBE:
		return DecodeUnsubscribe(body, v, l)
	case PINGREQ:
		return nil, DecodeEmpty(body)
	case DISCONNECT:
		return DecodeDisconnect(body, v)
	case AUTH:
		return DecodeAuth(body)
	}
	return nil, Refuse(ProtocolError, "a packet that only servers send")
}

// A refusalCase is a packet and the code it is refused with, Success if it is not.
type refusalCase struct {
	statement string
	version   Version
	head      byte
	body      string
	want      Code
}

func checkRefusals(t *testing.T, cases []refusalCase) {
	t.Helper()
	for _, c := range cases {
		_, err := decodeWhole(frame(c.head, wire(c.body)), c.version, Limits{MaxUserProperties: 2})
		if got := codeOf(t, err); got != c.want {
			t.Errorf("%s, MQTT %v: % x: got %v (%v), want %v", c.statement, c.version, wire(c.body), got, err, c.want)
		}
	}
}

// codeOf is the code of a Refusal, Success for nil.
func codeOf(t *testing.T, err error) Code {
	t.Helper()
	if err == nil {
		return Success
	}
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("not a Refusal: %v", err)
	}
	return r.Code
}

func TestConnectRefusals(t *testing.T) {
	checkRefusals(t, []refusalCase{
		{"plain", V5, 0x10, `s:MQTT 05 02 000a 00 s:c`, Success},
		{"plain", V311, 0x10, `s:MQTT 04 02 000a s:c`, Success},
		{"plain", V31, 0x10, `s:MQIsdp 03 02 000a s:c`, Success},
		{"[MQTT5-3.1.2-1] name", V5, 0x10, `s:MQTU 05 02 000a 00 s:c`, UnsupportedProtocolVersion},
		{"[MQTT5-3.1.2-1] empty name", V5, 0x10, `0000 05 02 000a 00 s:c`, UnsupportedProtocolVersion},
		{"[MQTT5-3.1.2-2] level 6", V5, 0x10, `s:MQTT 06 02 000a 00 s:c`, UnsupportedProtocolVersion},
		{"[MQTT311-3.1.2-2] level 3 is MQIsdp's", V311, 0x10, `s:MQTT 03 02 000a s:c`, UnsupportedProtocolVersion},
		{"[MQTT311-3.1.2-2] MQIsdp 4", V31, 0x10, `s:MQIsdp 04 02 000a s:c`, UnsupportedProtocolVersion},
		{"[MQTT5-3.1.2-3] reserved flag", V5, 0x10, `s:MQTT 05 03 000a 00 s:c`, MalformedPacket},
		{"[MQTT311-3.1.2-3] reserved flag", V311, 0x10, `s:MQTT 04 03 000a s:c`, MalformedPacket},
		{"MQTT 3.1: bit 0 is not used", V31, 0x10, `s:MQIsdp 03 03 000a s:c`, Success},
		{"[MQTT5-2.1.3-1] header flags", V5, 0x11, `s:MQTT 05 02 000a 00 s:c`, MalformedPacket},
		{"[MQTT5-3.1.2-11] will QoS without will", V5, 0x10, `s:MQTT 05 0a 000a 00 s:c`, ProtocolError},
		{"[MQTT311-3.1.2-13] will QoS without will", V311, 0x10, `s:MQTT 04 0a 000a s:c`, ProtocolError},
		{"[MQTT5-3.1.2-13] will retain without will", V5, 0x10, `s:MQTT 05 22 000a 00 s:c`, ProtocolError},
		{"[MQTT311-3.1.2-15] will retain without will", V311, 0x10, `s:MQTT 04 22 000a s:c`, ProtocolError},
		{"MQTT 3.1: unused will flags", V31, 0x10, `s:MQIsdp 03 22 000a s:c`, Success},
		{"[MQTT5-3.1.2-12] will QoS 3", V5, 0x10, `s:MQTT 05 1e 000a 00 s:c 00 s:w s:p`, MalformedPacket},
		{"[MQTT311-3.1.2-14] will QoS 3", V311, 0x10, `s:MQTT 04 1e 000a s:c s:w s:p`, MalformedPacket},
		{"will QoS 3", V31, 0x10, `s:MQIsdp 03 1e 000a s:c s:w s:p`, MalformedPacket},
		{"[MQTT5-3.1.3-3] no client identifier", V5, 0x10, `s:MQTT 05 02 000a 00`, MalformedPacket},
		{"[MQTT5-3.1.3-6] empty client identifier", V5, 0x10, `s:MQTT 05 02 000a 00 0000`, Success},
		{"[MQTT311-3.1.3-8] is for the broker", V311, 0x10, `s:MQTT 04 00 000a 0000`, Success},
		{"[MQTT5-3.1.3-4] U+0000 in client identifier", V5, 0x10, `s:MQTT 05 02 000a 00 0002 6300`, MalformedPacket},
		{"[MQTT5-1.5.4-1] surrogate in client identifier", V5, 0x10, `s:MQTT 05 02 000a 00 0003 eda080`, MalformedPacket},
		{"[MQTT311-1.5.3-1] invalid UTF-8", V311, 0x10, `s:MQTT 04 02 000a 0001 ff`, MalformedPacket},
		{"[MQTT5-1.5.4-3] byte order mark", V5, 0x10, `s:MQTT 05 02 000a 00 0003 efbbbf`, Success},
		{"noncharacter and control characters", V5, 0x10, `s:MQTT 05 02 000a 00 0005 efbfbf 01 7f`, Success},
		{"[MQTT5-3.1.2-9] no will", V5, 0x10, `s:MQTT 05 06 000a 00 s:c`, MalformedPacket},
		{"[MQTT5-3.1.2-9] no will topic", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 00`, MalformedPacket},
		{"[MQTT5-3.1.2-9] no will payload", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 00 s:w`, MalformedPacket},
		{"[MQTT311-3.1.2-9] no will payload", V311, 0x10, `s:MQTT 04 06 000a s:c s:w`, MalformedPacket},
		{"empty will payload", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 00 s:w 0000`, Success},
		{"empty will payload", V311, 0x10, `s:MQTT 04 06 000a s:c s:w 0000`, Success},
		{"[MQTT5-4.7.3-1] empty will topic", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 00 0000 s:p`, TopicNameInvalid},
		{"[MQTT5-3.3.2-2] wildcard in will topic", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 00 s:a/# s:p`, TopicNameInvalid},
		{"[MQTT311-3.3.2-2] wildcard in will topic", V311, 0x10, `s:MQTT 04 06 000a s:c s:+ s:p`, TopicNameInvalid},
		{"[MQTT5-3.1.3-11] will topic", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 00 0001 ff s:p`, MalformedPacket},
		{"[MQTT5-3.1.2-16] user name without flag", V5, 0x10, `s:MQTT 05 02 000a 00 s:c s:u`, MalformedPacket},
		{"[MQTT5-3.1.2-17] no user name", V5, 0x10, `s:MQTT 05 82 000a 00 s:c`, MalformedPacket},
		{"[MQTT311-3.1.2-19] no user name", V311, 0x10, `s:MQTT 04 82 000a s:c`, MalformedPacket},
		{"MQTT 3.1: the length takes precedence", V31, 0x10, `s:MQIsdp 03 c2 000a s:c`, Success},
		{"MQTT 3.1: password missing", V31, 0x10, `s:MQIsdp 03 c2 000a s:c s:u`, Success},
		{"MQTT 3.1: user name cut short", V31, 0x10, `s:MQIsdp 03 c2 000a s:c 0005 75`, MalformedPacket},
		{"[MQTT5-3.1.3-12] user name", V5, 0x10, `s:MQTT 05 82 000a 00 s:c 0001 ff`, MalformedPacket},
		{"[MQTT311-3.1.3-11] user name", V311, 0x10, `s:MQTT 04 82 000a s:c 0002 7500`, MalformedPacket},
		{"empty user name", V311, 0x10, `s:MQTT 04 82 000a s:c 0000`, Success},
		{"[MQTT5-3.1.2-18] password without flag", V5, 0x10, `s:MQTT 05 82 000a 00 s:c s:u s:p`, MalformedPacket},
		{"[MQTT5-3.1.2-19] no password", V5, 0x10, `s:MQTT 05 c2 000a 00 s:c s:u`, MalformedPacket},
		{"MQTT 5, 3.1.2.9: password alone", V5, 0x10, `s:MQTT 05 42 000a 00 s:c s:p`, Success},
		{"[MQTT311-3.1.2-22] password alone", V311, 0x10, `s:MQTT 04 42 000a s:c s:p`, ProtocolError},
		{"password is binary", V311, 0x10, `s:MQTT 04 c2 000a s:c s:u 0002 00ff`, Success},
		{"empty password", V311, 0x10, `s:MQTT 04 c2 000a s:c s:u 0000`, Success},
		{"trailing bytes", V311, 0x10, `s:MQTT 04 02 000a s:c 00`, MalformedPacket},
	})
}

func TestConnectPropertyRefusals(t *testing.T) {
	connect := func(statement, properties string, want Code) refusalCase {
		p := wire(properties)
		body := `s:MQTT 05 02 000a ` + hex.EncodeToString(appendVarint(nil, uint32(len(p)))) + ` ` + properties + ` s:c`
		return refusalCase{statement, V5, 0x10, body, want}
	}
	checkRefusals(t, []refusalCase{
		connect("all", `11 00000005 21 0001 27 00000064 22 0009 19 01 17 00 26 s:k s:v 15 s:m 16 s:d`, Success),
		connect("3.1.2.11.2 twice", `11 00000005 11 00000005`, ProtocolError),
		connect("3.1.2.11.3 zero", `21 0000`, ProtocolError),
		connect("3.1.2.11.3 twice", `21 0001 21 0001`, ProtocolError),
		connect("3.1.2.11.4 zero", `27 00000000`, ProtocolError),
		connect("3.1.2.11.4 twice", `27 00000001 27 00000001`, ProtocolError),
		connect("3.1.2.11.5 zero", `22 0000`, Success),
		connect("3.1.2.11.5 twice", `22 0001 22 0001`, ProtocolError),
		connect("3.1.2.11.6 value", `19 02`, ProtocolError),
		connect("3.1.2.11.6 twice", `19 01 19 01`, ProtocolError),
		connect("3.1.2.11.7 value", `17 02`, ProtocolError),
		connect("3.1.2.11.7 twice", `17 01 17 01`, ProtocolError),
		connect("3.1.2.11.8 names may repeat", `26 s:k s:v 26 s:k s:v`, Success),
		connect("limit of user properties", `26 s:k s:v 26 s:k s:v 26 s:k s:v`, QuotaExceeded),
		connect("3.1.2.11.9 twice", `15 s:m 15 s:m`, ProtocolError),
		connect("3.1.2.11.10 without method", `16 s:d`, ProtocolError),
		connect("3.1.2.11.10 twice", `15 s:m 16 s:d 16 s:d`, ProtocolError),
		connect("[MQTT5-1.5.7-1] key", `26 0001 ff s:v`, MalformedPacket),
		connect("[MQTT5-1.5.7-1] value", `26 s:k 0001 00`, MalformedPacket),
		connect("2.2.2.2 unknown", `04 00`, MalformedPacket),
		connect("2.2.2.2 of two bytes", `8001 00`, MalformedPacket),
		connect("[MQTT5-1.5.5-1] identifier not minimal", `9100 00000005`, MalformedPacket),
		connect("2.2.2.2 wrong packet", `23 0001`, MalformedPacket),
		connect("2.2.2.2 of CONNACK", `24 01`, MalformedPacket),
		connect("value cut short", `11 0000`, MalformedPacket),
		connect("value missing", `26 s:k`, MalformedPacket),
		{"[MQTT5-1.5.5-1] property length not minimal", V5, 0x10, `s:MQTT 05 02 000a 8000 s:c`, MalformedPacket},
		{"[MQTT5-2.2.2-1] no property length", V5, 0x10, `s:MQTT 05 02 000a`, MalformedPacket},
		{"property length over the end", V5, 0x10, `s:MQTT 05 02 000a 7f s:c`, MalformedPacket},
		{"will: all", V5, 0x10,
			`s:MQTT 05 06 000a 00 s:c 18 18 00000001 01 01 02 00000001 03 s:t 08 s:r 09 s:c s:w s:p`, Success},
		{"3.1.3.2.2 twice", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 0a 18 00000001 18 00000001 s:w s:p`, ProtocolError},
		{"3.1.3.2.3 value", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 02 01 02 s:w s:p`, ProtocolError},
		{"3.1.3.2.3 twice", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 04 01 01 01 01 s:w s:p`, ProtocolError},
		{"3.1.3.2.4 twice", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 0a 02 00000001 02 00000001 s:w s:p`, ProtocolError},
		{"3.1.3.2.5 twice", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 08 03 s:t 03 s:t s:w s:p`, ProtocolError},
		{"3.1.3.2.6 twice", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 08 08 s:t 08 s:t s:w s:p`, ProtocolError},
		{"3.1.3.2.7 twice", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 08 09 s:t 09 s:t s:w s:p`, ProtocolError},
		{"alias in a will", V5, 0x10, `s:MQTT 05 06 000a 00 s:c 03 23 0001 s:w s:p`, MalformedPacket},
		{"user properties of connection and will together", V5, 0x10,
			`s:MQTT 05 06 000a 07 26 s:k s:v s:c 0e 26 s:k s:v 26 s:k s:v s:w s:p`, QuotaExceeded},
	})
}

func TestPublishRefusals(t *testing.T) {
	checkRefusals(t, []refusalCase{
		{"plain", V5, 0x30, `s:t 00 "x"`, Success},
		{"plain", V311, 0x30, `s:t "x"`, Success},
		{"empty payload", V5, 0x31, `s:t 00`, Success},
		{"[MQTT5-3.3.1-4] QoS 3", V5, 0x36, `s:t 0001 00`, MalformedPacket},
		{"[MQTT311-3.3.1-4] QoS 3", V311, 0x36, `s:t 0001`, MalformedPacket},
		{"QoS 3", V31, 0x36, `s:t 0001`, MalformedPacket},
		{"[MQTT5-3.3.1-2] DUP with QoS 0", V5, 0x38, `s:t 00`, MalformedPacket},
		{"[MQTT311-3.3.1-2] DUP with QoS 0", V311, 0x38, `s:t`, MalformedPacket},
		{"MQTT 3.1 does not forbid it", V31, 0x38, `s:t`, Success},
		{"3.3.2.1 no topic", V5, 0x30, `0000 00 "x"`, ProtocolError},
		{"[MQTT311-4.7.3-1] no topic", V311, 0x30, `0000 "x"`, ProtocolError},
		{"alias instead of topic", V5, 0x30, `0000 03 23 0001 "x"`, Success},
		{"[MQTT5-3.3.2-8] alias 0", V5, 0x30, `s:t 03 23 0000`, TopicAliasInvalid},
		{"3.3.2.3.4 twice", V5, 0x30, `s:t 06 23 0001 23 0001`, ProtocolError},
		{"[MQTT5-3.3.2-1] UTF-8", V5, 0x30, `0001 ff 00`, MalformedPacket},
		{"[MQTT5-1.5.4-2] U+0000", V5, 0x30, `0003 740000 00`, MalformedPacket},
		{"[MQTT311-1.5.3-2] U+0000", V311, 0x30, `0003 740000`, MalformedPacket},
		{"[MQTT5-1.5.4-1] surrogate", V5, 0x30, `0003 edbfbf 00`, MalformedPacket},
		{"overlong UTF-8", V5, 0x30, `0002 c0af 00`, MalformedPacket},
		{"over U+10FFFF", V5, 0x30, `0004 f4908080 00`, MalformedPacket},
		{"U+2A6D4", V5, 0x30, `0004 f0aa9b94 00`, Success},
		{"no topic length", V5, 0x30, `00`, MalformedPacket},
		{"topic over the end", V5, 0x30, `0005 74`, MalformedPacket},
		{"no packet identifier", V5, 0x32, `s:t 01`, MalformedPacket},
		{"[MQTT5-2.2.1-3] packet identifier 0", V5, 0x32, `s:t 0000 00`, ProtocolError},
		{"[MQTT311-2.3.1-1] packet identifier 0", V311, 0x34, `s:t 0000`, ProtocolError},
		{"[MQTT5-2.2.2-1] no property length", V5, 0x30, `s:t`, MalformedPacket},
		{"all properties", V5, 0x30, `s:t 24 01 01 02 00000001 23 0001 08 s:r 09 s:c 03 s:t 26 s:k s:v 26 s:k s:v "x"`, Success},
		{"3.3.2.3.2 value", V5, 0x30, `s:t 02 01 02`, ProtocolError},
		{"3.3.2.3.2 twice", V5, 0x30, `s:t 04 01 01 01 01`, ProtocolError},
		{"3.3.2.3.3 twice", V5, 0x30, `s:t 0a 02 00000001 02 00000001`, ProtocolError},
		{"3.3.2.3.3 zero", V5, 0x30, `s:t 05 02 00000000`, Success},
		{"[MQTT5-3.3.2-13] response topic", V5, 0x30, `s:t 04 08 0001 ff`, MalformedPacket},
		{"[MQTT5-3.3.2-14] response topic with #", V5, 0x30, `s:t 04 08 s:#`, ProtocolError},
		{"[MQTT5-3.3.2-14] response topic with +", V5, 0x30, `s:t 06 08 s:a/+`, ProtocolError},
		{"[MQTT5-4.7.3-1] empty response topic", V5, 0x30, `s:t 03 08 0000`, ProtocolError},
		{"3.3.2.3.5 twice", V5, 0x30, `s:t 08 08 s:r 08 s:r`, ProtocolError},
		{"3.3.2.3.6 twice", V5, 0x30, `s:t 08 09 s:r 09 s:r`, ProtocolError},
		{"[MQTT5-3.3.4-6] subscription identifier", V5, 0x30, `s:t 02 0b 01`, ProtocolError},
		{"[MQTT5-3.3.2-19] content type", V5, 0x30, `s:t 04 03 0001 ff`, MalformedPacket},
		{"3.3.2.3.9 twice", V5, 0x30, `s:t 08 03 s:r 03 s:r`, ProtocolError},
		{"limit of user properties", V5, 0x30, `s:t 15 26 s:k s:v 26 s:k s:v 26 s:k s:v`, QuotaExceeded},
		{"2.2.2.2 of CONNECT", V5, 0x30, `s:t 05 11 00000001`, MalformedPacket},
		{"2.2.2.2 of the will", V5, 0x30, `s:t 05 18 00000001`, MalformedPacket},
		{"properties over the end", V5, 0x30, `s:t 05 02 000000`, MalformedPacket},
		{"wildcards are for the broker", V5, 0x30, `s:+/# 00`, Success},
	})
}

func TestAckRefusals(t *testing.T) {
	var cases []refusalCase
	for _, head := range []byte{0x40, 0x50, 0x62, 0x70} {
		add := func(statement string, v Version, head byte, body string, want Code) {
			cases = append(cases, refusalCase{TypeOf(head).String() + " " + statement, v, head, body, want})
		}
		add("plain", V5, head, `0001`, Success)
		add("plain", V311, head, `0001`, Success)
		add("plain", V31, head, `0001`, Success)
		add("with code", V5, head, `0001 00`, Success)
		add("with properties", V5, head, `0001 00 0b 1f s:r 26 s:k s:v`, Success)
		add("empty", V5, head, ``, MalformedPacket)
		add("cut short", V5, head, `00`, MalformedPacket)
		add("packet identifier 0", V5, head, `0000`, ProtocolError)
		add("packet identifier 0", V311, head, `0000`, ProtocolError)
		add("no code in MQTT 3.1.1", V311, head, `0001 00`, MalformedPacket)
		add("unknown code", V5, head, `0001 ff`, ProtocolError)
		add("code of another packet", V5, head, `0001 8e`, ProtocolError)
		add("trailing bytes", V5, head, `0001 00 00 00`, MalformedPacket)
		add("reason string twice", V5, head, `0001 00 08 1f s:r 1f s:r`, ProtocolError)
		add("reason string not UTF-8", V5, head, `0001 00 04 1f 0001 ff`, MalformedPacket)
		add("property of another packet", V5, head, `0001 00 05 11 00000001`, MalformedPacket)
		add("properties over the end", V5, head, `0001 00 05 1f`, MalformedPacket)
		add("[MQTT5-2.1.3-1] header flags", V5, head^1, `0001`, MalformedPacket)
		add("[MQTT311-2.2.2-2] header flags", V311, head^8, `0001`, MalformedPacket)
		add("MQTT 3.1: DUP", V31, head|8, `0001`, Success)
	}
	checkRefusals(t, cases)
}

// The reason codes of each acknowledgement are those of its table, and no other.
// [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1] [MQTT5-3.14.2-1] [MQTT5-3.15.2-1]
func TestReasonCodesAllowed(t *testing.T) {
	publish := []byte{0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
	release := []byte{0x00, 0x92}
	allowed := map[Type][]byte{
		PUBACK: publish, PUBREC: publish, PUBREL: release, PUBCOMP: release,
		DISCONNECT: {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99},
		AUTH:       {0x18, 0x19},
	}
	for typ, codes := range allowed {
		for code := range 256 {
			body := []byte{0, 1, byte(code)}
			switch typ {
			case DISCONNECT:
				body = []byte{byte(code)}
			case AUTH:
				body = append([]byte{byte(code)}, wire(`04 15 s:m`)...)
			}
			_, err := decodeWhole(frame(byte(typ)<<4|headFlags[typ], body), V5, Limits{})
			want := ProtocolError
			if strings.IndexByte(string(codes), byte(code)) >= 0 {
				want = Success
			}
			if got := codeOf(t, err); got != want {
				t.Errorf("%v with code 0x%02x: got %v, want %v", typ, code, got, want)
			}
		}
	}
}

func TestSubscribeRefusals(t *testing.T) {
	checkRefusals(t, []refusalCase{
		{"plain", V5, 0x82, `0001 00 s:f 00 s:g 2e`, Success},
		{"plain", V311, 0x82, `0001 s:f 00 s:g 02`, Success},
		{"[MQTT5-3.8.1-1] header flags", V5, 0x80, `0001 00 s:f 00`, MalformedPacket},
		{"[MQTT311-3.8.1-1] header flags", V311, 0x8a, `0001 s:f 00`, MalformedPacket},
		{"MQTT 3.1: DUP", V31, 0x8a, `0001 s:f 00`, Success},
		{"[MQTT5-2.2.1-3] packet identifier 0", V5, 0x82, `0000 00 s:f 00`, ProtocolError},
		{"[MQTT5-3.8.3-2] no filter", V5, 0x82, `0001 00`, ProtocolError},
		{"[MQTT311-3.8.3-3] no filter", V311, 0x82, `0001`, ProtocolError},
		{"[MQTT5-3.8.3-1] UTF-8", V5, 0x82, `0001 00 0001 ff 00`, MalformedPacket},
		{"[MQTT5-4.7.3-1] empty filter", V5, 0x82, `0001 00 0000 00`, MalformedPacket},
		{"[MQTT311-4.7.3-1] empty filter", V311, 0x82, `0001 s:f 00 0000 00`, MalformedPacket},
		{"no options", V5, 0x82, `0001 00 s:f`, MalformedPacket},
		{"no options for the second", V311, 0x82, `0001 s:f 00 s:g`, MalformedPacket},
		{"filter over the end", V5, 0x82, `0001 00 0009 66`, MalformedPacket},
		{"trailing byte", V5, 0x82, `0001 00 s:f 00 00`, MalformedPacket},
		{"3.8.3.1 QoS 3", V5, 0x82, `0001 00 s:f 03`, ProtocolError},
		{"[MQTT311-3-8.3-4] QoS 3", V311, 0x82, `0001 s:f 03`, MalformedPacket},
		{"[MQTT311-3-8.3-4] reserved", V311, 0x82, `0001 s:f 04`, MalformedPacket},
		{"3.8.3.1 retain handling 3", V5, 0x82, `0001 00 s:f 30`, ProtocolError},
		{"[MQTT5-3.8.3-5] bit 6", V5, 0x82, `0001 00 s:f 40`, MalformedPacket},
		{"[MQTT5-3.8.3-5] bit 7", V5, 0x82, `0001 00 s:f 80`, MalformedPacket},
		{"[MQTT5-3.8.3-4] no local, shared", V5, 0x82, `0001 00 s:$share/g/f 04`, ProtocolError},
		{"no local, not shared", V5, 0x82, `0001 00 s:$shared 04`, Success},
		{"3.8.2.1.2 zero", V5, 0x82, `0001 02 0b 00 s:f 00`, ProtocolError},
		{"3.8.2.1.2 twice", V5, 0x82, `0001 04 0b 01 0b 01 s:f 00`, ProtocolError},
		{"3.8.2.1.2 largest", V5, 0x82, `0001 05 0b ffffff7f s:f 00`, Success},
		{"3.8.2.1.2 five bytes", V5, 0x82, `0001 06 0b 8080808001 s:f 00`, MalformedPacket},
		{"[MQTT5-1.5.5-1] not minimal", V5, 0x82, `0001 03 0b 8100 s:f 00`, MalformedPacket},
		{"limit of user properties", V5, 0x82, `0001 15 26 s:k s:v 26 s:k s:v 26 s:k s:v s:f 00`, QuotaExceeded},
		{"2.2.2.2 reason string", V5, 0x82, `0001 04 1f s:r s:f 00`, MalformedPacket},
		{"no property length", V5, 0x82, `0001`, MalformedPacket},
		{"empty", V5, 0x82, ``, MalformedPacket},
	})
}

func TestUnsubscribeRefusals(t *testing.T) {
	checkRefusals(t, []refusalCase{
		{"plain", V5, 0xa2, `0001 00 s:f s:g`, Success},
		{"user property", V5, 0xa2, `0001 07 26 s:k s:v s:f`, Success},
		{"plain", V311, 0xa2, `0001 s:f`, Success},
		{"[MQTT5-3.10.1-1] header flags", V5, 0xa0, `0001 00 s:f`, MalformedPacket},
		{"[MQTT5-2.2.1-3] packet identifier 0", V5, 0xa2, `0000 00 s:f`, ProtocolError},
		{"[MQTT5-3.10.3-2] no filter", V5, 0xa2, `0001 00`, ProtocolError},
		{"[MQTT311-3.10.3-2] no filter", V311, 0xa2, `0001`, ProtocolError},
		{"[MQTT5-3.10.3-1] UTF-8", V5, 0xa2, `0001 00 0001 00`, MalformedPacket},
		{"[MQTT5-4.7.3-1] empty filter", V5, 0xa2, `0001 00 0000`, MalformedPacket},
		{"trailing byte", V5, 0xa2, `0001 00 s:f 00`, MalformedPacket},
		{"2.2.2.2 subscription identifier", V5, 0xa2, `0001 02 0b 01 s:f`, MalformedPacket},
	})
}

func TestDisconnectRefusals(t *testing.T) {
	checkRefusals(t, []refusalCase{
		{"plain", V5, 0xe0, ``, Success},
		{"plain", V311, 0xe0, ``, Success},
		{"all properties", V5, 0xe0, `00 14 11 00000005 1f s:r 26 s:k s:v 1c s:x`, Success},
		{"[MQTT5-3.14.1-1] header flags", V5, 0xe1, ``, MalformedPacket},
		{"[MQTT311-3.14.1-1] header flags", V311, 0xe8, ``, MalformedPacket},
		{"MQTT 3.1.1 has no code", V311, 0xe0, `00`, MalformedPacket},
		{"3.14.2.2.2 twice", V5, 0xe0, `00 0a 11 00000005 11 00000005`, ProtocolError},
		{"3.14.2.2.3 twice", V5, 0xe0, `00 08 1f s:r 1f s:r`, ProtocolError},
		{"3.14.2.2.5 twice", V5, 0xe0, `00 08 1c s:r 1c s:r`, ProtocolError},
		{"cut short", V5, 0xe0, `00 05 11 0000`, MalformedPacket},
		{"trailing byte", V5, 0xe0, `00 00 00`, MalformedPacket},
		{"2.2.2.2", V5, 0xe0, `00 03 21 0001`, MalformedPacket},
	})
}

func TestAuthRefusals(t *testing.T) {
	checkRefusals(t, []refusalCase{
		{"plain", V5, 0xf0, `18 04 15 s:m`, Success},
		{"all properties", V5, 0xf0, `19 13 15 s:m 16 s:d 1f s:r 26 s:k s:v`, Success},
		{"[MQTT5-3.15.1-1] header flags", V5, 0xf1, `18 04 15 s:m`, MalformedPacket},
		{"3.15.2.1 empty is success, from servers only", V5, 0xf0, ``, ProtocolError},
		{"3.15.2.2.2 no method", V5, 0xf0, `18 00`, ProtocolError},
		{"3.15.2.2.2 method twice", V5, 0xf0, `18 08 15 s:m 15 s:m`, ProtocolError},
		{"3.15.2.2.3 data twice", V5, 0xf0, `18 0c 15 s:m 16 s:d 16 s:d`, ProtocolError},
		{"no property length", V5, 0xf0, `18`, MalformedPacket},
		{"method not UTF-8", V5, 0xf0, `18 04 15 0001 ff`, MalformedPacket},
		{"trailing byte", V5, 0xf0, `18 04 15 s:m 00`, MalformedPacket},
	})
}

func TestPingreqRefusals(t *testing.T) {
	checkRefusals(t, []refusalCase{
		{"plain", V5, 0xc0, ``, Success},
		{"[MQTT5-2.1.3-1] header flags", V5, 0xc1, ``, MalformedPacket},
		{"not empty", V5, 0xc0, `00`, MalformedPacket},
	})
}

// Wherever a valid packet is cut, with a remaining length that fits the rest, it is refused as malformed or as
// a protocol error, or is valid by itself because what is missing may be omitted.
func TestTruncatedAnywhere(t *testing.T) {
	optional := map[string]bool{ // what a prefix of the bodies below may validly be
		"40 0001": true, "40 000100": true, "e0 ": true, "e0 00": true,
	}
	cases := []refusalCase{
		{"", V5, 0x10, `s:MQTT 05 f6 000a 05 11 00000005 s:c 07 26 s:k s:v s:w s:p s:u s:p`, Success},
		{"", V311, 0x10, `s:MQTT 04 f6 000a s:c s:w s:p s:u s:p`, Success},
		{"", V5, 0x40, `0001 00 04 1f s:r`, Success},
		{"", V5, 0x82, `0001 02 0b 05 s:f 00`, Success},
		{"", V311, 0x82, `0001 s:f 00`, Success},
		{"", V5, 0xa2, `0001 07 26 s:k s:v s:f`, Success},
		{"", V5, 0xe0, `00 05 11 00000005`, Success},
		{"", V5, 0xf0, `18 04 15 s:m`, Success},
	}
	checkRefusals(t, cases)
	for _, c := range cases {
		body := wire(c.body)
		for n := range body {
			_, err := decodeWhole(frame(c.head, body[:n]), c.version, Limits{})
			ok := optional[hex.EncodeToString([]byte{c.head})+" "+hex.EncodeToString(body[:n])]
			if got := codeOf(t, err); (got == Success) != ok || !ok && got != MalformedPacket && got != ProtocolError {
				t.Errorf("%v cut after % x: got %v", TypeOf(c.head), body[:n], got)
			}
		}
	}
}
