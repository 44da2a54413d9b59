package tidy

import (
	"fmt"
	"strings"
	"testing"
)

// breach is source and what a rule must say of it; empty is nothing.
type breach struct {
	rel, source, want string
}

// Every rule finds what it forbids, and nothing else.
func TestRules(t *testing.T) {
	for _, rule := range []struct {
		name     string
		check    func(*goFile) []finding
		breaches []breach
	}{
		{"arrows", checkArrows, arrowBreaches},
		{"statements", checkStatements, statementBreaches},
		{"names", checkNames, nameBreaches},
		{"docs", checkDocs, docBreaches},
		{"words", func(f *goFile) []finding { return checkWords(f.rel, f.text) }, wordBreaches},
		{"sizes", func(f *goFile) []finding { return checkSizes(measure(f), map[string]int{}) }, sizeBreaches},
	} {
		for _, b := range rule.breaches {
			f, err := parse(b.rel, []byte(b.source))
			if err != nil {
				t.Fatalf("%s: %v", rule.name, err)
			}
			var texts []string
			for _, found := range rule.check(f) {
				texts = append(texts, found.text)
			}
			if got := strings.Join(texts, "; "); got != b.want {
				t.Errorf("%s: %s: %q\nfound %q, want %q", rule.name, b.rel, b.source, got, b.want)
			}
		}
	}
}

func importing(pkg string) string { return "package x\nimport _ \"" + pkg + "\"\n" }

var arrowBreaches = []breach{
	{"broker/session/a.go", importing(module + "/broker/packet"), ""},
	{"broker/session/a.go", importing(module + "/storage"), "broker/session must not import storage"},
	{"broker/session/a_test.go", importing(module + "/storage"), ""},
	{"broker/session/a.go", importing("net"), "broker/session must not import net"},
	{"broker/session/a.go", importing("net/netip"), ""},
	{"broker/session/a.go", importing("time"), "broker/session must not import time"},
	{"broker/session/a.go", importing("sync/atomic"), "broker/session must not import sync/atomic"},
	{"broker/session/a_test.go", importing("time"), ""},
	{"broker/topic/a.go", importing("sync"), ""},
	{"client/a.go", importing("net"), ""},
	{"client/a.go", importing(module + "/broker"), "client must not import broker"},
	{"broker/a.go", importing(module + "/admin"), "broker must not import admin"},
	{"broker/packet/a.go", importing(module + "/broker/topic"), "broker/packet must not import broker/topic"},
	{"broker/packet/a.go", importing("github.com/mochi-mqtt/server/v2/packets"), ""},
	{"broker/a.go", importing("github.com/mochi-mqtt/server/v2/packets"), "broker must not import github.com/mochi-mqtt/server/v2/packets"},
	{"broker/a_test.go", importing("github.com/mochi-mqtt/server/v2/packets"), ""},
	{"broker/a.go", importing(module + "/storage/memory"), "broker must not import storage/memory"},
	{"hooks/acl/a.go", importing(module + "/broker"), "hooks/acl must not import broker"},
	{"storage/memory/a.go", importing("github.com/dgraph-io/badger/v4"), "storage/memory must not import github.com/dgraph-io/badger/v4"},
	{"storage/badger/a.go", importing("github.com/dgraph-io/badger/v4"), ""},
	{"configs/a.go", importing(module + "/hooks"), "configs must not import hooks"},
	{"cmd/penstock/a.go", importing(module + "/broker"), ""},
	{"broker/a.go", importing(module + "/cmd/penstock"), "broker must not import cmd/penstock"},
	{"examples/a.go", importing(module + "/cmd/penstock"), "examples must not import cmd/penstock"},
	{"broker/a_test.go", importing("github.com/stretchr/testify/require"), "broker must not import github.com/stretchr/testify/require"},
}

func function(body string) string { return "package x\nfunc f() { " + body + " }\n" }

var statementBreaches = []breach{
	{"a.go", "package x\nfunc init() {}\n", "init()"},
	{"a.go", "package x\ntype t int\nfunc (t) init() {}\n", ""},
	{"a.go", function("x: goto x"), "goto"},
	{"a.go", "package x\nfunc f() (n int) { return }\n", "naked return with named results"},
	{"a.go", "package x\nfunc f() (n int) { func() { return }(); return 1 }\n", ""},
	{"a.go", "package x\nvar f = 1\nfunc g() { func() (n int) { return }() }\n", "naked return with named results"},
	{"a.go", "package x\ntype t struct{ sync.Mutex }\n", "embedded mutex: make it a field"},
	{"a.go", "package x\ntype t struct{ mu sync.Mutex }\n", ""},
	{"a.go", function("time.Sleep(1)"), ""},
	{"a_test.go", function("time.Sleep(1)"), "time.Sleep in a test: wait for an event, or fake the time with testing/synctest"},
	{"test/scripts/a.go", function("time.Sleep(1)"), "time.Sleep in a test: wait for an event, or fake the time with testing/synctest"},
	{"a_test.go", function("synctest.Test(t, func(t *testing.T) { time.Sleep(1) })"), ""},
	{"a_test.go", function("t.Skip()"), "skipped without a reason"},
	{"a_test.go", function("t.SkipNow()"), "skipped without a reason"},
	{"a_test.go", function(`t.Skip("no TLS here")`), ""},
}

