package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// dirState is the bytes of each file in a directory, by name.
type dirState map[string][]byte

func snapshot(t testing.TB, dir string) dirState {
	t.Helper()
	s := dirState{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		s[entry.Name()] = b
	}
	return s
}

// same checks that the directory has these files and no others.
func (s dirState) same(t testing.TB, dir string) {
	t.Helper()
	now := snapshot(t, dir)
	for name, b := range s {
		if !bytes.Equal(now[name], b) {
			t.Errorf("%s was written to", name)
		}
	}
	for name := range now {
		if _, ok := s[name]; !ok {
			t.Errorf("%s was made", name)
		}
	}
}

// restore puts the files back.
func (s dirState) restore(t testing.TB, dir string) {
	t.Helper()
	for name, b := range s {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
