package acl

import (
	"os"
	"strings"
	"testing"
)

// The rules shown in docs/auth.md are rules.
func TestDocumentedRules(t *testing.T) {
	text, err := os.ReadFile("../../docs/auth.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, block := range strings.Split(string(text), "```yaml\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(block, "rules:") {
			continue
		}
		shown++
		if _, err := parse("docs/auth.md", []byte(block)); err != nil {
			t.Error(err)
		}
	}
	if shown == 0 {
		t.Error("no rules in docs/auth.md")
	}
}
