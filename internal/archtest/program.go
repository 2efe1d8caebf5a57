package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// A Program is a [Tree] with types, as compiled for the machine at hand.
type Program struct {
	*Tree
	Packages []*Package
}

// A Package is one package of the program, tests left out.
type Package struct {
	Dir   string // relative to the root, "" for the root
	Files []*ast.File
	Types *types.Package
	Info  *types.Info
}

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath string
	Dir        string
	Export     string
	GoFiles    []string
	DepOnly    bool
	Error      *struct{ Err string }
}

// Load type-checks the packages of the tree against the compiler's export data
// of what they import. A package that does not compile is an error.
//
// The work is done at the first call; Load is safe for concurrent use.
func Load(t *Tree) (*Program, error) { return t.typed() }

func load(t *Tree) (*Program, error) {
	pkgs, err := goList(t.Root, "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly,Error", "./...")
	if err != nil {
		return nil, err
	}
	exports := make(map[string]string, len(pkgs))
	for _, p := range pkgs {
		if p.Error != nil {
			return nil, fmt.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
		exports[p.ImportPath] = p.Export
	}
	imp := importer.ForCompiler(t.Fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(exports[path])
	})
	prog := &Program{Tree: t}
	for _, p := range pkgs {
		if p.DepOnly || len(p.GoFiles) == 0 {
			continue
		}
		pkg, err := t.check(p, imp)
		if err != nil {
			return nil, err
		}
		prog.Packages = append(prog.Packages, pkg)
	}
	if len(prog.Packages) == 0 {
		return nil, fmt.Errorf("%s: go list names no package", t.Root)
	}
	return prog, nil
}

// check type-checks one package from the files that the tree has parsed.
func (t *Tree) check(p listed, imp types.Importer) (*Package, error) {
	rel := t.relative(p.Dir)
	if rel == "." {
		rel = ""
	}
	pkg := &Package{Dir: rel, Info: &types.Info{
		Defs: make(map[*ast.Ident]types.Object), Uses: make(map[*ast.Ident]types.Object),
		Selections: make(map[*ast.SelectorExpr]*types.Selection), Types: make(map[ast.Expr]types.TypeAndValue),
	}}
	for f := range t.goFiles {
		if f.Dir() == rel && slices.Contains(p.GoFiles, filepath.Base(f.Path)) {
			pkg.Files = append(pkg.Files, f.AST)
		}
	}
	var err error
	pkg.Types, err = (&types.Config{Importer: imp}).Check(p.ImportPath, t.Fset, pkg.Files, pkg.Info)
	return pkg, err
}

// goList runs `go list` in root with -e, so that faults come with their package.
func goList(root string, args ...string) ([]listed, error) {
	out, err := run(root, nil, append([]string{"list", "-e"}, args...)...)
	if err != nil {
		return nil, err
	}
	var pkgs []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, fmt.Errorf("output of go list: %w", err)
		}
		pkgs = append(pkgs, p)
	}
}

// run runs the go command in root with env added to the environment.
func run(root string, env []string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), append([]string{"GOWORK=off", "PWD=" + root}, env...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, stderr.Bytes())
	}
	return out, nil
}

// violation makes a violation at pos.
func (p *Program) violation(pos token.Pos, format string, args ...any) Violation {
	at := p.Fset.Position(pos)
	return Violation{p.relative(at.Filename), at.Line, fmt.Sprintf(format, args...)}
}
