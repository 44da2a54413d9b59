package hooks

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstockmq/penstock/broker/packet"
)

// A Chain is every hook of a broker in the order in which they are asked, sorted by interface once,
// so that a point where no hook stands costs nothing.
//
// What a Chain does with a panicking hook depends on whose goroutine it is on:
//
//   - AuthorizePublish, AuthorizeSubscribe, OnPublish for a client, OnSubscribe, OnConnect and
//     OnUnsubscribe are asked about the connection that is being served. They panic on, with a
//     *PanicError that names the hook. The broker recovers once for each batch it
//     feeds to a connection, logs the name and closes that connection.
//   - Everything else may be called for a client other than the one being served, on a timer, on
//     a goroutine of the store's or on one of its own. The Chain recovers, hands the panic to
//     the function given to OnPanic, and answers on the safe side: Deny where
//     there is a question, nothing where there is none.
//
// Its methods are safe for concurrent use, except OnPanic, Start and Stop.
type Chain struct {
	hooks   []Hook
	started []Hook // those whose Stop is owed, in order
	onPanic func(hook string, value any, stack []byte)

	authenticators       []named[Authenticator]
	methods              map[string]EnhancedAuthenticator
	publishAuthorizers   []named[PublishAuthorizer]
	subscribeAuthorizers []named[SubscribeAuthorizer]
	receiveAuthorizers   []named[ReceiveAuthorizer]
	interceptors         []named[PublishInterceptor]
	followers            []named[PublishFollower]
	subscribers          []named[SubscribeInterceptor]
	sessions             []named[SessionObserver]
	deliveries           []named[DeliveryObserver]
}

// named is a hook at one of its points. The name is asked for once, so that naming the hook that
// is being asked is an assignment.
type named[T any] struct {
	name string
	hook T
}

// NewChain makes a Chain of hooks, asked in the order given. It refuses a hook without a name, two hooks
// of one name, two for one authentication method, and a hook that stands at no point.
func NewChain(hooks ...Hook) (*Chain, error) {
	ch := &Chain{hooks: hooks, methods: make(map[string]EnhancedAuthenticator), onPanic: logPanic}
	seen := make(map[string]bool)
	for i, h := range hooks {
		if h == nil || h.Name() == "" {
			return nil, fmt.Errorf("hook %d of the chain has no name", i+1)
		}
		if seen[h.Name()] {
			return nil, fmt.Errorf("hook %q is in the chain twice", h.Name())
		}
		seen[h.Name()] = true
		if err := ch.add(h); err != nil {
			return nil, err
		}
	}
	return ch, nil
}

// add files h under each point at which it stands.
func (ch *Chain) add(h Hook) error {
	if e, ok := h.(EnhancedAuthenticator); ok {
		if ch.methods[e.Method()] != nil {
			return fmt.Errorf("hook %q: authentication method %q is taken", h.Name(), e.Method())
		}
		ch.methods[e.Method()] = guardedMethod{chain: ch, name: h.Name(), EnhancedAuthenticator: e}
	}
	_, method := h.(EnhancedAuthenticator)
	_, starter := h.(Starter) // a Starter may own filters and ask for anything
	used := []bool{
		method, starter,
		file(h, &ch.authenticators), file(h, &ch.publishAuthorizers), file(h, &ch.subscribeAuthorizers),
		file(h, &ch.receiveAuthorizers), file(h, &ch.interceptors), file(h, &ch.followers), file(h, &ch.subscribers),
		file(h, &ch.sessions), file(h, &ch.deliveries),
	}
	for _, u := range used {
		if u {
			return nil
		}
	}
	return fmt.Errorf("hook %q implements none of the interfaces at which a hook is asked", h.Name())
}

// file appends h to a point's list if it implements the point's interface, and tells whether it does.
func file[T any](h Hook, point *[]named[T]) bool {
	t, ok := h.(T)
	if ok {
		*point = append(*point, named[T]{h.Name(), t})
	}
	return ok
}

// OnPanic sets what is told of a hook that panicked where no connection can be blamed. It
// is called on the goroutine of the panic, before Start at the latest. Without it such panics are logged.
func (ch *Chain) OnPanic(f func(hook string, value any, stack []byte)) { ch.onPanic = f }

