package main

import (
	"log/slog"

	"github.com/penstockmq/penstock/broker"
	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/hooks/acl"
	"github.com/penstockmq/penstock/hooks/auth"
)

// An access is the hooks that decide who may do what, and the files behind them.
type access struct {
	hooks     []hooks.Hook // in the order in which they are asked
	passwords *auth.Passwords
	connected *connected // nil without passwords
	acl       *acl.ACL   // nil without rules
}

// openAccess makes the hooks that the configuration asks for.
func openAccess(cfg *configs.Config) (*access, error) {
	a := &access{}
	var certified []string
	for _, l := range cfg.Listeners {
		if l.UsernameFromCert {
			certified = append(certified, l.Name)
		}
	}
	a.hooks = append(a.hooks, auth.NewCertificate(certified...))
	if cfg.Auth.PasswordFile != "" {
		passwords, err := auth.LoadPasswords(cfg.Auth.PasswordFile)
		if err != nil {
			return nil, err
		}
		a.passwords, a.connected = passwords, newConnected()
		a.hooks = append(a.hooks, passwords, auth.NewSCRAM(passwords), a.connected)
	}
	anonymous, err := auth.NewAnonymous(auth.AnonymousOptions{
		Policy: auth.Policy(cfg.Auth.Anonymous), Accounts: a.passwords != nil, ForgetUsername: cfg.Auth.ACLFile != "",
	})
	if err != nil {
		return nil, err
	}
	a.hooks = append(a.hooks, anonymous)
	if cfg.Auth.ACLFile != "" {
		if a.acl, err = acl.Load(cfg.Auth.ACLFile); err != nil {
			return nil, err
		}
		a.hooks = append(a.hooks, a.acl)
	}
	return a, nil
}

// reload reads the files again. Clients whose account went or changed are disconnected, and what the others may do is
// asked anew. A file that cannot be read leaves what was read of it before.
func (a *access) reload(b *broker.Broker, log *slog.Logger) {
	if a.passwords != nil {
		changed, err := a.passwords.Reload()
		if err != nil {
			log.Error("accounts not reloaded", "err", err)
		}
		for _, id := range a.connected.of(changed) {
			b.Disconnect(id, packet.NotAuthorized, "the account changed")
		}
	}
	if a.acl != nil {
		if err := a.acl.Reload(); err != nil {
			log.Error("access rules not reloaded", "err", err)
		}
		b.Recheck()
	}
}
