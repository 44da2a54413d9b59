package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/test/loopback"
)

var versions = []byte{MQTT31, MQTT311, MQTT5}

func ptr[T any](v T) *T { return &v }

// A message published with any version and QoS arrives with any version.
func TestMessagesArrive(t *testing.T) {
	f := startForeign(t)
	for i := range len(versions) * len(versions) * 3 {
		from, to, qos := versions[i/3/len(versions)], versions[i/3%len(versions)], byte(i%3)
		t.Run(fmt.Sprintf("version %d to %d with QoS %d", from, to, qos), func(t *testing.T) {
			s := listen(t, options(t, to, f.tcp), Subscription{Filters: []Filter{{Filter: "a/+", QoS: 2}}})
			if err := publish(t, options(t, from, f.tcp), Message{Topic: "a/b", QoS: qos}, "hello"); err != nil {
				t.Fatal(err)
			}
			m := s.next(t)
			if m.Topic != "a/b" || string(m.Payload) != "hello" || m.QoS != qos || m.Retain {
				t.Errorf("got %+v", m)
			}
			s.end(t)
		})
	}
}

func TestEveryTransport(t *testing.T) {
	f := startForeign(t)
	trusting, err := TLS{CAFile: f.ca}.Config()
	if err != nil {
		t.Fatal(err)
	}
	f.tls.TLS = trusting
	for _, version := range versions {
		for _, e := range []Endpoint{f.tcp, f.tls, f.ws, f.unix} {
			t.Run(fmt.Sprintf("version %d over %s", version, e.Scheme), func(t *testing.T) { checkTransport(t, version, e) })
		}
	}
}

func checkTransport(t *testing.T, version byte, e Endpoint) {
	s := listen(t, options(t, version, e), Subscription{Filters: []Filter{{Filter: "a", QoS: 1}}})
	large := strings.Repeat("x", 100_000)
	if err := publish(t, options(t, version, e), Message{Topic: "a", QoS: 1}, "1", large, "3"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", large, "3"} {
		if got := s.next(t); string(got.Payload) != want {
			t.Fatalf("got %.20q, want %.20q", got.Payload, want)
		}
	}
}

func TestAnUnknownCertificateIsRefused(t *testing.T) {
	f := startForeign(t)
	for _, version := range versions {
		f.tls.TLS = nil
		err := publish(t, options(t, version, f.tls), Message{Topic: "a"}, "1")
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("version %d: got %v", version, err)
		}
		if f.tls.TLS, err = (TLS{Insecure: true}).Config(); err != nil {
			t.Fatal(err)
		}
		if err := publish(t, options(t, version, f.tls), Message{Topic: "a"}, "1"); err != nil {
			t.Errorf("version %d, insecure: got %v", version, err)
		}
	}
}

// Lines keep their order though many are on the way at once.
func TestLinesKeepTheirOrder(t *testing.T) {
	f := startForeign(t)
	var lines []string
	for i := range 300 {
		lines = append(lines, strconv.Itoa(i))
	}
	for _, version := range versions {
		for qos := range byte(3) {
			s := listen(t, options(t, version, f.tcp), Subscription{Filters: []Filter{{Filter: "a", QoS: qos}}})
			if err := publish(t, options(t, version, f.tcp), Message{Topic: "a", QoS: qos}, lines...); err != nil {
				t.Fatal(err)
			}
			for _, want := range lines {
				if got := string(s.next(t).Payload); got != want {
					t.Fatalf("version %d, QoS %d: got %s, want %s", version, qos, got, want)
				}
			}
			s.end(t)
		}
	}
}

