package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/client"
)

// An endpoint answers as its script says, and with 200 after that.
type endpoint struct {
	mu       sync.Mutex // guards what follows
	script   []answer
	requests []request
	times    []time.Time
}

type answer struct {
	status     int // 0 is a connection that breaks
	retryAfter string
	location   string
}

// A request is what an endpoint was asked.
type request struct {
	method, url, body string
	header            http.Header
}

// RoundTrip implements http.RoundTripper.
func (e *endpoint) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, request{r.Method, r.URL.String(), string(body), r.Header.Clone()})
	e.times = append(e.times, time.Now())
	next := answer{status: http.StatusOK}
	if len(e.script) > 0 {
		next, e.script = e.script[0], e.script[1:]
	}
	if next.status == 0 {
		return nil, errors.New("connection refused")
	}
	header := http.Header{}
	if next.retryAfter != "" {
		header.Set("Retry-After", next.retryAfter)
	}
	if next.location != "" {
		header.Set("Location", next.location)
	}
	return &http.Response{StatusCode: next.status, Header: header, Body: http.NoBody, Request: r}, nil
}

// settings are those of a forwarder with one worker and a channel that takes messages back.
func settings(e http.RoundTripper, urls ...string) Options {
	return Options{
		Method: http.MethodPost, URLs: urls, Transport: e, Timeout: time.Minute, Workers: 1, Sample: 1, ContentType: "text/plain",
		RetryFirst: time.Second, RetryMax: 8 * time.Second, RetryFor: 10 * time.Second, Requeues: true, Refuses: true,
		Log: slog.New(slog.DiscardHandler),
	}
}

// errLeft is the fate of a message that was neither acknowledged nor refused.
var errLeft = errors.New("left")

// send forwards one message to its end.
func send(ctx context.Context, o Options, m client.Message) error {
	result := errLeft
	m.QoS = 1
	New(o).forward(ctx, client.NewDelivery(&m, time.Now(), func(err error) { result = err }))
	return result
}

func message() client.Message { return client.Message{Topic: "a", Payload: []byte("x")} }

// What an answer means for a message that a channel would take back.
func TestAnswers(t *testing.T) {
	for status, want := range map[int]verdict{
		200: taken, 202: taken, 204: taken, 299: taken, 301: again, 304: again, 400: unwanted, 401: unwanted, 404: unwanted,
		408: again, 410: unwanted, 413: unwanted, 425: again, 429: again, 500: again, 501: again, 502: again, 503: again, 599: again,
	} {
		if got := judge(status, http.Header{}, time.Now()); got.verdict != want {
			t.Errorf("%d: got verdict %d, want %d", status, got.verdict, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "99999999": time.Hour, "99999999999999999999": 0,
		now.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second, now.Add(-time.Second).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// Failures are tried again with pauses that double and are never shorter than Retry-After.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{script: []answer{{}, {status: 503}, {status: 429, retryAfter: "5"}, {status: 500}}}
		o := settings(e, "http://h/")
		o.RetryFor = time.Minute
		if err := send(t.Context(), o, message()); err != nil {
			t.Fatal(err)
		}
		if len(e.times) != 5 {
			t.Fatalf("%d tries", len(e.times))
		}
		for i, least := range []time.Duration{time.Second / 2, time.Second, 5 * time.Second, 4 * time.Second} {
			most := max(2*least, 5*time.Second)
			if got := e.times[i+1].Sub(e.times[i]); got < least || got > most {
				t.Errorf("pause %d is %s, want %s to %s", i, got, least, most)
			}
		}
	})
}

// A channel has a message back after RetryFor, with the wish when to deliver it again; without a channel trying has no end.
func TestGivingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := slices.Repeat([]answer{{status: 503}}, 50)
		begun := time.Now()
		err := send(t.Context(), settings(&endpoint{script: failing}, "http://h/"), message())
		var r *client.Refusal
		if !errors.As(err, &r) || r.Code != packet.UnspecifiedError || r.Reason != "503 Service Unavailable" {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("tried for %s", took)
		}
		o := settings(&endpoint{script: failing}, "http://h/")
		o.Requeues = false
		if err := send(t.Context(), o, message()); err != nil {
			t.Errorf("without a channel: %v", err)
		}
	})
}

// What the endpoint does not want is refused at once; without refusals a channel's ack_timeout
// takes it back, and without a channel it is dropped.
func TestUnwanted(t *testing.T) {
	for _, c := range []struct {
		requeues, refuses bool
		want              string
	}{
		{true, true, "deliver a: unspecified error (422 Unprocessable Entity)"},
		{false, true, "deliver a: unspecified error (422 Unprocessable Entity)"}, {true, false, "left"}, {false, false, "<nil>"},
	} {
		e := &endpoint{script: []answer{{status: 422}}}
		o := settings(e, "http://h/")
		o.Requeues, o.Refuses = c.requeues, c.refuses
		if err := send(t.Context(), o, message()); !strings.EqualFold(fmt.Sprint(err), c.want) || len(e.requests) != 1 {
			t.Errorf("requeues %t, refuses %t: got %v after %d tries, want %s", c.requeues, c.refuses, err, len(e.requests), c.want)
		}
	}
}

// A redirection that keeps the message is followed; one that would GET something instead is not a success.
func TestRedirections(t *testing.T) {
	e := &endpoint{script: []answer{{status: 308, location: "http://h/new"}}}
	if err := send(t.Context(), settings(e, "http://h/"), message()); err != nil {
		t.Fatal(err)
	}
	if got := e.requests[1]; got.method != http.MethodPost || got.body != "x" || got.url != "http://h/new" {
		t.Errorf("got %+v", got)
	}
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{script: slices.Repeat([]answer{{status: 302, location: "http://h/login"}}, 50)}
		if err := send(t.Context(), settings(e, "http://h/"), message()); err == nil {
			t.Error("taken by a page to log in")
		}
	})
}

