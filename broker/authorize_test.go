package broker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// A hookName is the part that the hooks of these tests share; each of them stands at one point.
type hookName string

// Name implements hooks.Hook.
func (n hookName) Name() string { return string(n) }

type authenticate struct {
	hookName
	f func(c *hooks.Client, cred hooks.Credentials) hooks.Decision
}

// Authenticate implements hooks.Authenticator.
func (h authenticate) Authenticate(_ context.Context, c *hooks.Client, cred hooks.Credentials) hooks.Decision {
	return h.f(c, cred)
}

type authorizePublish struct {
	hookName
	f func(c *hooks.Client, topic string) hooks.Decision
}

// AuthorizePublish implements hooks.PublishAuthorizer.
func (h authorizePublish) AuthorizePublish(c *hooks.Client, topic string, _ byte, _ bool) hooks.Decision {
	return h.f(c, topic)
}

type authorizeSubscribe struct {
	hookName
	f func(c *hooks.Client, filter string) hooks.Decision
}

// AuthorizeSubscribe implements hooks.SubscribeAuthorizer.
func (h authorizeSubscribe) AuthorizeSubscribe(c *hooks.Client, filter string, _ byte) hooks.Decision {
	return h.f(c, filter)
}

type authorizeReceive struct {
	hookName
	f func(c *hooks.Client, topic string) hooks.Decision
}

// AuthorizeReceive implements hooks.ReceiveAuthorizer.
func (h authorizeReceive) AuthorizeReceive(c *hooks.Client, topic string) hooks.Decision {
	return h.f(c, topic)
}

type exchanges struct {
	hookName
	step func(c *hooks.Client, data []byte) ([]byte, hooks.Decision)
}

// Method implements hooks.EnhancedAuthenticator.
func (h exchanges) Method() string { return string(h.hookName) }

// Begin implements hooks.EnhancedAuthenticator.
func (h exchanges) Begin(*hooks.Client) hooks.Exchange { return h }

// Step implements hooks.Exchange.
func (h exchanges) Step(_ context.Context, c *hooks.Client, data []byte) ([]byte, hooks.Decision) {
	return h.step(c, data)
}

var (
	pass  = hooks.Decision{}
	allow = hooks.Decision{Verdict: hooks.Allow}
	deny  = hooks.Decision{Verdict: hooks.Deny}
)

// An authenticator decides with a code, and names the user that later hooks see.
func TestAuthenticatorDecides(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		var seen atomic.Value
		b := start(t, setup{hooks: []hooks.Hook{
			authenticate{"door", func(c *hooks.Client, cred hooks.Credentials) hooks.Decision {
				if cred.Username == "mallory" {
					return hooks.Decision{Verdict: hooks.Deny, Code: packet.BadUserNameOrPassword, Reason: "never heard of"}
				}
				c.Username, c.Groups = "renamed", []string{"staff"}
				return pass
			}},
			authorizePublish{"acl", func(c *hooks.Client, _ string) hooks.Decision {
				seen.Store(c.Username + " " + c.Groups[0])
				return pass
			}},
		}})
		bad := pipe(t, b, v)
		bad.write(hello{id: "bad", username: "mallory"}.packet(v))
		want := byte(packet.BadUserNameOrPassword)
		if v != packet.V5 {
			want = 4
		}
		if ack := bad.want(packet.CONNACK); ack.ReasonCode != want {
			t.Errorf("CONNACK 0x%02x, want 0x%02x", ack.ReasonCode, want)
		}
		bad.wantClosed()
		good := connected(t, b, v, hello{id: "good", username: "alice"})
		good.say("a", "x")
		good.wantNothing()
		if got := seen.Load(); got != "renamed staff" {
			t.Errorf("the authorizer saw %v, want renamed staff", got)
		}
		if got := settled(b).Refused["bad_user_name_or_password"]; got != 1 {
			t.Errorf("refused %v", settled(b).Refused)
		}
	})
}

