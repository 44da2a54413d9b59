package packet

import "testing"

var (
	publishV311 = wire(`s:sensors/17/temperature "a-payload-of-some-length-to-be-carried-along"`)
	publishV5   = wire(`s:sensors/17/temperature 00 "payload"`)
	publishFull = wire(`s:sensors/17/temperature 0001 1b 02 00000e10 01 01 03 s:text/plain 26 s:k s:v "payload"`)
)

// No allocation on the hot path.
func TestNoAllocation(t *testing.T) {
	var p Publish
	buf := make([]byte, 0, 1024)
	o := Outgoing{
		Topic: "sensors/17/temperature", Payload: publishV5, QoS: 1, ID: 7, HasExpiry: true, Expiry: 60,
		Properties: wire(`01 01 26 s:k s:v`), SubscriptionIDs: []uint32{5},
	}
	scattered := wire(`s:t 11 26 s:k s:v 23 0001 26 s:k s:v "payload"`)
	wrapped := frame(0x30, publishV311)
	ack, ackFull := wire(`0001 10`), wire(`0001 00 04 1f s:r`)
	for name, f := range map[string]func() error{
		"MQTT 3.1.1":      func() error { return p.Decode(0x30, publishV311, V311, Limits{}) },
		"MQTT 5":          func() error { return p.Decode(0x30, publishV5, V5, Limits{}) },
		"with properties": func() error { return p.Decode(0x32, publishFull, V5, Limits{}) },
		"scattered":       func() error { return p.Decode(0x30, scattered, V5, Limits{}) },
		"Split":           func() error { _, _, _, _, err := Split(wrapped, 1000); return err },
		"DecodeAck":       func() error { _, err := DecodeAck(PUBACK, ack, V5, Limits{}); return err },
		"DecodeAck full":  func() error { _, err := DecodeAck(PUBREC, ackFull, V5, Limits{}); return err },
		"AppendPublish":   func() error { buf = AppendPublish(buf[:0], V5, &o); return nil },
		"AppendAck": func() error {
			buf = AppendAck(buf[:0], PUBACK, V5, Ack{ID: 7, Code: NoMatchingSubscribers})
			return nil
		},
		"AppendPingresp": func() error { buf = AppendPingresp(buf[:0]); return nil },
		"PublishSize":    func() error { PublishSize(V5, &o); PublishOffsets(V5, &o); return nil },
	} {
		if err := f(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(100, func() { _ = f() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Ranging over user properties costs the two strings of each and nothing else.
func TestUserPropertiesAllocation(t *testing.T) {
	b := wire(`01 01 26 s:first-key s:first-value 26 s:second-key s:second-value 03 s:text/plain`)
	found := 0
	n := testing.AllocsPerRun(100, func() {
		for key, value := range UserProperties(b) {
			found += len(key) + len(value)
		}
	})
	if n > 4 || found == 0 {
		t.Errorf("%v allocations for two user properties, %d bytes found", n, found)
	}
}

func benchmarkDecode(b *testing.B, head byte, body []byte, v Version) {
	var p Publish
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Decode(head, body, v, Limits{MaxUserProperties: 100}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodePublishV311(b *testing.B) { benchmarkDecode(b, 0x30, publishV311, V311) }
func BenchmarkDecodePublishV5(b *testing.B)   { benchmarkDecode(b, 0x30, publishV5, V5) }

func BenchmarkDecodePublishV5Full(b *testing.B) { benchmarkDecode(b, 0x32, publishFull, V5) }

func BenchmarkSplit(b *testing.B) {
	whole := frame(0x30, publishV311)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, n, _, err := Split(whole, 1<<20); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkDecodeAck(b *testing.B) {
	body := []byte{0, 1}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeAck(PUBACK, body, V5, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkAppend(b *testing.B, v Version, o Outgoing) {
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendPublish(buf[:0], v, &o)
	}
}

func BenchmarkAppendPublishV311(b *testing.B) {
	benchmarkAppend(b, V311, Outgoing{Topic: "sensors/17/temperature", Payload: publishV311, QoS: 1, ID: 7})
}

func BenchmarkAppendPublishV5Full(b *testing.B) {
	benchmarkAppend(b, V5, Outgoing{
		Topic: "sensors/17/temperature", Payload: publishV5, QoS: 1, ID: 7, HasExpiry: true, Expiry: 60,
		Properties: wire(`01 01 26 s:k s:v`), SubscriptionIDs: []uint32{5},
	})
}

func BenchmarkDecodeConnect(b *testing.B) {
	body := wire(`s:MQTT 05 c2 003c 05 11 00000e10 s:device-17 s:user s:secret`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeConnect(body, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeSubscribe(b *testing.B) {
	body := wire(`0001 00 s:sensors/17/+ 01`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeSubscribe(body, V5, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendSuback(b *testing.B) {
	buf, codes := make([]byte, 0, 64), []Code{GrantedQoS1}
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendSuback(buf[:0], V5, 1, codes, "")
	}
}

func BenchmarkAppendConnack(b *testing.B) {
	buf, c := make([]byte, 0, 256), Connack{ReceiveMaximum: 1000, TopicAliasMaximum: 10, AssignedClientID: "abc"}
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendConnack(buf[:0], V5, &c)
	}
}