func TestPropertiesArrive(t *testing.T) {
	f := startForeign(t)
	s := listen(t, options(t, MQTT5, f.tcp), Subscription{Filters: []Filter{{Filter: "a", QoS: 1}}})
	want := Properties{
		PayloadFormat: ptr(byte(1)), MessageExpiry: ptr(uint32(100)), ContentType: "text/plain", ResponseTopic: "answers",
		CorrelationData: []byte{0, 1, 2}, User: []packet.UserProperty{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}},
	}
	if err := publish(t, options(t, MQTT5, f.tcp), Message{Topic: "a", QoS: 1, Properties: want}, "x"); err != nil {
		t.Fatal(err)
	}
	got := s.next(t).Properties
	if got.MessageExpiry == nil || *got.MessageExpiry > 100 || *got.MessageExpiry < 90 {
		t.Errorf("message expiry: got %v", got.MessageExpiry)
	}
	got.MessageExpiry = want.MessageExpiry
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A refusal is an error that carries the broker's code.
func TestRefusals(t *testing.T) {
	f := startForeign(t)
	nobody := Endpoint{Scheme: "mqtt", Address: loopback.FreeAddress(t)}
	for _, c := range []struct {
		name string
		do   func(version byte) error
		code map[byte]packet.Code // by version; what is missing is no refusal
	}{
		{"connect", func(v byte) error {
			o := options(t, v, f.tcp)
			o.Username, o.Password = "mallory", "x"
			return publish(t, o, Message{Topic: "a"}, "1")
		}, map[byte]packet.Code{
			MQTT31: packet.NotAuthorized, MQTT311: packet.NotAuthorized, MQTT5: packet.BadUserNameOrPassword,
		}},
		{"subscribe", func(v byte) error {
			_, err := Subscribe(t.Context(), options(t, v, f.tcp), Subscription{Filters: []Filter{{Filter: "secret/x"}}})
			return err
		}, nil},
		{"publish with QoS 1", func(v byte) error {
			return publish(t, options(t, v, f.tcp), Message{Topic: "secret/x", QoS: 1}, "1")
		}, map[byte]packet.Code{MQTT5: packet.NotAuthorized}},
		{"publish with QoS 2", func(v byte) error {
			return publish(t, options(t, v, f.tcp), Message{Topic: "secret/x", QoS: 2}, "1")
		}, map[byte]packet.Code{MQTT5: packet.NotAuthorized}},
		{"publish without room", func(v byte) error {
			return publish(t, options(t, v, f.tcp), Message{Topic: "full", QoS: 1}, "1", "2")
		}, map[byte]packet.Code{MQTT5: packet.QuotaExceeded}},
	} {
		for _, v := range versions {
			err := c.do(v)
			want, refused := c.code[v]
			var r *Refusal
			if errors.As(err, &r) != refused {
				t.Errorf("%s, version %d: got %v", c.name, v, err)
			} else if refused && r.Code != want {
				t.Errorf("%s, version %d: got %s, want %s", c.name, v, r.Code, want)
			}
		}
	}
	for _, v := range versions {
		err := publish(t, options(t, v, nobody), Message{Topic: "a"}, "1")
		if want := "connect to " + nobody.Address + ": connect: connection refused"; err == nil || err.Error() != want {
			t.Errorf("nobody listens, version %d: got %v, want %s", v, err, want)
		}
	}
}

// A refused filter is warned of; that all are refused is an error.
func TestRefusedFilters(t *testing.T) {
	f := startForeign(t)
	for _, v := range versions {
		s := listen(t, options(t, v, f.tcp), Subscription{Filters: []Filter{{Filter: "ok"}, {Filter: "secret"}}})
		if err := <-s.warnings; !strings.HasPrefix(err.Error(), "subscribe secret: ") {
			t.Errorf("version %d: got %v", v, err)
		}
		if err := publish(t, options(t, v, f.tcp), Message{Topic: "ok"}, "1"); err != nil {
			t.Fatal(err)
		}
		s.next(t)
		s.end(t)
		_, err := Subscribe(t.Context(), options(t, v, f.tcp), Subscription{Filters: []Filter{{Filter: "secret"}}})
		if !errors.Is(err, errAllRefused) {
			t.Errorf("version %d: got %v", v, err)
		}
	}
}