// A denied PUBLISH goes nowhere and is counted: MQTT 5 hears 0x87, 3.1.1 has no word for it. The answer is kept
// for the topic until Recheck.
func TestPublishAuthorizerDenies(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		var asked atomic.Int32
		var open atomic.Bool
		b := start(t, setup{hooks: []hooks.Hook{authorizePublish{"acl", func(_ *hooks.Client, topic string) hooks.Decision {
			asked.Add(1)
			if topic == "secret" && !open.Load() {
				return deny
			}
			return pass
		}}}})
		to := connected(t, b, v, hello{id: "to"})
		to.subscribe(2, "#")
		from := connected(t, b, v, hello{id: "from"})
		code := packet.Success
		if v == packet.V5 {
			code = packet.NotAuthorized
		}
		from.say("secret", "0")
		from.ask(1, 1, "secret", "1")
		from.wantAck(packet.PUBACK, 1, code)
		from.ask(2, 2, "secret", "2")
		from.wantAck(packet.PUBREC, 2, code)
		from.say("public", "x")
		to.wantMessage("public", "x")
		if got := settled(b).Dropped[hooks.DropNotAuthorized]; got != 3 {
			t.Errorf("%d dropped as not authorized, want 3", got)
		}
		if got := asked.Load(); got != 2 {
			t.Errorf("asked %d times for 2 topics", got)
		}
		open.Store(true)
		b.Recheck()
		from.ask(1, 3, "secret", "now")
		from.wantAck(packet.PUBACK, 3, packet.Success)
		to.wantMessage("secret", "now")
	})
}

// A denied subscription is told in SUBACK; Recheck ends one that is live, and brings it back.
func TestSubscribeAuthorizerDenies(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		var shut atomic.Bool
		b := start(t, setup{hooks: []hooks.Hook{authorizeSubscribe{"acl", func(_ *hooks.Client, filter string) hooks.Decision {
			if filter == "secret/#" || shut.Load() {
				return deny
			}
			return pass
		}}}})
		to := connected(t, b, v, hello{id: "to"})
		for id, filter := range []string{"secret/#", "$share/g/secret/#"} { // asked without the group's name
			to.write(subscribePacket(v, uint16(id+1), 1, filter))
			want := packet.UnspecifiedError
			if v == packet.V5 {
				want = packet.NotAuthorized
			}
			if got := to.want(packet.SUBACK).ReasonCodes; !slices.Equal(got, []byte{byte(want)}) {
				t.Errorf("%s: SUBACK % x, want %02x", filter, got, byte(want))
			}
		}
		to.subscribe(1, "a")
		from := connected(t, b, v, hello{id: "from"})
		publish := func(payload string) {
			from.ask(1, 1, "a", payload)
			from.want(packet.PUBACK)
		}
		publish("1")
		to.ack(packet.PUBACK, to.wantMessage("a", "1").PacketID)
		shut.Store(true)
		b.Recheck()
		publish("2")
		to.wantNothing()
		shut.Store(false)
		b.Recheck()
		publish("3")
		to.wantMessage("a", "3")
	})
}

// A receive authorizer decides topic by topic, shared subscriptions and retained messages included, until
// Recheck.
func TestReceiveAuthorizerDenies(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		var open atomic.Bool
		b := start(t, setup{hooks: []hooks.Hook{authorizeReceive{"acl", func(c *hooks.Client, topic string) hooks.Decision {
			if c.ID == "to" && topic == "a/secret" && !open.Load() {
				return deny
			}
			return pass
		}}}})
		from := connected(t, b, v, hello{id: "from"})
		for _, topic := range []string{"a/secret", "a/public"} {
			from.publish(packet.Outgoing{Topic: topic, Payload: []byte("kept"), Retain: true})
		}
		from.wantNothing()
		to := connected(t, b, v, hello{id: "to"})
		to.subscribe(0, "a/+")
		to.wantMessage("a/public", "kept")
		other := connected(t, b, v, hello{id: "other"})
		other.subscribe(0, "$share/g/a/secret")
		to.subscribe(0, "$share/g/a/secret")
		for range 3 { // never to the member who may not
			from.say("a/secret", "live")
			other.wantMessage("a/secret", "live")
		}
		from.say("a/public", "live")
		to.wantMessage("a/public", "live")
		open.Store(true)
		b.Recheck()
		from.say("a/secret", "now")
		to.wantMessage("a/secret", "now")
	})
}

