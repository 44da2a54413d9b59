package auth

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// A Policy says which clients may connect without an account.
type Policy string

// The policies, as auth.anonymous names them.
const (
	Never    Policy = "never"
	Loopback Policy = "loopback" // from this host only
	Always   Policy = "always"
)

// AnonymousOptions are what an Anonymous hook is made of.
type AnonymousOptions struct {
	Policy Policy
	// Accounts tells that a password file is configured. A client that shows a username is then none of
	// this hook's business. Without accounts such a client is treated like one that shows none, as mosquitto does.
	Accounts bool
	// ForgetUsername clears the username of a client that is let in by the policy: nobody has checked it,
	// so no rule must trust it. Set it when an ACL file is configured.
	ForgetUsername bool
}

// Anonymous is the hook that lets clients in without an account, or tells how to.
type Anonymous struct {
	options AnonymousOptions
}

// NewAnonymous makes the hook. It fails if the policy is none of the three.
func NewAnonymous(o AnonymousOptions) (*Anonymous, error) {
	switch o.Policy {
	case Never, Loopback, Always:
		return &Anonymous{options: o}, nil
	}
	return nil, fmt.Errorf("auth.anonymous: %q: expected never, loopback or always", string(o.Policy))
}

// Name identifies the hook.
func (a *Anonymous) Name() string { return "anonymous" }

// Authenticate decides about clients without a username, and about all where there are no accounts.
func (a *Anonymous) Authenticate(_ context.Context, c *hooks.Client, cred hooks.Credentials) hooks.Decision {
	if cred.HasUsername && a.options.Accounts {
		return hooks.Decision{}
	}
	if a.options.Policy == Always || a.options.Policy == Loopback && isLoopback(c.Remote) {
		if a.options.ForgetUsername {
			c.Username = ""
		}
		return hooks.Decision{Verdict: hooks.Allow}
	}
	return hooks.Decision{Verdict: hooks.Deny, Code: packet.NotAuthorized, Reason: a.reason(c)}
}

// reason tells an operator what to do about the denial.
func (a *Anonymous) reason(c *hooks.Client) string {
	accounts := `add accounts with "penstock user add"`
	if a.options.Accounts {
		accounts = "let it use an account"
	}
	if a.options.Policy == Loopback {
		return fmt.Sprintf("auth.anonymous is loopback and %s is another host: set auth.anonymous: always, or %s", host(c.Remote), accounts)
	}
	return "auth.anonymous is never: " + accounts
}

// isLoopback reports whether the client is on this host.
func isLoopback(remote net.Addr) bool {
	if remote == nil {
		return false
	}
	if _, ok := remote.(*net.UnixAddr); ok {
		return true
	}
	at, err := netip.ParseAddrPort(remote.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// host is where the client is, without its port.
func host(remote net.Addr) string {
	if remote == nil {
		return "an unknown address"
	}
	if h, _, err := net.SplitHostPort(remote.String()); err == nil {
		return h
	}
	return remote.String()
}
