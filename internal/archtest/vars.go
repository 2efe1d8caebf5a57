package archtest

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// CheckVars refuses package variables that change: those written, addressed or
// locked anywhere in their package, those that start empty and so can only be
// meant for writing, and any write to a variable of another package.
// Sentinels, compiled expressions, tables and embedded files pass.
func CheckVars(p *Program) []Violation {
	var vs []Violation
	for _, pkg := range p.Packages {
		for _, f := range pkg.Files {
			for _, d := range f.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
					vs = append(vs, p.declared(pkg, g)...)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				for _, e := range pkg.written(n) {
					if v := pkg.variable(e); v != nil {
						vs = append(vs, p.violation(e.Pos(), "package variable %s is written", v.Name()))
					}
				}
				return true
			})
		}
	}
	return sorted(vs)
}

// declared judges the declarations themselves.
func (p *Program) declared(pkg *Package, g *ast.GenDecl) []Violation {
	var vs []Violation
	for _, s := range g.Specs {
		spec, ok := s.(*ast.ValueSpec)
		if !ok || embedded(g.Doc) || embedded(spec.Doc) {
			continue
		}
		for i, name := range spec.Names {
			obj := pkg.Info.Defs[name]
			if name.Name == "_" || obj == nil {
				continue
			}
			switch {
			case len(spec.Values) == 0:
				vs = append(vs, p.violation(name.Pos(), "package variable %s has no value, so it must change", name.Name))
			case isChan(obj.Type()), len(spec.Values) == len(spec.Names) && startsEmpty(pkg, spec.Values[i]):
				vs = append(vs, p.violation(name.Pos(), "package variable %s is made to change", name.Name))
			}
		}
	}
	return vs
}

func embedded(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if strings.HasPrefix(c.Text, "//go:embed ") {
			return true
		}
	}
	return false
}

func isChan(t types.Type) bool {
	_, ok := t.Underlying().(*types.Chan)
	return ok
}

// startsEmpty recognizes make, new and composite literals of maps, slices and
// locks without elements. An empty value of a struct type without locks is a
// value like any other.
func startsEmpty(pkg *Package, e ast.Expr) bool {
	if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.AND {
		e = u.X
	}
	switch e := e.(type) {
	case *ast.CallExpr:
		id, ok := e.Fun.(*ast.Ident)
		if !ok {
			return false
		}
		b, ok := pkg.Info.Uses[id].(*types.Builtin)
		return ok && (b.Name() == "make" || b.Name() == "new")
	case *ast.CompositeLit:
		if len(e.Elts) > 0 {
			return false
		}
		t := pkg.Info.TypeOf(e)
		switch t.Underlying().(type) {
		case *types.Map, *types.Slice:
			return true
		}
		return isLock(t)
	}
	return false
}

func isLock(t types.Type) bool {
	n, ok := t.(*types.Named)
	if !ok || n.Obj().Pkg() == nil {
		return false
	}
	path := n.Obj().Pkg().Path()
	return path == "sync" || path == "sync/atomic"
}

// written lists the expressions that n writes to or lets others write to.
func (pkg *Package) written(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			return []ast.Expr{n.Key, n.Value}
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 {
			if b, ok := pkg.Info.Uses[id].(*types.Builtin); ok {
				switch b.Name() {
				case "clear", "copy", "delete":
					return n.Args[:1]
				}
			}
		}
	case *ast.SelectorExpr:
		// v.Lock() takes the address of v when the method has a pointer receiver.
		sel := pkg.Info.Selections[n]
		if sel == nil || sel.Kind() != types.MethodVal || sel.Indirect() || isPointer(sel.Recv()) {
			break
		}
		if f, ok := sel.Obj().(*types.Func); ok && isPointer(f.Signature().Recv().Type()) {
			return []ast.Expr{n.X}
		}
	}
	return nil
}

func isPointer(t types.Type) bool {
	_, ok := t.Underlying().(*types.Pointer)
	return ok
}

// variable finds the package variable, of whatever package, that e is or is part of.
func (pkg *Package) variable(e ast.Expr) *types.Var {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if pkg.Info.Selections[x] != nil {
				e = x.X
			} else {
				e = x.Sel // qualified by a package
			}
		case *ast.Ident:
			v, ok := pkg.Info.Uses[x].(*types.Var)
			if !ok || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() {
				return nil
			}
			return v
		default:
			return nil
		}
	}
}
