package archtest

import (
	"go/ast"
	"slices"
	"strconv"
)

// ioPackages and clockFuncs are what a stepped room has no use for: it is
// handed bytes and the time, and answers with bytes.
var (
	ioPackages = []string{"net", "net/http", "os", "os/exec", "os/signal", "syscall"}
	clockFuncs = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}
)

// CheckStepped holds the protocol rooms free of I/O, clocks and goroutines.
func CheckStepped(t *Tree) []Violation {
	var vs []Violation
	for f := range t.goFiles {
		if r, ok := roomOf(f.Dir()); !ok || !r.stepped || f.Test() {
			continue
		}
		clock := "" // the name that package time goes by in this file
		for _, spec := range f.AST.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			if slices.Contains(ioPackages, name) {
				vs = append(vs, t.at(f, spec.Pos(), "%s is stepped and does no I/O: it may not import %s", f.Dir(), name))
			}
			if name == "time" {
				clock = "time"
				if spec.Name != nil {
					clock = spec.Name.Name
				}
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				vs = append(vs, t.at(f, n.Pos(), "%s is stepped and starts no goroutine", f.Dir()))
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if ok && x.Name == clock && slices.Contains(clockFuncs, n.Sel.Name) {
					vs = append(vs, t.at(f, n.Pos(), "%s is stepped and reads no clock: time.%s", f.Dir(), n.Sel.Name))
				}
			}
			return true
		})
	}
	return sorted(vs)
}
