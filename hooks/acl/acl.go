package acl

import (
	"fmt"
	"os"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// An ACL is the hook that answers from the rules of a file.
type ACL struct {
	path  string
	rules atomic.Pointer[ruleset]
}

// Load reads an ACL file. An error names the file, the line, the key and what was expected.
func Load(path string) (*ACL, error) {
	a := &ACL{path: path}
	if err := a.Reload(); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload reads the file again. On error the rules stay as they were. Answers the broker remembers stay in
// force until Broker.Recheck.
func (a *ACL) Reload() error {
	data, err := os.ReadFile(a.path)
	if err != nil {
		return fmt.Errorf("ACL file: %w", err)
	}
	rules, err := parse(a.path, data)
	if err != nil {
		return fmt.Errorf("ACL file: %w", err)
	}
	a.rules.Store(rules)
	return nil
}

// Name identifies the hook.
func (a *ACL) Name() string { return "acl" }

// AuthorizePublish answers by the rules for publishing.
func (a *ACL) AuthorizePublish(c *hooks.Client, name string, _ byte, _ bool) hooks.Decision {
	return decideName(a.rules.Load().publish, c, name)
}

// AuthorizeSubscribe answers by the rules for subscribing: the first that covers the whole filter decides.
func (a *ACL) AuthorizeSubscribe(c *hooks.Client, filter string, _ byte) hooks.Decision {
	return decideFilter(a.rules.Load().subscribe, c, filter)
}

// AuthorizeReceive answers by the rules for subscribing: the first that matches the topic decides.
func (a *ACL) AuthorizeReceive(c *hooks.Client, name string) hooks.Decision {
	return decideName(a.rules.Load().subscribe, c, name)
}

// A ruleset is the rules of one reading of the file, in its order. It does not change.
type ruleset struct {
	publish   []rule
	subscribe []rule
}

// byDefault answers where no rule does.
var byDefault = hooks.Decision{Verdict: hooks.Deny, Code: packet.NotAuthorized, Reason: "no ACL rule allows it"}

func decideName(rules []rule, c *hooks.Client, name string) hooks.Decision {
	for i := range rules {
		if r := &rules[i]; r.filter.matches(c, name) && r.isFor(c) {
			return r.decision
		}
	}
	return byDefault
}

func decideFilter(rules []rule, c *hooks.Client, filter string) hooks.Decision {
	for i := range rules {
		if r := &rules[i]; r.filter.covers(c, filter) && r.isFor(c) {
			return r.decision
		}
	}
	return byDefault
}
