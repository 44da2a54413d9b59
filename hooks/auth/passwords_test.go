package auth

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

var (
	_ hooks.Authenticator         = (*Passwords)(nil)
	_ hooks.Authenticator         = (*Anonymous)(nil)
	_ hooks.Authenticator         = (*Certificate)(nil)
	_ hooks.EnhancedAuthenticator = (*SCRAM)(nil)
)

func loadPasswords(t testing.TB, path string) *Passwords {
	t.Helper()
	p, err := LoadPasswords(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func login(user, password string) hooks.Credentials {
	return hooks.Credentials{Username: user, HasUsername: true, Password: []byte(password), HasPassword: true}
}

// Username and password decide, to the byte (MQTT 5, 5.4.1).
func TestPasswordsAuthenticate(t *testing.T) {
	p := loadPasswords(t, fileOf(t, newAccount(t, "alice", "secret", "ops"), newAccount(t, "bob", "hunter2")))
	tests := []struct {
		name string
		cred hooks.Credentials
		want hooks.Verdict
	}{
		{"right", login("alice", "secret"), hooks.Allow},
		{"another's password", login("alice", "hunter2"), hooks.Deny},
		{"one byte more", login("alice", "secret "), hooks.Deny},
		{"empty password", login("alice", ""), hooks.Deny},
		{"other case", login("Alice", "secret"), hooks.Deny},
		{"unknown user", login("carol", "secret"), hooks.Deny},
		{"empty username", login("", ""), hooks.Deny},
		{"no password", hooks.Credentials{Username: "alice", HasUsername: true}, hooks.Deny},
		{"no username", hooks.Credentials{}, hooks.Pass},
		{"password without username", hooks.Credentials{Password: []byte("secret"), HasPassword: true}, hooks.Pass},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &hooks.Client{ID: "c", Username: tt.cred.Username}
			d := p.Authenticate(t.Context(), c, tt.cred)
			if d.Verdict != tt.want {
				t.Fatalf("decided %+v", d)
			}
			if d.Verdict == hooks.Deny && d.Code != packet.BadUserNameOrPassword {
				t.Errorf("code %v", d.Code)
			}
			if d.Verdict == hooks.Allow && (c.Username != "alice" || !slices.Equal(c.Groups, []string{"ops"})) {
				t.Errorf("client became %+v", c)
			}
		})
	}
}

// Who logs in with a password is that user, whatever name the client had before.
func TestPasswordsSetTheUsername(t *testing.T) {
	p := loadPasswords(t, fileOf(t, newAccount(t, "bob", "hunter2")))
	c := &hooks.Client{Username: "alice"}
	if d := p.Authenticate(t.Context(), c, login("bob", "hunter2")); d.Verdict != hooks.Allow || c.Username != "bob" {
		t.Errorf("%+v, client %+v", d, c)
	}
}

// A storm of logins waits for a slot and gives up with its context. Unknown names wait like known ones: they
// are hashed for as well.
func TestPasswordsBoundTheHashes(t *testing.T) {
	for _, user := range []string{"alice", "carol"} {
		path := fileOf(t, newAccount(t, "alice", "secret"))
		synctest.Test(t, func(t *testing.T) {
			p := loadPasswords(t, path)
			for range cap(p.slots) {
				p.slots <- struct{}{}
			}
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			begin := time.Now()
			d := p.Authenticate(ctx, &hooks.Client{}, login(user, "secret"))
			if d.Verdict != hooks.Deny || d.Code != packet.ServerBusy || time.Since(begin) != 10*time.Second {
				t.Errorf("%s: %+v after %v", user, d, time.Since(begin))
			}
		})
	}
}

// A login whose context has ended is not worth a hash, even if a slot is free.
func TestPasswordsEndedContext(t *testing.T) {
	p := loadPasswords(t, fileOf(t, newAccount(t, "alice", "secret")))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for range 20 { // select chooses at random
		if d := p.Authenticate(ctx, &hooks.Client{}, login("alice", "secret")); d.Code != packet.ServerBusy {
			t.Fatalf("decided %+v", d)
		}
	}
}

