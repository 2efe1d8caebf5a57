package archtest

import (
	"bytes"
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxLines is where a file must have been split.
const maxLines = 800

// CheckLength holds every Go file to maxLines.
func CheckLength(t *Tree) []Violation {
	var vs []Violation
	for _, f := range t.Files {
		if n := bytes.Count(f.Src, []byte{'\n'}); f.AST != nil && n > maxLines {
			vs = append(vs, Violation{Path: f.Path, Line: maxLines + 1, Text: "a file has at most 800 lines: split it"})
		}
	}
	return sorted(vs)
}

// CheckComments asks every package for a package comment. The tests of a
// package in x_test need none of their own.
func CheckComments(t *Tree) []Violation {
	type pkg struct{ dir, name string }
	commented := make(map[pkg]bool)
	for _, f := range t.Files {
		if f.AST != nil {
			p := pkg{f.Dir(), strings.TrimSuffix(f.AST.Name.Name, "_test")}
			commented[p] = commented[p] || f.AST.Doc != nil && strings.TrimSpace(f.AST.Doc.Text()) != ""
		}
	}
	var vs []Violation
	for p, ok := range commented {
		if !ok {
			vs = append(vs, Violation{Path: path.Join(p.dir, "."), Text: "package " + p.name + " has no package comment"})
		}
	}
	return sorted(vs)
}

// CheckInit refuses init functions: what runs at import, nobody asked for.
func CheckInit(t *Tree) []Violation {
	var vs []Violation
	for f := range t.goFiles {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				vs = append(vs, t.at(f, fn.Pos(), "init is not used"))
			}
		}
	}
	return sorted(vs)
}

// rootNames are the files and folders of the root; rootPatterns those of which
// there may be many.
var (
	rootNames = []string{
		"carrier.go", "friend.go", "message.go", "session.go", "stream.go", "event.go", "errors.go", "identity.go", "engine.go", "doc.go",
		"crypto", "dht", "transport", "internal", "carriertest", "examples", "docs", "tools", "bench", "testdata",
		"go.mod", "go.sum", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "NOTICE",
		".ci", ".github", ".gitattributes", ".gitignore", ".golangci.yml",
	}
	rootPatterns = []string{"engine_*.go", "*_test.go"}
)

// CheckRoot lets nothing stand in the root that the picture does not name.
func CheckRoot(t *Tree) []Violation {
	var vs []Violation
	for _, f := range t.Files {
		name := firstElement(f.Path)
		known := slices.Contains(rootNames, name) || slices.ContainsFunc(rootPatterns, func(p string) bool {
			ok, err := path.Match(p, name)
			return err == nil && ok && name == f.Path
		})
		if !known {
			vs = append(vs, Violation{Path: name, Text: "does not belong in the root"})
		}
	}
	return sorted(vs)
}

// machinePath finds absolute paths of somebody's machine; what stands before
// them must not be part of a longer path or URL.
var machinePath = regexp.MustCompile(`(?:^|[^\w.:/-])((?:/(?:home|root|Users|work|tmp|var/folders)/|[A-Za-z]:\\Users\\)\w+)`)

// CheckPaths refuses absolute paths of a machine in any text file.
func CheckPaths(t *Tree) []Violation {
	var vs []Violation
	for _, f := range t.Files {
		if bytes.IndexByte(f.Src[:min(len(f.Src), 8000)], 0) >= 0 {
			continue // not text
		}
		line := 0
		for text := range bytes.Lines(f.Src) {
			line++
			if m := machinePath.FindSubmatch(text); m != nil {
				vs = append(vs, Violation{f.Path, line, "names a path of one machine: " + string(m[1])})
			}
		}
	}
	return sorted(vs)
}
