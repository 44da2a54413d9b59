package acl

import (
	"strings"
	"testing"
)

// What is wrong with a file is told with file, line, key and what was expected.
func TestParseErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "acl.yaml:1: rules: expected a list of rules"},
		{"only a comment", "# nothing\n", "acl.yaml:1: rules: expected a list of rules"},
		{"no rules", "groups: {a: [b]}\n", "acl.yaml:1: rules: expected a list of rules"},
		{"not YAML", "rules: [\n", "acl.yaml: yaml: line "},
		{"a list", "- a\n", "acl.yaml:1: the file: expected a mapping of keys to values, found a list"},
		{"null", "---\n", "the file: expected a mapping of keys to values, found nothing"},
		{"two documents", "rules: []\n---\nrules: []\n", "acl.yaml:2: expected one YAML document"},
		{"unknown key", "rules: []\nrule: []\n", "acl.yaml:2: rule: expected one of groups, rules, found an unknown key"},
		{"key twice", "rules: []\nrules: []\n", "acl.yaml:2: rules: expected the key once"},
		{"rules not a list", "rules: {}\n", "acl.yaml:1: rules: expected a list, found a mapping"},
		{"rule not a mapping", "rules:\n- a\n", `acl.yaml:2: rules[0]: expected a mapping of keys to values, found "a"`},
		{"unknown key of a rule", "rules:\n- {allow: all, filter: a, user: [b]}\n",
			"acl.yaml:2: rules[0].user: expected one of allow, anonymous, clients, deny, filter, groups, users, found an unknown key"},
		{"neither", "rules:\n- {filter: a}\n", "acl.yaml:2: rules[0]: expected allow or deny, each with publish, subscribe or all, found neither"},
		{"both", "rules:\n- {allow: all, deny: all, filter: a}\n", "rules[0].deny: expected either allow or deny, found both"},
		{"bad action", "rules:\n- {allow: read, filter: a}\n", `rules[0].allow: expected publish, subscribe or all, found "read"`},
		{"no filter", "rules:\n- {allow: all}\n", "acl.yaml:2: rules[0].filter: expected a topic filter, found none"},
		{"filter is a comment", "rules:\n- allow: all\n  filter: #\n", "acl.yaml:3: rules[0].filter: expected a topic filter in quotes, found nothing"},
		{"filter is a number", "rules:\n- {allow: all, filter: 5}\n", `rules[0].filter: expected a topic filter in quotes, found "5"`},
		{"empty filter", "rules:\n- {allow: all, filter: ''}\n", `rules[0].filter: "": expected a topic filter`},
		{"misplaced #", "rules:\n\n- {allow: all, filter: 'a/#/b'}\n", `acl.yaml:3: rules[0].filter: "a/#/b": expected a topic filter`},
		{"misplaced +", "rules:\n- {allow: all, filter: 'a+'}\n", `"a+": expected a topic filter`},
		{"+ beside a place", "rules:\n- {allow: all, filter: '%u+'}\n", `"%u+": expected a topic filter`},
		{"unknown place", "rules:\n- {allow: all, filter: 'a/%x'}\n", `"a/%x": expected u, c or another % after %`},
		{"lone percent", "rules:\n- {allow: all, filter: 'a/%'}\n", `"a/%": expected u, c or another % after %`},
		{"shared", "rules:\n- {allow: subscribe, filter: '$share/g/a'}\n", `"$share/g/a": expected the filter behind $share/<group>/`},
		{"users not a list", "rules:\n- {allow: all, filter: a, users: alice}\n", `rules[0].users: expected a list, found "alice"`},
		{"users empty", "rules:\n- {allow: all, filter: a, users: []}\n", "rules[0].users: expected at least one name, found none"},
		{"user is a number", "rules:\n- {allow: all, filter: a, users: [bob, 17]}\n", `rules[0].users[1]: expected a name (in quotes, if it looks like a number), found "17"`},
		{"user is empty", "rules:\n- {allow: all, filter: a, users: ['']}\n", "rules[0].users[0]: expected a name"},
		{"anonymous false", "rules:\n- {allow: all, filter: a, anonymous: false}\n", `rules[0].anonymous: expected true, or no such key, found "false"`},
		{"anonymous text", "rules:\n- {allow: all, filter: a, anonymous: 'true'}\n", `rules[0].anonymous: expected true`},
		{"groups not a mapping", "groups: []\nrules: []\n", "acl.yaml:1: groups: expected a mapping of keys to values, found a list"},
		{"members not a list", "groups: {ops: alice}\nrules: []\n", `acl.yaml:1: groups.ops: expected a list, found "alice"`},
		{"alias", "rules:\n- &r {allow: all, filter: a}\n- *r\n", "acl.yaml:3: rules[1]: expected a mapping of keys to values, found an alias (*r)"},
		{"merge", "rules:\n- {<<: {allow: all}, filter: a}\n", "expected a name as key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := parse("acl.yaml", []byte(tt.text))
			if err == nil {
				t.Fatalf("accepted: %+v", rules)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q\nwant  %q in it", err, tt.want)
			}
		})
	}
}

// Groups may stand below the rules that use them, and a rule about all is filed under both.
func TestParseFilesRules(t *testing.T) {
	rules, err := parse("acl.yaml", []byte(`rules:
- {allow: all, filter: a, groups: [ops], users: [carol]}
- {deny: publish, filter: b}
- {deny: subscribe, filter: c}
groups: {ops: [alice, bob]}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(rules.publish) != 2 || len(rules.subscribe) != 2 {
		t.Fatalf("%d rules for publishing, %d for subscribing", len(rules.publish), len(rules.subscribe))
	}
	if users := rules.publish[0].users; len(users) != 3 || !users["alice"] || !users["bob"] || !users["carol"] {
		t.Errorf("users %v", users)
	}
}

// No text makes the parser panic, and what it accepts can be asked.
func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("rules: []"))
	f.Add([]byte("rules:\n- &a {allow: all, filter: '%u%%%c/#', clients: ['*a*']}\n- *a\n"))
	f.Add([]byte("? [a]\n: b\n---\n...\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := parse("f", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("error does not begin with the file: %v", err)
			}
			return
		}
		for _, name := range []string{"a", "a/b", "$SYS/x", "/"} {
			decideName(rules.publish, bob, name)
			decideFilter(rules.subscribe, bob, name+"/#")
		}
	})
}
