package hooks

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/penstockmq/penstock/broker/packet"
)

// A PanicError is what a Chain panics with after a hook did.
type PanicError struct {
	Hook  string // its name
	Value any    // what it panicked with
	Stack []byte // of the goroutine, as debug.Stack gives it
}

// Error names the hook and what it panicked with.
func (e *PanicError) Error() string { return fmt.Sprintf("hook %q panicked: %v", e.Hook, e.Value) }

// panicked makes a PanicError of what recover returned. One that is a PanicError already came through
// another call of the Chain further in, and knows better.
func panicked(hook string, value any) *PanicError {
	if e, ok := value.(*PanicError); ok {
		return e
	}
	return &PanicError{Hook: hook, Value: value, Stack: debug.Stack()}
}

// identify is deferred where the panic goes on to the connection.
func identify(at *string) {
	if v := recover(); v != nil {
		panic(panicked(*at, v))
	}
}

// recoverDeny is deferred where the panic must not go on and a question waits for its answer.
func (ch *Chain) recoverDeny(at *string, d *Decision) {
	v := recover()
	if v == nil {
		return
	}
	e := panicked(*at, v)
	ch.onPanic(e.Hook, e.Value, e.Stack)
	*d = Decision{Verdict: Deny, Code: packet.ImplementationError, Reason: fmt.Sprintf("hook %q panicked", e.Hook)}
}

// recoverError is deferred where the panic becomes the error of the call.
func recoverError(hook string, err *error) {
	if v := recover(); v != nil {
		*err = panicked(hook, v)
	}
}

func logPanic(hook string, value any, stack []byte) {
	slog.Error("hook panicked", "hook", hook, "err", fmt.Sprint(value), "stack", string(stack))
}

// guard calls f, which belongs to the hook of that name, and reports a panic instead of passing it on.
func (ch *Chain) guard(name string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			e := panicked(name, v)
			ch.onPanic(e.Hook, e.Value, e.Stack)
		}
	}()
	f()
}

// guardedMethod keeps the panics of an EnhancedAuthenticator, which runs on goroutines
// of its own, from ending the process.
type guardedMethod struct {
	EnhancedAuthenticator
	chain *Chain
	name  string
}

// Begin starts an exchange whose steps recover.
func (g guardedMethod) Begin(c *Client) (e Exchange) {
	e = failedExchange{}
	g.chain.guard(g.name, func() {
		e = guardedExchange{exchange: g.EnhancedAuthenticator.Begin(c), chain: g.chain, name: g.name}
	})
	return e
}

type guardedExchange struct {
	exchange Exchange
	chain    *Chain
	name     string
}

// Step asks the hook's own exchange and denies if that panics.
func (e guardedExchange) Step(ctx context.Context, c *Client, data []byte) (reply []byte, d Decision) {
	defer e.chain.recoverDeny(&e.name, &d)
	reply, d = e.exchange.Step(ctx, c, data)
	return reply, settled(d)
}

// failedExchange stands in for the exchange of a hook whose Begin panicked.
type failedExchange struct{}

// Step denies.
func (failedExchange) Step(context.Context, *Client, []byte) ([]byte, Decision) {
	return nil, Decision{Verdict: Deny, Code: packet.ImplementationError, Reason: "authentication method failed"}
}