func TestRefusedOptions(t *testing.T) {
	for _, c := range []struct {
		change func(*Options, *Message)
		want   string
	}{
		{func(o *Options, _ *Message) { o.Clean, o.ClientID = false, "" }, "client identifier"},
		{func(o *Options, _ *Message) { o.Password = "x" }, "password without a username"},
		{func(o *Options, _ *Message) { o.SessionExpiry = 1 }, "need MQTT 5"},
		{func(o *Options, _ *Message) { o.User = []packet.UserProperty{{}} }, "need MQTT 5"},
		{func(o *Options, _ *Message) { o.Will = &Will{} }, "needs a topic"},
		{func(_ *Options, m *Message) { m.Topic = "" }, "needs a topic"},
		{func(_ *Options, m *Message) { m.QoS = 3 }, "expected QoS 0, 1 or 2, got 3"},
		{func(_ *Options, m *Message) { m.Properties.ContentType = "x" }, "need MQTT 5"},
	} {
		o, m := options(t, MQTT311, Endpoint{}), Message{Topic: "a"}
		c.change(&o, &m)
		if err := publish(t, o, m, "1"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q in it", err, c.want)
		}
	}
}

// What was not wanted any more is not acknowledged, so the broker keeps it for the next time.
func TestCountLeavesTheRestWithTheBroker(t *testing.T) {
	f := startForeign(t)
	for _, v := range versions {
		for qos := byte(1); qos <= 2; qos++ {
			t.Run(fmt.Sprintf("version %d, QoS %d", v, qos), func(t *testing.T) { checkCount(t, f, v, qos) })
		}
	}
}

