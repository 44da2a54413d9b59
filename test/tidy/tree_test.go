package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/penstockmq/penstock"

// A goFile is one parsed file of the tree.
type goFile struct {
	rel    string // path from the root, with slashes
	text   []byte
	set    *token.FileSet
	syntax *ast.File
	test   bool // a _test.go file or anything below test/
}

// dir is the folder of the file from the root; "." for the root itself.
func (f *goFile) dir() string { return path.Dir(f.rel) }

func (f *goFile) line(p token.Pos) int { return f.set.Position(p).Line }

// A finding is one breach of a rule.
type finding struct {
	where string // file, or file:function
	line  int    // 0 if none
	text  string
}

func (f finding) String() string {
	if f.line == 0 {
		return f.where + ": " + f.text
	}
	return fmt.Sprintf("%s (line %d): %s", f.where, f.line, f.text)
}

func (f *goFile) finding(p token.Pos, format string, args ...any) finding {
	return finding{f.rel, f.line(p), fmt.Sprintf(format, args...)}
}

// parse makes a goFile from source.
func parse(rel string, text []byte) (*goFile, error) {
	f := &goFile{rel: rel, text: text, set: token.NewFileSet()}
	f.test = strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "test/")
	var err error
	f.syntax, err = parser.ParseFile(f.set, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	return f, err
}

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// notOurs are folders whose contents nobody wrote by hand.
var notOurs = []string{"testdata", "node_modules", "vendor", "dist", "bin", "data"}

// walk calls visit for every file of the tree that we wrote.
func walk(t *testing.T, visit func(rel string)) {
	t.Helper()
	top := root(t)
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		hidden := len(rel) > 1 && d.Name()[0] == '.' && rel != ".ci"
		if d.IsDir() && (hidden || slices.Contains(notOurs, d.Name())) {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			visit(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles parses every Go file of the tree.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	walk(t, func(rel string) {
		if !strings.HasSuffix(rel, ".go") {
			return
		}
		text, err := os.ReadFile(filepath.Join(root(t), rel))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parse(rel, text)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	})
	return files
}

// report fails the test with every finding.
func report(t *testing.T, found []finding) {
	t.Helper()
	for _, f := range found {
		t.Error(f)
	}
}
