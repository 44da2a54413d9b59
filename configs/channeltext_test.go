package configs

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

// What Values tells is read back by ParseChannel, whatever is set; Set takes the same as the file.
func TestChannelThereAndBack(t *testing.T) {
	c := Channel{Name: "jobs"}
	for key, text := range map[string]string{
		"filter": "jobs/#", "ack_timeout": "1m30s", "max_in_flight_per_member": "7", "max_bytes": "2MiB", "ephemeral": "true",
		"order": "5", "dead_letter": "true", "sample": "12.5%", "dedup_window": "1h", "on_full": "block",
	} {
		if err := c.Set(key, text); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if c.AckTimeout != 90*time.Second || c.Bytes != 2<<20 || !c.Ephemeral || c.Order != "5" || c.MemberMax != 7 {
		t.Errorf("got %+v", c)
	}
	c.Fill()
	text, err := json.Marshal(c.Values())
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseChannel("jobs", text)
	if err != nil || back != c {
		t.Errorf("got %+v, %v, want %+v", back, err, c)
	}
	if len(c.Values()) != reflect.TypeFor[Channel]().NumField()-1 { // no auto_create
		t.Errorf("got %v", c.Values())
	}
}

// Nothing but a filter is needed, and the name may be said or not.
func TestParseChannelFillsIn(t *testing.T) {
	want := Channel{Name: "jobs", Filter: "a"}
	want.Fill()
	for _, text := range []string{"filter: a", "{name: jobs, filter: a}", `{"filter": "a"}`, "# jobs\nfilter: 'a'\n"} {
		if got, err := ParseChannel("jobs", []byte(text)); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
}

// A mistake names the key, not a place in a list that nobody wrote.
func TestParseChannelNamesTheKey(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "filter",
		"# nothing":                       "filter",
		"null":                            "filter",
		"filter: a/#/b":                   "filter",
		"{filter: a, ack_timeout: 0s}":    "ack_timeout",
		"{filter: a, max_attempts: many}": "max_attempts",
		"{filter: a, max_attempts: -1}":   "max_attempts",
		"{filter: a, nonsense: 1}":        "nonsense",
		"{filter: a, name: other}":        "name",
		"{filter: a, auto_create: j*}":    "auto_create",
		"{filter: a, filter: b}":          "filter",
		"{filter: a, backoff: 1m, backoff_max: 1s}": "backoff_max",
		"- filter: a":               "",
		"filter: a\n---\nfilter: b": "",
		"a: b: c":                   "",
		"\x00":                      "",
	} {
		_, err := ParseChannel("jobs", []byte(text))
		var e *Error
		if !errors.As(err, &e) || e.Key != want {
			t.Errorf("%q: got %v, want one about %q", text, err, want)
		}
	}
}

func TestChannelsDiffer(t *testing.T) {
	a, b := Channel{Name: "x", Filter: "a", TTL: 1}, Channel{Name: "x", Filter: "b", Order: "topic", TTL: 1}
	if got := a.Differ(&b); !slices.Equal(got, []string{"filter", "order"}) {
		t.Errorf("got %v", got)
	}
	if got := a.Differ(&a); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	if err := a.Set("nonsense", "1"); err == nil {
		t.Error("an unknown key was set")
	}
	if err := a.Set("ttl", "soon"); err == nil || a.TTL != 1 {
		t.Errorf("got %v, %v", a.TTL, err)
	}
}
