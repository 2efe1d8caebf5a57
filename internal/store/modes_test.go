//go:build !windows

// Windows keeps no such modes: there the access list of the directory rules.

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := openTest(t, dir, nil)
	p := s.Prekeys()
	if err := p.Replace(nil); err != nil {
		t.Fatal(err)
	}
	mode := func(path string, want fs.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	mode(dir, 0o700)
	for _, name := range []string{lockName, keyName, dbName, prekeysName} {
		mode(filepath.Join(dir, name), 0o600)
	}
	s.Close()
	for _, m := range []fs.FileMode{0o640, 0o604, 0o620} {
		if err := os.Chmod(filepath.Join(dir, keyName), m); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Secret{}); !errors.Is(err, ErrKeyMode) {
			t.Errorf("Open with key file of mode %v = %v, want ErrKeyMode", m, err)
		}
	}
	if err := errors.Join(os.Chmod(filepath.Join(dir, keyName), 0o400), os.Chmod(filepath.Join(dir, dbName), 0o644)); err != nil {
		t.Fatal(err)
	}
	openTest(t, dir, nil)
	mode(filepath.Join(dir, dbName), 0o600)
}
