package tidy

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// Names that say nothing of what is inside.
var emptyNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "base", "misc"}

// checkNames: no file, folder or package has a name that says nothing.
func checkNames(f *goFile) (found []finding) {
	stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.rel), ".go"), "_test")
	names := append(strings.Split(f.dir(), "/"), strings.Split(stem, "_")...)
	names = append(names, strings.TrimSuffix(f.syntax.Name.Name, "_test"))
	for _, n := range names {
		if slices.Contains(emptyNames, n) {
			return []finding{{f.rel, 0, "nothing is called " + n}}
		}
	}
	return nil
}

// checkDocs: every exported name at the top level has a comment, be it its own, its
// line's or its group's.
func checkDocs(f *goFile) (found []finding) {
	for _, d := range f.syntax.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			_, method, _ := strings.Cut(functionName(d), ".")
			ofType := method == "" || ast.IsExported(functionName(d))
			if d.Name.IsExported() && ofType && d.Doc == nil {
				found = append(found, f.finding(d.Pos(), "%s has no comment", functionName(d)))
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				if name := undocumented(d, s); name != nil {
					found = append(found, f.finding(name.Pos(), "%s has no comment", name.Name))
				}
			}
		}
	}
	return found
}

// undocumented returns an exported name of the spec that has no comment, or nil.
func undocumented(d *ast.GenDecl, s ast.Spec) *ast.Ident {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
			return s.Name
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				return n
			}
		}
	}
	return nil
}

// Every name says what is inside.
func TestNames(t *testing.T) {
	for _, f := range goFiles(t) {
		report(t, checkNames(f))
	}
}

// Every exported name has a sentence.
func TestExportedNamesHaveComments(t *testing.T) {
	for _, f := range goFiles(t) {
		if !f.test {
			report(t, checkDocs(f))
		}
	}
}

// Every package opens with a doc: what it does, what it does not, its nouns, how it is tested.
func TestPackagesHaveDocs(t *testing.T) {
	docs := map[string]string{}
	for _, f := range goFiles(t) {
		if !strings.HasSuffix(f.syntax.Name.Name, "_test") {
			docs[f.dir()] += f.syntax.Doc.Text()
		}
	}
	report(t, checkPackageDocs(docs))
}

// checkPackageDocs takes the doc of each folder's package. Three lines are the
// least in which the four things can be said.
func checkPackageDocs(docs map[string]string) (found []finding) {
	for dir, doc := range docs {
		switch lines := strings.Count(strings.TrimSpace(doc), "\n") + 1; {
		case doc == "":
			found = append(found, finding{dir, 0, "the package has no doc comment"})
		case !strings.HasPrefix(doc, "Package ") && !strings.HasPrefix(doc, "Command "):
			found = append(found, finding{dir, 0, "the package's doc does not begin with Package or Command"})
		case lines < 3:
			found = append(found, finding{dir, 0, "the package's doc says too little"})
		}
	}
	return found
}
