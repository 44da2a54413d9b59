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
		"bench pairs --qos 3":                          "qos is 3",
		"bench pairs --mqtt 4":                         `--mqtt is "4", must be 311 or 5`,
		"bench backlog --qos 0":                        "qos is 0",
		"bench backlog --settle 1m":                    "needs the broker's data folder",
		"bench lone":                                   "the broker's data folder is needed",
		"bench compare --cases dance":                  `case is "dance", must be one of live, stored, pairs-qos0`,
		"bench compare --brokers nobody":               `broker is "nobody", must be one of penstock, nanomq`,
		"bench compare --path nobody=/bin/sh":          `broker is "nobody"`,
		"bench compare --brokers penstock --rounds -1": "less than no round",
		"bench compare --brokers vernemq":              "vernemq is not installed",
		"bench channel":                                `channel's name is ""`,
		"bench share --group a/b":                      `group's name is "a/b"`,
		"bench bridge --from 127.0.0.1:1":              "address to which the bridge forwards",
		"bench pairs --pid 1,x":                        "--pid",
	} {
		if code, _, errs := command(t, "", strings.Fields(args)...); code == exitOK || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, said %s", args, code, errs)
		}
	}
}

// What is installed is measured, with the reference last; programs elsewhere are named.
func TestBenchFindsBrokers(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"flashmq", "mosquitto"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", folder)
	other := filepath.Join(t.TempDir(), "other")
	for _, test := range []struct {
		names []string
		want  string
	}{{nil, "penstock, nanomq elsewhere, flashmq, mosquitto"}, {[]string{"mosquitto", "flashmq"}, "mosquitto, flashmq"}} {
		b := benchComparison{brokers: test.names, paths: map[string]string{"nanomq": other}}
		found, err := b.find()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range found {
			got = append(got, found[i].Name)
			if found[i].Path == other {
				got[i] += " elsewhere"
			}
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("found %s", text)
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
