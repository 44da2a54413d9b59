package readme

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const repository = "../.."

// A block is what stands between two fences.
type block struct{ language, text string }

func readPage(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func blocks(page string) (all []block) {
	for _, m := range fenced.FindAllStringSubmatch(page, -1) {
		all = append(all, block{m[1], m[2]})
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)#:]+)[^):]*\)`)

// Every link to a file of ours leads somewhere.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	decisions, err := filepath.Glob(filepath.Join(repository, "docs", "decisions", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(append(pages, decisions...), filepath.Join(repository, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// step finds `type.method` (file) and `function` (file) in the path of a PUBLISH. A name without a file has that of an earlier step.
var (
	step     = regexp.MustCompile("`([A-Za-z]+)\\.([A-Za-z]+)`(?: \\(([a-z_/]+\\.go)\\)|, ([a-z_/]+\\.go)\\))?")
	pathList = regexp.MustCompile(`(?m)^\d\. (.*(?:\n   .*)*)`)
)

// Every function on the path of a PUBLISH is where the page says.
func TestPathOfAPublish(t *testing.T) {
	page := readPage(t, "README.md")
	var sources strings.Builder // those named so far
	found := 0
	for _, item := range pathList.FindAllStringSubmatch(page, -1) {
		for _, m := range step.FindAllStringSubmatch(item[1], -1) {
			source := sources.String()
			if file := m[3] + m[4]; file != "" {
				source = readPage(t, file)
				sources.WriteString(source)
			}
			found++
			method := regexp.MustCompile(`(?m)^func \(\w+ \*?` + m[1] + `(?:\[[^\]]*\])?\) ` + m[2] + `\(`)
			if !method.MatchString(source) {
				t.Errorf("%s.%s is not in %q", m[1], m[2], m[3]+m[4])
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d functions were found on the page: %q", found, pathList)
	}
}
