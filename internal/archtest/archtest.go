// Package archtest holds the house rules of Carrier against its source: which
// room imports which, what the exported signatures name, how long a file may
// be, what stands in the root folder and whose licences are linked in.
//
// The rules are functions over a source tree, so that the tests show each of
// them failing on a small tree made to break it before they are trusted with
// the real one. The picture the import rules hold is that of
// docs/ARCHITECTURE.md; a change of the picture is a change of the table in
// imports.go.
package archtest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A Violation is one place where the source breaks a rule.
type Violation struct {
	Path string // slash-separated, relative to the root of the tree
	Line int    // 1 for the first line; 0 when the whole file or folder is meant
	Text string
}

// String renders the violation the way compilers do, so that editors can jump to it.
func (v Violation) String() string {
	if v.Line == 0 {
		return v.Path + ": " + v.Text
	}
	return fmt.Sprintf("%s:%d: %s", v.Path, v.Line, v.Text)
}

// sorted orders violations by place, so that reports do not depend on map order.
func sorted(vs []Violation) []Violation {
	slices.SortFunc(vs, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(vs)
}

// A File is one file of a [Tree]; AST is set for Go files outside testdata.
type File struct {
	Path string // slash-separated, relative to the root of the tree
	Src  []byte
	AST  *ast.File
	Side bool // belongs to a module of its own below the root
}

// Test reports whether the file is compiled for tests only.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// Dir is the folder of the file, "" for the root.
func (f *File) Dir() string {
	if d := path.Dir(f.Path); d != "." {
		return d
	}
	return ""
}

// A Tree is the source of one module with everything that stands beside it.
type Tree struct {
	Root   string // folder that holds go.mod
	Module string // module path
	Fset   *token.FileSet
	Files  []*File

	typed func() (*Program, error) // type-checks once, for all rules that need it
}

// Open reads the tree at root, which must hold a go.mod. In a git checkout it
// takes what git tracks or would track, elsewhere every file. A tree without a
// single Go package is an error: rules that look at nothing always hold.
func Open(root string) (*Tree, error) {
	names, err := list(root)
	if err != nil {
		return nil, err
	}
	t := &Tree{Root: root, Fset: token.NewFileSet()}
	t.typed = sync.OnceValues(func() (*Program, error) { return load(t) })
	sides := sideModules(names)
	packages := 0
	for _, name := range names {
		f := &File{Path: name}
		full := filepath.Join(root, filepath.FromSlash(name))
		if f.Src, err = os.ReadFile(full); errors.Is(err, fs.ErrNotExist) {
			continue // tracked, but deleted in the checkout
		} else if err != nil {
			return nil, err
		}
		f.Side = slices.ContainsFunc(sides, func(s string) bool { return strings.HasPrefix(name, s+"/") })
		if strings.HasSuffix(name, ".go") && !inTestdata(name) {
			f.AST, err = parser.ParseFile(t.Fset, full, f.Src, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			packages++
		}
		if name == "go.mod" {
			t.Module = modulePath(f.Src)
		}
		t.Files = append(t.Files, f)
	}
	switch {
	case t.Module == "":
		return nil, fmt.Errorf("%s: no go.mod with a module line", root)
	case packages == 0:
		return nil, fmt.Errorf("%s: no Go package found, so no rule would be held", root)
	}
	return t, nil
}

// goFiles yields the parsed files of the module itself, side modules aside.
func (t *Tree) goFiles(yield func(*File) bool) {
	for _, f := range t.Files {
		if f.AST != nil && !f.Side && !yield(f) {
			return
		}
	}
}

// at makes a violation at pos, which must lie in f.
func (t *Tree) at(f *File, pos token.Pos, format string, args ...any) Violation {
	return Violation{f.Path, t.Fset.Position(pos).Line, fmt.Sprintf(format, args...)}
}

// relative turns the name of a parsed file into one relative to the root.
func (t *Tree) relative(file string) string {
	rel, err := filepath.Rel(t.Root, file)
	if err != nil {
		return filepath.ToSlash(file)
	}
	return filepath.ToSlash(rel)
}

// list names the files of the tree, slash-separated and sorted.
func list(root string) ([]string, error) {
	var names []string
	if _, err := os.Stat(filepath.Join(root, ".git")); err == nil {
		// Ignored files (built programs, editors' leftovers) are nobody's
		// business. Where git is absent or refuses, every file is looked at.
		cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
		cmd.Dir = root
		if out, err := cmd.Output(); err == nil {
			for name := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
				names = append(names, string(name))
			}
			slices.Sort(names)
			return names, nil
		}
	}
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.Type().IsRegular():
			rel, err := filepath.Rel(root, full)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(rel))
		}
		return nil
	})
	slices.Sort(names)
	return names, err
}

// sideModules names the folders below the root that hold a go.mod of their own.
func sideModules(names []string) []string {
	var dirs []string
	for _, name := range names {
		if dir, ok := strings.CutSuffix(name, "/go.mod"); ok && !inTestdata(name) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func inTestdata(name string) bool {
	return slices.Contains(strings.Split(name, "/"), "testdata")
}

func modulePath(gomod []byte) string {
	for line := range strings.Lines(string(gomod)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "module" {
			return f[1]
		}
	}
	return ""
}
