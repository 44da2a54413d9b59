package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/client"
)

func (b *broker) options(version byte, id string) client.Options {
	return client.Options{
		Endpoint: client.Endpoint{Scheme: "mqtt", Address: b.tcp}, Version: version, ClientID: id, Clean: true, Timeout: patience,
	}
}

// logger is the client whose session lasts.
func (b *broker) logger() client.Options {
	o := b.options(client.MQTT5, "logger")
	o.Clean, o.SessionExpiry = false, 1<<32-1
	return o
}

// subscribeLogger makes the logger's session, and leaves.
func (b *broker) subscribeLogger(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := client.Subscribe(ctx, b.logger(), client.Subscription{
		Filters: []client.Filter{{Filter: "a/#", QoS: 2}}, Handle: func(*client.Message) error { return nil }, Ready: cancel,
	})
	if err != nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatal("no session:", err)
	}
}

// take connects the logger and returns the next n messages that were waiting for it.
func (b *broker) take(t *testing.T, n int) []string {
	t.Helper()
	payloads, err := b.receive(t.Context(), n, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return payloads
}

// receive is take with something that is called when a message came, before it is acknowledged.
func (b *broker) receive(ctx context.Context, n int, came func()) (payloads []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = client.Subscribe(ctx, b.logger(), client.Subscription{Count: n, Handle: func(m *client.Message) error {
		payloads = append(payloads, string(m.Payload))
		came()
		return nil
	}})
	if err == nil && len(payloads) < n {
		err = fmt.Errorf("%d of %d messages came", len(payloads), n)
	}
	return payloads, err
}

// A publication is one message and who sends it.
type publication struct {
	client  string
	version byte
	qos     byte
	retain  bool
	topic   string
	payload string
}

// publish sends a message and waits for its acknowledgement.
func (b *broker) publish(ctx context.Context, p publication, wait time.Duration) error {
	o := b.options(p.version, "publisher "+p.client)
	o.Timeout = wait
	_, err := client.Publish(ctx, o, client.Publication{
		Message: client.Message{Topic: p.topic, QoS: p.qos, Retain: p.retain}, Source: client.One([]byte(p.payload)),
	})
	return err
}

// refused reports whether an error is the broker's no for want of room: MQTT 5 has a word for it, 3.1.1 only the end of the
// connection.
func refused(version byte, err error) bool {
	var r *client.Refusal
	if version == client.MQTT5 {
		return errors.As(err, &r) && r.Code == packet.QuotaExceeded
	}
	return err != nil && !errors.As(err, &r)
}

// A ledger is what was acknowledged, in order. Versions take turns, and so does QoS unless it is given.
type ledger struct {
	qos   byte
	sent  int
	acked []string
}

// send publishes the next message, and enters it if it is acknowledged.
func (l *ledger) send(t *testing.T, b *broker) error {
	t.Helper()
	p := publication{
		version: []byte{client.MQTT5, client.MQTT311, client.MQTT31}[l.sent%3], qos: byte(1 + l.sent/3%2),
		topic: "a/ledger", payload: fmt.Sprintf("message %d", l.sent),
	}
	if l.qos != 0 {
		p.qos = l.qos
	}
	l.sent++
	err := b.publish(t.Context(), p, patience)
	switch {
	case err == nil:
		l.acked = append(l.acked, p.payload)
	case !refused(p.version, err):
		t.Fatalf("%+v: %v", p, err)
	}
	return err
}

func (l *ledger) mustSend(t *testing.T, b *broker, n int) {
	t.Helper()
	for range n {
		if err := l.send(t, b); err != nil {
			t.Fatal(err)
		}
	}
}

// check compares what the logger got with what was acknowledged: everything, in order, and nothing that was refused. A message
// may come again if the broker was killed in between, also with QoS 2: this client does not remember identifiers from one connection
// to the next. Exactly once is what test/crash is for.
func (l *ledger) check(t *testing.T, got []string) {
	t.Helper()
	seen := make(map[string]bool)
	var first []string
	for _, payload := range got {
		if !seen[payload] {
			seen[payload] = true
			first = append(first, payload)
		}
	}
	if !slices.Equal(first, l.acked) {
		t.Errorf("acknowledged %q\ndelivered %q", l.acked, first)
	}
}

// live shows that the broker serves who needs no room: QoS 0, and QoS 1 for sessions that end with their connection.
func (b *broker) live(t *testing.T) {
	t.Helper()
	ready, got := make(chan struct{}, 1), make(chan string, 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := client.Subscribe(ctx, b.options(client.MQTT5, "live"), client.Subscription{
			Filters: []client.Filter{{Filter: "live", QoS: 1}}, Count: 2, Ready: func() { ready <- struct{}{} },
			Handle: func(m *client.Message) error { got <- string(m.Payload); return nil },
		})
		ended <- err
	}()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal("no live subscription:", err)
	}
	for _, p := range []publication{
		{version: client.MQTT311, qos: 0, topic: "live", payload: "zero"}, {version: client.MQTT5, qos: 1, topic: "live", payload: "one"},
	} {
		if err := b.publish(ctx, p, patience); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
		select {
		case payload := <-got:
			if payload != p.payload {
				t.Errorf("%q came, not %q", payload, p.payload)
			}
		case <-ctx.Done():
			t.Fatalf("%q did not come", p.payload)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
