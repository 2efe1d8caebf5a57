package archtest

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// layer is a height in the picture: imports go from higher to strictly lower.
type layer int

const (
	aside   layer = iota // not part of the arrow, nothing of the module in it: lab, archtest, vectors
	keys                 // crypto
	codec                // wire
	machine              // reliable, udpio
	service              // the brace below the root
	facade               // the root
	program              // carriertest, examples
)

// room is one folder of the picture with all folders below it.
type room struct {
	dir     string // "" is the root
	layer   layer
	stepped bool     // given time and bytes, does no I/O itself
	modules []string // import path prefixes outside std that it may use
	tests   []string // and those that only its tests may
}

// rooms is the picture. A folder that is not in it may not hold Go code.
var rooms = []room{
	{dir: "examples", layer: program, modules: []string{"golang.org/x/term"}},
	{dir: "carriertest", layer: program},
	{dir: "", layer: facade, tests: []string{ // that play the other end of a link by hand, and take a directory apart
		"github.com/pion/dtls", "github.com/pion/stun", "go.etcd.io/bbolt",
	}},
	{dir: "internal/friendship", layer: service, stepped: true},
	{dir: "internal/delivery", layer: service, stepped: true},
	{dir: "internal/courier", layer: service, stepped: true},
	{dir: "internal/session", layer: service, modules: []string{"github.com/xtaci/smux", "golang.org/x/sync"}},
	{dir: "dht", layer: service, modules: []string{"github.com/anacrolix", "golang.org/x/time"}},
	{dir: "transport", layer: service, modules: []string{"github.com/pion", "golang.org/x/crypto"}},
	{dir: "internal/eventq", layer: service},
	{dir: "internal/store", layer: service, modules: []string{"go.etcd.io/bbolt", "golang.org/x/sys"}},
	{dir: "internal/reliable", layer: machine, stepped: true},
	{dir: "internal/udpio", layer: machine, modules: []string{"golang.org/x/net", "golang.org/x/sys"}},
	{dir: "internal/wire", layer: codec, stepped: true},
	{dir: "crypto", layer: keys, modules: []string{
		"filippo.io/edwards25519", "github.com/mr-tron/base58", "golang.org/x/crypto",
	}},
	{dir: "internal/lab", layer: aside},
	{dir: "internal/archtest", layer: aside},
	{dir: "internal/vectors", layer: aside, modules: []string{"golang.org/x/crypto"}},
}

// storeImports is the one room that store may import, fewer than its layer would allow.
const storeImports = "crypto"

// testModules may be imported by any test: what the standard testing lacks, and
// the servers of others.
var testModules = []string{"golang.org/x/net/nettest", "github.com/pion/turn/v5"}

// roomOf finds the room of a folder; ok is false for a folder outside the picture.
func roomOf(dir string) (r room, ok bool) {
	for _, r := range rooms {
		if dir == r.dir || r.dir != "" && strings.HasPrefix(dir, r.dir+"/") {
			return r, true
		}
	}
	return room{}, false
}

// public reports whether embedders can import the room's packages.
func (r room) public() bool {
	return r.dir != "examples" && !strings.HasPrefix(r.dir, "internal/")
}

// mayImport reports whether a file of this room may import the folder dir of room to.
func (r room) mayImport(to room, dir string, test bool) bool {
	switch {
	case under(dir, "internal/store/storetest"):
		return test
	case r.dir == to.dir:
		return true
	case to.dir == "internal/lab":
		return test || r.dir == "carriertest"
	case to.dir == "carriertest":
		return test || r.dir == "examples"
	case to.dir == "internal/vectors" && r.layer == facade:
		return test // which need the keys of a link as others make them
	case r.layer == aside || to.layer == aside:
		return false
	case r.dir == "examples":
		return to.public() // an example shows what an embedder can write
	case r.dir == "internal/store":
		return to.dir == storeImports
	}
	return r.layer > to.layer
}

// CheckImports holds the picture: one way, rooms of a brace apart, libraries
// only where they belong, no cgo.
func CheckImports(t *Tree) []Violation {
	var vs []Violation
	for f := range t.goFiles {
		from, ok := roomOf(f.Dir())
		if !ok {
			vs = append(vs, t.at(f, f.AST.Package, "folder %s is not a room of the picture", f.Dir()))
			continue
		}
		for _, spec := range f.AST.Imports {
			if text := t.importFault(from, f, spec); text != "" {
				vs = append(vs, t.at(f, spec.Pos(), "%s", text))
			}
		}
	}
	return sorted(vs)
}

// importFault says what is wrong with one import, or nothing.
func (t *Tree) importFault(from room, f *File, spec *ast.ImportSpec) string {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return "unreadable import path"
	}
	switch dir, own := t.own(name); {
	case own:
		to, ok := roomOf(dir)
		if !ok || !from.mayImport(to, dir, f.Test()) {
			return shown(from.dir) + " may not import " + shown(dir)
		}
	case name == "C":
		return "cgo is not used"
	case strings.Contains(firstElement(name), "."):
		allowed := func(p string) bool { return under(name, p) }
		test := slices.Concat(from.tests, testModules)
		if !slices.ContainsFunc(from.modules, allowed) && !(f.Test() && slices.ContainsFunc(test, allowed)) {
			return shown(from.dir) + " may not import the library " + name
		}
	}
	return ""
}

// own turns an import path of this module into its folder.
func (t *Tree) own(name string) (dir string, ok bool) {
	if name == t.Module {
		return "", true
	}
	return strings.CutPrefix(name, t.Module+"/")
}

// under reports whether name is prefix or lies below it.
func under(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

func firstElement(name string) string {
	first, _, _ := strings.Cut(name, "/")
	return first
}

func shown(dir string) string {
	if dir == "" {
		return "the root"
	}
	return dir
}
