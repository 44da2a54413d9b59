package bench

import (
	"strings"
	"testing"
	"time"
)

// A limit is kept, reached, missed, or about something that was not measured.
func TestVerdicts(t *testing.T) {
	for _, test := range []struct {
		row  Row
		want string
		met  bool
	}{
		{Row{Medians: []float64{5}}, "", true},
		{Row{Medians: []float64{5, 10}, Ratio: 0.5, Limit: 0.5}, "≤ 0.5", true},
		{Row{Medians: []float64{6, 10}, Ratio: 0.6, Limit: 0.5}, "≤ 0.5 MISSED", false},
		{Row{Medians: []float64{6}, Limit: 0.5}, "≤ 0.5", true},
		{Row{Medians: []float64{6}, Limit: 5, Absolute: true}, "≤ 5 MISSED", false},
		{Row{Medians: []float64{6, 1}, Ratio: 6, Limit: 5, Absolute: true, AtLeast: true}, "≥ 5", true},
		{Row{Medians: []float64{4, 9}, Limit: 5, Absolute: true, AtLeast: true}, "≥ 5 MISSED", false},
		{Row{Medians: []float64{0, 9}, Limit: 5, Absolute: true}, "≤ 5 not measured", false},
		{Row{Medians: []float64{0, 9}, Limit: 5, Absolute: true, Zeros: []bool{true, false}}, "≤ 5", true},
		{Row{Medians: []float64{-2, 9}, Limit: 5, Absolute: true, Zeros: []bool{false, false}}, "≤ 5", true},
	} {
		if got := test.row.verdict(); got != test.want || test.row.Met() != test.met {
			t.Errorf("%+v: %q, met %v", test.row, got, test.row.Met())
		}
	}
}

func TestShort(t *testing.T) {
	for value, want := range map[float64]string{0: "–", 0.123: "0.12", 12.34: "12.3", 123456.7: "123457"} {
		if got := short(value); got != want {
			t.Errorf("%v: got %s, want %s", value, got, want)
		}
	}
}

// A page gets the tables of the groups that were measured, and keeps everything else, also when it is done again.
func TestInto(t *testing.T) {
	begin, end := marks(Live)
	storedBegin, storedEnd := marks(Stored)
	page := "# Title\n\n" + begin + "old\n" + end + "between\n" + storedBegin + "kept\n" + storedEnd + "behind\n"
	c := &Comparison{
		Circumstances: Circumstances{
			Began: time.Date(2026, 11, 22, 14, 5, 0, 0, time.UTC), Machine: "a machine", Load: "0.10", Versions: []string{"a 1", "b 2"},
			Fewest: 3, Most: 3, Duration: 2 * time.Second, Messages: 70,
		},
		Brokers:  []string{"a", "b"},
		Rows:     []Row{{Group: Live, Case: "pairs", Figure: "f", Medians: []float64{1, 2}, Ratio: 0.5}},
		Troubles: []Trouble{{"pairs", "pairs, b, round 1: 3 lost"}, {"other", "other, b, round 1: 4 lost"}},
	}
	want := "# Title\n\n" + begin + `Measured 2026-11-22 14:05 on a machine, load 0.10 when it began.
a 1; b 2. Medians of 3, 2s each, backlogs of 70 messages.

| case  | figure | a    | b    | ratio |
|---    |---     |---   |---   |---    |
| pairs | f      | 1.00 | 2.00 | 0.50  |

Trouble: pairs, b, round 1: 3 lost
` + end + "between\n" + storedBegin + "kept\n" + storedEnd + "behind\n"
	for range 2 {
		got, err := c.Into([]byte(page))
		if err != nil || string(got) != want {
			t.Fatalf("error %v, got\n%s\nwant\n%s", err, got, want)
		}
		page = string(got)
	}
	for _, without := range []string{"", begin, end, end + begin} {
		if _, err := c.Into([]byte(without)); err == nil || !strings.Contains(err.Error(), "bench live begins") {
			t.Errorf("%q: error %v", without, err)
		}
	}
}

// A machine is named by its processors and kernel, as far as they are known.
func TestMachine(t *testing.T) {
	got := machine("processor\t: 0\nmodel name\t: Fast One\nmodel name\t: Fast One\n", "6.1\n")
	if !strings.HasSuffix(got, " 6.1") || !strings.Contains(got, "(Fast One)") {
		t.Error(got)
	}
	if got := machine("", ""); !strings.Contains(got, "processors") {
		t.Error(got)
	}
}

// A broker says its version, one way or another.
func TestBrokerVersion(t *testing.T) {
	for _, test := range []struct {
		broker Broker
		want   string
	}{
		{Broker{Name: "b", Path: "/bin/sh", version: []string{"-c", "echo b version 1; echo more; exit 3"}}, "b version 1"},
		{Broker{Name: "b", Path: "/nowhere/b"}, "b"},
	} {
		if got := test.broker.said(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// Of messages for each fsync none is a figure, where nothing had to be written, and a broker that does not tell has none. How long a disk
// took to become small is known where it was looked at.
func TestStoredFiguresThatAreUnknown(t *testing.T) {
	cell := func(name string, r Result) string {
		t.Helper()
		for _, k := range Cases() {
			for _, f := range k.Figures {
				if f.Name == name {
					row := newRow(k, f, map[string]results{k.Name: {{r}}})
					return row.cells()[2]
				}
			}
		}
		t.Fatalf("there is no figure %q", name)
		return ""
	}
	told, small := &StoreWork{Fsyncs: 9, FsyncsPerSecond: 3}, &Backlogged{SettleSeconds: 0.1, DiskQueued: 1}
	for _, test := range []struct {
		name   string
		result Result
		want   string
	}{
		{"messages/fsync", Result{Store: told}, "0"},
		{"messages/fsync", Result{}, "–"},
		{"fsyncs/s", Result{Store: told}, "3.00"},
		{"s until it was that small", Result{Backlog: small}, "0.10"},
		{"s until it was that small", Result{Backlog: &Backlogged{SettleSeconds: 1e-7}}, "–"},
	} {
		if got := cell(test.name, test.result); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}