// HasPublishAuthorizers reports whether AuthorizePublish asks anybody.
func (ch *Chain) HasPublishAuthorizers() bool { return len(ch.publishAuthorizers) > 0 }

// HasSubscribeAuthorizers reports whether AuthorizeSubscribe asks anybody.
func (ch *Chain) HasSubscribeAuthorizers() bool { return len(ch.subscribeAuthorizers) > 0 }

// HasReceiveAuthorizers reports whether AuthorizeReceive asks anybody.
func (ch *Chain) HasReceiveAuthorizers() bool { return len(ch.receiveAuthorizers) > 0 }

// Intercepts reports whether OnPublish asks anybody about m.
func (ch *Chain) Intercepts(m *packet.Message) bool {
	for _, h := range ch.interceptors {
		if selects(h.hook, m) {
			return true
		}
	}
	return false
}

func selects(i PublishInterceptor, m *packet.Message) bool {
	s, ok := i.(PublishSelector)
	return !ok || s.Selects(m)
}

// HasSubscribeInterceptors reports whether OnSubscribe asks anybody.
func (ch *Chain) HasSubscribeInterceptors() bool { return len(ch.subscribers) > 0 }

// HasSessionObservers reports whether OnConnect, OnDisconnect, OnSessionEnd and OnUnsubscribe tell anybody.
func (ch *Chain) HasSessionObservers() bool { return len(ch.sessions) > 0 }

// HasDeliveryObservers reports whether OnDelivered, OnAcked and OnDropped tell anybody.
func (ch *Chain) HasDeliveryObservers() bool { return len(ch.deliveries) > 0 }

// Authenticate asks who may connect. If every hook passes the client is denied. It
// recovers a panic and denies. See Authenticator.
func (ch *Chain) Authenticate(ctx context.Context, c *Client, cred Credentials) (d Decision) {
	at := ""
	defer ch.recoverDeny(&at, &d)
	for _, h := range ch.authenticators {
		at = h.name
		if answer := h.hook.Authenticate(ctx, c, cred); answer.Verdict != Pass {
			return settled(answer)
		}
	}
	return Decision{Verdict: Deny, Code: packet.NotAuthorized, Reason: "no hook accepts this client"}
}

// Method is the hook for an authentication method, nil if there is none [MQTT5-4.12.0-1]. A
// panic in it or in its exchanges is recovered and denies.
func (ch *Chain) Method(name string) EnhancedAuthenticator { return ch.methods[name] }

// AuthorizePublish asks whether c may publish to topic. If every hook passes it may.
func (ch *Chain) AuthorizePublish(c *Client, topic string, qos byte, retain bool) Decision {
	if len(ch.publishAuthorizers) == 0 {
		return Decision{Verdict: Allow}
	}
	at := ""
	defer identify(&at)
	for _, h := range ch.publishAuthorizers {
		at = h.name
		if answer := h.hook.AuthorizePublish(c, topic, qos, retain); answer.Verdict != Pass {
			return settled(answer)
		}
	}
	return Decision{Verdict: Allow}
}

// AuthorizeSubscribe asks whether c may subscribe to filter. If every hook passes it may.
func (ch *Chain) AuthorizeSubscribe(c *Client, filter string, qos byte) Decision {
	if len(ch.subscribeAuthorizers) == 0 {
		return Decision{Verdict: Allow}
	}
	at := ""
	defer identify(&at)
	for _, h := range ch.subscribeAuthorizers {
		at = h.name
		if answer := h.hook.AuthorizeSubscribe(c, filter, qos); answer.Verdict != Pass {
			return settled(answer)
		}
	}
	return Decision{Verdict: Allow}
}

// AuthorizeReceive asks whether c may receive a message of topic. If every hook passes it may. A
// panic is recovered and denies: the goroutine is the publisher's.
func (ch *Chain) AuthorizeReceive(c *Client, topic string) (d Decision) {
	if len(ch.receiveAuthorizers) == 0 {
		return Decision{Verdict: Allow}
	}
	at := ""
	defer ch.recoverDeny(&at, &d)
	for _, h := range ch.receiveAuthorizers {
		at = h.name
		if answer := h.hook.AuthorizeReceive(c, topic); answer.Verdict != Pass {
			return settled(answer)
		}
	}
	return Decision{Verdict: Allow}
}

