package auth

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// A dialogue is the client's side of an exchange, played by the library.
type dialogue struct {
	client *scram.ClientConversation
	server hooks.Exchange
	sent   []string // what the server sent
}

func newDialogue(t testing.TB, h *SCRAM, c *hooks.Client, user, password string) *dialogue {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	return &dialogue{client: client.NewConversation(), server: h.Begin(c)}
}

// step sends what the client has to say to what the server said last.
func (d *dialogue) step(t testing.TB, c *hooks.Client) hooks.Decision {
	t.Helper()
	last := ""
	if len(d.sent) > 0 {
		last = d.sent[len(d.sent)-1]
	}
	message, err := d.client.Step(last)
	if err != nil {
		t.Fatal(err)
	}
	reply, decision := d.server.Step(t.Context(), c, []byte(message))
	d.sent = append(d.sent, string(reply))
	return decision
}

// run plays both steps of the client.
func (d *dialogue) run(t testing.TB, c *hooks.Client) hooks.Decision {
	t.Helper()
	if first := d.step(t, c); first.Verdict != hooks.Pass {
		return first
	}
	return d.step(t, c)
}

func scramOf(t testing.TB, accounts ...*account) *SCRAM {
	t.Helper()
	return NewSCRAM(loadPasswords(t, fileOf(t, accounts...)))
}

// Both sides prove that they know the password; the client becomes the user (MQTT 5, 4.12).
func TestSCRAM(t *testing.T) {
	for _, user := range []string{"alice", "a,b=c", "bob b", "ольга"} {
		h := scramOf(t, newAccount(t, user, "secret", "ops"))
		c := &hooks.Client{ID: "c"}
		d := newDialogue(t, h, c, user, "secret")
		if decision := d.run(t, c); decision.Verdict != hooks.Allow {
			t.Fatalf("%s: %+v", user, decision)
		}
		if c.Username != user || !slices.Equal(c.Groups, []string{"ops"}) {
			t.Errorf("client became %+v", c)
		}
		if _, err := d.client.Step(d.sent[1]); err != nil || !d.client.Valid() {
			t.Errorf("%s: the client does not believe the server: %v", user, err)
		}
	}
}

// The keys AddUser writes are those that clients prove, prepared by SASLprep where it has a form for the password.
func TestSCRAMKeysOfNewUsers(t *testing.T) {
	path := fileOf(t)
	passwords := map[string]string{"alice": "I\u00adX", "bob": "\u2168"} // both are IX to SASLprep
	for user, password := range passwords {
		must(t, AddUser(path, user, password, nil))
	}
	must(t, AddUser(path, "carol", "🐳", nil))
	h := NewSCRAM(loadPasswords(t, path))
	for user := range passwords {
		c := &hooks.Client{}
		if decision := newDialogue(t, h, c, user, "IX").run(t, c); decision.Verdict != hooks.Allow {
			t.Errorf("%s: %+v", user, decision)
		}
	}
	client, err := scram.SHA256.NewClientUnprepped("carol", "🐳", "")
	if err != nil {
		t.Fatal(err)
	}
	c := &hooks.Client{}
	d := &dialogue{client: client.NewConversation(), server: h.Begin(c)}
	if decision := d.run(t, c); decision.Verdict != hooks.Allow {
		t.Errorf("carol: %+v", decision)
	}
}

// A client may name the method first and begin when asked (MQTT 5, 4.12).
func TestSCRAMWithoutInitialData(t *testing.T) {
	h, c := scramOf(t, newAccount(t, "alice", "secret")), &hooks.Client{}
	d := newDialogue(t, h, c, "alice", "secret")
	if reply, decision := d.server.Step(t.Context(), c, nil); decision.Verdict != hooks.Pass || len(reply) != 0 {
		t.Fatalf("%q, %+v", reply, decision)
	}
	if decision := d.run(t, c); decision.Verdict != hooks.Allow {
		t.Errorf("%+v", decision)
	}
	silent := h.Begin(c)
	silent.Step(t.Context(), c, nil)
	if _, decision := silent.Step(t.Context(), c, nil); decision.Verdict != hooks.Deny {
		t.Errorf("a client that never begins: %+v", decision)
	}
}

var serverFirst = regexp.MustCompile(`^r=[^,]+,s=([^,]+),i=(\d+)$`)

