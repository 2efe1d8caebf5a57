package vectors

import (
	"os"
	"strings"
	"testing"
)

const (
	root     = "../../"
	specFile = root + "docs/SPEC.md"
)

// A section is what stands under one heading of a document, up to the next one
// of whatever level.
type section struct {
	heading string
	text    string
	tables  []table
}

// A table is one of a section: its header, and its rows, of cells without the
// spaces around them.
type table struct {
	header []string
	rows   [][]string
}

// document reads a document as its sections, by heading, which must differ.
func document(t *testing.T, file string) map[string]section {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]section{}
	var s section
	var inTable bool
	keep := func() {
		if _, twice := sections[s.heading]; twice {
			t.Errorf("%s has two sections %q", file, s.heading)
		}
		sections[s.heading] = s
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") {
			keep()
			s, inTable = section{heading: strings.TrimLeft(line, "# ")}, false
			continue
		}
		s.text += line + "\n"
		if !strings.HasPrefix(line, "|") {
			inTable = false
			continue
		}
		row := cells(line)
		switch {
		case !inTable:
			s.tables, inTable = append(s.tables, table{header: row}), true
		case strings.Trim(line, "|-") != "":
			last := &s.tables[len(s.tables)-1]
			if len(row) != len(last.header) {
				t.Errorf("%s, %s: a row of %d cells in a table of %d: %s", file, s.heading, len(row), len(last.header), line)
			}
			last.rows = append(last.rows, row)
		}
	}
	keep()
	return sections
}

func cells(line string) []string {
	list := strings.Split(strings.Trim(line, "|"), "|")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// find returns the table of a section with that header, and fails if there is
// none or more than one.
func (s section) find(t *testing.T, header ...string) table {
	t.Helper()
	var found []table
	for _, x := range s.tables {
		if strings.Join(x.header, "|") == strings.Join(header, "|") {
			found = append(found, x)
		}
	}
	if len(found) != 1 {
		t.Fatalf("section %q has %d tables of %v, want one", s.heading, len(found), header)
	}
	return found[0]
}

// words joins the lines of a text, so that a sentence is found wherever it is
// broken.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }
