package acl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// A parser reads one file. It works on YAML nodes instead of structs, because every error names line and key.
type parser struct {
	file    string
	members map[string][]string // of the groups the file defines
	rules   *ruleset
}

// A field reads the value of one key.
type field func(n *yaml.Node, key string) error

// parse reads the text of a file. name is what errors call the file.
func parse(name string, data []byte) (*ruleset, error) {
	p := &parser{file: name, members: make(map[string][]string), rules: &ruleset{}}
	root, err := p.document(data)
	if err != nil {
		return nil, err
	}
	var groups, rules *yaml.Node // groups may stand below the rules that use them
	err = p.fields(root, "", map[string]field{
		"groups": func(n *yaml.Node, _ string) error { groups = n; return nil },
		"rules":  func(n *yaml.Node, _ string) error { rules = n; return nil },
	})
	if err != nil {
		return nil, err
	}
	if rules == nil {
		return nil, p.expected(root, "rules", "a list of rules (rules: [] denies everything)", "none")
	}
	if groups != nil {
		if err := p.groups(groups, "groups"); err != nil {
			return nil, err
		}
	}
	if err := p.list(rules, "rules", p.rule); err != nil {
		return nil, err
	}
	return p.rules, nil
}

// document reads the one document of the file.
func (p *parser) document(data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s:1: rules: expected a list of rules (rules: [] denies everything), found an empty file", p.file)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", p.file, err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s:%d: expected one YAML document, found more", p.file, max(second.Line, 1))
	}
	return document.Content[0], nil
}

// groups reads the members of groups.
func (p *parser) groups(n *yaml.Node, key string) error {
	return p.pairs(n, key, func(name, members *yaml.Node) error {
		return p.strings(members, key+"."+name.Value, func(member string) {
			p.members[name.Value] = append(p.members[name.Value], member)
		})
	})
}

// A draft is a rule that is being read.
type draft struct {
	rule
	about string // publish, subscribe or all; empty until allow or deny was read
	allow bool
}

// rule reads one rule and files it.
func (p *parser) rule(n *yaml.Node, key string) error {
	var d draft
	filtered := false
	err := p.fields(n, key, map[string]field{
		"allow":     func(v *yaml.Node, key string) error { return p.about(v, key, &d, true) },
		"deny":      func(v *yaml.Node, key string) error { return p.about(v, key, &d, false) },
		"filter":    func(v *yaml.Node, key string) error { filtered = true; return p.filter(v, key, &d) },
		"users":     func(v *yaml.Node, key string) error { return p.users(v, key, &d) },
		"groups":    func(v *yaml.Node, key string) error { return p.memberships(v, key, &d) },
		"anonymous": func(v *yaml.Node, key string) error { return p.anonymous(v, key, &d) },
		"clients": func(v *yaml.Node, key string) error {
			return p.strings(v, key, func(s string) { d.clients = append(d.clients, s) })
		},
	})
	if err != nil {
		return err
	}
	if d.about == "" {
		return p.expected(n, key, "allow or deny, each with publish, subscribe or all", "neither")
	}
	if !filtered {
		return p.expected(n, key+".filter", "a topic filter", "none")
	}
	d.decision = answer(d.allow, n.Line)
	if d.about != "subscribe" {
		p.rules.publish = append(p.rules.publish, d.rule)
	}
	if d.about != "publish" {
		p.rules.subscribe = append(p.rules.subscribe, d.rule)
	}
	return nil
}

func answer(allow bool, line int) hooks.Decision {
	if allow {
		return hooks.Decision{Verdict: hooks.Allow}
	}
	return hooks.Decision{Verdict: hooks.Deny, Code: packet.NotAuthorized, Reason: fmt.Sprintf("denied by the ACL rule on line %d", line)}
}

