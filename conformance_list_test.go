package carrier_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const conformanceList = "docs/CONFORMANCE.md"

// TestConformanceList holds docs/CONFORMANCE.md against the tests, both ways:
// each that it names is there, each row names one or is to come, and each test of
// the conformance and session files is named.
func TestConformanceList(t *testing.T) {
	text, err := os.ReadFile(conformanceList)
	if err != nil {
		t.Fatal(err)
	}
	named, problems := parseConformance(string(text))
	if len(named) < 100 {
		t.Errorf("%s names %d tests: it was not read", conformanceList, len(named))
	}
	there, err := testsOf(foldersOf(named))
	if err != nil {
		t.Fatal(err)
	}
	problems = append(problems, compareConformance(named, there)...)
	for _, p := range problems {
		t.Errorf("%s: %s", conformanceList, p)
	}
}

// testName is a test's name, before it its folder unless that is the root.
var testName = regexp.MustCompile("`((?:[a-z/]+\\.)?Test[A-Z][A-Za-z0-9]*)`")

// parseConformance returns the tests that the rows of a list name, and the rows
// that name none though they are not to come.
func parseConformance(text string) (named map[string]bool, problems []string) {
	named = map[string]bool{}
	column, row := -1, 0 // of the tests; in the table
	for i, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "|") {
			column, row = -1, 0
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		row++
		switch {
		case row == 1:
			if column = slices.Index(cells, "test"); column < 0 {
				problems = append(problems, fmt.Sprintf("line %d: a table without a column of tests", i+1))
			}
			continue
		case row == 2 || column < 0:
			continue
		case column >= len(cells):
			problems = append(problems, fmt.Sprintf("line %d: a cell is missing", i+1))
			continue
		}
		tests := testName.FindAllStringSubmatch(line, -1)
		for _, m := range tests {
			named[m[1]] = true
		}
		if !testName.MatchString(cells[column]) && !slices.Contains(cells, "to come") {
			problems = append(problems, fmt.Sprintf("line %d: no test holds %q", i+1, cells[0]))
		}
	}
	return named, problems
}

// compareConformance says which named tests are not there, and which of those
// that must be named are not. there has the file of each test.
func compareConformance(named map[string]bool, there map[string]string) (problems []string) {
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if there[name] == "" {
			problems = append(problems, name+" is named, and is not there")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		file := there[name]
		must := strings.HasPrefix(file, "conformance_") || strings.HasPrefix(file, "session_")
		if must && !named[name] && file != "conformance_list_test.go" {
			problems = append(problems, fmt.Sprintf("%s of %s is not named", name, file))
		}
	}
	return problems
}

// foldersOf returns the folders of the named tests, the root first.
func foldersOf(named map[string]bool) []string {
	folders := []string{"."}
	for name := range named {
		if folder, _, ok := strings.Cut(name, "."); ok && !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	return folders
}

// testsOf returns the tests of folders, named as in the list, and the file of
// each.
func testsOf(folders []string) (map[string]string, error) {
	tests := map[string]string{}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range files {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
					continue
				}
				name := f.Name.Name
				if folder != "." {
					name = folder + "." + name
				}
				tests[name] = filepath.Base(path)
			}
		}
	}
	return tests, nil
}

// TestConformanceListSees: what is wrong with a list is found.
func TestConformanceListSees(t *testing.T) {
	there := map[string]string{
		"TestAdd": "conformance_friends_test.go", "TestRefuse": "session_test.go", "TestOther": "other_test.go",
		"crypto.TestKeys": "keys_test.go", "TestConformanceList": "conformance_list_test.go",
	}
	const head = "# List\n\n| behaviour | test | where we differ |\n|---|---|---|\n"
	const whole = head + "| add | `TestAdd`, `crypto.TestKeys` | |\n| refuse | `TestRefuse` | it is told |\n| files | to come | |\n"
	for _, test := range []struct{ name, list, want string }{
		{"right", whole, ""},
		{"a test that is not there", whole + "| remove | `TestRemove` | |\n", "TestRemove is named, and is not there"},
		{"in another folder", strings.ReplaceAll(whole, "crypto.", "dht."), "dht.TestKeys is named, and is not there"},
		{"a test that is not named", strings.ReplaceAll(whole, "`TestRefuse`", "`TestOther`"), "TestRefuse of session_test.go is not named"},
		{"a row without a test", whole + "| remove | | it is told |\n", `line 8: no test holds "remove"`},
		{"a test in the wrong column", whole + "| remove | | `TestAdd` |\n", `line 8: no test holds "remove"`},
		{"a row cut short", whole + "| remove |\n", "line 8: a cell is missing"},
		{"a table without tests", whole + "\n| item | here |\n|---|---|\n| name | 64 B |\n", "line 9: a table without a column of tests"},
	} {
		named, problems := parseConformance(test.list)
		problems = append(problems, compareConformance(named, there)...)
		if got := strings.Join(problems, "; "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