// Nobody can find out which users exist: until the end, and at the end, an unknown name, a name without keys and a wrong
// password look the same [MQTT5-4.12.0-4].
func TestSCRAMRefusalsLookTheSame(t *testing.T) {
	alice, keyless := newAccount(t, "alice", "secret"), newAccount(t, "dave", "secret")
	alice.scram.Salt = strings.Repeat("s", scramSaltLen)
	keyless.scram = nil
	path := fileOf(t, alice, keyless)
	salts := make(map[string]string)
	for attempt := range 3 { // as many starts of the broker
		h := NewSCRAM(loadPasswords(t, path))
		var first hooks.Decision
		for i, user := range []string{"alice", "carol", "dave", "erin"} {
			c := &hooks.Client{}
			d := newDialogue(t, h, c, user, "wrong")
			decision := d.run(t, c)
			if i == 0 {
				first = decision
			}
			if decision.Verdict != hooks.Deny || decision.Code != packet.NotAuthorized || decision != first || c.Username != "" {
				t.Errorf("%s: %+v, client %+v", user, decision, c)
			}
			parts := serverFirst.FindStringSubmatch(d.sent[0])
			if parts == nil || parts[2] != "4096" {
				t.Fatalf("%s: server first %q", user, d.sent[0])
			}
			salt, err := base64.StdEncoding.DecodeString(parts[1])
			if err != nil || len(salt) != scramSaltLen {
				t.Errorf("%s: salt %q, %v", user, salt, err)
			}
			if attempt > 0 && salts[user] != string(salt) {
				t.Errorf("%s: the salt changed from %x to %x", user, salts[user], salt)
			}
			salts[user] = string(salt)
		}
	}
	if salts["carol"] == salts["erin"] {
		t.Error("two unknown names have one salt")
	}
}

// What is no SCRAM message, or comes out of turn, ends the exchange.
func TestSCRAMMalformed(t *testing.T) {
	h := scramOf(t, newAccount(t, "alice", "secret"))
	tests := []struct {
		name     string
		messages []string
		code     packet.Code
	}{
		{"garbage", []string{"\x00\xff"}, packet.ProtocolError},
		{"no nonce", []string{"n,,n=alice"}, packet.ProtocolError},
		{"bad escape", []string{"n,,n=al=ice,r=abc"}, packet.ProtocolError},
		{"extension", []string{"n,,m=x,n=alice,r=abc"}, packet.ProtocolError},
		{"unknown binding flag", []string{"x,,n=alice,r=abc"}, packet.ProtocolError},
		{"final first", []string{"c=biws,r=abc,p=AAAA"}, packet.ProtocolError},
		{"empty final", []string{"n,,n=alice,r=abc", ""}, packet.ProtocolError},
		{"first twice", []string{"n,,n=alice,r=abc", "n,,n=alice,r=abc"}, packet.ProtocolError},
		{"another nonce", []string{"n,,n=alice,r=abc", "c=biws,r=abcdef,p=AAAA"}, packet.NotAuthorized},
		{"another header", []string{"n,,n=alice,r=abc", "c=eSws,r=abc,p=AAAA"}, packet.NotAuthorized},
		{"acting for another", []string{"n,a=root,n=alice,r=abc"}, packet.NotAuthorized},
		{"channel binding", []string{"p=tls-exporter,,n=alice,r=abc"}, packet.NotAuthorized},
		{"unknown channel binding", []string{"p=made-up,,n=alice,r=abc"}, packet.NotAuthorized},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &hooks.Client{}
			e := h.Begin(c)
			var d hooks.Decision
			for _, m := range tt.messages {
				if d.Verdict != hooks.Pass {
					t.Fatalf("decided early: %+v", d)
				}
				_, d = e.Step(t.Context(), c, []byte(m))
			}
			if d.Verdict != hooks.Deny || d.Code != tt.code || c.Username != "" {
				t.Errorf("decided %+v, client %+v", d, c)
			}
		})
	}
}

// A denied exchange stays denied, whatever comes after.
func TestSCRAMIsOverWhenDecided(t *testing.T) {
	h, c := scramOf(t, newAccount(t, "alice", "secret")), &hooks.Client{Username: "bob"}
	d := newDialogue(t, h, c, "alice", "secret")
	if decision := d.step(t, c); decision.Verdict != hooks.Deny {
		t.Fatalf("%+v", decision)
	}
	if _, decision := d.server.Step(t.Context(), c, []byte("n,,n=bob,r=abc")); decision.Verdict != hooks.Deny {
		t.Errorf("%+v", decision)
	}

	c = &hooks.Client{}
	d = newDialogue(t, h, c, "alice", "secret")
	if decision := d.run(t, c); decision.Verdict != hooks.Allow {
		t.Fatalf("%+v", decision)
	}
	if _, decision := d.server.Step(t.Context(), c, []byte("n,,n=alice,r=abc")); decision.Verdict != hooks.Deny {
		t.Errorf("%+v", decision)
	}
}

