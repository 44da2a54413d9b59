package bench

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// paused is a round of two seconds with silences and, if there is a collector, collections.
func paused(long uint64, collections float64) Result {
	r := Result{Seconds: 2, Silence: &Silence{Long: long}}
	if collections >= 0 {
		r.Collector = &CollectorWork{Collections: collections, CollectionsPerSecond: collections / 2, LongestStop: 500 * time.Microsecond, MeanStop: 250 * time.Microsecond}
	}
	return r
}

// A collection is charged with the silences that there are more of than in the same round without the collector. Where it did not
// run it adds nothing, which is not the same as not to know.
func TestAddedSilences(t *testing.T) {
	c := &Comparison{Brokers: []string{"ours", "theirs"}}
	found := map[string]results{
		"twin":      {{paused(10, -1), paused(100, -1), paused(2, -1)}, nil},
		"collected": {{paused(14, 8), paused(104, 4), paused(3, 4)}, {paused(0, -1), paused(0, -1), paused(6, -1)}},
		"idle":      {{paused(90, 0), paused(90, 0), paused(90, 0)}, nil},
	}
	for _, name := range []string{"collected", "idle"} {
		c.add(Case{Name: name, Figures: append(collecting("twin"), silences()[0])}, found)
	}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(b.String(), "\n\n")
	const want = `| case      | figure                                    | ours | theirs | ratio | limit |
|---        |---                                        |---   |---     |---    |---    |
| collected | longest stop of the collector, ms         | 0.50 | –      |       | ≤ 1   |
| collected | silences over 1 ms that a collection adds | 0.50 | –      |       | ≤ 0.5 |
| collected | silences over 1 ms, a second              | 7.00 | 0      |       |       |
| idle      | longest stop of the collector, ms         | 0.50 | –      |       | ≤ 1   |
| idle      | silences over 1 ms that a collection adds | 0    | –      |       | ≤ 0.5 |
| idle      | silences over 1 ms, a second              | 45.0 | –      |       |       |

Details, to judge the figures above by:

| case      | figure                            | ours | theirs | ratio |
|---        |---                                |---   |---     |---    |
| collected | collections while it was measured | 4.00 | –      |       |
| collected | mean stop of these, ms            | 0.25 | –      |       |
| idle      | collections while it was measured | 0    | –      |       |
| idle      | mean stop of these, ms            | 0.25 | –      |       |
`
	if table != want {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
}

// A broker is started with what the case adds to its environment.
func TestCaseEnvironment(t *testing.T) {
	path, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	b := Broker{
		Name: "teller", Path: path, config: func(settings) string { return "" },
		args: func(string) []string { return []string{"-c", "echo the collector is $GOGC; exit 1"} },
	}
	_, err = start(t.Context(), b, &Case{Group: Live, Options: Default(Pairs), Environment: []string{"GOGC=off"}}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "the collector is off") {
		t.Errorf("error %v", err)
	}
}

// A broker has metrics where it has a store, and in a case that wants them.
func TestMetered(t *testing.T) {
	for _, test := range []struct {
		k    Case
		want bool
	}{{Case{Group: Live}, false}, {Case{Group: Stored}, true}, {Case{Group: Live, Metered: true}, true}} {
		s := &server{broker: Penstock("penstock"), folder: t.TempDir()}
		if err := s.configure(&test.k); err != nil {
			t.Fatal(err)
		}
		if got := s.metrics != ""; got != test.want || got != (s.set.metrics > 0) {
			t.Errorf("%s, metered %v: metrics at %q, port %d", test.k.Group, test.k.Metered, s.metrics, s.set.metrics)
		}
	}
}

// Every case can be measured, has a name of its own, and comes behind the one that it is measured against.
func TestCases(t *testing.T) {
	names := make(map[string]bool)
	for _, k := range Cases() {
		if base := k.base(); names[k.Name] || base != "" && !names[base] {
			t.Errorf("%s is there twice, or not behind %q, by which it is divided", k.Name, base)
		}
		names[k.Name] = true
		if err := k.Options.Check(); err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
}
