package packet

import (
	"bytes"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

func decodePublish(t *testing.T, v Version, b []byte) *Publish {
	t.Helper()
	p, err := decodeWhole(b, v, Limits{})
	if err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	return p.(*Publish)
}

func TestPublishFromMochi(t *testing.T) {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Qos: 2, Dup: true, Retain: true}, TopicName: "a/b", PacketID: 77, Payload: []byte("payload"),
		Properties: packets.Properties{
			PayloadFormat: 1, PayloadFormatFlag: true, MessageExpiryInterval: 9, ContentType: "ct", ResponseTopic: "rt",
			CorrelationData: []byte("cd"), TopicAlias: 3, TopicAliasFlag: true, User: []packets.UserProperty{{Key: "k", Val: "v"}},
		},
	}
	p := decodePublish(t, V5, foreign(t, V5, PUBLISH, pk, (*packets.Packet).PublishEncode))
	p.scratch = nil
	wantEqual(t, "MQTT 5", p, &Publish{
		Topic: []byte("a/b"), Payload: []byte("payload"), ID: 77, QoS: 2, Dup: true, Retain: true, Alias: 3, Expiry: 9, HasExpiry: true,
		PayloadFormat: 1, HasPayloadFormat: true, Properties: wire(`01 01 03 s:ct 08 s:rt 09 s:cd 26 s:k s:v`),
	})
	wantEqual(t, "MQTT 3.1.1", decodePublish(t, V311, foreign(t, V311, PUBLISH, pk, (*packets.Packet).PublishEncode)),
		&Publish{Topic: []byte("a/b"), Payload: []byte("payload"), ID: 77, QoS: 2, Dup: true, Retain: true})
}

func TestPublishToMochi(t *testing.T) {
	o := Outgoing{
		Topic: "a/b", Payload: []byte("payload"), QoS: 1, Dup: true, ID: 77, Expiry: 9, HasExpiry: true,
		Properties: wire(`01 01 03 s:ct 26 s:k s:v`), SubscriptionIDs: []uint32{1, 300, remainingLengthMax}, Alias: 3,
	}
	pk := understood(t, V5, AppendPublish(nil, V5, &o), (*packets.Packet).PublishDecode)
	if pk.TopicName != "a/b" || string(pk.Payload) != "payload" || pk.PacketID != 77 || pk.FixedHeader.Qos != 1 || !pk.FixedHeader.Dup {
		t.Errorf("mochi reads %+v", pk)
	}
	wantEqual(t, "properties", pk.Properties, packets.Properties{
		PayloadFormat: 1, PayloadFormatFlag: true, ContentType: "ct", User: []packets.UserProperty{{Key: "k", Val: "v"}},
		MessageExpiryInterval: 9, SubscriptionIdentifier: []int{1, 300, remainingLengthMax}, TopicAlias: 3, TopicAliasFlag: true,
	})
	wantEqual(t, "MQTT 3.1.1", AppendPublish(nil, V311, &o), frame(0x3a, wire(`s:a/b 004d "payload"`)))
	o.OmitTopic = true
	wantEqual(t, "topic omitted", decodePublish(t, V5, AppendPublish(nil, V5, &Outgoing{Topic: "a", Alias: 3, OmitTopic: true})).Topic, []byte{})
	wantEqual(t, "no alias before MQTT 5", AppendPublish(nil, V311, &o), frame(0x3a, wire(`s:a/b 004d "payload"`)))
	wantEqual(t, "QoS 0 has neither id nor DUP", AppendPublish(nil, V311, &Outgoing{Topic: "a", ID: 7, Dup: true}), wire(`30 03 s:a`))
}

// variants are PUBLISH packets of every shape.
func variants(use func(v Version, o Outgoing)) {
	for _, v := range []Version{V31, V311, V5} {
		for qos := range byte(3) {
			for bits := range 32 {
				o := Outgoing{Topic: "sensors/1/temp", Payload: []byte("21.5"), QoS: qos, ID: 0x1234, Expiry: 0x01020304, Retain: bits&1 != 0}
				o.HasExpiry = bits&2 != 0
				if bits&4 != 0 {
					o.Properties = bytes.Repeat(wire(`26 s:k s:v`), 30) // a property length of two bytes
				}
				if bits&8 != 0 {
					o.SubscriptionIDs = []uint32{5}
				}
				if bits&16 != 0 {
					o.Alias, o.OmitTopic = 9, bits&1 != 0
				}
				use(v, o)
			}
		}
	}
}

