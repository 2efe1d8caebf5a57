package archtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rules are the checks by the name of the file in testdata that breaks them.
var rules = map[string]func(*Tree) ([]Violation, error){
	"imports":    plain(CheckImports),
	"stepped":    plain(CheckStepped),
	"length":     plain(CheckLength),
	"comments":   plain(CheckComments),
	"init":       plain(CheckInit),
	"root":       plain(CheckRoot),
	"paths":      plain(CheckPaths),
	"signatures": typed(CheckSignatures),
	"vars":       typed(CheckVars),
}

func plain(check func(*Tree) []Violation) func(*Tree) ([]Violation, error) {
	return func(t *Tree) ([]Violation, error) { return check(t), nil }
}

func typed(check func(*Program) []Violation) func(*Tree) ([]Violation, error) {
	return func(t *Tree) ([]Violation, error) {
		p, err := Load(t)
		if err != nil {
			return nil, err
		}
		return check(p), nil
	}
}

// TestRepository holds every rule against the tree it stands in.
func TestRepository(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	guarded := false
	for f := range tree.goFiles {
		r, ok := roomOf(f.Dir())
		guarded = guarded || ok && r.public()
	}
	if !guarded {
		t.Fatal("no public package in the tree: the rules guard nothing")
	}
	for name, check := range rules {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vs, err := check(tree)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range vs {
				t.Error(v)
			}
		})
	}
	t.Run("notice", func(t *testing.T) {
		t.Parallel()
		linked, err := Linked(tree)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range CheckNotice(tree, linked) {
			t.Error(v)
		}
	})
}

// TestRules shows each rule failing: a file of testdata is a tree that breaks
// the rule it is named after, with the violations to be found at its end.
func TestRules(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range cases {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			files := sections(string(text))
			want := files["want"]
			delete(files, "want")
			if want == "" {
				t.Fatal("no violations wanted: the case shows nothing")
			}
			expect(t, name, files, want)
		})
	}
	for name := range rules {
		if name != "length" && name != "paths" && !slices.Contains(cases, filepath.Join("testdata", name+".txt")) {
			t.Errorf("no case breaks the rule %s", name)
		}
	}
}

func TestLength(t *testing.T) {
	long := "// Package crypto is long.\npackage crypto\n" + strings.Repeat("\n", 798)
	expect(t, "length", map[string]string{
		"crypto/crypto.go":      long,
		"crypto/longer.go":      long + "\n",
		"crypto/longer_test.go": long + "\n",
		"bench/go.mod":          "module example.org/bench\n",
		"bench/bench.go":        long + "\n",
		"docs/SPEC.md":          long + "\n",
	}, `bench/bench.go:801: a file has at most 800 lines: split it
crypto/longer.go:801: a file has at most 800 lines: split it
crypto/longer_test.go:801: a file has at most 800 lines: split it
`)
}

func TestPaths(t *testing.T) {
	const slash = "/" // keeps the paths below out of this file's own text
	bad := func(parts ...string) string { return slash + strings.Join(parts, slash) }
	home, tmp, windows := bad("home", "ann", "src"), bad("tmp", "scratch"), `C:`+`\Users\ann`
	expect(t, "paths", map[string]string{
		"crypto/crypto.go": "// Package crypto was built in " + home + ".\npackage crypto\n",
		"docs/SPEC.md":     "Fine: https://example.org" + home + ", ./x" + tmp + " and " + slash + "home.\n\nSee `" + tmp + "`.\n",
		".ci/run":          "cd \"" + windows + "\"\n",
		"docs/picture.png": "\x00" + home + "\n",
	}, ".ci/run:1: names a path of one machine: "+windows+`
crypto/crypto.go:1: names a path of one machine: `+bad("home", "ann")+`
docs/SPEC.md:3: names a path of one machine: `+tmp+"\n")
}

func TestOpenRefusesNothing(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no Go file":        {"go.mod": "module example.org/carrier\n", "docs/SPEC.md": "x\n"},
		"only testdata":     {"go.mod": "module example.org/carrier\n", "dht/testdata/a.go": "package a\n"},
		"no module":         {"crypto/crypto.go": "package crypto\n"},
		"source with fault": {"go.mod": "module example.org/carrier\n", "crypto/crypto.go": "package\n"},
	} {
		if _, err := Open(write(t, files)); err == nil {
			t.Errorf("%s: Open gives no error", name)
		}
	}
}

func TestLoadRefusesWhatDoesNotCompile(t *testing.T) {
	tree, err := Open(write(t, map[string]string{
		"go.mod":           "module example.org/carrier\n\ngo 1.26\n",
		"crypto/crypto.go": "package crypto\n\nvar x int = \"\"\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(tree); err == nil {
		t.Error("Load gives no error for a package that does not compile")
	}
}

// expect runs the rule over the files and compares what it finds.
func expect(t *testing.T, rule string, files map[string]string, want string) {
	t.Helper()
	if _, ok := files["go.mod"]; !ok {
		files["go.mod"] = "module example.org/carrier\n\ngo 1.26\n"
	}
	tree, err := Open(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	check, ok := rules[rule]
	if !ok {
		t.Fatalf("no rule is called %s", rule)
	}
	vs, err := check(tree)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, vs, want)
}

func compare(t *testing.T, vs []Violation, want string) {
	t.Helper()
	var got strings.Builder
	for _, v := range vs {
		got.WriteString(v.String() + "\n")
	}
	if got.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
	}
}

// write puts files into a folder of the test's own.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sections splits a case into its files, each under a line "-- name --".
func sections(text string) map[string]string {
	files := make(map[string]string)
	name := ""
	for line := range strings.Lines(text) {
		if s, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(s, " --\n") {
			name = strings.TrimSuffix(s, " --\n")
			continue
		}
		if name != "" {
			files[name] += line
		}
	}
	return files
}
