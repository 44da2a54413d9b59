package packet

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// foreign encodes a packet with mochi's encoder and returns its bytes.
func foreign(t *testing.T, v Version, typ Type, pk packets.Packet, with func(*packets.Packet, *bytes.Buffer) error) []byte {
	t.Helper()
	pk.ProtocolVersion = byte(v)
	pk.FixedHeader.Type = byte(typ)
	if headFlags[typ] == 2 {
		pk.FixedHeader.Qos = 1 // how mochi writes the reserved flags 0010
	}
	pk.Mods.AllowResponseInfo = true
	var buf bytes.Buffer
	if err := with(&pk, &buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// understood decodes a packet of ours with mochi's decoder.
func understood(t *testing.T, v Version, b []byte, with func(*packets.Packet, []byte) error) packets.Packet {
	t.Helper()
	pk := packets.Packet{ProtocolVersion: byte(v)}
	if err := pk.FixedHeader.Decode(b[0]); err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	remaining, width := varint(b[1:])
	pk.FixedHeader.Remaining = int(remaining)
	if int(remaining) != len(b)-1-width {
		t.Fatalf("% x: remaining length %d of %d", b, remaining, len(b)-1-width)
	}
	if err := with(&pk, b[1+width:]); err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	return pk
}

func mochiUser(user []UserProperty) []packets.UserProperty {
	var all []packets.UserProperty
	for _, u := range user {
		all = append(all, packets.UserProperty{Key: u.Key, Val: u.Value})
	}
	return all
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestConnectFromMochi(t *testing.T) {
	user := []UserProperty{{"k", "v"}, {"k", ""}}
	want := Connect{
		ProtocolName: "MQTT", Version: V5, CleanStart: true, KeepAlive: 30, ClientID: "client",
		Username: "user", HasUsername: true, Password: []byte{0, 255}, HasPassword: true,
		SessionExpiry: 7, HasSessionExpiry: true, ReceiveMaximum: 8, MaximumPacketSize: 9, TopicAliasMaximum: 10,
		RequestResponseInfo: true, RequestProblemInfo: false, AuthMethod: "m", HasAuthMethod: true,
		AuthData: []byte("d"), User: user,
		Will: &Will{
			Topic: "w", Payload: []byte("p"), QoS: 2, Retain: true, DelayInterval: 11, Expiry: 12, HasExpiry: true,
			PayloadFormat: 1, Properties: wire(`01 01 03 s:ct 08 s:rt 09 s:cd 26 s:k s:v 26 s:k 0000`),
		},
	}
	pk := packets.Packet{
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), Clean: true, Keepalive: 30, ClientIdentifier: "client",
			UsernameFlag: true, Username: []byte("user"), PasswordFlag: true, Password: []byte{0, 255},
			WillFlag: true, WillTopic: "w", WillPayload: []byte("p"), WillQos: 2, WillRetain: true,
			WillProperties: packets.Properties{
				WillDelayInterval: 11, MessageExpiryInterval: 12, PayloadFormat: 1, PayloadFormatFlag: true,
				ContentType: "ct", ResponseTopic: "rt", CorrelationData: []byte("cd"), User: mochiUser(user),
			},
		},
		Properties: packets.Properties{
			SessionExpiryInterval: 7, SessionExpiryIntervalFlag: true, ReceiveMaximum: 8, MaximumPacketSize: 9,
			TopicAliasMaximum: 10, RequestResponseInfo: 1, RequestProblemInfoFlag: true,
			AuthenticationMethod: "m", AuthenticationData: []byte("d"), User: mochiUser(user),
		},
	}
	// mochi puts the expiry of a will behind the payload format; the gathered properties leave it out.
	got, err := decodeWhole(foreign(t, V5, CONNECT, pk, (*packets.Packet).ConnectEncode), V5, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "MQTT 5", *got.(*Connect), want)

	old := want
	old.Version, old.ReceiveMaximum, old.RequestProblemInfo = V311, 65535, true
	old.SessionExpiry, old.HasSessionExpiry, old.MaximumPacketSize, old.TopicAliasMaximum = 0, false, 0, 0
	old.RequestResponseInfo, old.AuthMethod, old.HasAuthMethod, old.AuthData, old.User = false, "", false, nil, nil
	old.Will = &Will{Topic: "w", Payload: []byte("p"), QoS: 2, Retain: true}
	got, err = decodeWhole(foreign(t, V311, CONNECT, pk, (*packets.Packet).ConnectEncode), V311, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "MQTT 3.1.1", *got.(*Connect), old)
}

// Nothing that DecodeConnect returns changes when the read buffer is used again.
func TestConnectSharesNothing(t *testing.T) {
	body := wire(`s:MQTT 05 c6 000a 0f 26 s:k s:v 15 s:m 16 s:d s:c 07 26 s:k s:v s:w s:p s:u s:p`)
	decode := func(b []byte) *Connect {
		c, err := DecodeConnect(b, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	got := decode(body)
	want := decode(bytes.Clone(body))
	clear(body)
	wantEqual(t, "after the buffer was cleared", got, want)
}

func TestSubscribeFromMochi(t *testing.T) {
	pk := packets.Packet{
		PacketID: 77,
		Filters: packets.Subscriptions{
			{Filter: "a/+", Qos: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 2},
			{Filter: "b", Qos: 2},
		},
		Properties: packets.Properties{SubscriptionIdentifier: []int{300}, User: []packets.UserProperty{{Key: "k", Val: "v"}}},
	}
	got, err := decodeWhole(foreign(t, V5, SUBSCRIBE, pk, (*packets.Packet).SubscribeEncode), V5, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "MQTT 5", got, &Subscribe{
		ID: 77, SubscriptionID: 300, User: []UserProperty{{"k", "v"}},
		Subscriptions: []Subscription{{"a/+", 1, true, true, 2}, {Filter: "b", QoS: 2}},
	})
	got, err = decodeWhole(foreign(t, V311, SUBSCRIBE, pk, (*packets.Packet).SubscribeEncode), V311, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "MQTT 3.1.1", got, &Subscribe{
		ID: 77, Subscriptions: []Subscription{{Filter: "a/+", QoS: 1}, {Filter: "b", QoS: 2}},
	})
}

func TestUnsubscribeFromMochi(t *testing.T) {
	pk := packets.Packet{PacketID: 77, Filters: packets.Subscriptions{{Filter: "a/+"}, {Filter: "b"}}}
	for _, v := range []Version{V311, V5} {
		got, err := decodeWhole(foreign(t, v, UNSUBSCRIBE, pk, (*packets.Packet).UnsubscribeEncode), v, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "MQTT "+v.String(), got, &Unsubscribe{ID: 77, Filters: []string{"a/+", "b"}})
	}
}

func TestDisconnectFromMochi(t *testing.T) {
	pk := packets.Packet{ReasonCode: 4, Properties: packets.Properties{
		SessionExpiryInterval: 5, SessionExpiryIntervalFlag: true, ReasonString: "why",
	}}
	got, err := decodeWhole(foreign(t, V5, DISCONNECT, pk, (*packets.Packet).DisconnectEncode), V5, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "MQTT 5", got, Disconnect{Code: DisconnectWithWill, SessionExpiry: 5, HasSessionExpiry: true, Reason: "why"})
}

func TestAuthBothWays(t *testing.T) {
	b := AppendAuth(nil, ContinueAuthentication, "m", []byte("d"), "why")
	got, err := decodeWhole(b, V5, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "ours", got, Auth{Code: ContinueAuthentication, Method: "m", Data: []byte("d"), HasData: true, Reason: "why"})
	pk := understood(t, V5, b, (*packets.Packet).AuthDecode)
	if pk.ReasonCode != 0x18 || pk.Properties.AuthenticationMethod != "m" || string(pk.Properties.AuthenticationData) != "d" {
		t.Errorf("mochi reads %+v", pk)
	}
}

func TestAcksBothWays(t *testing.T) {
	decoders := map[Type]func(*packets.Packet, []byte) error{
		PUBACK: (*packets.Packet).PubackDecode, PUBREC: (*packets.Packet).PubrecDecode,
		PUBREL: (*packets.Packet).PubrelDecode, PUBCOMP: (*packets.Packet).PubcompDecode,
	}
	for typ, decode := range decoders {
		code := QuotaExceeded
		if typ == PUBREL || typ == PUBCOMP {
			code = PacketIdentifierNotFound
		}
		for _, reason := range []string{"", "why"} {
			for _, c := range []Code{Success, code} {
				b := AppendAck(nil, typ, V5, Ack{ID: 0x1234, Code: c, Reason: reason})
				pk := understood(t, V5, b, decode)
				if pk.PacketID != 0x1234 || Code(pk.ReasonCode) != c || pk.Properties.ReasonString != reason {
					t.Errorf("%v %v %q: mochi reads %+v from % x", typ, c, reason, pk, b)
				}
				got, err := decodeWhole(b, V5, Limits{})
				if err != nil || !reflect.DeepEqual(got, Ack{ID: 0x1234, Code: c}) {
					t.Errorf("%v %v %q: we read %+v, %v", typ, c, reason, got, err)
				}
			}
		}
		if b := AppendAck(nil, typ, V311, Ack{ID: 1, Code: code, Reason: "why"}); len(b) != 4 {
			t.Errorf("%v for MQTT 3.1.1 carries a code: % x", typ, b)
		}
	}
}

func TestConnackToMochi(t *testing.T) {
	zero, one, expiry, keepAlive := byte(0), byte(1), uint32(0), uint16(0)
	full := Connack{
		SessionPresent: true, SessionExpiry: &expiry, ReceiveMaximum: 10, MaximumQoS: &zero, MaximumPacketSize: 11,
		AssignedClientID: "id", TopicAliasMaximum: 12, Reason: "why", User: []UserProperty{{"k", "v"}},
		ServerKeepAlive: &keepAlive, ResponseInformation: "info", ServerReference: "other",
		AuthMethod: "m", AuthData: []byte("d"),
	}
	pk := understood(t, V5, AppendConnack(nil, V5, &full), (*packets.Packet).ConnackDecode)
	if !pk.SessionPresent || pk.ReasonCode != 0 {
		t.Errorf("present %v, code %d", pk.SessionPresent, pk.ReasonCode)
	}
	wantEqual(t, "properties", pk.Properties, packets.Properties{
		SessionExpiryIntervalFlag: true, ReceiveMaximum: 10, MaximumQosFlag: true,
		RetainAvailableFlag: true, WildcardSubAvailableFlag: true, SubIDAvailableFlag: true, SharedSubAvailableFlag: true,
		MaximumPacketSize: 11, AssignedClientID: "id", TopicAliasMaximum: 12, ReasonString: "why",
		User: []packets.UserProperty{{Key: "k", Val: "v"}}, ServerKeepAliveFlag: true, ResponseInfo: "info",
		ServerReference: "other", AuthenticationMethod: "m", AuthenticationData: []byte("d"),
	})
	small := Connack{RetainAvailable: true, WildcardAvailable: true, SubscriptionIDAvailable: true, SharedAvailable: true}
	wantEqual(t, "what is available is not said", AppendConnack(nil, V5, &small), wire(`20 03 00 00 00`))
	small.MaximumQoS = &one
	wantEqual(t, "maximum QoS 1", AppendConnack(nil, V5, &small), wire(`20 05 00 00 02 24 01`))
	two := byte(2)
	small.MaximumQoS = &two
	wantEqual(t, "maximum QoS 2 is never sent", AppendConnack(nil, V5, &small), wire(`20 03 00 00 00`))
}

// A failure never comes with session present. [MQTT5-3.2.2-6] [MQTT311-3.2.2-4]
func TestConnackFailure(t *testing.T) {
	available := Connack{
		SessionPresent: true, Code: NotAuthorized,
		RetainAvailable: true, WildcardAvailable: true, SubscriptionIDAvailable: true, SharedAvailable: true,
	}
	wantEqual(t, "MQTT 5", AppendConnack(nil, V5, &available), wire(`20 03 00 87 00`))
	for code, want := range map[Code]byte{
		Success: 0, UnsupportedProtocolVersion: 1, ClientIdentifierNotValid: 2, ServerUnavailable: 3,
		ServerBusy: 3, QuotaExceeded: 3, ConnectionRateExceeded: 3, MalformedPacket: 3, TopicNameInvalid: 3,
		BadUserNameOrPassword: 4, NotAuthorized: 5, BadAuthenticationMethod: 5, Banned: 5,
	} {
		present := byte(0)
		if code == Success {
			present = 1
		}
		c := Connack{SessionPresent: true, Code: code}
		wantEqual(t, "MQTT 3.1.1 "+code.String(), AppendConnack(nil, V311, &c), []byte{0x20, 2, present, want})
		wantEqual(t, "MQTT 3.1 "+code.String(), AppendConnack(nil, V31, &c), []byte{0x20, 2, 0, want})
	}
}

func TestSubackAndUnsuback(t *testing.T) {
	codes := []Code{GrantedQoS0, GrantedQoS2, NotAuthorized}
	wantEqual(t, "MQTT 3.1", AppendSuback(nil, V31, 1, codes, "why"), wire(`90 05 0001 00 02 00`))
	wantEqual(t, "MQTT 3.1.1", AppendSuback(nil, V311, 1, codes, "why"), wire(`90 05 0001 00 02 80`)) // [MQTT311-3.9.3-2]
	wantEqual(t, "MQTT 5", AppendSuback(nil, V5, 1, codes, ""), wire(`90 06 0001 00 00 02 87`))
	wantEqual(t, "MQTT 5 with reason", AppendSuback(nil, V5, 1, codes, "r"), wire(`90 0a 0001 04 1f s:r 00 02 87`))
	codes = []Code{Success, NoSubscriptionExisted}
	wantEqual(t, "MQTT 3.1.1", AppendUnsuback(nil, V311, 1, codes, "why"), wire(`b0 02 0001`))
	wantEqual(t, "MQTT 5", AppendUnsuback(nil, V5, 1, codes, ""), wire(`b0 05 0001 00 00 11`))
	for _, n := range []int{1, 2, 124, 125, 16380, 16381} {
		if got, want := AnswerSize(n), len(AppendSuback(nil, V5, 1, make([]Code, n), "")); got != want {
			t.Errorf("AnswerSize(%d) is %d, the packet has %d bytes", n, got, want)
		}
	}
}

func TestDisconnectAndPingresp(t *testing.T) {
	wantEqual(t, "PINGRESP", AppendPingresp(nil), wire(`d0 00`))
	pk := understood(t, V5, AppendDisconnect(nil, UseAnotherServer, "why", "other"), (*packets.Packet).DisconnectDecode)
	if pk.ReasonCode != 0x9c || pk.Properties.ReasonString != "why" || pk.Properties.ServerReference != "other" {
		t.Errorf("mochi reads %+v", pk)
	}
	wantEqual(t, "short", AppendDisconnect([]byte{1}, ServerShuttingDown, "", ""), wire(`01 e0 02 8b 00`))
}

// Text from hooks and errors cannot make a packet malformed.
func TestReasonIsClipped(t *testing.T) {
	long := string(bytes.Repeat([]byte("é"), reasonMax))
	for _, reason := range []string{"a\x00b", "\xff", long, "\x00"} {
		frames := [][]byte{
			AppendConnack(nil, V5, &Connack{Reason: reason}), AppendSuback(nil, V5, 1, []Code{0}, reason),
			AppendUnsuback(nil, V5, 1, []Code{0}, reason), AppendDisconnect(nil, 0, reason, ""),
			AppendAuth(nil, 0, "m", nil, reason), AppendAck(nil, PUBACK, V5, Ack{ID: 1, Code: QuotaExceeded, Reason: reason}),
		}
		for _, b := range frames {
			if remaining, width := varint(b[1:]); int(remaining) != len(b)-1-width {
				t.Errorf("%.8q in %v: not one whole packet: % x", reason, TypeOf(b[0]), b)
			}
			at := bytes.IndexByte(b, byte(propReasonString))
			if (at < 0) != (reason == "\x00") {
				t.Errorf("%.8q in %v: reason string at %d", reason, TypeOf(b[0]), at)
			}
			if at < 0 {
				continue
			}
			r := cursor{rest: b[at+1:]}
			if text := r.text("reason string"); r.err != nil || len(text) == 0 || len(text) > reasonMax {
				t.Errorf("%.8q in %v: %.8q, %v", reason, TypeOf(b[0]), text, r.err)
			}
		}
	}
}
