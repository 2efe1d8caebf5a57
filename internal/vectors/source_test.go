package vectors

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// constants are those of a package that are whole numbers, durations in
// nanoseconds, by name, and the types that they were given.
type constants struct {
	values map[string]int64
	types  map[string]string
	exprs  map[string]ast.Expr
	iotas  map[string]int64
}

// sourceOf reads the constants of a folder's source, tests left out.
func sourceOf(t *testing.T, dir string) *constants {
	t.Helper()
	c := &constants{map[string]int64{}, map[string]string{}, map[string]ast.Expr{}, map[string]int64{}}
	for _, file := range goFiles(t, dir) {
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			c.declared(g)
		}
	}
	for name, e := range c.exprs {
		if v, ok := c.value(e, c.iotas[name]); ok {
			c.values[name] = v
		}
	}
	return c
}

// declared takes one declaration, in which a value stands for those that follow
// without one.
func (c *constants) declared(g *ast.GenDecl) {
	var kind string
	var exprs []ast.Expr
	for i, s := range g.Specs {
		v := s.(*ast.ValueSpec)
		if len(v.Values) > 0 {
			exprs, kind = v.Values, ""
			if id, ok := v.Type.(*ast.Ident); ok {
				kind = id.Name
			}
		}
		for j, name := range v.Names {
			c.exprs[name.Name], c.types[name.Name], c.iotas[name.Name] = exprs[j], kind, int64(i)
		}
	}
}

// value computes an expression; false: it is no whole number, or rests on
// another package.
func (c *constants) value(e ast.Expr, iota int64) (int64, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text := e.Value
		if e.Kind == token.CHAR {
			text = strconv.Itoa(int(text[1]))
		}
		v, err := strconv.ParseInt(text, 0, 64)
		return v, err == nil
	case *ast.ParenExpr:
		return c.value(e.X, iota)
	case *ast.Ident:
		if e.Name == "iota" {
			return iota, true
		}
		x, ok := c.exprs[e.Name]
		if !ok {
			return 0, false
		}
		return c.value(x, c.iotas[e.Name])
	case *ast.SelectorExpr:
		units := map[string]int64{"Hour": 3600e9, "Minute": 60e9, "Second": 1e9, "Millisecond": 1e6, "Microsecond": 1e3}
		v, ok := units[e.Sel.Name]
		return v, ok
	case *ast.CallExpr: // a conversion
		if len(e.Args) == 1 {
			return c.value(e.Args[0], iota)
		}
	case *ast.BinaryExpr:
		x, ok1 := c.value(e.X, iota)
		y, ok2 := c.value(e.Y, iota)
		if v, ok := compute(e.Op, x, y); ok1 && ok2 && ok {
			return v, true
		}
	}
	return 0, false
}

// compute does what constants here are made with; false: something else.
func compute(op token.Token, x, y int64) (int64, bool) {
	switch {
	case op == token.ADD:
		return x + y, true
	case op == token.SUB:
		return x - y, true
	case op == token.MUL:
		return x * y, true
	case op == token.QUO && y != 0:
		return x / y, true
	case op == token.SHL:
		return x << y, true
	}
	return 0, false
}

// ofType returns the constants of a type, by number.
func (c *constants) ofType(kind string) map[int64]string {
	list := map[int64]string{}
	for name, v := range c.values {
		if c.types[name] == kind {
			list[v] = name
		}
	}
	return list
}

// goFiles parses the source of a folder, tests left out.
func goFiles(t *testing.T, dir string) (files []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no source in %s: %v", dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// literals returns the string literals of the module's packages that begin with
// a prefix, tests left out.
func literals(t *testing.T, prefixes ...string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for _, dir := range []string{"crypto", "transport", "internal/courier"} {
		for _, file := range goFiles(t, dir) {
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				if text, err := strconv.Unquote(lit.Value); err == nil {
					for _, p := range prefixes {
						if strings.HasPrefix(text, p) {
							found[text] = true
						}
					}
				}
				return true
			})
		}
	}
	return found
}

// vectorFiles returns the paths of all files of docs/vectors, relative to it.
func vectorFiles(t *testing.T) (list []string) {
	t.Helper()
	dir := filepath.Join(root, "docs/vectors")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		list = append(list, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