// An account that is changed while its login waits no longer counts.
func TestPasswordsReloadDuringLogin(t *testing.T) {
	alice, bob := newAccount(t, "alice", "secret"), newAccount(t, "bob", "hunter2")
	path := fileOf(t, alice, bob)
	for _, tt := range []struct {
		user, password string
		want           hooks.Verdict
	}{{"alice", "secret", hooks.Deny}, {"bob", "hunter2", hooks.Allow}} {
		writeFile(t, path, alice.String(), bob.String())
		synctest.Test(t, func(t *testing.T) {
			p := loadPasswords(t, path)
			for range cap(p.slots) {
				p.slots <- struct{}{}
			}
			decided := make(chan hooks.Decision)
			go func() { decided <- p.Authenticate(t.Context(), &hooks.Client{}, login(tt.user, tt.password)) }()
			synctest.Wait()
			writeFile(t, path, bob.String())
			if _, err := p.Reload(); err != nil {
				t.Error(err)
			}
			<-p.slots
			if d := <-decided; d.Verdict != tt.want {
				t.Errorf("%s: %+v", tt.user, d)
			}
		})
	}
}

// Reload tells who changed or went, and keeps the accounts it has when the file is broken.
func TestPasswordsReload(t *testing.T) {
	alice, bob := newAccount(t, "alice", "secret"), newAccount(t, "bob", "hunter2")
	path := fileOf(t, alice, bob, newAccount(t, "carol", "x"), newAccount(t, "dave", "y", "ops"))
	p := loadPasswords(t, path)

	writeFile(t, path, "# moved", newAccount(t, "dave", "y", "ops", "dev").String(), bob.String(), newAccount(t, "alice", "new").String(), newAccount(t, "erin", "z").String())
	changed, err := p.Reload()
	if err != nil || !slices.Equal(changed, []string{"alice", "carol", "dave"}) {
		t.Errorf("changed %q, %v", changed, err)
	}
	for _, tt := range []struct {
		cred hooks.Credentials
		want hooks.Verdict
	}{
		{login("alice", "secret"), hooks.Deny}, {login("alice", "new"), hooks.Allow}, {login("bob", "hunter2"), hooks.Allow},
		{login("carol", "x"), hooks.Deny}, {login("erin", "z"), hooks.Allow},
	} {
		if d := p.Authenticate(t.Context(), &hooks.Client{}, tt.cred); d.Verdict != tt.want {
			t.Errorf("%s with %s: %+v", tt.cred.Username, tt.cred.Password, d)
		}
	}

	writeFile(t, path, "bob")
	if changed, err := p.Reload(); err == nil || !strings.Contains(err.Error(), path+":1:") || changed != nil {
		t.Errorf("broken file: changed %q, %v", changed, err)
	}
	if d := p.Authenticate(t.Context(), &hooks.Client{}, login("bob", "hunter2")); d.Verdict != hooks.Allow {
		t.Errorf("after a broken file: %+v", d)
	}
}

// Without its file the hook does not exist; an empty file has no accounts.
func TestLoadPasswords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	if _, err := LoadPasswords(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no file: %v", err)
	}
	p := loadPasswords(t, fileOf(t))
	if d := p.Authenticate(t.Context(), &hooks.Client{}, login("alice", "")); d.Verdict != hooks.Deny {
		t.Errorf("no accounts: %+v", d)
	}
}

func BenchmarkPasswordsAuthenticate(b *testing.B) {
	a := newAccount(b, "alice", "secret")
	a.hash = newArgon2id([]byte("secret"))
	p := loadPasswords(b, fileOf(b, a))
	for _, user := range []string{"alice", "unknown"} {
		b.Run(user, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Authenticate(b.Context(), &hooks.Client{}, login(user, "wrong"))
			}
		})
	}
}
