package tidy

import (
	"go/ast"
	"go/token"
	"testing"
)

// checkStatements: no init(), no goto, no naked return with named results, no embedded
// mutex, and in tests no time.Sleep outside a synctest bubble and no skipping without a reason.
func checkStatements(f *goFile) (found []finding) {
	for _, d := range f.syntax.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, f.finding(fn.Pos(), "init()"))
		}
		if fn.Body != nil {
			found = append(found, nakedReturns(f, fn.Type, fn.Body)...)
		}
	}
	bubbles := synctestBubbles(f.syntax)
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BranchStmt:
			if n.Tok == token.GOTO {
				found = append(found, f.finding(n.Pos(), "goto"))
			}
		case *ast.StructType:
			found = append(found, embeddedMutexes(f, n)...)
		case *ast.CallExpr:
			if f.test {
				found = append(found, checkTestCall(f, n, bubbles)...)
			}
		}
		return true
	})
	return found
}

// nakedReturns finds returns without values where results are named. Function
// literals inside are judged by their own results.
func nakedReturns(f *goFile, t *ast.FuncType, body *ast.BlockStmt) (found []finding) {
	named := t.Results != nil && len(t.Results.List) > 0 && len(t.Results.List[0].Names) > 0
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			found = append(found, nakedReturns(f, n.Type, n.Body)...)
			return false
		case *ast.ReturnStmt:
			if named && len(n.Results) == 0 {
				found = append(found, f.finding(n.Pos(), "naked return with named results"))
			}
		}
		return true
	})
	return found
}

func embeddedMutexes(f *goFile, s *ast.StructType) (found []finding) {
	for _, field := range s.Fields.List {
		t := field.Type
		if star, ok := t.(*ast.StarExpr); ok {
			t = star.X
		}
		if len(field.Names) == 0 && (isSelector(t, "sync", "Mutex") || isSelector(t, "sync", "RWMutex")) {
			found = append(found, f.finding(field.Pos(), "embedded mutex: make it a field"))
		}
	}
	return found
}

func checkTestCall(f *goFile, call *ast.CallExpr, bubbles []ast.Node) (found []finding) {
	if isSelector(call.Fun, "time", "Sleep") && !inside(call, bubbles) {
		found = append(found, f.finding(call.Pos(), "time.Sleep in a test: wait for an event, or fake the time with testing/synctest"))
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return found
	}
	receiver, ok := selector.X.(*ast.Ident)
	if !ok || receiver.Name != "t" && receiver.Name != "b" && receiver.Name != "f" && receiver.Name != "tb" {
		return found
	}
	if selector.Sel.Name == "SkipNow" || selector.Sel.Name == "Skip" && len(call.Args) == 0 {
		found = append(found, f.finding(call.Pos(), "skipped without a reason"))
	}
	return found
}

// synctestBubbles are the calls of synctest.Test, and blocks that call synctest.Wait, which panics outside of
// a bubble: sleeping inside one moves a fake clock.
func synctestBubbles(syntax *ast.File) (bubbles []ast.Node) {
	ast.Inspect(syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if isSelector(n.Fun, "synctest", "Test") {
				bubbles = append(bubbles, n)
			}
		case *ast.BlockStmt:
			if waits(n) {
				bubbles = append(bubbles, n)
			}
		}
		return true
	})
	return bubbles
}

// waits reports whether a statement of the block is a call of synctest.Wait.
func waits(block *ast.BlockStmt) bool {
	for _, s := range block.List {
		if e, ok := s.(*ast.ExprStmt); ok {
			if call, ok := e.X.(*ast.CallExpr); ok && isSelector(call.Fun, "synctest", "Wait") {
				return true
			}
		}
	}
	return false
}

func inside(n ast.Node, outer []ast.Node) bool {
	for _, o := range outer {
		if o.Pos() <= n.Pos() && n.End() <= o.End() {
			return true
		}
	}
	return false
}

func isSelector(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	id, ok := s.X.(*ast.Ident)
	return ok && id.Name == pkg
}

// What must not appear in code does not.
func TestStatements(t *testing.T) {
	for _, f := range goFiles(t) {
		report(t, checkStatements(f))
	}
}