var nameBreaches = []breach{
	{"broker/conn.go", "package broker\n", ""},
	{"broker/conn_util.go", "package broker\n", "nothing is called util"},
	{"broker/helpers_test.go", "package broker\n", "nothing is called helpers"},
	{"common/x.go", "package x\n", "nothing is called common"},
	{"x/x.go", "package manager\n", "nothing is called manager"},
	{"broker/database.go", "package broker\n", ""},
}

var docBreaches = []breach{
	{"a.go", "package x\nfunc F() {}\n", "F has no comment"},
	{"a.go", "package x\n// F is.\nfunc F() {}\nfunc f() {}\n", ""},
	{"a.go", "package x\n// T is.\ntype T int\nfunc (T) M() {}\n", "T.M has no comment"},
	{"a.go", "package x\ntype t int\nfunc (t) M() {}\n", ""},
	{"a.go", "package x\n// T is.\ntype T[K, V any] int\nfunc (*T[K, V]) M() {}\n", "T.M has no comment"},
	{"a.go", "package x\ntype T int\n", "T has no comment"},
	{"a.go", "package x\nconst (\n\tA = 1\n\tB = 2 // is\n)\n", "A has no comment"},
	{"a.go", "package x\n// All.\nconst (\n\tA = 1\n\tB = 2\n)\n", ""},
}

var wordBreaches = []breach{
	{"a.go", "package x\n// TODO: more\n", "TODO: do it or write an issue"},
	{"a.go", "package x\nconst p = \"/root/x\"\n", `"/root/: a path of one machine`},
	{"a.go", "package x\n// See broker/work/x, chroot and a Go workspace.\n", ""},
	{"a.go", "package x\n// The agents did it.\n", "agents: the project is not about who wrote it"},
	{"a.go", "package x\n// The header User-Agent.\n", ""},
}

var sizeBreaches = []breach{
	{"a.go", "package x\nfunc f(a, b, c, d, e int) {}\n", ""},
	{"a.go", "package x\nfunc f(a, b, c, d, e, f int) {}\n", "6 parameters, at most 5"},
	{"a.go", function(strings.Repeat("\n", 69)), ""},
	{"a.go", function(strings.Repeat("\n", 70)), "71 function lines, at most 70"},
	{"a.go", "package x\n" + strings.Repeat("\n", 600), "601 file lines, at most 600"},
	{"a.go", function("for { if a { switch { case b: func() { x() }() } } }"), ""},
	{"a.go", function("for { if a { switch { case b: func() { select {} }() } } }"), "5 nesting, at most 4"},
	{"a.go", function("if a { } else if b { } else if c { } else if d { } else if e { } else { if f { } }"), ""},
}

// An exception holds while its number is exact.
func TestExceptionsShrink(t *testing.T) {
	for _, c := range []struct {
		value, exception int
		want             string
	}{
		{80, 80, ""},
		{81, 80, "81 function lines, at most 80"},
		{79, 80, "79 function lines: the exception can shrink from 80"},
		{70, 80, "70 function lines: the exception can go"},
		{0, 80, "the exception for function lines excuses nothing"},
	} {
		var all []size
		if c.value > 0 {
			all = []size{{"function lines", "a.go:f", c.value, functionMax}}
		}
		found := checkSizes(all, map[string]int{"function lines\ta.go:f": c.exception})
		got := ""
		if len(found) == 1 {
			got = found[0].text
		}
		if got != c.want || len(found) > 1 {
			t.Errorf("%d lines, exception %d: %v, want %q", c.value, c.exception, found, c.want)
		}
	}
}

// A package without a doc, or with one that says too little, is found.
func TestPackageDocRule(t *testing.T) {
	found := checkPackageDocs(map[string]string{
		"a": "", "b": "What b does.\n\n\n", "c": "Package c does.\n", "d": "Package d does this,\nnot that,\nand is tested so.\n",
	})
	if len(found) != 3 {
		t.Errorf("found %v, want a, b and c", found)
	}
}

// A module without a line, and a line without a module, are found.
func TestDependencyRule(t *testing.T) {
	const gomod = "module x\n\nrequire (\n\texample.org/a/v2 v2.1.0 // indirect\n\texample.org/b v1.0.0\n)\nrequire example.org/a v1.0.0\n"
	f, err := parse("x.go", []byte("package x\nimport (\n\t_ \"example.org/a/v2/sub\"\n\t_ \"example.org/b\"\n\t_ \"os\"\n)\n"))
	if err != nil {
		t.Fatal(err)
	}
	found := checkDependencies([]*goFile{f}, gomod, "- `example.org/b`: because.\n- `example.org/c`: gone.\n")
	want := fmt.Sprint([]finding{
		{dependencyPage, 0, "example.org/c is not in go.mod"},
		{"x.go", 3, "example.org/a/v2 has no line in " + dependencyPage},
	})
	if got := fmt.Sprint(found); got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}