// OnPublish hands m from interceptor to interceptor, each seeing what the one before made of
// it, and returns the message to route. With Deny and Handled the message is nil. A panic is recovered and denies if c
// is nil.
func (ch *Chain) OnPublish(c *Client, m *packet.Message) (*packet.Message, Decision) {
	if len(ch.interceptors) == 0 {
		return m, Decision{Verdict: Allow}
	}
	if c == nil {
		return ch.interceptRecovered(m)
	}
	return ch.intercept(c, m)
}

// HasFollowers reports whether Routed tells anybody of the message of c that was seen last.
func (ch *Chain) HasFollowers(c *Client) bool {
	for _, h := range ch.followers {
		if h.hook.Follows(c) {
			return true
		}
	}
	return false
}

// Routed tells the followers that the message of c they saw last is on its way. A panic is recovered and the next follower told.
func (ch *Chain) Routed(c *Client) {
	for _, h := range ch.followers {
		ch.guard(h.name, func() { h.hook.Routed(c) })
	}
}

func (ch *Chain) interceptRecovered(m *packet.Message) (out *packet.Message, d Decision) {
	defer ch.recoverDeny(new(string), &d) // intercept names the hook
	return ch.intercept(nil, m)
}

func (ch *Chain) intercept(c *Client, m *packet.Message) (*packet.Message, Decision) {
	at := ""
	defer identify(&at)
	for _, h := range ch.interceptors {
		at = h.name
		if !selects(h.hook, m) {
			continue
		}
		out, d := h.hook.OnPublish(c, m)
		if d.Verdict == Deny || d.Verdict == Handled {
			return nil, settled(d)
		}
		if out == nil {
			panic("OnPublish returned no message and did not deny it")
		}
		if m = out; d.Verdict == Allow {
			break
		}
	}
	return m, Decision{Verdict: Allow}
}

// OnSubscribe shows an allowed subscription to each interceptor until one does not pass. Whatever
// they do to s, it keeps what the client asked for, but for a lower QoS.
func (ch *Chain) OnSubscribe(c *Client, s *Subscription) Decision {
	at := ""
	defer identify(&at)
	for _, h := range ch.subscribers {
		at = h.name
		asked := *s
		d := h.hook.OnSubscribe(c, s)
		granted := min(s.QoS, asked.QoS)
		*s = asked
		s.QoS = granted
		if d.Verdict != Pass {
			return settled(d)
		}
	}
	return Decision{Verdict: Allow}
}

// settled is d as the broker may use it: a denial has a code that refuses.
func settled(d Decision) Decision {
	if d.Verdict == Deny && !d.Code.Failed() {
		d.Code = packet.NotAuthorized
	}
	return d
}

// Start starts the hooks in order. If one fails, those already started are stopped, last first.
func (ch *Chain) Start(b Broker) error {
	for _, h := range ch.hooks {
		if err := start(h, b); err != nil {
			return errors.Join(fmt.Errorf("hook %q: start: %w", h.Name(), err), ch.Stop())
		}
		ch.started = append(ch.started, h)
	}
	return nil
}

// Open tells the hooks, in order, that all have started.
func (ch *Chain) Open() {
	for _, h := range ch.hooks {
		if o, ok := h.(Opener); ok {
			ch.guard(h.Name(), o.Open)
		}
	}
}

// Stop stops the hooks that were started, last first, each even if another failed. Twice is harmless.
func (ch *Chain) Stop() error {
	var all []error
	for i := len(ch.started) - 1; i >= 0; i-- {
		if err := stop(ch.started[i]); err != nil {
			all = append(all, fmt.Errorf("hook %q: stop: %w", ch.started[i].Name(), err))
		}
	}
	ch.started = nil
	return errors.Join(all...)
}

func start(h Hook, b Broker) (err error) {
	defer recoverError(h.Name(), &err)
	if s, ok := h.(Starter); ok {
		return s.Start(b)
	}
	return nil
}

func stop(h Hook) (err error) {
	defer recoverError(h.Name(), &err)
	if s, ok := h.(Stopper); ok {
		return s.Stop()
	}
	return nil
}