// A session that another user resumes is judged as that user's: what the first one subscribed to may not be
// theirs to read.
func TestAResumedSessionAnswersForItsNewUser(t *testing.T) {
	eachVersion(t, func(t *testing.T, v packet.Version) {
		b := start(t, setup{hooks: []hooks.Hook{authorizeSubscribe{"acl", func(c *hooks.Client, filter string) hooks.Decision {
			if c.Username == "alice" || filter != "secret" {
				return pass
			}
			return deny
		}}}})
		alice := connected(t, b, v, hello{id: "shared", username: "alice", resume: true, expiry: 100})
		alice.subscribe(0, "secret")
		from := connected(t, b, v, hello{id: "from"})
		from.say("secret", "1")
		alice.wantMessage("secret", "1")
		alice.nc.Close()
		synctest.Wait()
		mallory := connected(t, b, v, hello{id: "shared", username: "mallory", resume: true, expiry: 100})
		from.say("secret", "2")
		from.wantNothing()
		mallory.wantNothing()
	})
}

// Enhanced authentication goes step by step, and once more on the open connection; other clients' deliveries,
// which ask about this one, do not meet a half-changed Client.
func TestExchange(t *testing.T) {
	b := start(t, setup{hooks: []hooks.Hook{
		exchanges{"steps", func(c *hooks.Client, data []byte) ([]byte, hooks.Decision) {
			if string(data) != "secret" {
				return []byte("say the word"), pass
			}
			c.Username, c.Groups = "known", []string{"a group"}
			return []byte("welcome"), allow
		}},
		authorizeReceive{"acl", func(c *hooks.Client, _ string) hooks.Decision {
			if c.ID == "c" && c.Username != "known" {
				return deny
			}
			return pass
		}},
	}})
	c := pipe(t, b, packet.V5)
	c.write(hello{id: "c", authMethod: "steps"}.packet(packet.V5))
	step := func(code packet.Code) {
		if p := c.want(packet.AUTH); string(p.Properties.AuthenticationData) != "say the word" {
			t.Fatalf("AUTH with %q", p.Properties.AuthenticationData)
		}
		c.write(packet.AppendAuth(nil, packet.ContinueAuthentication, "steps", []byte("secret"), ""))
	}
	step(packet.ContinueAuthentication)
	if ack := c.want(packet.CONNACK); ack.ReasonCode != 0 || string(ack.Properties.AuthenticationData) != "welcome" {
		t.Fatalf("CONNACK %s", summary(ack))
	}
	c.subscribe(0, "a")
	from := connected(t, b, packet.V5, hello{id: "from"})
	var publishing sync.WaitGroup
	var authenticated atomic.Bool
	publishing.Go(func() {
		for !authenticated.Load() {
			b.Recheck()
			from.say("a", "x")
		}
	})
	c.write(packet.AppendAuth(nil, packet.ReAuthenticate, "steps", nil, ""))
	for !authenticated.Load() {
		p, err := c.read()
		switch kind := packet.Type(p.FixedHeader.Type); {
		case err != nil:
			t.Fatal(err)
		case kind == packet.PUBLISH:
		case kind == packet.AUTH && p.ReasonCode == byte(packet.ContinueAuthentication):
			c.write(packet.AppendAuth(nil, packet.ContinueAuthentication, "steps", []byte("secret"), ""))
		case kind == packet.AUTH && p.ReasonCode == byte(packet.Success):
			authenticated.Store(true)
		default:
			t.Fatalf("got %s", summary(p))
		}
	}
	publishing.Wait()
}

// An exchange that fails ends the connection with its code.
func TestExchangeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, setup{hooks: []hooks.Hook{exchanges{"no", func(*hooks.Client, []byte) ([]byte, hooks.Decision) {
			return nil, hooks.Decision{Verdict: hooks.Deny, Code: packet.Banned}
		}}}})
		for method, code := range map[string]packet.Code{"no": packet.Banned, "unknown": packet.BadAuthenticationMethod} {
			c := pipe(t, b, packet.V5)
			c.write(hello{id: "c", authMethod: method}.packet(packet.V5))
			if ack := c.want(packet.CONNACK); packet.Code(ack.ReasonCode) != code {
				t.Errorf("%s: CONNACK 0x%02x, want %s", method, ack.ReasonCode, code)
			}
			c.wantClosed()
		}
	})
}
