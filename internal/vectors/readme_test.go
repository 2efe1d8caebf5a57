package vectors

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestExplained: the README of the vectors names every kind and layout that
// there is, and there is one of each that it names.
func TestExplained(t *testing.T) {
	readme := document(t, root+"docs/vectors/README.md")
	layouts := ""
	for _, row := range readme["records, frames"].find(t, "layout", "in the specification").rows {
		layouts += row[0]
	}
	kinds := map[string]map[string]bool{} // by folder
	for _, file := range vectorFiles(t) {
		dir, name := path.Split(file)
		name, isJSON := strings.CutSuffix(name, ".json")
		switch {
		case file == "README.md", file == "link.json":
			continue
		case !isJSON:
			t.Errorf("%s is no JSON", file)
			continue
		}
		if dir != "records/" && dir != "frames/" {
			name, _, _ = strings.Cut(name, "_")
		}
		if kinds[dir] == nil {
			kinds[dir] = map[string]bool{}
		}
		kinds[dir][name] = true
	}
	for dir, heading := range map[string]string{"keys/": "keys", "packets/": "packets"} {
		var told []string
		for _, row := range readme[heading].find(t, "kind", "in", "want").rows {
			told = append(told, strings.Trim(row[0], "`"))
		}
		for kind := range kinds[dir] {
			if !slices.Contains(told, kind) {
				t.Errorf("%s%s_… is not explained", dir, kind)
			}
		}
		if len(told) != len(kinds[dir]) {
			t.Errorf("%d kinds of %s are explained, there are %d", len(told), dir, len(kinds[dir]))
		}
	}
	for _, dir := range []string{"records/", "frames/"} {
		for layout := range kinds[dir] {
			if !strings.Contains(layouts, "`"+layout+"`") {
				t.Errorf("layout %s of %s is not explained", layout, dir)
			}
		}
	}
	for dir := range kinds {
		if !strings.Contains(readme["Test vectors"].text, "`"+dir+"*.json`") {
			t.Errorf("%s is not in the list of folders", dir)
		}
	}
}

// TestSize: the recording stays small enough to be read.
func TestSize(t *testing.T) {
	info, err := os.Stat(root + "docs/vectors/link.json")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 300_000 {
		t.Errorf("link.json has %d bytes, want at most 300,000", info.Size())
	}
}
