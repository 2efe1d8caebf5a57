package archtest

import (
	"go/types"
	"strings"
)

// CheckSignatures lets no exported signature of a public package name a type
// of an internal one: embedders could not write that type down.
func CheckSignatures(p *Program) []Violation {
	var vs []Violation
	for _, pkg := range p.Packages {
		if r, ok := roomOf(pkg.Dir); !ok || !r.public() {
			continue
		}
		scope := pkg.Types.Scope()
		for _, name := range scope.Names() {
			obj := scope.Lookup(name)
			if !obj.Exported() {
				continue
			}
			s := signature{pkg: pkg.Types, internal: p.Module + "/internal/", seen: make(map[*types.TypeName]bool)}
			s.report = func(where string, named *types.TypeName) {
				vs = append(vs, p.violation(obj.Pos(), "%s names the internal type %s.%s", where, named.Pkg().Path(), named.Name()))
			}
			s.object(obj)
		}
	}
	return sorted(vs)
}

// signature walks what an embedder can see of one exported object.
type signature struct {
	pkg      *types.Package
	internal string // prefix of the import paths not to be named
	seen     map[*types.TypeName]bool
	report   func(where string, named *types.TypeName)
}

func (s *signature) object(obj types.Object) {
	if name, ok := obj.(*types.TypeName); ok {
		s.declaration(obj.Name(), name)
		return
	}
	s.walk(obj.Name(), obj.Type())
}

// declaration walks a type of this package: parameters, what it is made of, methods.
func (s *signature) declaration(where string, name *types.TypeName) {
	if s.seen[name] {
		return
	}
	s.seen[name] = true
	switch t := name.Type().(type) {
	case *types.Alias:
		s.params(where, t.TypeParams())
		s.walk(where, t.Rhs())
	case *types.Named:
		s.params(where, t.TypeParams())
		s.walk(where, t.Underlying())
		for m := range t.Methods() {
			if m.Exported() {
				s.walk(where+"."+m.Name(), m.Type())
			}
		}
	}
}

// named judges the use of a declared type. One of this package is walked when
// it is unexported, for its methods and fields show wherever a value of it
// does; exported ones are walked in their own right.
func (s *signature) named(where string, name *types.TypeName, args *types.TypeList) {
	for arg := range args.Types() {
		s.walk(where, arg)
	}
	switch {
	case name.Pkg() == nil: // error, comparable, any
	case strings.HasPrefix(name.Pkg().Path()+"/", s.internal):
		s.report(where, name)
	case name.Pkg() == s.pkg && !name.Exported():
		s.declaration(where+"("+name.Name()+")", name)
	}
}

func (s *signature) params(where string, list *types.TypeParamList) {
	for p := range list.TypeParams() {
		s.walk(where, p.Constraint())
	}
}

func (s *signature) walk(where string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		s.named(where, t.Obj(), t.TypeArgs())
	case *types.Named:
		s.named(where, t.Obj(), t.TypeArgs())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel, map
		if m, ok := t.(*types.Map); ok {
			s.walk(where, m.Key())
		}
		s.walk(where, t.Elem())
	case *types.Signature:
		s.params(where, t.TypeParams())
		s.tuple(where, t.Params())
		s.tuple(where, t.Results())
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				s.walk(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.ExplicitMethods() {
			if m.Exported() {
				s.walk(where+"."+m.Name(), m.Type())
			}
		}
		for e := range t.EmbeddedTypes() {
			s.walk(where, e)
		}
	case *types.Union:
		for term := range t.Terms() {
			s.walk(where, term.Type())
		}
	}
}

func (s *signature) tuple(where string, vars *types.Tuple) {
	for v := range vars.Variables() {
		s.walk(where, v.Type())
	}
}
