package auth

import (
	"context"
	"slices"

	"github.com/penstockmq/penstock/hooks"
)

// Certificate is the hook that takes a verified client certificate for a password. On the listeners it is made
// for, the broker has set the username from the certificate's common name; a client whose
// username is that name needs nothing else. Elsewhere a certificate proves that the client may
// speak, not who it is, and the next hook is asked.
type Certificate struct {
	listeners []string
}

// NewCertificate makes the hook for the listeners, by name, that have username_from_cert.
func NewCertificate(listeners ...string) *Certificate {
	return &Certificate{listeners: slices.Clone(listeners)}
}

// Name identifies the hook.
func (h *Certificate) Name() string { return "certificate" }

// Authenticate allows a client that bears the name its certificate gives it. Client.CommonName is
// only ever set from a certificate that was verified, so it does not matter who wrote the
// name into Username, the broker or the client.
func (h *Certificate) Authenticate(_ context.Context, c *hooks.Client, _ hooks.Credentials) hooks.Decision {
	if c.CommonName == "" || c.Username != c.CommonName || !slices.Contains(h.listeners, c.Listener) {
		return hooks.Decision{}
	}
	return hooks.Decision{Verdict: hooks.Allow}
}