func (p *parser) about(n *yaml.Node, key string, d *draft, allow bool) error {
	if d.about != "" {
		return p.expected(n, key, "either allow or deny", "both")
	}
	if n.Value != "publish" && n.Value != "subscribe" && n.Value != "all" {
		return p.expected(n, key, "publish, subscribe or all", describe(n))
	}
	d.about, d.allow = n.Value, allow
	return nil
}

func (p *parser) filter(n *yaml.Node, key string, d *draft) error {
	if !isString(n) {
		return p.expected(n, key, "a topic filter in quotes", describe(n))
	}
	filter, err := newPattern(n.Value)
	if err != nil {
		return fmt.Errorf("%s:%d: %s: %q: %w", p.file, n.Line, key, n.Value, err)
	}
	d.filter = filter
	return nil
}

func (p *parser) users(n *yaml.Node, key string, d *draft) error {
	d.named = true
	return p.strings(n, key, d.addUser)
}

// memberships reads the groups a rule is for. Members named in the file become users of the rule, so that
// asking costs one look-up.
func (p *parser) memberships(n *yaml.Node, key string, d *draft) error {
	d.named = true
	return p.strings(n, key, func(group string) {
		d.groups = append(d.groups, group)
		for _, member := range p.members[group] {
			d.addUser(member)
		}
	})
}

func (w *who) addUser(name string) {
	if w.users == nil {
		w.users = make(map[string]bool)
	}
	w.users[name] = true
}

func (p *parser) anonymous(n *yaml.Node, key string, d *draft) error {
	if n.ShortTag() != "!!bool" || n.Value != "true" {
		return p.expected(n, key, "true, or no such key", describe(n))
	}
	d.named, d.anonymous = true, true
	return nil
}

// fields hands the values of a mapping to the fields named by its keys and refuses any other key.
func (p *parser) fields(n *yaml.Node, key string, known map[string]field) error {
	return p.pairs(n, key, func(name, value *yaml.Node) error {
		read, ok := known[name.Value]
		path := strings.TrimPrefix(key+"."+name.Value, ".")
		if !ok {
			return p.expected(name, path, "one of "+strings.Join(slices.Sorted(maps.Keys(known)), ", "), "an unknown key")
		}
		return read(value, path)
	})
}

// pairs hands out the keys and values of a mapping.
func (p *parser) pairs(n *yaml.Node, key string, read func(name, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return p.expected(n, key, "a mapping of keys to values", describe(n))
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if !isString(name) || name.Value == "" {
			return p.expected(name, key, "a name as key", describe(name))
		}
		if seen[name.Value] {
			return p.expected(name, strings.TrimPrefix(key+"."+name.Value, "."), "the key once", "it twice")
		}
		seen[name.Value] = true
		if err := read(name, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// list hands the elements of a sequence to read.
func (p *parser) list(n *yaml.Node, key string, read field) error {
	if n.Kind != yaml.SequenceNode {
		return p.expected(n, key, "a list", describe(n))
	}
	for i, element := range n.Content {
		if err := read(element, fmt.Sprintf("%s[%d]", key, i)); err != nil {
			return err
		}
	}
	return nil
}

// strings hands the elements of a list of strings, at least one, to add.
func (p *parser) strings(n *yaml.Node, key string, add func(string)) error {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		return p.expected(n, key, "at least one name", "none")
	}
	return p.list(n, key, func(n *yaml.Node, key string) error {
		if !isString(n) || n.Value == "" {
			return p.expected(n, key, "a name (in quotes, if it looks like a number)", describe(n))
		}
		add(n.Value)
		return nil
	})
}

func (p *parser) expected(n *yaml.Node, key, what, found string) error {
	if key == "" {
		key = "the file"
	}
	return fmt.Errorf("%s:%d: %s: expected %s, found %s", p.file, n.Line, key, what, found)
}

func isString(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" }

// describe says what a node is, in an operator's words.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*" + n.Value + ")"
	}
	if n.Value == "" {
		return "nothing"
	}
	return fmt.Sprintf("%q", n.Value)
}
