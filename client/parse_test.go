package client

import (
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		url                string
		want               Endpoint
		username, password string
	}{
		{"mqtt://host", Endpoint{Scheme: "mqtt", Address: "host:1883"}, "", ""},
		{"tcp://host:1", Endpoint{Scheme: "mqtt", Address: "host:1"}, "", ""},
		{"mqtt://[::1]", Endpoint{Scheme: "mqtt", Address: "[::1]:1883"}, "", ""},
		{"mqtts://user:p%40ss@host", Endpoint{Scheme: "mqtts", Address: "host:8883"}, "user", "p@ss"},
		{"ws://host:8083/mqtt?a=b", Endpoint{Scheme: "ws", Address: "host:8083", Path: "/mqtt?a=b"}, "", ""},
		{"wss://user@host", Endpoint{Scheme: "wss", Address: "host:443", Path: "/"}, "user", ""},
		{"unix:///run/p.sock", Endpoint{Scheme: "unix", Address: "/run/p.sock"}, "", ""},
		{"unix://p.sock", Endpoint{Scheme: "unix", Address: "p.sock"}, "", ""},
	} {
		got, username, password, err := ParseURL(c.url)
		if err != nil || got != c.want || username != c.username || password != c.password {
			t.Errorf("%s: got %+v, %q, %q, %v", c.url, got, username, password, err)
		}
	}
	for url, want := range map[string]string{
		"localhost":                   "expected a URL with mqtt",
		"http://user:secret@host":     "expected a URL with mqtt",
		"mqtt://":                     "expected a host",
		"mqtt://user:secret@:1883":    "expected a host",
		"unix://":                     "expected a host",
		"mqtt://host:port":            "expected a URL such as",
		"mqtt://host\x7f":             "expected a URL such as",
		"mqtt://user:secret@host:x/%": "expected a URL such as",
	} {
		_, _, _, err := ParseURL(url)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", url, err, want)
		}
	}
}

func TestTLSFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("empty.pem", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		files TLS
		want  string
	}{
		{TLS{CAFile: "none.pem"}, "no such file"},
		{TLS{CAFile: "empty.pem"}, "holds no certificate"},
		{TLS{CertFile: "empty.pem"}, "needs its key"},
		{TLS{KeyFile: "empty.pem"}, "needs its key"},
		{TLS{CertFile: "empty.pem", KeyFile: "empty.pem"}, "failed to find any PEM data"},
	} {
		if _, err := c.files.Config(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q in it", c.files, err, c.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]byte{
		"31": MQTT31, "mqttv31": MQTT31, "3.1": MQTT31, "311": MQTT311, "3.1.1": MQTT311, "mqttv311": MQTT311, "5": MQTT5, "mqttv5": MQTT5,
	} {
		if got, err := ParseVersion(text); got != want || err != nil {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	if _, err := ParseVersion("4"); err == nil {
		t.Error("4 is no version a person would mean")
	}
}

func drain(s Source) (payloads []string, err error) {
	for {
		p, err := s()
		if err != nil {
			return payloads, err
		}
		payloads = append(payloads, string(p))
	}
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		name   string
		source Source
		want   []string
		end    error
	}{
		{"one", One([]byte("a\nb")), []string{"a\nb"}, io.EOF},
		{"nothing", One(nil), []string{""}, io.EOF},
		{"whole", Whole(strings.NewReader("a\nb\n")), []string{"a\nb\n"}, io.EOF},
		{"whole of nothing", Whole(strings.NewReader("")), []string{""}, io.EOF},
		{"whole, broken", Whole(brokenReader{strings.NewReader("a")}), nil, io.ErrUnexpectedEOF},
		{"lines", Lines(strings.NewReader("a\n\nb\r\nc")), []string{"a", "", "b", "c"}, io.EOF},
		{"long line", Lines(strings.NewReader(strings.Repeat("x", 200_000))), []string{strings.Repeat("x", 200_000)}, io.EOF},
		{"no lines", Lines(strings.NewReader("")), nil, io.EOF},
		{"lines, broken", Lines(brokenReader{strings.NewReader("a\nb")}), []string{"a", "b"}, io.ErrUnexpectedEOF},
	} {
		got, err := drain(c.source)
		if !reflect.DeepEqual(got, c.want) || !errors.Is(err, c.end) {
			t.Errorf("%s: got %.50q, %v", c.name, got, err)
		}
	}
}

func TestFormat(t *testing.T) {
	at := time.Date(2026, 11, 22, 13, 14, 15, 123456789, time.FixedZone("", 3600))
	bare := &Message{Topic: "a/b", Payload: []byte(`{"n":1}`), QoS: 1, Retain: true, PacketID: 7}
	full := &Message{Topic: "<t>", Payload: []byte("hé"), Properties: Properties{
		PayloadFormat: ptr(byte(1)), MessageExpiry: ptr(uint32(60)), ContentType: "text/plain", ResponseTopic: "r",
		CorrelationData: []byte("id"), SubscriptionID: ptr(3), TopicAlias: ptr(uint16(4)),
		User: []packet.UserProperty{{Key: "k", Value: "1"}, {Key: "l", Value: "2"}, {Key: "k", Value: "3"}, {Key: "k", Value: "4"}},
	}}
	empty := &Message{Topic: "a"}
	for _, c := range []struct {
		format string
		m      *Message
		want   string
	}{
		{`%t %p %q %r %m %l`, bare, "a/b {\"n\":1} 1 1 7 7\n"},
		{`%x %X`, full, "68c3a9 68C3A9\n"},
		{`[%C|%R|%D|%E|%F|%S|%A|%P]`, full, "[text/plain|r|id|60|1|3|4|k:1 l:2 k:3 k:4]\n"},
		{`[%C|%R|%D|%E|%F|%S|%A|%P]`, bare, "[|||||||]\n"},
		{`%I %U`, bare, "2026-11-22T13:14:15+0100 1795349655.123456789\n"},
		{`100%%\t\\\n`, bare, "100%\t\\\n\n"},
		{`%p`, empty, ""},
		{``, bare, ""},
		{`%j`, bare, `{"tst":"2026-11-22T13:14:15.123456+0100","topic":"a/b","qos":1,"retain":1,"payloadlen":7,"mid":7,"payload":"{\"n\":1}"}` + "\n"},
		{`%J`, bare, `{"tst":"2026-11-22T13:14:15.123456+0100","topic":"a/b","qos":1,"retain":1,"payloadlen":7,"mid":7,"payload":{"n":1}}` + "\n"},
		{`%J`, empty, `{"tst":"2026-11-22T13:14:15.123456+0100","topic":"a","qos":0,"retain":0,"payloadlen":0,"payload":null}` + "\n"},
		{`%j`, full, `{"tst":"2026-11-22T13:14:15.123456+0100","topic":"<t>","qos":0,"retain":0,"payloadlen":3,"properties":{` +
			`"payload-format-indicator":1,"message-expiry-interval":60,"content-type":"text/plain","response-topic":"r",` +
			`"correlation-data":"id","subscription-identifier":3,"topic-alias":4,"user-properties":{"k":["1","3","4"],"l":"2"}},"payload":"hé"}` + "\n"},
	} {
		f, err := ParseFormat(c.format)
		if err != nil {
			t.Errorf("%s: %v", c.format, err)
			continue
		}
		got, err := f.Append(nil, c.m, at)
		if string(got) != c.want || err != nil {
			t.Errorf("%s:\ngot  %q, %v\nwant %q", c.format, got, err, c.want)
		}
	}
	raw := Plain()
	raw.Raw = true
	if got, _ := raw.Append([]byte("before "), bare, at); string(got) != `before {"n":1}` {
		t.Errorf("raw: got %q", got)
	}
	if got, _ := Verbose().Append(nil, bare, at); string(got) != "a/b {\"n\":1}\n" {
		t.Errorf("verbose: got %q", got)
	}
	if got, _ := Verbose().Append(nil, empty, at); string(got) != "a (null)\n" {
		t.Errorf("verbose: got %q", got)
	}
}

func TestFormatMistakes(t *testing.T) {
	for format, want := range map[string]string{
		"%": "expected something after %", `a\`: `expected something after \`, "%z": "unknown %z", `\z`: `unknown \z`,
	} {
		if _, err := ParseFormat(format); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q in it", format, err, want)
		}
	}
	f, err := ParseFormat("%t %J")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Append(nil, &Message{Topic: "a", Payload: []byte("{")}, time.Now()); err == nil || len(got) != 0 {
		t.Errorf("a payload that is no JSON: got %q, %v", got, err)
	}
}
