package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func load(t *testing.T) (root string, b *book) {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	b, err = loadBook(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, b
}

// The page is what the source says today.
func TestPageIsFresh(t *testing.T) {
	root, b := load(t)
	have, err := os.ReadFile(filepath.Join(root, pagePath))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.page()) {
		t.Errorf("%s is stale: run go run ./test/spec", pagePath)
	}
}

// Every citation names a statement, and every reason an empty cell.
func TestNothingIsMiscited(t *testing.T) {
	_, b := load(t)
	for _, p := range b.problems {
		t.Error(p)
	}
}

// Every statement that binds a server has code and a test, or a reason.
func TestNothingIsOpen(t *testing.T) {
	_, b := load(t)
	for _, c := range b.counts() {
		t.Log(c)
	}
	for _, id := range b.open() {
		t.Errorf("%s is open: cite it where it is obeyed and tested, or give a reason in %s/reasons.tsv", id, listsPath)
	}
}

// The lists hold all of the two appendices: 251 and 141 statements, each once,
// in the order of the numbers, in few words.
func TestListsAreComplete(t *testing.T) {
	_, b := load(t)
	for i, want := range []int{251, 141} {
		v := b.volumes[i]
		if len(v.statements) != want {
			t.Errorf("%s: %d statements, want %d", v.name, len(v.statements), want)
		}
		if !slices.IsSortedFunc(v.statements, func(a, b Statement) int { return compareIDs(a.ID, b.ID) }) {
			t.Errorf("%s: not in order, or one stands twice", v.name)
		}
		for _, s := range v.statements {
			if n := len(strings.Fields(s.Text)); n == 0 || n > 15 || strings.Contains(s.Text, "|") {
				t.Errorf("%s: %q: want 1 to 15 words without |", s.ID, s.Text)
			}
		}
	}
}

// compareIDs orders by number, and calls equal ones disordered.
func compareIDs(a, b string) int {
	numbers := func(id string) (n [4]int) {
		_, id, _ = strings.Cut(id, "-")
		for i, part := range strings.FieldsFunc(id, func(r rune) bool { return r == '.' || r == '-' }) {
			for _, digit := range part {
				n[i] = n[i]*10 + int(digit-'0')
			}
		}
		return n
	}
	na, nb := numbers(a), numbers(b)
	if c := slices.Compare(na[:], nb[:]); c != 0 {
		return c
	}
	return 1
}

