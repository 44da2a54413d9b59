package acl

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/test/setting"
)

// modelRule is a rule as the stupid implementation has it: the words of the file.
type modelRule struct {
	action, about, filter  string
	users, groups, clients []string
	anonymous              bool
}

func (r modelRule) yaml() string {
	s := fmt.Sprintf("{%s: %s, filter: %q", r.action, r.about, r.filter)
	for key, names := range map[string][]string{"users": r.users, "groups": r.groups, "clients": r.clients} {
		if len(names) > 0 {
			s += fmt.Sprintf(", %s: [%q]", key, strings.Join(names, `", "`))
		}
	}
	if r.anonymous {
		s += ", anonymous: true"
	}
	return strings.ReplaceAll(s, `\"`, `"`) + "}"
}

// isFor spells out who a rule is for; the file's own group g2 is alice and bob.
func (r modelRule) isFor(c *hooks.Client) bool {
	if len(r.clients) > 0 && !slices.ContainsFunc(r.clients, func(p string) bool {
		return p == "*" || p == c.ID || strings.HasSuffix(p, "*") && strings.HasPrefix(c.ID, strings.TrimSuffix(p, "*"))
	}) {
		return false
	}
	if len(r.users)+len(r.groups) == 0 && !r.anonymous {
		return true
	}
	if c.Username == "" {
		return r.anonymous
	}
	inFile := slices.Contains(r.groups, "g2") && (c.Username == "alice" || c.Username == "bob")
	return slices.Contains(r.users, c.Username) || inFile ||
		slices.ContainsFunc(c.Groups, func(g string) bool { return slices.Contains(r.groups, g) })
}

// matches compares level by level, the places of a level being filled with the client's names.
func (r modelRule) matches(c *hooks.Client, name string) bool {
	own, levels := strings.Split(r.filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && !strings.HasPrefix(r.filter, "$") {
		return false
	}
	for _, level := range own { // a rule with a place for a name that the client lacks is for nobody
		if strings.Contains(level, "%u") && c.Username == "" {
			return false
		}
	}
	fill := strings.NewReplacer("%u", c.Username, "%c", c.ID)
	var compare func(own, levels []string) bool
	compare = func(own, levels []string) bool {
		switch {
		case len(own) == 1 && own[0] == "#":
			return true
		case len(own) == 0 || len(levels) == 0:
			return len(own) == len(levels)
		case own[0] != "+" && fill.Replace(own[0]) != levels[0]:
			return false
		}
		return compare(own[1:], levels[1:])
	}
	return compare(own, levels)
}

func decideModel(rules []modelRule, c *hooks.Client, about string, applies func(r modelRule) bool) bool {
	for _, r := range rules {
		if (r.about == about || r.about == "all") && r.isFor(c) && applies(r) {
			return r.action == "allow"
		}
	}
	return false
}

// universe is every name of up to four levels over the words of the test, one of which no filter has.
func universe() []string {
	var all []string
	for _, first := range []string{"a", "alice", "c1", "$SYS", "z"} {
		level := []string{first}
		for range 4 {
			all = append(all, level...)
			var next []string
			for _, name := range level {
				for _, word := range []string{"a", "alice", "c1", "z"} {
					next = append(next, name+"/"+word)
				}
			}
			level = next
		}
	}
	return all
}

func randomFilter(r *rand.Rand, words []string) string {
	var levels []string
	for range 1 + r.IntN(3) {
		levels = append(levels, words[r.IntN(len(words))])
	}
	if r.IntN(3) == 0 {
		levels[len(levels)-1] = "#"
	}
	return strings.Join(levels, "/")
}

func randomRule(r *rand.Rand) modelRule {
	some := func(names ...string) []string {
		if r.IntN(3) > 0 {
			return nil
		}
		return names[:1+r.IntN(len(names))]
	}
	return modelRule{
		action: []string{"allow", "allow", "deny"}[r.IntN(3)], about: []string{"publish", "subscribe", "all"}[r.IntN(3)],
		filter: randomFilter(r, []string{"a", "alice", "c1", "+", "%u", "%c", "$SYS"}),
		users:  some("alice", "+"), groups: some("g1", "g2"), clients: some("c*", "d1"), anonymous: r.IntN(4) == 0,
	}
}

// The ACL decides as a stupid implementation does that knows a filter only by the names it matches.
func TestACLDecidesLikeTheModel(t *testing.T) {
	r := setting.Random(t)
	names := universe()
	clients := []*hooks.Client{
		{ID: "c1", Username: "alice"}, {ID: "d1", Username: "bob", Groups: []string{"g1"}}, {ID: "c1"}, {ID: "a", Username: "+"},
		{ID: "#", Username: "a/alice"}, {ID: "alice", Username: "$SYS"}, {ID: "$SYS", Username: "#"},
	}
	for range 150 {
		var rules []modelRule
		text := "groups: {g2: [alice, bob]}\nrules:\n"
		for range 1 + r.IntN(6) {
			rules = append(rules, randomRule(r))
			text += "- " + rules[len(rules)-1].yaml() + "\n"
		}
		compiled, err := parse("acl.yaml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		compareRules(t, r, rules, compiled, clients, names, text)
		if t.Failed() {
			return
		}
	}
}

func compareRules(t *testing.T, r *rand.Rand, model []modelRule, rules *ruleset, clients []*hooks.Client, names []string, text string) {
	for _, c := range clients {
		for range 20 {
			name := names[r.IntN(len(names))]
			matches := func(m modelRule) bool { return m.matches(c, name) }
			if got, want := decideName(rules.publish, c, name).Verdict == hooks.Allow, decideModel(model, c, "publish", matches); got != want {
				t.Errorf("client %+v publishes to %s: allowed %v, want %v\n%s", c, name, got, want, text)
			}
			if got, want := decideName(rules.subscribe, c, name).Verdict == hooks.Allow, decideModel(model, c, "subscribe", matches); got != want {
				t.Errorf("client %+v receives %s: allowed %v, want %v\n%s", c, name, got, want, text)
			}
		}
		filter := randomFilter(r, []string{"a", "alice", "c1", "+"})
		asked := modelRule{filter: filter}
		matched := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !asked.matches(c, name) })
		covers := func(m modelRule) bool {
			return !slices.ContainsFunc(matched, func(name string) bool { return !m.matches(c, name) })
		}
		if got, want := decideFilter(rules.subscribe, c, filter).Verdict == hooks.Allow, decideModel(model, c, "subscribe", covers); got != want {
			t.Errorf("client %+v subscribes to %s: allowed %v, want %v\n%s", c, filter, got, want, text)
		}
	}
}
