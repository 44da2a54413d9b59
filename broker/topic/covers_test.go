package topic

import (
	"strings"
	"testing"
)

// enumerate gives every string of one to depthMax levels from the alphabet, except the empty one.
func enumerate(alphabet []string, depthMax int) []string {
	var all []string
	level := alphabet
	for range depthMax {
		all = append(all, level...)
		var deeper []string
		for _, s := range level {
			for _, l := range alphabet {
				deeper = append(deeper, s+"/"+l)
			}
		}
		level = deeper
	}
	return deleteInvalid(all)
}

func deleteInvalid(filters []string) []string {
	valid := filters[:0]
	for _, f := range filters {
		if CheckFilter(f, Limits{}) == nil {
			valid = append(valid, f)
		}
	}
	return valid
}

// TestCoversEnumerated compares Covers and Overlaps with Match over every name of a universe
// that has, for each level of each filter, a literal no filter names and one level more than any.
func TestCoversEnumerated(t *testing.T) {
	filters := enumerate([]string{"", "a", "$s", "+", "#"}, 3)
	names := enumerate([]string{"", "a", "z", "$s", "$z"}, 4)
	matches := make(map[string][]bool, len(filters))
	for _, f := range filters {
		for _, n := range names {
			matches[f] = append(matches[f], Match(f, n))
		}
	}
	for _, outer := range filters {
		for _, inner := range filters {
			covers, overlaps := true, false
			for i := range names {
				covers = covers && (!matches[inner][i] || matches[outer][i])
				overlaps = overlaps || matches[inner][i] && matches[outer][i]
			}
			if got := Covers(outer, inner); got != covers {
				t.Errorf("Covers(%q, %q) = %v", outer, inner, got)
			}
			if got := Overlaps(outer, inner); got != overlaps {
				t.Errorf("Overlaps(%q, %q) = %v", outer, inner, got)
			}
		}
	}
	if len(filters) < 100 || len(names) < 700 {
		t.Errorf("only %d filters and %d names", len(filters), len(names))
	}
}

func TestCovers(t *testing.T) {
	tests := []struct {
		promise, outer, inner string
		want                  bool
	}{
		{"# covers all but $", "#", "a/+/#", true},
		{"# does not cover $ [MQTT5-4.7.2-1]", "#", "$SYS/#", false},
		{"+/# is # written longer", "+/#", "#", true},
		{"below the first level it is not", "a/+/#", "a/#", false},
		{"a/# covers a (4.7.1.2)", "a/#", "a", true},
		{"a literal does not cover +", "a/b", "a/+", false},
	}
	for _, test := range tests {
		t.Run(test.promise, func(t *testing.T) {
			if got := Covers(test.outer, test.inner); got != test.want {
				t.Errorf("Covers(%q, %q) = %v", test.outer, test.inner, got)
			}
		})
	}
}

func TestCoversAllocatesNothing(t *testing.T) {
	deep := strings.Repeat("a/", 100) + "b"
	if n := testing.AllocsPerRun(100, func() { Covers("+/#", deep); Overlaps("+/a/#", deep) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
