package archtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// systems are those whose builds are looked at for linked modules; what a
// build links differs between them.
var systems = []string{"linux", "darwin", "windows"}

// permitted are the licences a linked module may have.
var permitted = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// undeclared is what a module without licence text has; it is not permitted.
const undeclared = "none-stated"

// A Module is one that is linked into a package of the tree.
type Module struct {
	Path string
	Dir  string // where its source is
}

// Linked lists the modules that the packages of the tree link on any of the
// systems, tests left out, its own aside.
func Linked(t *Tree) ([]Module, error) {
	outs := make([][]byte, len(systems))
	errs := make([]error, len(systems))
	var wg sync.WaitGroup
	for i, system := range systems {
		wg.Go(func() {
			outs[i], errs[i] = run(t.Root, []string{"GOOS=" + system, "GOARCH=amd64", "CGO_ENABLED=0"},
				"list", "-e", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./...")
		})
	}
	wg.Wait()
	var mods []Module
	for i, out := range outs {
		if errs[i] != nil {
			return nil, fmt.Errorf("modules linked on %s: %w", systems[i], errs[i])
		}
		for line := range strings.Lines(string(out)) {
			name, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
			if m := (Module{name, dir}); ok && !slices.Contains(mods, m) {
				mods = append(mods, m)
			}
		}
	}
	return mods, nil
}

// CheckNotice asks that NOTICE names every linked module with the licence that
// its source carries, that the licence is permitted, and that NOTICE names no
// module which go.mod does not require. An entry of NOTICE is a line that
// starts with a module path, two spaces or more, and the licence.
func CheckNotice(t *Tree, linked []Module) []Violation {
	const notice = "NOTICE"
	var text, gomod string
	for _, f := range t.Files {
		switch f.Path {
		case notice:
			text = string(f.Src)
		case "go.mod":
			gomod = string(f.Src)
		}
	}
	type entry struct {
		line    int
		licence string
	}
	var vs []Violation
	entries := make(map[string]entry)
	line := 0
	for s := range strings.Lines(text) {
		line++
		name, rest, ok := strings.Cut(s, "  ")
		if fields := strings.Fields(rest); ok && len(fields) > 0 && strings.Contains(firstElement(name), ".") && !strings.Contains(name, " ") {
			entries[name] = entry{line, fields[0]}
			if !strings.Contains(gomod, name+" v") {
				vs = append(vs, Violation{notice, line, name + " is not required by go.mod"})
			}
		}
	}
	for _, m := range linked {
		e, ok := entries[m.Path]
		if !ok {
			vs = append(vs, Violation{notice, 0, m.Path + " is linked and not named"})
			continue
		}
		found, err := licenceOf(m.Dir)
		switch {
		case err != nil:
			vs = append(vs, Violation{notice, e.line, m.Path + ": " + err.Error()})
		case found != e.licence:
			vs = append(vs, Violation{notice, e.line, m.Path + " is under " + found + ", not " + e.licence})
		case !slices.Contains(permitted, found):
			vs = append(vs, Violation{notice, e.line, m.Path + ": licence " + found + " is not permitted"})
		}
	}
	return sorted(vs)
}

// licenceOf names the licence in the folder of a module by its SPDX identifier,
// "unknown" when the text is not one of those expected.
func licenceOf(dir string) (string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("licence of a module: %w", err)
	}
	for _, f := range files {
		name := strings.ToUpper(f.Name())
		if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return "", fmt.Errorf("licence of a module: %w", err)
		}
		return recognize(text), nil
	}
	return undeclared, nil
}

// recognize tells a licence by sentences that only it has.
func recognize(text []byte) string {
	flat := strings.Join(strings.Fields(string(bytes.ToLower(text))), " ")
	has := func(s string) bool { return strings.Contains(flat, s) }
	switch {
	case has("gnu general public license version"), has("gnu affero general public license version"), has("gnu lesser general public license version"):
		return "GPL family"
	case has("mozilla public license") && has("version 2.0"):
		return "MPL-2.0"
	case has("apache license") && has("version 2.0"):
		return "Apache-2.0"
	case has("permission is hereby granted, free of charge"):
		return "MIT"
	case has("permission to use, copy, modify, and/or distribute this software for any purpose"):
		return "ISC"
	case has("redistribution and use in source and binary forms") && (has("neither the name") || has("names of its contributors")):
		return "BSD-3-Clause"
	case has("redistribution and use in source and binary forms"):
		return "BSD-2-Clause"
	}
	return "unknown"
}
