package configs

import (
	"fmt"
	"strings"
)

// An Error is one mistake in a configuration: where it stands, at which key, and what was expected.
type Error struct {
	Where string // "penstock.yaml:12", "PENSTOCK_LIMITS_MAX_QOS" or "--admin-address"
	Key   string // "limits.max_qos"; empty where no key is to blame
	Text  string // what is wrong and what was expected
}

// Error is place, key and text in one line.
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	for _, part := range []string{e.Where, e.Key, e.Text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// unknownKey is the text for a key that does not exist where it stands.
func unknownKey(key string, known []string) string {
	if s := nearest(key, known); s != "" {
		return fmt.Sprintf("unknown key; did you mean %s?", s)
	}
	return "unknown key; expected one of " + strings.Join(known, ", ")
}

// oneOf lists choices as a sentence does: "a, b or c".
func oneOf(choices []string) string {
	last := len(choices) - 1
	if last < 1 {
		return strings.Join(choices, "")
	}
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}
