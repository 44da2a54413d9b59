package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// SCRAM is the hook for the authentication method SCRAM-SHA-256 (RFC 5802, RFC 7677; MQTT 5, 4.12) over
// the accounts of a Passwords hook. The password never crosses the wire, and the client learns that
// the broker knows it too.
type SCRAM struct {
	passwords *Passwords
}

// NewSCRAM makes the hook. Reloading p reloads it.
func NewSCRAM(p *Passwords) *SCRAM { return &SCRAM{passwords: p} }

// Name identifies the hook.
func (s *SCRAM) Name() string { return "scram-sha-256" }

// Method is the authentication method's name.
func (s *SCRAM) Method() string { return "SCRAM-SHA-256" }

// Begin starts an exchange. If the client has a username by now, from its certificate, from CONNECT or from an
// earlier exchange, it can only prove that it is that user: re-authentication does not change
// who a connection belongs to (MQTT 5, 4.12.1).
func (s *SCRAM) Begin(c *hooks.Client) hooks.Exchange {
	return &scramExchange{passwords: s.passwords, bound: c.Username}
}

// A scramExchange is one run: client-first, server-first, client-final, server-final.
type scramExchange struct {
	passwords    *Passwords
	bound        string                    // the only username that may succeed, empty is any
	conversation *scram.ServerConversation // nil until the client-first message
	invited      bool                      // the client was asked for its client-first message
	account      *account                  // nil if no account has the client's name and keys
	over         bool                      // allowed or denied
}

// Step takes the client's next message. Once it has decided, every further message is denied.
func (e *scramExchange) Step(_ context.Context, c *hooks.Client, data []byte) ([]byte, hooks.Decision) {
	if e.over {
		return nil, malformed()
	}
	reply, d := e.next(c, data)
	e.over = d.Verdict != hooks.Pass
	return reply, d
}

func (e *scramExchange) next(c *hooks.Client, data []byte) ([]byte, hooks.Decision) {
	switch {
	case e.conversation != nil:
		return e.final(c, string(data))
	case len(data) == 0 && !e.invited: // a client may name the method without beginning it
		e.invited = true
		return nil, hooks.Decision{}
	default:
		return e.first(string(data))
	}
}

// first answers the client-first message with salt and iterations, of the account or invented.
func (e *scramExchange) first(message string) ([]byte, hooks.Decision) {
	if strings.HasPrefix(message, "p=") {
		return nil, refused("channel binding is not supported")
	}
	server, err := scram.SHA256.NewServer(e.lookup)
	if err != nil {
		return nil, hooks.Decision{Verdict: hooks.Deny, Code: packet.ImplementationError, Reason: "scram: " + err.Error()}
	}
	e.conversation = server.NewConversation()
	reply, err := e.conversation.Step(message)
	if err != nil {
		return nil, malformed()
	}
	user, other := e.conversation.Username(), e.conversation.AuthzID()
	if other != "" && other != user {
		return nil, refused("acting for another user is not supported")
	}
	if e.bound != "" && user != e.bound {
		return nil, refused("the username differs from that of the connection")
	}
	return []byte(reply), hooks.Decision{}
}

// final answers the client-final message, which holds the proof.
func (e *scramExchange) final(c *hooks.Client, message string) ([]byte, hooks.Decision) {
	reply, err := e.conversation.Step(message)
	if err != nil || !e.conversation.Valid() {
		if strings.HasPrefix(reply, "e=") {
			return nil, refused("wrong proof")
		}
		return nil, malformed()
	}
	// A reload since the client-first message counts: its caller disconnects only who is connected.
	if e.account == nil || !e.passwords.current.Load().has(e.account) {
		return nil, refused("wrong proof")
	}
	e.account.take(c)
	return []byte(reply), hooks.Decision{Verdict: hooks.Allow}
}

// lookup gives the keys of a name. For a name without keys it invents some that look the same at every
// attempt and that no proof fits, so that nobody can find out which names exist.
func (e *scramExchange) lookup(name string) (scramKeys, error) {
	as := e.passwords.current.Load()
	keys := as.inventedKeys(name)
	if a, ok := as.byName[name]; ok && a.scram != nil {
		e.account, keys = a, *a.scram
	}
	return keys, nil
}

// inventedKeys are the keys of an account that does not exist.
func (as *accounts) inventedKeys(name string) scramKeys {
	invent := func(what string) []byte {
		mac := hmac.New(sha256.New, as.secret[:])
		mac.Write([]byte(what + ":" + name))
		return mac.Sum(nil)
	}
	return scramKeys{
		KeyFactors: scram.KeyFactors{Salt: string(invent("salt")[:scramSaltLen]), Iters: as.iterations},
		StoredKey:  invent("stored"), ServerKey: invent("server"),
	}
}

// refused ends the exchange. The code is one that CONNACK and DISCONNECT both have, since a
// re-authentication fails with DISCONNECT [MQTT5-4.12.0-4].
func refused(reason string) hooks.Decision {
	return hooks.Decision{Verdict: hooks.Deny, Code: packet.NotAuthorized, Reason: "scram: " + reason}
}

func malformed() hooks.Decision {
	return hooks.Decision{Verdict: hooks.Deny, Code: packet.ProtocolError, Reason: "scram: malformed message"}
}
