package hooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
)

// probe stands at every point. It notes what it was asked, and answers or panics as told.
type probe struct {
	name   string
	answer Decision
	panics bool
	log    *[]string
	edit   func(m *packet.Message) *packet.Message
	lower  func(s *Subscription)
	start  error
	stop   error
}

func (p *probe) note(what string) Decision {
	if p.log != nil {
		*p.log = append(*p.log, p.name+" "+what)
	}
	if p.panics {
		panic(p.name + " broke")
	}
	return p.answer
}

func (p *probe) Name() string   { return p.name }
func (p *probe) Method() string { return "METHOD-" + p.name }
func (p *probe) Authenticate(context.Context, *Client, Credentials) Decision {
	return p.note("Authenticate")
}
func (p *probe) AuthorizePublish(*Client, string, byte, bool) Decision {
	return p.note("AuthorizePublish")
}
func (p *probe) AuthorizeSubscribe(*Client, string, byte) Decision {
	return p.note("AuthorizeSubscribe")
}
func (p *probe) AuthorizeReceive(*Client, string) Decision    { return p.note("AuthorizeReceive") }
func (p *probe) OnConnect(*Client, bool)                      { p.note("OnConnect") }
func (p *probe) OnDisconnect(*Client, string)                 { p.note("OnDisconnect") }
func (p *probe) OnSessionEnd(string, string)                  { p.note("OnSessionEnd") }
func (p *probe) OnUnsubscribe(*Client, string)                { p.note("OnUnsubscribe") }
func (p *probe) OnDelivered(string, *packet.Message)          { p.note("OnDelivered") }
func (p *probe) OnAcked(string, *packet.Message, packet.Code) { p.note("OnAcked") }
func (p *probe) OnDropped(string, *packet.Message, DropReason) {
	p.note("OnDropped")
}

func (p *probe) OnPublish(_ *Client, m *packet.Message) (*packet.Message, Decision) {
	d := p.note("OnPublish " + m.Topic)
	if p.edit != nil {
		m = p.edit(m)
	}
	return m, d
}

func (p *probe) OnSubscribe(_ *Client, s *Subscription) Decision {
	if p.lower != nil {
		p.lower(s)
	}
	return p.note("OnSubscribe")
}

func (p *probe) Start(Broker) error { p.note("Start"); return p.start }
func (p *probe) Open()              { p.note("Open") }
func (p *probe) Stop() error        { p.note("Stop"); return p.stop }

func (p *probe) Begin(*Client) Exchange {
	p.note("Begin")
	return p
}

func (p *probe) Step(_ context.Context, _ *Client, data []byte) ([]byte, Decision) {
	return data, p.note("Step")
}

// mute has a name and nothing else.
type mute struct{ name string }

func (m mute) Name() string { return m.name }

// observerOnly stands at one point.
type observerOnly struct{ mute }

func (observerOnly) OnDelivered(string, *packet.Message)           {}
func (observerOnly) OnAcked(string, *packet.Message, packet.Code)  {}
func (observerOnly) OnDropped(string, *packet.Message, DropReason) {}

func chainOf(t *testing.T, hooks ...Hook) *Chain {
	t.Helper()
	ch, err := NewChain(hooks...)
	if err != nil {
		t.Fatal(err)
	}
	ch.OnPanic(func(hook string, value any, _ []byte) { t.Errorf("unexpected panic of %s: %v", hook, value) })
	return ch
}

