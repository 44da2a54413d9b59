package tidy

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var requirement = regexp.MustCompile(`(?m)^\s*(?:require )?([\w.-]+\.[\w.-]+/\S+) v\S+`)

// requiredModules reads the module paths of a go.mod.
func requiredModules(gomod string) (modules []string) {
	for _, m := range requirement.FindAllStringSubmatch(gomod, -1) {
		modules = append(modules, m[1])
	}
	return modules
}

// moduleOf is the longest module that holds the import, or empty for the standard library and our own.
func moduleOf(imported string, modules []string) (found string) {
	for _, m := range modules {
		if (imported == m || strings.HasPrefix(imported, m+"/")) && len(m) > len(found) {
			found = m
		}
	}
	return found
}

// checkDependencies: every module that our code imports has a line in the page, and
// every module with a line is required by go.mod.
func checkDependencies(files []*goFile, gomod, page string) (found []finding) {
	modules := requiredModules(gomod)
	reasons := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^- `([^`]+)`: \\S").FindAllStringSubmatch(page, -1) {
		reasons[m[1]] = true
		if moduleOf(m[1], modules) != m[1] {
			found = append(found, finding{dependencyPage, 0, m[1] + " is not in go.mod"})
		}
	}
	for _, f := range files {
		for _, spec := range f.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			if m := moduleOf(imported, modules); m != "" && !reasons[m] {
				found = append(found, f.finding(spec.Pos(), "%s has no line in %s", m, dependencyPage))
				reasons[m] = true // once is enough
			}
		}
	}
	return found
}

const dependencyPage = "docs/decisions/dependencies.md"

// Every dependency has its reason.
func TestDependencies(t *testing.T) {
	read := func(rel string) string {
		text, err := os.ReadFile(filepath.Join(root(t), rel))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	report(t, checkDependencies(goFiles(t), read("go.mod"), read(dependencyPage)))
}
