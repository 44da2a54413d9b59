package archive

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.FixedZone("", 3600))
	for format, want := range map[string]string{
		"<CHANNEL>.<HOST>.<DATETIME><REV>.log": "c.h.26-063%-000002.log",
		"<TOPIC>.json.gz":                      "a/b/%23c.json-000002.gz",
		"x":                                    "x-000002",
		"d.d/<ID>":                             "d.d/i-000002",
	} {
		want = strings.Replace(want, ".json-000002.gz", "-000002.json.gz", 1)
		n := naming(t, format, "%y-%j%%")
		if got := filepath.ToSlash(n.at(n.key("a/b/#c", at), 2)); got != want {
			t.Errorf("%s: got %s, want %s", format, got, want)
		}
	}
}

func TestMistakesInNames(t *testing.T) {
	for format, want := range map[string]string{
		"<topic>.log":       "unknown <topic>",
		"../<TOPIC>":        "expected the name of a file in a folder",
		"/tmp/x":            "expected the name of a file in a folder",
		"":                  "expected the name of a file in a folder",
		"x/":                "expected the name of a file in a folder",
		"<DATETIME>/../../": "expected the name of a file in a folder",
	} {
		if _, err := ParseNames(Naming{Format: format, DateTime: "%Y"}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", format, err, want)
		}
	}
	for datetime, want := range map[string]string{"%Q": "unknown %Q", "x%": "expected something after %"} {
		if _, err := ParseNames(Naming{Format: "x", DateTime: datetime}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", datetime, err, want)
		}
	}
}

// Topics that differ have names that differ, which stay in their folder and which a file system takes.
func TestTopicsAsNames(t *testing.T) {
	topics := []string{
		"a", "a/", "/a", "a//b", ".", "..", "../x", "a/../b", "a/.b", "a.", "a%2Fb", "a b", "ä", "a~b", "$SYS/x", "NUL\x01", `a\b`,
		strings.Repeat("x", 65535), strings.Repeat("x", 65534) + "y", strings.Repeat("/", 500), strings.Repeat("/", 501), strings.Repeat("ab/", 200),
	}
	seen := map[string]string{}
	for _, topic := range topics {
		name := filepath.FromSlash(escapeTopic(topic))
		if other, double := seen[name]; double {
			t.Errorf("%.30q and %.30q are both %s", topic, other, name)
		}
		seen[name] = topic
		if !filepath.IsLocal(name) || len(name) > topicMax || filepath.Clean(name) != name {
			t.Errorf("%.30q: got %s", topic, name)
		}
	}
}