// A chain that could not be asked as its owner meant is refused.
func TestNewChainRefuses(t *testing.T) {
	tests := []struct {
		name  string
		hooks []Hook
		want  string
	}{
		{"nil", []Hook{nil}, "hook 1 of the chain has no name"},
		{"no name", []Hook{&probe{name: "a"}, &probe{}}, "hook 2 of the chain has no name"},
		{"same name", []Hook{&probe{name: "a"}, observerOnly{mute{"a"}}}, `hook "a" is in the chain twice`},
		{"no interface", []Hook{mute{"m"}}, `hook "m" implements none`},
		{"same method", []Hook{&probe{name: "a"}, renamed{&probe{name: "a"}}}, `authentication method "METHOD-a" is taken`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewChain(tt.hooks...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

type renamed struct{ *probe }

func (renamed) Name() string { return "renamed" }

// Where no hook stands the chain says so; where one stands it says that.
func TestChainKnowsItsPoints(t *testing.T) {
	points := func(ch *Chain) []bool {
		return []bool{
			ch.HasPublishAuthorizers(), ch.HasSubscribeAuthorizers(), ch.HasReceiveAuthorizers(), ch.Intercepts(new(packet.Message)),
			ch.HasSubscribeInterceptors(), ch.HasSessionObservers(), ch.HasDeliveryObservers(),
		}
	}
	if got := points(chainOf(t)); slices.Contains(got, true) {
		t.Errorf("empty chain: %v", got)
	}
	if got := points(chainOf(t, &probe{name: "p"})); slices.Contains(got, false) {
		t.Errorf("hook at every point: %v", got)
	}
	want := []bool{false, false, false, false, false, false, true}
	if got := points(chainOf(t, observerOnly{mute{"o"}})); !slices.Equal(got, want) {
		t.Errorf("delivery observer: %v, want %v", got, want)
	}
}

// Nobody who accepts a client means it is refused; nobody who objects to anything else means it is allowed.
func TestEmptyChainAnswers(t *testing.T) {
	ch := chainOf(t)
	c := &Client{ID: "c"}
	if d := ch.Authenticate(t.Context(), c, Credentials{}); d.Verdict != Deny || d.Code != packet.NotAuthorized || d.Reason == "" {
		t.Errorf("Authenticate: %+v", d)
	}
	m := &packet.Message{Topic: "t"}
	out, d := ch.OnPublish(c, m)
	if out != m || d.Verdict != Allow {
		t.Errorf("OnPublish: %v %+v", out, d)
	}
	answers := []Decision{
		ch.AuthorizePublish(c, "t", 0, false), ch.AuthorizeSubscribe(c, "t", 0), ch.AuthorizeReceive(c, "t"), ch.OnSubscribe(c, &Subscription{}),
	}
	for i, d := range answers {
		if d.Verdict != Allow {
			t.Errorf("question %d: %+v", i, d)
		}
	}
	if ch.Method("SCRAM-SHA-256") != nil {
		t.Error("a method from nowhere")
	}
}

// questions are the points that give a decision, asked about a client.
func questions(ch *Chain) map[string]func() Decision {
	c := &Client{ID: "c"}
	return map[string]func() Decision{
		"Authenticate":       func() Decision { return ch.Authenticate(context.Background(), c, Credentials{}) },
		"AuthorizePublish":   func() Decision { return ch.AuthorizePublish(c, "t", 0, false) },
		"AuthorizeSubscribe": func() Decision { return ch.AuthorizeSubscribe(c, "t", 0) },
		"AuthorizeReceive":   func() Decision { return ch.AuthorizeReceive(c, "t") },
		"OnSubscribe":        func() Decision { return ch.OnSubscribe(c, &Subscription{}) },
		"OnPublish t": func() Decision {
			_, d := ch.OnPublish(c, &packet.Message{Topic: "t"})
			return d
		},
	}
}

// The first hook in order that does not pass decides, and no later one is asked.
func TestFirstDecisionCounts(t *testing.T) {
	for _, verdict := range []Verdict{Allow, Deny} {
		var log []string
		ch := chainOf(t,
			&probe{name: "a", log: &log},
			&probe{name: "b", log: &log, answer: Decision{Verdict: verdict, Code: packet.Banned, Reason: "because"}},
			&probe{name: "c", log: &log, answer: Decision{Verdict: Deny}})
		for point, ask := range questions(ch) {
			log = nil
			d := ask()
			if d.Verdict != verdict || verdict == Deny && (d.Code != packet.Banned || d.Reason != "because") {
				t.Errorf("%s: %+v", point, d)
			}
			if want := []string{"a " + point, "b " + point}; !slices.Equal(log, want) {
				t.Errorf("%s asked %q, want %q", point, log, want)
			}
		}
	}
}

// A denial without a failure code is told as Not authorized.
func TestDenyHasACode(t *testing.T) {
	for _, code := range []packet.Code{0, packet.GrantedQoS1} {
		for point, ask := range questions(chainOf(t, &probe{name: "a", answer: Decision{Verdict: Deny, Code: code}})) {
			if d := ask(); d.Code != packet.NotAuthorized {
				t.Errorf("%s with code %d: %+v", point, code, d)
			}
		}
	}
}

// Each interceptor sees what the one before made of the message.
func TestOnPublishPassesTheChangedMessageOn(t *testing.T) {
	appendTo := func(suffix string) func(m *packet.Message) *packet.Message {
		return func(m *packet.Message) *packet.Message {
			changed := *m
			changed.Topic += suffix
			return &changed
		}
	}
	ch := chainOf(t, &probe{name: "a", edit: appendTo("/a")}, &probe{name: "b", edit: appendTo("/b")})
	m := &packet.Message{Topic: "t"}
	out, d := ch.OnPublish(nil, m)
	if d.Verdict != Allow || out.Topic != "t/a/b" || m.Topic != "t" {
		t.Errorf("routed %q (%+v), original %q", out.Topic, d, m.Topic)
	}
	deny := chainOf(t, &probe{name: "d", answer: Decision{Verdict: Deny}})
	if out, d := deny.OnPublish(nil, m); out != nil || d.Verdict != Deny {
		t.Errorf("denied message: %v %+v", out, d)
	}
}

// follower notes when a message is on its way.
type follower struct {
	probe
	routed int
}

func (f *follower) Follows(*Client) bool { return true }
func (f *follower) Routed(*Client)       { f.routed++; f.note("Routed") }

// A follower is told, and another one too if it panics.
func TestFollowersAreTold(t *testing.T) {
	broken, second := &follower{probe: probe{name: "broken", panics: true}}, &follower{probe: probe{name: "second"}}
	ch, err := NewChain(broken, second, &probe{name: "none"})
	if err != nil {
		t.Fatal(err)
	}
	panicked := ""
	ch.OnPanic(func(hook string, _ any, _ []byte) { panicked = hook })
	ch.Routed(&Client{})
	if broken.routed != 1 || second.routed != 1 || panicked != "broken" {
		t.Errorf("told %d and %d times, %q panicked", broken.routed, second.routed, panicked)
	}
}

// A subscribe interceptor can lower the QoS and nothing else.
func TestOnSubscribeOnlyLowersQoS(t *testing.T) {
	asked := Subscription{Filter: "f", QoS: 1, NoLocal: true, RetainHandling: 2, ID: 7}
	for _, tt := range []struct{ set, want byte }{{0, 0}, {1, 1}, {2, 1}} {
		s := asked
		ch := chainOf(t, &probe{name: "a", lower: func(s *Subscription) { *s = Subscription{Filter: "other", QoS: tt.set} }})
		if d := ch.OnSubscribe(&Client{}, &s); d.Verdict != Allow {
			t.Errorf("QoS %d: %+v", tt.set, d)
		}
		want := asked
		want.QoS = tt.want
		if s != want {
			t.Errorf("hook set QoS %d: got %+v, want %+v", tt.set, s, want)
		}
	}
}

// Start stops what it started when a hook fails, last first, and Stop reports every failure.
func TestStartAndStop(t *testing.T) {
	var log []string
	bad, worse := errors.New("bad"), errors.New("worse")
	ch := chainOf(t, &probe{name: "a", log: &log}, observerOnly{mute{"o"}}, &probe{name: "b", log: &log, stop: worse}, &probe{name: "c", log: &log, start: bad})
	err := ch.Start(nil)
	if !errors.Is(err, bad) || !errors.Is(err, worse) || !strings.Contains(err.Error(), `hook "c": start`) {
		t.Errorf("Start: %v", err)
	}
	if want := []string{"a Start", "b Start", "c Start", "b Stop", "a Stop"}; !slices.Equal(log, want) {
		t.Errorf("calls %q, want %q", log, want)
	}

	log = nil
	ch = chainOf(t, &probe{name: "a", log: &log, stop: bad}, &probe{name: "b", log: &log, stop: worse})
	if err := ch.Start(nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Stop(); !errors.Is(err, bad) || !errors.Is(err, worse) {
		t.Errorf("Stop: %v", err)
	}
	if err := ch.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if want := []string{"a Start", "b Start", "b Stop", "a Stop"}; !slices.Equal(log, want) {
		t.Errorf("calls %q, want %q", log, want)
	}
}

// Asking a chain allocates nothing, with hooks and without.
func TestAskingDoesNotAllocate(t *testing.T) {
	c, m := &Client{ID: "c"}, &packet.Message{Topic: "t"}
	for _, ch := range []*Chain{chainOf(t), chainOf(t, silent{})} {
		n := testing.AllocsPerRun(100, func() {
			ch.AuthorizePublish(c, "t", 0, false)
			ch.AuthorizeReceive(c, "t")
			ch.OnPublish(c, m)
			ch.OnDelivered("c", m)
			ch.OnAcked("c", m, packet.Success)
			ch.OnDropped("c", m, DropOffline)
		})
		if n != 0 {
			t.Errorf("%d hooks: %v allocations", len(ch.hooks), n)
		}
	}
}

// silent stands on the hot path and does nothing.
type silent struct{ observerOnly }

func (silent) Name() string                                          { return "silent" }
func (silent) AuthorizePublish(*Client, string, byte, bool) Decision { return Decision{} }
func (silent) AuthorizeReceive(*Client, string) Decision             { return Decision{} }
func (silent) OnPublish(_ *Client, m *packet.Message) (*packet.Message, Decision) {
	return m, Decision{}
}

func BenchmarkAuthorizePublish(b *testing.B) {
	for n := range 3 {
		var hooks []Hook
		for i := range n {
			hooks = append(hooks, renumbered{silent{}, fmt.Sprint(i)})
		}
		ch, err := NewChain(hooks...)
		if err != nil {
			b.Fatal(err)
		}
		c := &Client{}
		b.Run(fmt.Sprintf("hooks=%d", n), func(b *testing.B) {
			for b.Loop() {
				ch.AuthorizePublish(c, "t", 0, false)
			}
		})
	}
}

type renumbered struct {
	silent
	name string
}

func (r renumbered) Name() string { return r.name }

// Open comes after the Start of every hook, in order, and a hook that panics keeps nobody from it.
func TestOpen(t *testing.T) {
	var log []string
	ch := chainOf(t, &probe{name: "a", log: &log}, &probe{name: "b", log: &log, panics: true}, &probe{name: "c", log: &log})
	panicked := ""
	ch.OnPanic(func(hook string, _ any, _ []byte) { panicked = hook })
	ch.Open()
	if want := []string{"a Open", "b Open", "c Open"}; !slices.Equal(log, want) || panicked != "b" {
		t.Errorf("%q panicked, calls %q, want b and %q", panicked, log, want)
	}
}
