package topic

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/penstockmq/penstock/test/setting"
)

// matchAll collects what Match visits.
func (t *Tree[V]) matchAll(filter string) map[string]V {
	found := map[string]V{}
	t.Match(filter, func(name string, v V) bool {
		found[name] = v
		return true
	})
	return found
}

// isPruned reports whether a tree holds nothing at all.
func (t *Tree[V]) isPruned() bool {
	empty := t.root.edges.Load() == 0 && t.root.body.first.Load() == nil
	for i := range t.table.segments {
		empty = empty && t.table.segments[i].slots.Load() == nil
	}
	return empty
}

// TestTreeModel: after any changes the tree holds what a map holds and finds what Match finds.
func TestTreeModel(t *testing.T) {
	r := setting.Random(t)
	for range 20 {
		tree, model := NewTree[int](), map[string]int{}
		for i := range 500 {
			name := randomName(r)
			want, had := model[name]
			if r.IntN(2) == 0 {
				if got, ok := tree.Set(name, i); got != want || ok != had {
					t.Fatalf("Set(%q) = %d, %v, want %d, %v", name, got, ok, want, had)
				}
				model[name] = i
			} else {
				if got, ok := tree.Delete(name); got != want || ok != had {
					t.Fatalf("Delete(%q) = %d, %v, want %d, %v", name, got, ok, want, had)
				}
				delete(model, name)
			}
			checkTree(t, tree, model, randomFilter(r))
			checkTree(t, tree, model, randomName(r))
		}
		for name := range model {
			tree.Delete(name)
		}
		if !tree.isPruned() || tree.Len() != 0 {
			t.Fatal("something is left after everything was deleted")
		}
	}
}

func checkTree(t *testing.T, tree *Tree[int], model map[string]int, filter string) {
	t.Helper()
	want := map[string]int{}
	for name, v := range model {
		if Match(filter, name) {
			want[name] = v
		}
	}
	if got := tree.matchAll(filter); !maps.Equal(got, want) {
		t.Fatalf("Match(%q) = %v, want %v", filter, got, want)
	}
	v, had := tree.Get(filter)
	wantV, wantHad := model[filter]
	if v != wantV || had != wantHad {
		t.Fatalf("Get(%q) = %d, %v, want %d, %v", filter, v, had, wantV, wantHad)
	}
	if tree.Len() != len(model) {
		t.Fatalf("Len() = %d, want %d", tree.Len(), len(model))
	}
}

func TestTreeMatch(t *testing.T) {
	tree := NewTree[int]()
	for i, name := range []string{"sport", "sport/", "sport/tennis", "sport/tennis/p1", "/finance", "$SYS/a", "$SYS"} {
		tree.Set(name, i)
	}
	tests := []struct {
		promise, filter string
		want            []string
	}{
		{"# matches all but $ [MQTT5-4.7.2-1]", "#", []string{"/finance", "sport", "sport/", "sport/tennis", "sport/tennis/p1"}},
		{"+ does not match $ [MQTT5-4.7.2-1]", "+", []string{"sport"}},
		{"+/# does not match $ [MQTT5-4.7.2-1]", "+/a/#", nil},
		{"$SYS/# matches $SYS (4.7.2)", "$SYS/#", []string{"$SYS", "$SYS/a"}},
		{"sport/# matches sport (4.7.1.2)", "sport/#", []string{"sport", "sport/", "sport/tennis", "sport/tennis/p1"}},
		{"sport/+ does not match sport (4.7.1.3)", "sport/+", []string{"sport/", "sport/tennis"}},
		{"+/+ matches /finance (4.7.1.3)", "+/+", []string{"/finance", "sport/", "sport/tennis"}},
		{"an exact filter matches its name", "sport/tennis", []string{"sport/tennis"}},
		{"nothing there", "sport/golf/#", nil},
	}
	for _, test := range tests {
		t.Run(test.promise, func(t *testing.T) {
			if got := slices.Sorted(maps.Keys(tree.matchAll(test.filter))); !slices.Equal(got, test.want) {
				t.Errorf("Match(%q) = %q, want %q", test.filter, got, test.want)
			}
		})
	}
}

// TestTreeMatchEnds: visit ends Match, and may change the tree it is called from.
func TestTreeMatchEnds(t *testing.T) {
	for _, filter := range []string{"#", "+/#", "a/+", "a/#", "+/+", "a/b"} {
		tree := NewTree[int]()
		tree.Set("a/b", 1)
		tree.Set("a/c", 2)
		visits := 0
		tree.Match(filter, func(name string, _ int) bool {
			visits++
			tree.Delete(name)
			return false
		})
		if visits != 1 || tree.Len() != 1 {
			t.Errorf("Match(%q): %d visits, %d names left", filter, visits, tree.Len())
		}
	}
}

// TestTreeChurn: names that come and go, a few at a time, do not grow the tree.
func TestTreeChurn(t *testing.T) {
	tree := NewTree[int]()
	for i := range 50_000 {
		tree.Set(fmt.Sprintf("a/%d/b", i), i)
		tree.Delete(fmt.Sprintf("a/%d/b", i-100))
	}
	slotsLen := 0
	for i := range tree.table.segments {
		if s := tree.table.segments[i].slots.Load(); s != nil {
			slotsLen += len(s.tags)
		}
	}
	if tree.Len() != 100 || slotsLen > 2*segmentsLen*slotsMin {
		t.Errorf("%d names take %d slots", tree.Len(), slotsLen)
	}
}
