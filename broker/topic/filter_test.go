package topic

import (
	"slices"
	"strings"
	"testing"
)

func TestCheckFilter(t *testing.T) {
	tests := []struct {
		promise string
		filter  string
		want    error
	}{
		{"# alone [MQTT5-4.7.1-1]", "#", nil},
		{"# after a separator [MQTT5-4.7.1-1]", "sport/tennis/#", nil},
		{"# not after a separator [MQTT5-4.7.1-1]", "sport/tennis#", ErrMultiLevel},
		{"# not last [MQTT5-4.7.1-1]", "sport/tennis/#/ranking", ErrMultiLevel},
		{"# followed by a separator [MQTT5-4.7.1-1]", "#/", ErrMultiLevel},
		{"# twice [MQTT5-4.7.1-1]", "##", ErrMultiLevel},
		{"+ alone [MQTT5-4.7.1-2]", "+", nil},
		{"+ and # [MQTT5-4.7.1-2]", "+/tennis/#", nil},
		{"+ inside a level [MQTT5-4.7.1-2]", "sport+", ErrSingleLevel},
		{"+ starting a level [MQTT5-4.7.1-2]", "a/+b/c", ErrSingleLevel},
		{"+ in the middle [MQTT5-4.7.1-2]", "sport/+/player1", nil},
		{"+ in several levels [MQTT5-4.7.1-2]", "+/+/+", nil},
		{"+ and # in one level [MQTT5-4.7.1-1]", "a/+#", ErrMultiLevel},
		{"empty [MQTT5-4.7.3-1]", "", ErrEmpty},
		{"a lone slash (4.7.3)", "/", nil},
		{"U+0000 [MQTT5-4.7.3-2]", "+/\x00", ErrNull},
		{"too long [MQTT5-4.7.3-3]", strings.Repeat("x", 65536), ErrTooLong},
		{"as many levels as allowed", strings.Repeat("/", 32767) + "#", nil},
		{"too many levels", strings.Repeat("/", 32768) + "#", ErrTooManyLevels},
		{"invalid UTF-8 [MQTT5-1.5.4-1]", "\xc3/#", ErrNotUTF8},
	}
	for _, test := range tests {
		t.Run(test.promise, func(t *testing.T) {
			if got := CheckFilter(test.filter, Limits{Levels: 32768}); got != test.want {
				t.Errorf("CheckFilter(%.40q) = %v, want %v", test.filter, got, test.want)
			}
		})
	}
}

func TestHasWildcard(t *testing.T) {
	for filter, want := range map[string]bool{"a/b": false, "/": false, "a/+": true, "#": true, "+/b": true} {
		if got := HasWildcard(filter); got != want {
			t.Errorf("HasWildcard(%q) = %v", filter, got)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		promise, filter, name string
		want                  bool
	}{
		{"# matches below (4.7.1.2)", "sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"# matches deep below (4.7.1.2)", "sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"# matches the parent (4.7.1.2)", "sport/#", "sport", true},
		{"# matches the parent with slash (4.7.1.2)", "sport/#", "sport/", true},
		{"# does not match a sibling (4.7.1.2)", "sport/#", "sports", false},
		{"# does not match the grandparent", "sport/tennis/#", "sport", false},
		{"# matches everything (4.7.1.2)", "#", "sport", true},
		{"# matches the empty level", "#", "/", true},
		{"+ matches one level (4.7.1.3)", "sport/tennis/+", "sport/tennis/player1", true},
		{"+ does not match two levels (4.7.1.3)", "sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"+ does not match the parent (4.7.1.3)", "sport/+", "sport", false},
		{"+ matches an empty level (4.7.1.3)", "sport/+", "sport/", true},
		{"+/+ matches /finance (4.7.1.3)", "+/+", "/finance", true},
		{"/+ matches /finance (4.7.1.3)", "/+", "/finance", true},
		{"+ does not match /finance (4.7.1.3)", "+", "/finance", false},
		{"+/# matches its parent level", "+/#", "finance", true},
		{"the filter's levels must all be there", "a/b/c", "a/b", false},
		{"the name's levels must all be there", "a/b", "a/b/c", false},
		{"# does not match $ [MQTT5-4.7.2-1]", "#", "$SYS/monitor", false},
		{"+ does not match $ [MQTT5-4.7.2-1]", "+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/# matches $SYS (4.7.2)", "$SYS/#", "$SYS/monitor", true},
		{"$SYS/monitor/+ matches (4.7.2)", "$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"$ further down is a letter like others (4.7.2)", "a/+", "a/$b", true},
		{"case counts [MQTT5-4.7.3-4]", "ACCOUNTS", "Accounts", false},
		{"no normalization of slashes [MQTT5-4.7.3-4]", "finance", "/finance", false},
		{"no normalization of Unicode [MQTT5-4.7.3-4]", "caf\u00e9", "cafe\u0301", false},
	}
	for _, test := range tests {
		t.Run(test.promise, func(t *testing.T) {
			if got := Match(test.filter, test.name); got != test.want {
				t.Errorf("Match(%q, %q) = %v", test.filter, test.name, got)
			}
		})
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Match("a/+/c/#", "a/b/c/d/e") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// matchLevels is Match once more, written as the specification reads: level by level, recursively.
func matchLevels(filter, name []string) bool {
	switch {
	case len(filter) == 1 && filter[0] == "#":
		return true
	case len(filter) == 0 || len(name) == 0:
		return len(filter) == len(name)
	case filter[0] != "+" && filter[0] != name[0]:
		return false
	}
	return matchLevels(filter[1:], name[1:])
}

// FuzzFilter: whatever passes the checks is matched alike by Match, Index and Tree.
func FuzzFilter(f *testing.F) {
	f.Add("sport/+/#", "sport/tennis")
	f.Add("#", "$SYS/x")
	f.Add("+/+", "/finance")
	f.Add("a//#", "a/")
	f.Add("a/b+", "a\x00")
	f.Add("a/+/c/+/e/+/g", "a/b/c/d/e/f/g")
	f.Fuzz(func(t *testing.T, filter, name string) {
		if !HasWildcard(filter) && CheckFilter(filter, Limits{}) != CheckName(filter, Limits{}) {
			t.Fatalf("CheckFilter and CheckName differ on %q", filter)
		}
		if CheckFilter(filter, Limits{}) != nil || CheckName(name, Limits{}) != nil {
			return
		}
		want := matchLevels(strings.Split(filter, "/"), strings.Split(name, "/")) &&
			!(name[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
		if got := Match(filter, name); got != want {
			t.Fatalf("Match(%q, %q) = %v", filter, name, got)
		}
		if !Match(name, name) || !Covers(filter, filter) || !Overlaps(filter, filter) {
			t.Fatalf("%q or %q does not match itself", name, filter)
		}
		if Covers(filter, name) != want || Overlaps(filter, name) != want {
			t.Fatalf("Covers or Overlaps of %q and %q is not %v", filter, name, want)
		}
		x := newNumbers(8)
		x.Add(filter, 1)
		if got := slices.Equal(x.Lookup([]byte(name)).Value, []int{1}); got != want {
			t.Fatalf("Index: %q matches %q: %v", filter, name, got)
		}
		tree := NewTree[int]()
		tree.Set(name, 1)
		visited := ""
		tree.Match(filter, func(n string, _ int) bool { visited = n; return true })
		if got := visited == name; got != want {
			t.Fatalf("Tree: %q matches %q: %v", filter, name, got)
		}
	})
}