func TestCitations(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // statements, or the error after a !
	}{
		{"a [MQTT5-3.3.1-5] b", "MQTT5-3.3.1-5"},
		{"[MQTT5-3.3.2-4, -15,-16]", "MQTT5-3.3.2-4 MQTT5-3.3.2-15 MQTT5-3.3.2-16"},
		{"[MQTT5-3.3.1-5, MQTT311-3.3.1-7, -9]", "MQTT5-3.3.1-5 MQTT311-3.3.1-7 MQTT311-3.3.1-9"},
		{"[MQTT5-3.3.1-5, 3.3.2-1]", "MQTT5-3.3.1-5 MQTT5-3.3.2-1"},
		{"// [MQTT5-3.3.2-4,\n\t// -15]", "MQTT5-3.3.2-4 MQTT5-3.3.2-15"},
		{"[MQTT5-3.1.2.11.2] and [MQTT5-4.6.0]", ""},
		{"[MQTT5-3.1.2-1] [MQTT311-3.1.2-2]", "MQTT5-3.1.2-1 MQTT311-3.1.2-2"},
		{"[MQTT311-3-8.3-4, MQTT311-3.1.2.7] [MQTT5-4.2-1]", "MQTT311-3.8.3-4 MQTT311-3.1.2-7 MQTT5-4.2.0-1"},
		{"[MQTT-3.1.2-1] is nobody's", ""},
		{"[MQTT5-3.3.2-4 and so on]", `!cannot read "MQTT5-3.3.2-4 and so on"`},
	} {
		lists, err := citations(c.text)
		var ids []string
		for _, l := range lists {
			ids = append(ids, l.ids...)
		}
		got := strings.Join(ids, " ")
		if err != nil {
			got = "!" + err.Error()
		}
		if got != c.want && (c.want == "" || c.want[0] != '!' || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// A citation belongs to the declaration whose text or doc comment holds it.
func TestWhere(t *testing.T) {
	const source = `// Package x [MQTT5-1.5.4-1].
package x

// [MQTT5-1.5.4-2]
const (
	a = 1 // [MQTT5-1.5.4-3]
	// B is [MQTT5-1.5.5-1].
	B = 2
)

// F is [MQTT5-1.5.7-1].
func F() {
	_ = "[MQTT5-2.1.3-1]"
} // [MQTT5-2.2.1-2]

func (t *T[K]) M() { /* [MQTT5-2.2.1-3] */ }

type T[K any] struct{ x int } // [MQTT5-2.2.1-4]

func (u U[K, V]) N() { /* [MQTT5-2.2.1-5] */ }
`
	want := map[string]string{
		"MQTT5-1.5.4-1": "x.go", "MQTT5-1.5.4-2": "x.go:a", "MQTT5-1.5.4-3": "x.go:a", "MQTT5-1.5.5-1": "x.go:B",
		"MQTT5-1.5.7-1": "x.go:F", "MQTT5-2.1.3-1": "x.go:F", "MQTT5-2.2.1-2": "x.go:F", "MQTT5-2.2.1-3": "x.go:T.M",
		"MQTT5-2.2.1-4": "x.go:T", "MQTT5-2.2.1-5": "x.go:U.N",
	}
	path := filepath.Join(t.TempDir(), "x.go")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cited, err := scanFile(path, "x.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cited {
		if c.Where != want[c.ID] || c.Test {
			t.Errorf("%s: %s (test %v), want %s", c.ID, c.Where, c.Test, want[c.ID])
		}
	}
	if len(cited) != len(want) {
		t.Errorf("%d citations, want %d", len(cited), len(want))
	}
}

// A script played by 3.1.1 clients too counts for both versions.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	for text, both := range map[string]bool{
		"# It works. [MQTT5-3.3.1-5]\nuse v4 v5\n":    true,
		"# It works. [MQTT5-3.3.1-5]\nuse v3 v4 v5\n": true,
		"# It works. [MQTT5-3.3.1-5]\nuse v5\n":       false,
		"# To use v4 v5. [MQTT5-3.3.1-5]\n":           false,
	} {
		path := filepath.Join(dir, "x.txt")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cited, err := scanFile(path, "test/scripts/a/x.txt")
		want := Citation{ID: "MQTT5-3.3.1-5", Where: "test/scripts/a/x.txt", Test: true, Both: both}
		if err != nil || len(cited) != 1 || cited[0] != want {
			t.Errorf("%q: %v, %v, want %v", text, cited, err, want)
		}
	}
}

// Reasons that excuse nothing are refused, and cells say what they hold.
func TestCells(t *testing.T) {
	const one, two, three = "MQTT5-1.1.1-1", "MQTT311-1.1.1-1", "MQTT5-1.1.1-2"
	b := &book{
		volumes: []volume{
			{"MQTT 5", []Statement{{ID: one, Who: Server}, {ID: three, Who: Both}}},
			{"MQTT 3.1.1", []Statement{{ID: two, Who: Checked, Same: one}}},
		},
		cells: map[string]map[column]*cell{one: {code: {}, test: {}}, two: {code: {}, test: {}}, three: {code: {}, test: {}}},
	}
	b.cite([]Citation{
		{ID: one, Where: "b.go:F"}, {ID: one, Where: "a.go"}, {ID: one, Where: "a.go"},
		{ID: two, Where: "a_test.go:T", Test: true}, {ID: "MQTT5-9.9.9-9", Where: "a.go"},
		{ID: one, Where: "5.txt", Test: true}, {ID: one, Where: "both.txt", Test: true, Both: true},
	})
	b.inherit()
	b.explain([][]string{{three, "code", "why"}, {three, "code", "again"}, {one, "code", "no"}, {one, "text", "no"}, {one, "test"}})
	for id, want := range map[string][2]string{
		one:   {"`a.go`<br>`b.go:F`", "`5.txt`<br>`both.txt`"},
		two:   {"as " + one, "`a_test.go:T`<br>`both.txt`"},
		three: {"*why*", "open"},
	} {
		got := [2]string{b.cells[id][code].markdown(), b.cells[id][test].markdown()}
		if got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	if len(b.problems) != 5 {
		t.Errorf("%d problems, want 5: %q", len(b.problems), b.problems)
	}
	if c := b.counts()[0]; c.ours != 2 || c.withCode != 1 || c.withTest != 1 || c.reasoned != 1 || c.empty != 1 {
		t.Errorf("counted %v", c)
	}
	if got := strings.Join(b.open(), ", "); got != three+" test" {
		t.Errorf("open: %s", got)
	}
}
