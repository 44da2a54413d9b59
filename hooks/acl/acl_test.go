package acl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// The ACL stands at exactly the points it is for.
var (
	_ hooks.PublishAuthorizer   = (*ACL)(nil)
	_ hooks.SubscribeAuthorizer = (*ACL)(nil)
	_ hooks.ReceiveAuthorizer   = (*ACL)(nil)
)

// load writes the text of a file and loads it.
func load(t testing.TB, text string) *ACL {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acl.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var (
	alice   = &hooks.Client{ID: "alice-phone", Username: "alice"}
	bob     = &hooks.Client{ID: "sensor-7", Username: "bob", Groups: []string{"field"}}
	nobody  = &hooks.Client{ID: "guest"}
	example = `
groups:
  ops: [alice]
rules:
  - {deny: all, filter: "secret/#", anonymous: true}
  - {allow: all, filter: "secret/#", groups: [ops]}
  - {allow: publish, filter: "devices/%c/#"}
  - {allow: subscribe, filter: "inbox/%u/#"}
  - {deny: subscribe, filter: "plant/+/safe"}
  - {allow: subscribe, filter: "plant/#", users: [carol], groups: [field], clients: ["sensor-*"]}
  - {allow: all, filter: "100%%/%u-%c/x"}
  - {allow: subscribe, filter: "#", users: [root]}
  - {allow: subscribe, filter: "$SYS/#", groups: [ops]}
`
)

// MQTT 5, 5.4.2: the server authorizes each operation of a client, by its identity.
func TestDecisions(t *testing.T) {
	root := &hooks.Client{ID: "r", Username: "root"}
	carol := &hooks.Client{ID: "carol-1", Username: "carol"}
	const pub, sub, recv = "publish", "subscribe", "receive"
	tests := []struct {
		why    string
		client *hooks.Client
		act    string
		topic  string
		want   bool
	}{
		{"no rule matches", alice, pub, "elsewhere", false},
		{"by group of the file", alice, pub, "secret/a", true},
		{"by group of the file", alice, sub, "secret/#", true},
		{"the parent of # is covered", alice, sub, "secret", true},
		{"not in the group", bob, pub, "secret/a", false},
		{"denied as anonymous", nobody, recv, "secret/a", false},
		{"own client identifier", alice, pub, "devices/alice-phone/temp", true},
		{"another's client identifier", alice, pub, "devices/sensor-7/temp", false},
		{"allowed to publish only", alice, sub, "devices/alice-phone/temp", false},
		{"own username", alice, sub, "inbox/alice/#", true},
		{"own username, more than covered", alice, sub, "inbox/#", false},
		{"own username, wildcard in its place", alice, sub, "inbox/+/x", false},
		{"no username", nobody, sub, "inbox/#", false},
		{"allowed to subscribe only", alice, pub, "inbox/alice/x", false},
		{"group of the authenticator and client pattern", bob, sub, "plant/#", true},
		{"a denied part is taken out when received", bob, recv, "plant/3/safe", false},
		{"the rest of it is received", bob, recv, "plant/3/open", true},
		{"a filter that is denied as a whole", bob, sub, "plant/+/safe", false},
		{"a filter inside what is denied", bob, sub, "plant/3/safe", false},
		{"the user, but not the client", carol, sub, "plant/#", false},
		{"two places in one level, and a percent sign", alice, pub, "100%/alice-alice-phone/x", true},
		{"# is not $SYS [MQTT5-4.7.2-1]", root, sub, "$SYS/#", false},
		{"# is not $SYS [MQTT5-4.7.2-1]", root, recv, "$SYS/broker/uptime", false},
		{"# is everything else", root, sub, "#", true},
		{"$SYS by its own rule", alice, sub, "$SYS/#", true},
		{"$SYS by its own rule", alice, recv, "$SYS/broker/uptime", true},
	}
	a := load(t, example)
	for _, tt := range tests {
		var d hooks.Decision
		switch tt.act {
		case pub:
			d = a.AuthorizePublish(tt.client, tt.topic, 1, false)
		case sub:
			d = a.AuthorizeSubscribe(tt.client, tt.topic, 1)
		case recv:
			d = a.AuthorizeReceive(tt.client, tt.topic)
		}
		if got := d.Verdict == hooks.Allow; got != tt.want {
			t.Errorf("%s: %s %s %s: %+v, want allowed %v", tt.why, tt.client.ID, tt.act, tt.topic, d, tt.want)
		}
		if !tt.want && (d.Verdict != hooks.Deny || d.Code != packet.NotAuthorized || d.Reason == "") {
			t.Errorf("%s: denied with %+v", tt.why, d)
		}
	}
}

// A name never widens a rule: what is not the text of one level matches nothing.
func TestNamesDoNotInject(t *testing.T) {
	a := load(t, `rules:
  - {allow: all, filter: "%u/#"}
  - {allow: all, filter: "home/%u/#"}
  - {allow: all, filter: "by/%c"}
`)
	names := []string{"", "+", "#", "a/b", "a/#", "/", "$SYS", "$share", "$SYS/broker"}
	topics := []string{"home/x/y", "home/a/b", "by/a/b", "$SYS/broker/uptime", "$SYS/x", "$share/x", "a/b", "a/b/c", "x", "//", "/", "home//", "by/"}
	filters := []string{"#", "+", "+/#", "home/#", "home/+/#", "by/+", "by/#", "$SYS/#", "$share/g/#", "a/#", "a/b/#"}
	for _, name := range names {
		c := &hooks.Client{ID: name, Username: name}
		for _, topic := range topics {
			if d := a.AuthorizePublish(c, topic, 0, false); d.Verdict != hooks.Deny {
				t.Errorf("client %q may publish to %q", name, topic)
			}
		}
		for _, filter := range filters {
			if d := a.AuthorizeSubscribe(c, filter, 0); d.Verdict != hooks.Deny {
				t.Errorf("client %q may subscribe to %q", name, filter)
			}
		}
	}
	c := &hooks.Client{ID: "c", Username: "$SYS"} // harmless where it is not in front
	if d := a.AuthorizePublish(c, "home/$SYS/x", 0, false); d.Verdict != hooks.Allow {
		t.Errorf("own level: %+v", d)
	}
}

// The first rule that matches decides.
func TestOrderDecides(t *testing.T) {
	denyFirst := load(t, "rules:\n- {deny: publish, filter: a/b}\n- {allow: publish, filter: a/#}\n")
	allowFirst := load(t, "rules:\n- {allow: publish, filter: a/#}\n- {deny: publish, filter: a/b}\n")
	if d := denyFirst.AuthorizePublish(alice, "a/b", 0, false); d.Verdict != hooks.Deny || !strings.Contains(d.Reason, "line 2") {
		t.Errorf("deny first: %+v", d)
	}
	if d := allowFirst.AuthorizePublish(alice, "a/b", 0, false); d.Verdict != hooks.Allow {
		t.Errorf("allow first: %+v", d)
	}
}

// * stands for any text, anywhere.
func TestMatchStar(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"*", "x", true}, {"a*", "a", true}, {"a*", "abc", true}, {"a*", "ba", false},
		{"*a", "ba", true}, {"*a", "ab", false}, {"a*c", "abc", true}, {"a*c", "ac", true}, {"a*c", "a", false}, {"aa*aa", "aaa", false},
		{"*a*", "bab", true}, {"*a*b*", "xaxbx", true}, {"*a*b*", "xbxax", false}, {"a*b*c", "abbc", true}, {"a*bc*c", "abcbc", true}, {"a*bc*c", "abc", false}, {"**", "", true},
	}
	for _, tt := range tests {
		if got := matchStar(tt.pattern, tt.s); got != tt.want {
			t.Errorf("matchStar(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

// A reload takes effect for the next question; a broken file changes nothing.
func TestReload(t *testing.T) {
	a := load(t, "rules: []\n")
	write := func(text string) {
		if err := os.WriteFile(a.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	allowed := func() bool { return a.AuthorizePublish(alice, "t", 0, false).Verdict == hooks.Allow }
	if allowed() {
		t.Error("allowed without a rule")
	}
	write("rules: [{allow: all, filter: t}]\n")
	if err := a.Reload(); err != nil || !allowed() {
		t.Errorf("reload: %v, allowed %v", err, allowed())
	}
	write("rules: [{allow: all}]\n")
	if err := a.Reload(); err == nil || !allowed() {
		t.Errorf("reload of a broken file: %v, allowed %v", err, allowed())
	}
	if err := os.Remove(a.path); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(); err == nil || !allowed() {
		t.Errorf("reload of no file: %v, allowed %v", err, allowed())
	}
}

// manyRules has rules that each look like the topic for as long as they can, the last one matching.
func manyRules(t testing.TB, n int) *ACL {
	var b strings.Builder
	b.WriteString("rules:\n")
	for range n - 1 {
		b.WriteString("- {allow: all, filter: \"plant/+/line/+/machine/off\"}\n")
	}
	b.WriteString("- {allow: all, filter: \"plant/+/line/+/machine/#\"}\n")
	return load(t, b.String())
}

// Deciding allocates nothing where no rule has a place for a name.
func TestDecidingDoesNotAllocate(t *testing.T) {
	a := manyRules(t, 100)
	n := testing.AllocsPerRun(100, func() {
		if a.AuthorizePublish(alice, "plant/1/line/2/machine/on", 0, false).Verdict != hooks.Allow {
			t.Error("denied")
		}
		a.AuthorizeSubscribe(alice, "plant/1/line/2/machine/on", 0)
		a.AuthorizeReceive(alice, "elsewhere")
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAuthorizePublish(b *testing.B) {
	a := manyRules(b, 100)
	mixed := load(b, "rules:\n"+strings.Repeat("- {allow: all, filter: \"sensors/+/up\"}\n- {deny: all, filter: \"plant/7/#\"}\n", 50))
	b.Run("100 rules that all begin alike", func(b *testing.B) {
		for b.Loop() {
			a.AuthorizePublish(alice, "plant/1/line/2/machine/on", 0, false)
		}
	})
	b.Run("100 rules for other topics", func(b *testing.B) {
		for b.Loop() {
			mixed.AuthorizePublish(alice, "plant/1/line/2/machine/on", 0, false)
		}
	})
}