// Size, header and offsets agree with the whole packet.
func TestPublishSizeHeaderOffsets(t *testing.T) {
	variants(func(v Version, o Outgoing) {
		whole := AppendPublish(nil, v, &o)
		if got := PublishSize(v, &o); got != len(whole) {
			t.Errorf("MQTT %v %+v: size %d, is %d", v, o, got, len(whole))
		}
		wantEqual(t, "header and payload", append(AppendPublishHeader(nil, v, &o), o.Payload...), whole)
		id, expiry := PublishOffsets(v, &o)
		if (id >= 0) != (o.QoS > 0) || (expiry >= 0) != (v == V5 && o.HasExpiry) {
			t.Fatalf("MQTT %v %+v: offsets %d, %d", v, o, id, expiry)
		}
		if id >= 0 && !bytes.Equal(whole[id:id+2], wire(`1234`)) {
			t.Errorf("MQTT %v %+v: no packet identifier at %d in % x", v, o, id, whole)
		}
		if expiry >= 0 && !bytes.Equal(whole[expiry-1:expiry+4], wire(`02 01020304`)) {
			t.Errorf("MQTT %v %+v: no expiry at %d in % x", v, o, expiry, whole)
		}
		if o.QoS > 0 {
			SetDup(whole)
			o.Dup = true
			wantEqual(t, "SetDup", whole, AppendPublish(nil, v, &o))
		}
	})
}

// Forwarded properties keep their bytes and order wherever properties of one hop stand
// between them. [MQTT5-3.3.2-17] [MQTT5-3.3.2-18]
func TestPublishScatteredProperties(t *testing.T) {
	const a, b, c, alias, expiry = `26 s:a s:1`, `26 s:b s:2`, `03 s:t`, `23 0001`, `02 00000005`
	cases := []struct{ all, forwarded string }{
		{``, ``},
		{alias, ``},
		{a, a},
		{a + ` ` + b + ` ` + c, a + ` ` + b + ` ` + c},
		{alias + ` ` + a + ` ` + b, a + ` ` + b},
		{a + ` ` + b + ` ` + alias, a + ` ` + b},
		{a + ` ` + alias + ` ` + b, a + ` ` + b},
		{a + ` ` + alias + ` ` + b + ` ` + expiry + ` ` + c, a + ` ` + b + ` ` + c},
		{alias + ` ` + a + ` ` + expiry + ` ` + b + ` ` + c, a + ` ` + b + ` ` + c},
	}
	var p Publish
	for _, test := range cases {
		props := wire(test.all)
		body := slices.Concat(wire(`s:t`), []byte{byte(len(props))}, props, []byte("payload"))
		if err := p.Decode(0x30, body, V5, Limits{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.Properties, wire(test.forwarded)) || string(p.Payload) != "payload" {
			t.Errorf("%s: forwarded % x, payload %q", test.all, p.Properties, p.Payload)
		}
		_ = append(p.Properties, 0xff)
		if !bytes.HasSuffix(body, []byte("payload")) {
			t.Errorf("%s: appending to Properties changed the packet", test.all)
		}
	}
}

// A Publish used again keeps nothing of the packet before.
func TestPublishDecodeAgain(t *testing.T) {
	var p Publish
	full := wire(`s:t 0001 0a 01 01 02 00000001 23 0001 "x"`)
	if err := p.Decode(0x3b, full, V5, Limits{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Decode(0x30, wire(`s:t 00`), V5, Limits{}); err != nil {
		t.Fatal(err)
	}
	p.scratch = nil
	wantEqual(t, "second", p, Publish{Topic: []byte("t"), Payload: []byte{}})
}

func TestValidPayload(t *testing.T) {
	for payload, want := range map[string]bool{"": true, "äö": true, "a\x00b": true, "\xff": false, "\xed\xa0\x80": false} {
		if ValidPayload([]byte(payload)) != want {
			t.Errorf("%q: got %v", payload, !want)
		}
	}
}

func TestForwardedProperties(t *testing.T) {
	one := byte(1)
	f := Forwarded{&one, "ct", "rt", []byte("cd"), []UserProperty{{"k", "v"}, {"k", ""}, {"", "w"}}}
	b := AppendProperties(nil, &f)
	got, err := ParseProperties(b)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "round trip", got, f)
	var user []UserProperty
	for k, v := range UserProperties(b) {
		user = append(user, UserProperty{k, v})
	}
	wantEqual(t, "user properties", user, f.User)
	for k := range UserProperties(b) {
		if k != "k" {
			t.Errorf("went on after break")
		}
		break
	}
	if _, err := ParseProperties(wire(`23 0001`)); codeOf(t, err) != MalformedPacket {
		t.Errorf("topic alias among forwarded properties: %v", err)
	}
	if empty := AppendProperties(nil, &Forwarded{}); len(empty) != 0 {
		t.Errorf("nothing makes % x", empty)
	}
}