func checkCount(t *testing.T, f *foreign, version, qos byte) {
	o := options(t, version, f.tcp)
	o.Clean = false
	if version == MQTT5 {
		o.SessionExpiry = 3600
	}
	listen(t, o, Subscription{Filters: []Filter{{Filter: "a", QoS: qos}}}).end(t) // makes the session
	f.waitLeft(t, o.ClientID)
	if err := publish(t, options(t, version, f.tcp), Message{Topic: "a", QoS: qos}, "1", "2", "3", "4", "5"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, count := range []int{2, 3} {
		n, err := Subscribe(t.Context(), o, Subscription{
			Count:  count,
			Handle: func(m *Message) error { got = append(got, string(m.Payload)); return nil },
		})
		if n != count || err != nil {
			t.Fatalf("got %d, %v", n, err)
		}
		f.waitLeft(t, o.ClientID)
	}
	slices.Sort(got) // this broker resends in any order
	if want := []string{"1", "2", "3", "4", "5"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A message that could not be handled ends Subscribe and is not acknowledged.
func TestAFailingHandleEndsSubscribe(t *testing.T) {
	f := startForeign(t)
	for _, v := range versions {
		if err := publish(t, options(t, v, f.tcp), Message{Topic: "kept", QoS: 1, Retain: true}, "1"); err != nil {
			t.Fatal(err)
		}
		n, err := Subscribe(t.Context(), options(t, v, f.tcp), Subscription{
			Filters: []Filter{{Filter: "kept", QoS: 1}}, Handle: func(*Message) error { return io.ErrShortWrite },
		})
		if n != 0 || !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("version %d: got %d, %v", v, n, err)
		}
	}
}

func TestRetainedMessages(t *testing.T) {
	f := startForeign(t)
	for _, v := range versions {
		o := options(t, v, f.tcp)
		for _, topic := range []string{"r/1", "r/2", "r/3"} {
			if err := publish(t, o, Message{Topic: topic, QoS: 1, Retain: true}, "old"); err != nil {
				t.Fatal(err)
			}
		}
		only := listen(t, options(t, v, f.tcp), Subscription{
			Filters: []Filter{{Filter: "r/+", QoS: 1}}, Exclude: []string{"+/2"}, RetainedOnly: true,
		})
		skip := listen(t, options(t, v, f.tcp), Subscription{Filters: []Filter{{Filter: "r/+", QoS: 1}}, SkipRetained: true})
		topics := map[string]bool{only.next(t).Topic: true, only.next(t).Topic: true}
		if want := map[string]bool{"r/1": true, "r/3": true}; !reflect.DeepEqual(topics, want) {
			t.Errorf("version %d: got %v, want %v", v, topics, want)
		}
		if err := publish(t, o, Message{Topic: "r/1", QoS: 1}, "new"); err != nil {
			t.Fatal(err)
		}
		if err := <-only.result; err != nil {
			t.Errorf("version %d: a message that is not retained: %v", v, err)
		}
		if got := string(skip.next(t).Payload); got != "new" {
			t.Errorf("version %d: got %s", v, got)
		}
		if rest := skip.end(t); rest != nil {
			t.Errorf("version %d: got %v too", v, rest)
		}
	}
}

// A will is published when the connection ends without a DISCONNECT, and not otherwise.
func TestWill(t *testing.T) {
	f := startForeign(t)
	for _, v := range versions {
		watcher := listen(t, options(t, v, f.tcp), Subscription{Filters: []Filter{{Filter: "will", QoS: 1}}})
		orderly, lost := options(t, v, f.tcp), options(t, v, f.tcp)
		orderly.Will = &Will{Message: Message{Topic: "will", Payload: []byte("gone"), QoS: 1}}
		lost.Will = orderly.Will
		listen(t, orderly, Subscription{Filters: []Filter{{Filter: "a"}}}).end(t)
		if err := publish(t, options(t, v, f.tcp), Message{Topic: "will", QoS: 1}, "marker"); err != nil {
			t.Fatal(err)
		}
		if got := string(watcher.next(t).Payload); got != "marker" {
			t.Errorf("version %d: got %s after an orderly end", v, got)
		}
		listen(t, lost, Subscription{Filters: []Filter{{Filter: "a"}}})
		f.cut(t, lost.ClientID)
		if got := string(watcher.next(t).Payload); got != "gone" {
			t.Errorf("version %d: got %s", v, got)
		}
	}
}

// cut ends a client's connection without a word.
func (f *foreign) cut(t *testing.T, id string) {
	t.Helper()
	c, ok := f.server.Clients.Get(id)
	if !ok {
		t.Fatalf("%s is not connected", id)
	}
	// Not c.Stop: a reader that notices that before it waits for the next packet publishes no will.
	if err := c.Net.Conn.Close(); err != nil {
		t.Fatal(err)
	}
}

// A subscriber whose connection was lost comes back and misses nothing its session was sent.
func TestALostConnectionIsMadeAgain(t *testing.T) {
	f := startForeign(t)
	for _, v := range versions {
		o, filters := options(t, v, f.tcp), []Filter{{Filter: "a", QoS: 1}}
		if v == MQTT5 {
			o.SessionExpiry = 3600 // it must not clean the session when it comes back
		} else {
			o.Clean = false
			listen(t, o, Subscription{Filters: filters}).end(t)
			f.waitLeft(t, o.ClientID)
			filters = nil // this broker refuses a SUBSCRIBE with the identifier of a PUBLISH it sends
		}
		s := listen(t, o, Subscription{Filters: filters})
		f.cut(t, o.ClientID)
		if err := <-s.warnings; !errors.Is(err, errLost) {
			t.Errorf("version %d: got %v", v, err)
		}
		if err := publish(t, options(t, v, f.tcp), Message{Topic: "a", QoS: 1}, "1"); err != nil {
			t.Fatal(err)
		}
		if got := string(s.next(t).Payload); got != "1" {
			t.Errorf("version %d: got %s", v, got)
		}
		s.end(t)
	}
}

// Who was taken over does not fight back.
func TestAFinalReasonEndsSubscribe(t *testing.T) {
	f := startForeign(t)
	o := options(t, MQTT5, f.tcp)
	s := listen(t, o, Subscription{Filters: []Filter{{Filter: "a"}}})
	second := listen(t, o, Subscription{Filters: []Filter{{Filter: "a"}}})
	var r *Refusal
	if err := <-s.result; !errors.As(err, &r) || r.Code != packet.SessionTakenOver {
		t.Errorf("got %v", err)
	}
	second.end(t)
}

// A publisher that waits for input learns that its connection is gone.
func TestALostConnectionEndsPublish(t *testing.T) {
	f := startForeign(t)
	for _, v := range versions {
		input, typist := io.Pipe()
		s := listen(t, options(t, v, f.tcp), Subscription{Filters: []Filter{{Filter: "a", QoS: 1}}})
		o := options(t, v, f.tcp)
		result := make(chan error, 1)
		go func() {
			n, err := Publish(t.Context(), o, Publication{Message: Message{Topic: "a", QoS: 1}, Source: Lines(input), Window: 5})
			if n != 1 {
				err = fmt.Errorf("%d were acknowledged: %w", n, err)
			}
			result <- err
		}()
		if _, err := typist.Write([]byte("1\n")); err != nil {
			t.Fatal(err)
		}
		s.next(t)
		if v == MQTT5 {
			c, _ := f.server.Clients.Get(o.ClientID)
			if err := f.server.DisconnectClient(c, packets.ErrServerShuttingDown); err != nil && !errors.Is(err, packets.ErrServerShuttingDown) {
				t.Fatal(err)
			}
			var r *Refusal
			if err := <-result; !errors.As(err, &r) || r.Code != packet.ServerShuttingDown {
				t.Errorf("got %v", err)
			}
		} else {
			f.cut(t, o.ClientID)
			if err := <-result; !errors.Is(err, errLost) {
				t.Errorf("version %d: got %v", v, err)
			}
		}
		typist.Close()
		s.end(t)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	f := startForeign(t)
	input, typist := io.Pipe()
	defer typist.Close()
	ctx, cancel := context.WithCancel(t.Context())
	o := options(t, MQTT5, f.tcp)
	s := listen(t, options(t, MQTT5, f.tcp), Subscription{Filters: []Filter{{Filter: "a"}}})
	result := make(chan error, 1)
	go func() {
		_, err := Publish(ctx, o, Publication{Message: Message{Topic: "a"}, Source: Lines(input)})
		result <- err
	}()
	if _, err := typist.Write([]byte("1\n")); err != nil {
		t.Fatal(err)
	}
	s.next(t) // so that the broker has the connection: this one must not be closed while it takes one
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A broker that says nothing is given up on.
func TestSilenceIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, v := range versions {
		o := options(t, v, Endpoint{Scheme: "mqtt", Address: l.Addr().String()})
		o.Timeout = 50 * time.Millisecond
		if err := publish(t, o, Message{Topic: "a"}, "1"); err == nil || !strings.HasPrefix(err.Error(), "connect to ") {
			t.Errorf("version %d: got %v", v, err)
		}
	}
}

// What the broker said it does not take is not sent to it.
func TestTheBrokersLimitsAreKept(t *testing.T) {
	l := &link5{allowed: &paho.ConnackProperties{MaximumQoS: ptr(byte(1)), MaximumPacketSize: ptr(uint32(100))}}
	for _, c := range []struct {
		m    Message
		code packet.Code // 0 is no refusal
	}{
		{Message{Topic: "a", QoS: 2}, packet.QoSNotSupported},
		{Message{Topic: "a", QoS: 1}, packet.Success},
		{Message{Topic: "a", Retain: true}, packet.RetainNotSupported},
		{Message{Topic: "a", Payload: make([]byte, 94)}, packet.Success}, // 2 + 3 + 1 + 94
		{Message{Topic: "a", Payload: make([]byte, 95)}, packet.PacketTooLarge},
	} {
		err := l.check(&c.m)
		var r *Refusal
		if errors.As(err, &r) != (c.code != packet.Success) || (r != nil && r.Code != c.code) {
			t.Errorf("%+v: got %v, want %s", c.m, err, c.code)
		}
	}
}
