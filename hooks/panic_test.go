package hooks

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// caught runs f and returns the PanicError it panics with, nil if it returns.
func caught(t *testing.T, f func()) (e *PanicError) {
	t.Helper()
	defer func() {
		if v := recover(); v != nil {
			var ok bool
			if e, ok = v.(*PanicError); !ok {
				t.Errorf("panicked with %T %v, want *PanicError", v, v)
			}
		}
	}()
	f()
	return nil
}

// A hook that panics while its connection is served panics on, and the panic names it.
func TestConnectionPanicNamesTheHook(t *testing.T) {
	ch := chainOf(t, silent{}, &probe{name: "broken", panics: true})
	c := &Client{ID: "c"}
	calls := map[string]func(){
		"AuthorizePublish":   func() { ch.AuthorizePublish(c, "t", 0, false) },
		"AuthorizeSubscribe": func() { ch.AuthorizeSubscribe(c, "t", 0) },
		"OnPublish":          func() { ch.OnPublish(c, &packet.Message{Topic: "t"}) },
		"OnSubscribe":        func() { ch.OnSubscribe(c, &Subscription{}) },
		"OnConnect":          func() { ch.OnConnect(c, false) },
		"OnUnsubscribe":      func() { ch.OnUnsubscribe(c, "t") },
	}
	for name, call := range calls {
		e := caught(t, call)
		if e == nil || e.Hook != "broken" || e.Value != "broken broke" || !strings.Contains(string(e.Stack), "probe") {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// An interceptor that loses the message is broken, and named.
func TestOnPublishWithoutMessageIsAPanic(t *testing.T) {
	ch := chainOf(t, &probe{name: "thief", edit: func(*packet.Message) *packet.Message { return nil }})
	e := caught(t, func() { ch.OnPublish(&Client{}, &packet.Message{Topic: "t"}) })
	if e == nil || e.Hook != "thief" {
		t.Errorf("got %v", e)
	}
}

// A hook that panics on a goroutine that is not its connection's is reported, and the answer is no.
func TestOtherPanicsAreReported(t *testing.T) {
	c, m := &Client{ID: "c"}, &packet.Message{Topic: "t"}
	tests := []struct {
		name string
		call func(ch *Chain) Decision
		asks bool
	}{
		{"Authenticate", func(ch *Chain) Decision { return ch.Authenticate(context.Background(), c, Credentials{}) }, true},
		{"AuthorizeReceive", func(ch *Chain) Decision { return ch.AuthorizeReceive(c, "t") }, true},
		{"OnPublish of nobody", func(ch *Chain) Decision { _, d := ch.OnPublish(nil, m); return d }, true},
		{"Begin and Step", func(ch *Chain) Decision {
			_, d := ch.Method("METHOD-broken").Begin(c).Step(context.Background(), c, nil)
			return d
		}, true},
		{"OnDisconnect", func(ch *Chain) Decision { ch.OnDisconnect(c, ""); return Decision{} }, false},
		{"OnSessionEnd", func(ch *Chain) Decision { ch.OnSessionEnd("c", ""); return Decision{} }, false},
		{"OnDelivered", func(ch *Chain) Decision { ch.OnDelivered("c", m); return Decision{} }, false},
		{"OnAcked", func(ch *Chain) Decision { ch.OnAcked("c", m, 0); return Decision{} }, false},
		{"OnDropped", func(ch *Chain) Decision { ch.OnDropped("c", m, DropOffline); return Decision{} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log, reported []string
			ch := chainOf(t, &probe{name: "broken", panics: true}, &probe{name: "after", log: &log})
			ch.OnPanic(func(hook string, value any, stack []byte) {
				if value != "broken broke" || !strings.Contains(string(stack), "probe") {
					t.Errorf("reported %v with stack %s", value, stack)
				}
				reported = append(reported, hook)
			})
			d := tt.call(ch)
			if len(reported) != 1 || reported[0] != "broken" {
				t.Errorf("reported %q", reported)
			}
			if tt.asks && (d.Verdict != Deny || !d.Code.Failed() || len(log) != 0) {
				t.Errorf("answered %+v, asked %q", d, log)
			}
			if !tt.asks && len(log) != 1 {
				t.Errorf("the next observer was told %q", log)
			}
		})
	}
}

// stepper begins well and panics in Step.
type stepper struct{ mute }

func (s stepper) Method() string         { return "STEPPER" }
func (s stepper) Begin(*Client) Exchange { return s }
func (s stepper) Step(context.Context, *Client, []byte) ([]byte, Decision) {
	panic(errors.New("step"))
}

// A panic in the middle of an authentication exchange denies.
func TestStepPanicDenies(t *testing.T) {
	ch := chainOf(t, stepper{mute{"stepper"}})
	var reported string
	ch.OnPanic(func(hook string, _ any, _ []byte) { reported = hook })
	_, d := ch.Method("STEPPER").Begin(&Client{}).Step(t.Context(), &Client{}, nil)
	if d.Verdict != Deny || reported != "stepper" {
		t.Errorf("%+v, reported %q", d, reported)
	}
}

// A panic that passes through two chains keeps the name of the hook it came from.
func TestNestedPanicKeepsItsHook(t *testing.T) {
	inner := chainOf(t, &probe{name: "inner", panics: true})
	outer := chainOf(t, &probe{name: "outer", edit: func(m *packet.Message) *packet.Message {
		m, _ = inner.OnPublish(&Client{}, m)
		return m
	}})
	e := caught(t, func() { outer.OnPublish(&Client{}, &packet.Message{}) })
	if e == nil || e.Hook != "inner" {
		t.Errorf("got %v", e)
	}
}

// A panic at start or stop is an error like any other, and the other hooks are still stopped.
func TestStartPanicIsAnError(t *testing.T) {
	var log []string
	ch := chainOf(t, &probe{name: "a", log: &log}, &probe{name: "broken", panics: true})
	var e *PanicError
	if err := ch.Start(nil); !errors.As(err, &e) || e.Hook != "broken" {
		t.Errorf("Start: %v", err)
	}
	if len(log) != 2 || log[1] != "a Stop" {
		t.Errorf("calls %q", log)
	}
}
