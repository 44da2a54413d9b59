package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/bench"
)

// What cannot be measured is said before anything is started.
func TestBenchMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"bench pairs --qos 3":                         "qos is 3",
		"bench pairs --mqtt 4":                        `--mqtt is "4", must be 311 or 5`,
		"bench backlog --qos 0":                       "qos is 0",
		"bench backlog --settle 1m":                   "needs the broker's data folder",
		"bench lone":                                  "the broker's data folder is needed",
		"bench compare --cases dance":                 `case is "dance", must be one of live, stored, pairs-qos0`,
		"bench compare --brokers nobody":              `broker is "nobody", must be penstock or mosquitto`,
		"bench compare --brokers penstock --rounds 0": "no round",
	} {
		if code, _, errs := command(t, "", strings.Fields(args)...); code == exitOK || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, said %s", args, code, errs)
		}
	}
}

// Tables go into a page that has the lines for them, and a page without them stays as it is.
func TestBenchWritesIntoAPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "page.md")
	write(t, page, string(text))
	c := &bench.Comparison{Brokers: []string{"a"}}
	for _, group := range []string{bench.Live, bench.Stored} {
		c.Rows = append(c.Rows, bench.Row{Group: group, Case: group + "-case", Figure: "f", Medians: []float64{1}})
	}
	b := benchComparison{into: page}
	if err := b.write(c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"live-case", "stored-case", "## How it is measured"} {
		if got, err := os.ReadFile(page); err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s is missing, error %v", want, err)
		}
	}
	write(t, page, "nothing")
	if err := b.write(c); err == nil {
		t.Error("no error of a page without the lines")
	}
	if got, err := os.ReadFile(page); err != nil || string(got) != "nothing" {
		t.Errorf("the page is %q, error %v", got, err)
	}
}
