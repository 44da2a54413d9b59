package auth

import (
	"net"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 40000} }

// spoken is an address as another kind of listener may give it.
type spoken string

func (s spoken) Network() string { return "websocket" }
func (s spoken) String() string  { return string(s) }

// auth.anonymous decides about clients without an account, by where they are.
func TestAnonymousPolicy(t *testing.T) {
	remotes := map[string]struct {
		addr     net.Addr
		loopback bool
	}{
		"127.0.0.1":          {tcp("127.0.0.1"), true},
		"127.9.9.9":          {tcp("127.9.9.9"), true},
		"::1":                {tcp("::1"), true},
		"mapped IPv4":        {tcp("::ffff:127.0.0.1"), true},
		"mapped IPv4 spoken": {spoken("[::ffff:127.0.0.1]:5"), true},
		"Unix socket":        {&net.UnixAddr{Name: "@", Net: "unix"}, true},
		"192.0.2.7":          {tcp("192.0.2.7"), false},
		"10.0.0.1":           {tcp("10.0.0.1"), false},
		"2001:db8::1":        {tcp("2001:db8::1"), false},
		"0.0.0.0":            {tcp("0.0.0.0"), false},
		"a name":             {spoken("localhost:5"), false},
		"nothing":            {nil, false},
	}
	for _, policy := range []Policy{Never, Loopback, Always} {
		a, err := NewAnonymous(AnonymousOptions{Policy: policy})
		if err != nil {
			t.Fatal(err)
		}
		for name, remote := range remotes {
			d := a.Authenticate(t.Context(), &hooks.Client{Remote: remote.addr}, hooks.Credentials{})
			want := policy == Always || policy == Loopback && remote.loopback
			if got := d.Verdict == hooks.Allow; got != want {
				t.Errorf("%s, %s: %+v", policy, name, d)
			}
			if !want && (d.Verdict != hooks.Deny || d.Code != packet.NotAuthorized) {
				t.Errorf("%s, %s: %+v", policy, name, d)
			}
		}
	}
}

// The denial tells an operator who was denied and how to allow it.
func TestAnonymousReason(t *testing.T) {
	tests := []struct {
		options AnonymousOptions
		want    []string
	}{
		{AnonymousOptions{Policy: Loopback}, []string{"auth.anonymous is loopback", "192.0.2.7", "set auth.anonymous: always", `"penstock user add"`}},
		{AnonymousOptions{Policy: Loopback, Accounts: true}, []string{"auth.anonymous is loopback", "192.0.2.7", "let it use an account"}},
		{AnonymousOptions{Policy: Never}, []string{"auth.anonymous is never", `"penstock user add"`}},
	}
	for _, tt := range tests {
		a, err := NewAnonymous(tt.options)
		if err != nil {
			t.Fatal(err)
		}
		d := a.Authenticate(t.Context(), &hooks.Client{Remote: tcp("192.0.2.7")}, hooks.Credentials{})
		for _, want := range tt.want {
			if !strings.Contains(d.Reason, want) {
				t.Errorf("%+v: reason %q, want %q in it", tt.options, d.Reason, want)
			}
		}
		if strings.Contains(d.Reason, "40000") {
			t.Errorf("reason %q names the port", d.Reason)
		}
	}
}

// A client that shows a username is the password file's where there is one; elsewhere it counts as anonymous, and
// keeps its name unless rules could come to trust it.
func TestAnonymousWithUsername(t *testing.T) {
	tests := []struct {
		options AnonymousOptions
		verdict hooks.Verdict
		name    string
	}{
		{AnonymousOptions{Policy: Always, Accounts: true}, hooks.Pass, "alice"},
		{AnonymousOptions{Policy: Never, Accounts: true}, hooks.Pass, "alice"},
		{AnonymousOptions{Policy: Always}, hooks.Allow, "alice"},
		{AnonymousOptions{Policy: Loopback}, hooks.Allow, "alice"},
		{AnonymousOptions{Policy: Loopback, ForgetUsername: true}, hooks.Allow, ""},
		{AnonymousOptions{Policy: Never}, hooks.Deny, "alice"},
	}
	for _, tt := range tests {
		a, err := NewAnonymous(tt.options)
		if err != nil {
			t.Fatal(err)
		}
		c := &hooks.Client{Username: "alice", Remote: tcp("127.0.0.1")}
		if d := a.Authenticate(t.Context(), c, login("alice", "x")); d.Verdict != tt.verdict || c.Username != tt.name {
			t.Errorf("%+v: %+v, username %q", tt.options, d, c.Username)
		}
	}
}

// There are three policies.
func TestAnonymousUnknownPolicy(t *testing.T) {
	for _, policy := range []Policy{"", "Always", "yes"} {
		if _, err := NewAnonymous(AnonymousOptions{Policy: policy}); err == nil || !strings.Contains(err.Error(), "expected never, loopback or always") {
			t.Errorf("%q: %v", policy, err)
		}
	}
}

// A verified certificate stands in for a password for its own name, where the listener says so.
func TestCertificate(t *testing.T) {
	tests := []struct {
		name   string
		client hooks.Client
		want   hooks.Verdict
	}{
		{"own name", hooks.Client{CommonName: "meter-1", Username: "meter-1", Listener: "mtls"}, hooks.Allow},
		{"another name", hooks.Client{CommonName: "meter-1", Username: "admin", Listener: "mtls"}, hooks.Pass},
		{"no certificate", hooks.Client{Username: "meter-1", Listener: "mtls"}, hooks.Pass},
		{"neither", hooks.Client{Listener: "mtls"}, hooks.Pass},
		{"certificate without a name", hooks.Client{Username: "", CommonName: "", Listener: "mtls"}, hooks.Pass},
		{"other listener", hooks.Client{CommonName: "meter-1", Username: "meter-1", Listener: "tls"}, hooks.Pass},
	}
	h := NewCertificate("other", "mtls")
	for _, tt := range tests {
		if d := h.Authenticate(t.Context(), &tt.client, hooks.Credentials{}); d.Verdict != tt.want {
			t.Errorf("%s: %+v", tt.name, d)
		}
	}
}

// Every hook of the package has its own name: they stand in one chain.
func TestHooksFormAChain(t *testing.T) {
	p := loadPasswords(t, fileOf(t, newAccount(t, "alice", "secret")))
	a, err := NewAnonymous(AnonymousOptions{Policy: Loopback, Accounts: true})
	if err != nil {
		t.Fatal(err)
	}
	ch, err := hooks.NewChain(NewCertificate("mtls"), p, NewSCRAM(p), a)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		client hooks.Client
		cred   hooks.Credentials
		want   bool
	}{
		"certificate":         {hooks.Client{CommonName: "m", Username: "m", Listener: "mtls", Remote: tcp("192.0.2.7")}, hooks.Credentials{}, true},
		"account":             {hooks.Client{Remote: tcp("192.0.2.7")}, login("alice", "secret"), true},
		"bad account at home": {hooks.Client{Remote: tcp("127.0.0.1")}, login("alice", "x"), false},
		"anonymous at home":   {hooks.Client{Remote: tcp("127.0.0.1")}, hooks.Credentials{}, true},
		"anonymous elsewhere": {hooks.Client{Remote: tcp("192.0.2.7")}, hooks.Credentials{}, false},
	} {
		if d := ch.Authenticate(t.Context(), &tt.client, tt.cred); (d.Verdict == hooks.Allow) != tt.want {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if ch.Method("SCRAM-SHA-256") == nil || ch.Method("SCRAM-SHA-1") != nil {
		t.Error("methods")
	}
}
