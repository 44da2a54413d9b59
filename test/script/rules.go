package script

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// The rules are the hooks of a script: what its user, acl and hook lines say.
type rules struct {
	challenge bool // the method CHALLENGE exists

	mu        sync.Mutex // guards what follows
	users     map[string]user
	acls      []acl
	publishes []publishRule
	lowers    []lowerRule
	owns      []string        // filters that a hook owns
	prints    map[string]bool // drops, sessions, acks
	lines     []string
	broker    hooks.Broker
}

type user struct {
	password string
	groups   []string
}

// An acl allows or denies. Empty username or client is everybody.
type acl struct {
	verdict  hooks.Verdict
	action   string // publish, subscribe or receive
	filter   string
	username string
	client   string
	code     packet.Code
	reason   string
}

// A publishRule is what happens to messages published to a filter.
type publishRule struct {
	what    string // refuse, change or panic
	filter  string
	code    packet.Code
	payload string
}

type lowerRule struct {
	filter string
	qos    byte
}

func (r *rules) hooks() []hooks.Hook {
	list := []hooks.Hook{r}
	if r.challenge {
		list = append(list, challenge{})
	}
	return list
}

// Name implements hooks.Hook.
func (r *rules) Name() string { return "script" }

// Start implements hooks.Starter.
func (r *rules) Start(b hooks.Broker) error {
	r.mu.Lock()
	r.broker = b
	owns := r.owns
	r.mu.Unlock()
	for _, filter := range owns {
		if _, err := b.Own(filter, r); err != nil {
			return fmt.Errorf("own %s: %w", filter, err)
		}
	}
	return nil
}

// Receive implements hooks.Owner.
func (r *rules) Receive(filter string, m *packet.Message) error {
	r.note("", "owner of %s got %s %s", filter, quote(m.Topic), quote(string(m.Payload)))
	return nil
}

// Authenticate implements hooks.Authenticator: without users everybody may enter.
func (r *rules) Authenticate(_ context.Context, c *hooks.Client, cred hooks.Credentials) hooks.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.users) == 0 {
		return hooks.Decision{Verdict: hooks.Allow}
	}
	if !cred.HasUsername {
		return hooks.Decision{Verdict: hooks.Deny, Code: packet.NotAuthorized, Reason: "username required"}
	}
	known, ok := r.users[cred.Username]
	if !ok || known.password != string(cred.Password) {
		return hooks.Decision{Verdict: hooks.Deny, Code: packet.BadUserNameOrPassword, Reason: "wrong password"}
	}
	c.Groups = known.groups
	return hooks.Decision{Verdict: hooks.Allow}
}

// AuthorizePublish implements hooks.PublishAuthorizer.
func (r *rules) AuthorizePublish(c *hooks.Client, topic string, _ byte, _ bool) hooks.Decision {
	return r.decide(c, "publish", topic)
}

// AuthorizeSubscribe implements hooks.SubscribeAuthorizer.
func (r *rules) AuthorizeSubscribe(c *hooks.Client, filter string, _ byte) hooks.Decision {
	return r.decide(c, "subscribe", filter)
}

// AuthorizeReceive implements hooks.ReceiveAuthorizer.
func (r *rules) AuthorizeReceive(c *hooks.Client, topic string) hooks.Decision {
	return r.decide(c, "receive", topic)
}

func (r *rules) decide(c *hooks.Client, action, topic string) hooks.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.acls {
		who := cmp.Or(a.username, c.Username) == c.Username && cmp.Or(a.client, c.ID) == c.ID
		if who && a.action == action && matches(strings.ReplaceAll(a.filter, "%c", c.ID), topic) {
			return hooks.Decision{Verdict: a.verdict, Code: a.code, Reason: a.reason}
		}
	}
	return hooks.Decision{}
}

// OnPublish implements hooks.PublishInterceptor.
func (r *rules) OnPublish(_ *hooks.Client, m *packet.Message) (*packet.Message, hooks.Decision) {
	r.mu.Lock()
	at := slices.IndexFunc(r.publishes, func(p publishRule) bool { return matches(p.filter, m.Topic) })
	var rule publishRule
	if at >= 0 {
		rule = r.publishes[at]
	}
	r.mu.Unlock()
	switch rule.what {
	case "refuse":
		return m, hooks.Decision{Verdict: hooks.Deny, Code: rule.code, Reason: "refused"}
	case "change":
		changed := *m
		changed.Payload = []byte(rule.payload)
		return &changed, hooks.Decision{}
	case "panic":
		panic("a hook of the script panics at " + m.Topic)
	}
	return m, hooks.Decision{}
}

// OnSubscribe implements hooks.SubscribeInterceptor.
func (r *rules) OnSubscribe(_ *hooks.Client, s *hooks.Subscription) hooks.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lowers {
		if l.filter == s.Filter {
			s.QoS = min(s.QoS, l.qos)
		}
	}
	return hooks.Decision{}
}

// matches is the specification's rule, word for word and slowly, independent of the broker's.
func matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") && (f[0] == "#" || f[0] == "+") {
		return false
	}
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i >= len(t) || level != "+" && level != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}
