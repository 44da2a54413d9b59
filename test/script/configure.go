package script

import (
	"errors"
	"fmt"
	"strings"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/configs"
	"github.com/penstockmq/penstock/hooks"
)

// configure obeys the lines that describe the broker before it starts. Users and acl rules may also come later.
func (p *player) configure(word string, o *options) error {
	if p.begun && (word == "config" || word == "hook" || word == "channel") {
		return errors.New("the broker already runs")
	}
	switch word {
	case "config":
		for i := range o.list {
			o.list[i].used = true
			if err := p.setup.set(o.list[i].key, o.list[i].value); err != nil {
				return err
			}
		}
	case "channel":
		return p.declare(o)
	case "user":
		p.rules.user(o)
	case "acl":
		p.rules.acl(o)
	case "hook":
		p.rules.hook(o)
	}
	return o.done()
}

// declare adds a channel of the configuration.
func (p *player) declare(o *options) error {
	c, err := channelOf(o)
	if err != nil {
		return err
	}
	c.Fill()
	if key, err := c.Check(); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	p.setup.Channels = append(p.setup.Channels, c)
	return o.done()
}

// channelOf reads the name of a channel, a * among it for one that clients make, and its settings by their YAML names.
func channelOf(o *options) (c configs.Channel, err error) {
	c.Name = o.next("name")
	if strings.Contains(c.Name, "*") {
		c.Name, c.AutoCreate = "", c.Name
	}
	for i := range o.list {
		if word := &o.list[i]; word.key != "" && !word.used {
			word.used = true
			if err := setKey(&c, word.key, word.value); err != nil {
				return c, err
			}
		}
	}
	return c, nil
}

func (r *rules) user(o *options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.users == nil {
		r.users = map[string]user{}
	}
	name := o.next("name")
	u := user{password: o.next("password")}
	if groups, ok := o.text("group"); ok {
		u.groups = strings.Split(groups, ",")
	}
	r.users[name] = u
}

// acl adds a rule; once the broker runs, in front, so that it counts.
func (r *rules) acl(o *options) {
	a := acl{verdict: hooks.Deny}
	switch word := o.next("allow or deny"); word {
	case "allow":
		a.verdict = hooks.Allow
	case "deny":
	default:
		o.fail(fmt.Errorf("%q is neither allow nor deny", word))
	}
	a.action, a.filter = o.next("action"), o.next("filter")
	a.username, _ = o.text("user")
	a.client, _ = o.text("client")
	a.reason, _ = o.text("reason")
	a.code = packet.Code(o.number("code", 8, uint64(packet.NotAuthorized)))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broker != nil {
		r.acls = append([]acl{a}, r.acls...)
		return
	}
	r.acls = append(r.acls, a)
}

func (r *rules) hook(o *options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch what := o.next("hook"); what {
	case "refuse", "change", "panic":
		rule := publishRule{what: what, filter: o.next("filter")}
		rule.code = packet.Code(o.number("code", 8, uint64(packet.ImplementationError)))
		rule.payload, _ = o.text("payload")
		r.publishes = append(r.publishes, rule)
	case "lower":
		r.lowers = append(r.lowers, lowerRule{filter: o.next("filter"), qos: byte(o.number("qos", 2, 0))})
	case "own":
		r.owns = append(r.owns, o.next("filter"))
	case "challenge":
		r.challenge = true
	case "drops", "sessions", "acks":
		if r.prints == nil {
			r.prints = map[string]bool{}
		}
		r.prints[what] = true
	default:
		o.fail(fmt.Errorf("no hook %q", what))
	}
}