// Round robin asks in turn, failover the first that works. One that fails rests, and the other is asked without a pause.
func TestSeveralURLs(t *testing.T) {
	for failover, want := range map[bool]string{false: "a b a b a a", true: "a a a a b b"} {
		synctest.Test(t, func(t *testing.T) {
			ok := answer{status: 200}
			e := &endpoint{script: []answer{ok, ok, ok, {status: 500}}}
			o := settings(e, "http://a/", "http://b/")
			o.Failover = failover
			f, begun := New(o), time.Now()
			for range 5 {
				m := message()
				f.forward(t.Context(), client.NewDelivery(&m, time.Now(), func(err error) {
					if err != nil {
						t.Error(err)
					}
				}))
			}
			var got []string
			for _, r := range e.requests {
				got = append(got, r.url[7:8])
			}
			if strings.Join(got, " ") != want || time.Since(begun) != 0 {
				t.Errorf("failover %t: asked %s in %s, want %s", failover, got, time.Since(begun), want)
			}
			time.Sleep(restFirst)
			m := message()
			f.forward(t.Context(), client.NewDelivery(&m, time.Now(), func(error) {}))
			f.forward(t.Context(), client.NewDelivery(&m, time.Now(), func(error) {}))
			last := e.requests[len(e.requests)-2:]
			if failover && last[1].url != "http://a/" || !failover && last[0].url == last[1].url {
				t.Errorf("failover %t: a target that had its rest is not asked: %s, %s", failover, last[0].url, last[1].url)
			}
		})
	}
}

// The body is the payload and headers have the rest, or the body has everything.
func TestRequests(t *testing.T) {
	format, expiry := byte(1), uint32(60)
	m := client.Message{Topic: "ä/b%", Payload: []byte("100 %&"), Retain: true, Properties: client.Properties{
		PayloadFormat: &format, MessageExpiry: &expiry, ContentType: "text/csv", ResponseTopic: "r\nx", CorrelationData: []byte{0, 255},
		User: []packet.UserProperty{{Key: "k", Value: "v"}, {Key: "k=", Value: " \r\n"}},
	}}
	e := &endpoint{}
	o := settings(e, "http://h/?q=1")
	o.Header = http.Header{"X-Key": {"secret"}, "Mqtt-Retain": {"mine"}}
	if err := send(t.Context(), o, m); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Content-Type": "text/csv", "Mqtt-Topic": "%C3%A4/b%25", "Mqtt-Qos": "1", "Mqtt-Retain": "mine", "Mqtt-Payload-Format": "1",
		"Mqtt-Message-Expiry": "60", "Mqtt-Response-Topic": "r%0Ax", "Mqtt-Correlation-Data": "AP8=", "X-Key": "secret",
		"Mqtt-User-Property": "k=v|k%3D=%20%0D%0A",
	}
	got := e.requests[0]
	for name, text := range want {
		if have := strings.Join(got.header.Values(name), "|"); have != text {
			t.Errorf("%s: got %q, want %q", name, have, text)
		}
	}
	if got.body != "100 %&" || got.method != http.MethodPost {
		t.Errorf("got %+v", got)
	}
	o.JSON, o.Method, o.Header = true, http.MethodPut, nil
	if err := send(t.Context(), o, m); err != nil {
		t.Fatal(err)
	}
	got = e.requests[1]
	if !strings.Contains(got.body, `"correlation-data-base64":"AP8="`) || got.header.Get("Content-Type") != "application/json" || got.method != http.MethodPut {
		t.Errorf("got %+v", got)
	}
	o.JSON, o.Method, o.URLs = false, http.MethodGet, []string{"http://h/?q=%s&r=1"}
	if err := send(t.Context(), o, m); err != nil {
		t.Fatal(err)
	}
	if got = e.requests[2]; got.url != "http://h/?q=100+%25%26&r=1" || got.body != "" || got.method != http.MethodGet {
		t.Errorf("got %+v", got)
	}
}

// At the end, requests under way are answered and settled, what waits for another try is left, and nothing new begins.
func TestEnd(t *testing.T) {
	asked, answered := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); bytes.Equal(body, []byte("failing")) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		close(asked)
		<-answered
	}))
	defer server.Close()
	o := settings(http.DefaultTransport, server.URL)
	o.Workers, o.RetryFirst, o.RetryMax, o.RetryFor = 2, time.Hour, time.Hour, 3*time.Hour
	ctx, stop := context.WithCancel(t.Context())
	deliveries, settled, ended := make(chan *client.Delivery), make(chan error, 2), make(chan struct{})
	f := New(o)
	go func() {
		defer close(ended)
		if err := f.Run(ctx, deliveries); err != nil {
			t.Error(err)
		}
	}()
	for _, payload := range []string{"failing", "slow"} {
		m := client.Message{Topic: "a", QoS: 1, Payload: []byte(payload)}
		deliveries <- client.NewDelivery(&m, time.Now(), func(err error) { settled <- err })
	}
	<-asked
	stop()
	close(answered)
	<-ended
	if len(settled) != 1 {
		t.Fatalf("%d messages were settled", len(settled))
	}
	if err := <-settled; err != nil {
		t.Error(err)
	}
}

// A part of the messages is taken without being sent.
func TestSample(t *testing.T) {
	e := &endpoint{}
	o := settings(e, "http://h/")
	o.Sample = 0.5
	for range 400 {
		if err := send(t.Context(), o, message()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.requests); n < 100 || n > 300 { // ten standard deviations
		t.Errorf("%d of 400 were sent", n)
	}
}
