package tidy

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A banned expression and what is wrong with it.
type banned struct {
	expr *regexp.Regexp
	why  string
}

var bannedWords = []banned{
	{regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`), "do it or write an issue"},
	{regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])/(work|root)(/|\b)`), "a path of one machine"},
	{regexp.MustCompile(`(?i)\b(ai|sub|coding)?-?agents?\b`), "the project is not about who wrote it"},
	{regexp.MustCompile(`(?i)\b(session of work|language model|chatbot|claude|copilot)\b`), "the project is not about who wrote it"},
}

// userAgent is the one agent that a WebSocket server meets.
var userAgent = regexp.MustCompile(`(?i)\buser.?agent`)

// The kinds of file in which words are read.
var (
	textEndings = []string{".go", ".md", ".yaml", ".yml", ".txt", ".sh", ".tsv", ".html", ".js"}
	textNames   = []string{"Makefile", "Dockerfile", "run"}
)

// checkWords: no line has a banned expression.
func checkWords(rel string, text []byte) (found []finding) {
	for i, line := range bytes.Split(text, []byte("\n")) {
		line = userAgent.ReplaceAll(line, nil)
		for _, b := range bannedWords {
			if m := b.expr.Find(line); m != nil {
				found = append(found, finding{rel, i + 1, strings.TrimSpace(string(m)) + ": " + b.why})
			}
		}
	}
	return found
}

// Nothing is left to do in a comment, nothing hangs on one machine, and
// the text speaks of the broker only.
func TestWords(t *testing.T) {
	walk(t, func(rel string) {
		base := path.Base(rel)
		if strings.HasPrefix(rel, "test/tidy/") || !slices.Contains(textEndings, path.Ext(base)) && !slices.Contains(textNames, base) {
			return
		}
		text, err := os.ReadFile(filepath.Join(root(t), rel))
		if err != nil {
			t.Fatal(err)
		}
		report(t, checkWords(rel, text))
	})
}
