package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Folders that hold no citations of the broker's: other people's files, programs that are clients,
// and the two packages that talk about citations.
var notScanned = []string{
	"docs", "node_modules", "dist", "bin", "data", "bench", "client", "cmd", "examples", "test/spec", "test/tidy",
}

// playsBoth is a script's order to play it with clients of 3.1.1 as well as of 5.
var playsBoth = regexp.MustCompile(`(?m)^use (.* )?v4\b.*\bv5\b`)

// scanTree collects the citations of every Go file and test script below root.
func scanTree(root string) (all []Citation, problems []string, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(path, root), string(filepath.Separator)))
		if d.IsDir() {
			if slices.Contains(notScanned, rel) || rel != "" && (d.Name()[0] == '.' || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		cited, err := scanFile(path, rel)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", rel, err))
		}
		all = append(all, cited...)
		return nil
	})
	return all, problems, err
}

// scanFile collects the citations of one file. rel is its path from the root, with slashes.
func scanFile(path, rel string) ([]Citation, error) {
	isTest := strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "storage/storagetest/")
	// What the tests below test/ are built of proves nothing and obeys nothing.
	isGo := isTest || strings.HasSuffix(rel, ".go") && !strings.HasPrefix(rel, "test/")
	isScript := strings.HasPrefix(rel, "test/scripts/") && strings.HasSuffix(rel, ".txt")
	if !isGo && !isScript {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lists, err := citations(string(text))
	if err != nil || len(lists) == 0 {
		return nil, err
	}
	where := func(int) string { return rel }
	if isGo {
		where = declarations(rel, text)
	}
	both := isScript && playsBoth.Match(text)
	var cited []Citation
	for _, l := range lists {
		for _, id := range l.ids {
			cited = append(cited, Citation{ID: id, Where: where(l.offset), Test: isTest || isScript, Both: both})
		}
	}
	return cited, nil
}

// declarations returns a function that names the top-level declaration at an
// offset, its doc comment included, as file:name. Outside of declarations, and
// in a file that does not parse, it is the file.
func declarations(rel string, text []byte) func(offset int) string {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return func(int) string { return rel }
	}
	return func(offset int) string {
		for _, d := range file.Decls {
			from, to := span(set, text, d, docOf(d))
			if from <= offset && offset < to {
				return rel + ":" + declName(set, text, d, offset)
			}
		}
		return rel
	}
}

// span is the extent of a node with its doc comment and the rest of its last line.
func span(set *token.FileSet, text []byte, n ast.Node, doc *ast.CommentGroup) (from, to int) {
	from, to = set.Position(n.Pos()).Offset, set.Position(n.End()).Offset
	if doc != nil {
		from = set.Position(doc.Pos()).Offset
	}
	for to < len(text) && text[to] != '\n' {
		to++
	}
	return from, to
}

func docOf(d ast.Decl) *ast.CommentGroup {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return d.Doc
	case *ast.GenDecl:
		return d.Doc
	}
	return nil
}

// declName names a function, a method as Type.Method, or the spec of a type,
// const or var declaration at the offset.
func declName(set *token.FileSet, text []byte, d ast.Decl, offset int) string {
	if f, ok := d.(*ast.FuncDecl); ok {
		if f.Recv == nil || len(f.Recv.List) == 0 {
			return f.Name.Name
		}
		return receiver(f.Recv.List[0].Type) + "." + f.Name.Name
	}
	name := ""
	for _, s := range d.(*ast.GenDecl).Specs {
		specName, doc := specOf(s)
		from, to := span(set, text, s, doc)
		if from <= offset && offset < to || name == "" {
			name = specName
		}
	}
	return name
}

func specOf(s ast.Spec) (name string, doc *ast.CommentGroup) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		return s.Name.Name, s.Doc
	case *ast.ValueSpec:
		return s.Names[0].Name, s.Doc
	}
	return "import", nil
}

func receiver(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiver(t.X)
	case *ast.IndexExpr:
		return receiver(t.X)
	case *ast.IndexListExpr:
		return receiver(t.X)
	case *ast.Ident:
		return t.Name
	}
	return "?"
}
