package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The limits. The aims are lower: 25 lines a function, 250 a file, nesting of 3, 4 parameters.
const (
	functionMax  = 70
	fileMax      = 600
	nestingMax   = 4
	parameterMax = 5

	// A test may stand in a loop over cases, a subtest and a synctest bubble, and takes what it compares as parameters.
	testFunctionMax  = 100
	testNestingMax   = 6
	testParameterMax = 7
)

// A size is one measured number.
type size struct {
	rule  string // "function lines", "file lines", "nesting" or "parameters"
	where string // file, or file:function
	value int
	max   int
}

// measure gives every size of a file.
func measure(f *goFile) (all []size) {
	functionMax, nestingMax, parameterMax := functionMax, nestingMax, parameterMax
	if strings.HasSuffix(f.rel, "_test.go") {
		functionMax, nestingMax, parameterMax = testFunctionMax, testNestingMax, testParameterMax
	}
	all = append(all, size{"file lines", f.rel, bytes.Count(f.text, []byte("\n")), fileMax})
	for _, d := range f.syntax.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		where := f.rel + ":" + functionName(fn)
		all = append(all, size{"parameters", where, fn.Type.Params.NumFields(), parameterMax})
		if fn.Body == nil {
			continue
		}
		all = append(all,
			size{"function lines", where, f.line(fn.End()) - f.line(fn.Pos()) + 1, functionMax},
			size{"nesting", where, nesting(fn.Body), nestingMax})
	}
	return all
}

// functionName is Name, or Type.Name for a method.
func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	switch generic := t.(type) {
	case *ast.IndexExpr:
		t = generic.X
	case *ast.IndexListExpr:
		t = generic.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// nesting is the depth of blocks in a body: if, for, switch, select and function
// literals each add one; else if does not, and a plain block does not.
func nesting(body ast.Node) int {
	deepest := 0
	var visit func(n ast.Node, depth int)
	visit = func(n ast.Node, depth int) {
		deepest = max(deepest, depth)
		ast.Inspect(n, func(child ast.Node) bool {
			if child == nil || child == n {
				return true
			}
			switch child := child.(type) {
			case *ast.IfStmt:
				visitIf(child, depth, visit)
				return false
			case *ast.ForStmt, *ast.RangeStmt, *ast.SwitchStmt, *ast.TypeSwitchStmt, *ast.SelectStmt, *ast.FuncLit:
				visit(child, depth+1)
				return false
			}
			return true
		})
	}
	visit(body, 0)
	return deepest
}

// visitIf visits an if and the ifs of its else branches at one depth.
func visitIf(n *ast.IfStmt, depth int, visit func(ast.Node, int)) {
	for {
		visit(n.Body, depth+1)
		next, ok := n.Else.(*ast.IfStmt)
		if !ok {
			break
		}
		n = next
	}
	if n.Else != nil {
		visit(n.Else, depth+1)
	}
}

// checkSizes compares sizes with the limits and the exceptions.
func checkSizes(all []size, exceptions map[string]int) (found []finding) {
	for _, s := range all {
		key := s.rule + "\t" + s.where
		allowed, known := exceptions[key]
		delete(exceptions, key)
		switch {
		case known && s.value <= s.max:
			found = append(found, finding{s.where, 0, fmt.Sprintf("%d %s: the exception can go", s.value, s.rule)})
		case known && s.value < allowed:
			found = append(found, finding{s.where, 0, fmt.Sprintf("%d %s: the exception can shrink from %d", s.value, s.rule, allowed)})
		case known && s.value == allowed:
		case s.value > s.max:
			found = append(found, finding{s.where, 0, fmt.Sprintf("%d %s, at most %d", s.value, s.rule, max(s.max, allowed))})
		}
	}
	for key := range exceptions {
		rule, where, _ := strings.Cut(key, "\t")
		found = append(found, finding{where, 0, "the exception for " + rule + " excuses nothing"})
	}
	return found
}

// Functions, files, nesting and parameter lists stay small; known exceptions only shrink.
func TestSizes(t *testing.T) {
	var all []size
	for _, f := range goFiles(t) {
		all = append(all, measure(f)...)
	}
	report(t, checkSizes(all, loadExceptions(t)))
}

// loadExceptions reads lines of rule, where and number, separated by tabs.
func loadExceptions(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "exceptions.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	exceptions := map[string]int{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndex(line, "\t")
		n, err := strconv.Atoi(line[i+1:])
		if err != nil || i < 0 {
			t.Fatalf("exceptions.tsv: %q: want rule, where and number", line)
		}
		exceptions[line[:i]] = n
	}
	return exceptions
}