// A client that wants channel binding if it can be had goes without, and one that acts for itself by name is itself.
func TestSCRAMVariants(t *testing.T) {
	h := scramOf(t, newAccount(t, "alice", "secret"))
	plain, err := scram.SHA256.NewClient("alice", "secret", "")
	if err != nil {
		t.Fatal(err)
	}
	self, err := scram.SHA256.NewClient("alice", "secret", "alice")
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]*scram.ClientConversation{
		"y flag": plain.NewConversationAdvertisingChannelBinding(), "own authzid": self.NewConversation(),
	} {
		c := &hooks.Client{}
		d := &dialogue{client: client, server: h.Begin(c)}
		if decision := d.run(t, c); decision.Verdict != hooks.Allow {
			t.Errorf("%s: %+v", name, decision)
		}
	}
}

// Re-authentication proves the same user again, and nobody else (MQTT 5, 4.12.1).
func TestSCRAMReauthentication(t *testing.T) {
	h := scramOf(t, newAccount(t, "alice", "secret"), newAccount(t, "bob", "hunter2"))
	c := &hooks.Client{}
	if decision := newDialogue(t, h, c, "alice", "secret").run(t, c); decision.Verdict != hooks.Allow {
		t.Fatalf("%+v", decision)
	}
	if decision := newDialogue(t, h, c, "bob", "hunter2").run(t, c); decision.Verdict != hooks.Deny || c.Username != "alice" {
		t.Errorf("another user: %+v, client %+v", decision, c)
	}
	if decision := newDialogue(t, h, c, "alice", "secret").run(t, c); decision.Verdict != hooks.Allow {
		t.Errorf("the same user: %+v", decision)
	}
}

// Re-authentication writes nothing to a client that others are reading meanwhile; the race detector watches.
func TestSCRAMReauthenticationOnlyReads(t *testing.T) {
	h, c := scramOf(t, newAccount(t, "alice", "secret", "ops")), &hooks.Client{}
	if decision := newDialogue(t, h, c, "alice", "secret").run(t, c); decision.Verdict != hooks.Allow {
		t.Fatalf("%+v", decision)
	}
	var reading sync.WaitGroup
	again := newDialogue(t, h, c, "alice", "secret")
	reading.Go(func() {
		if c.Username != "alice" || len(c.Groups) != 1 {
			t.Errorf("client %+v", c)
		}
	})
	if decision := again.run(t, c); decision.Verdict != hooks.Allow {
		t.Errorf("%+v", decision)
	}
	reading.Wait()
}

// An account that is changed in the middle of an exchange no longer counts.
func TestSCRAMReloadDuringExchange(t *testing.T) {
	alice, bob := newAccount(t, "alice", "secret"), newAccount(t, "bob", "hunter2")
	path := fileOf(t, alice, bob)
	p := loadPasswords(t, path)
	h := NewSCRAM(p)
	ca, cb := &hooks.Client{}, &hooks.Client{}
	da, db := newDialogue(t, h, ca, "alice", "secret"), newDialogue(t, h, cb, "bob", "hunter2")
	da.step(t, ca)
	db.step(t, cb)
	writeFile(t, path, newAccount(t, "alice", "new").String(), bob.String())
	if _, err := p.Reload(); err != nil {
		t.Fatal(err)
	}
	if decision := da.step(t, ca); decision.Verdict != hooks.Deny {
		t.Errorf("changed account: %+v", decision)
	}
	if decision := db.step(t, cb); decision.Verdict != hooks.Allow {
		t.Errorf("unchanged account: %+v", decision)
	}
}

// No message makes an exchange panic or succeed.
func FuzzSCRAM(f *testing.F) {
	f.Add("n,,n=alice,r=abc", "c=biws,r=abc,p=AAAA")
	f.Add("y,a=alice,n=alice,r=", "c=,r=,p=")
	f.Add("", "n,,n=alice,r=abc")
	h := scramOf(f, newAccount(f, "alice", "secret"))
	f.Fuzz(func(t *testing.T, first, second string) {
		c := &hooks.Client{}
		e := h.Begin(c)
		for _, m := range []string{first, second, second} {
			if _, d := e.Step(t.Context(), c, []byte(m)); d.Verdict == hooks.Allow || c.Username != "" {
				t.Fatalf("%q, %q: %+v", first, second, d)
			}
		}
	})
}
