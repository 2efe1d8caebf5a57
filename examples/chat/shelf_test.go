package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func newShelf(t *testing.T, dir string) *shelf {
	t.Helper()
	s, err := openShelf(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// names are the files in a shelf's directory, partial ones too.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, shelfDir))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func put(s *shelf, name, content string) (string, error) {
	p, err := s.begin()
	if err != nil {
		return "", err
	}
	defer p.discard()
	if _, err := p.Write([]byte(content)); err != nil {
		return "", err
	}
	return p.keep(name)
}

// TestShelfNeverOverwrites: files of one name get names of their own, also when
// they are finished at once, and with and without hard links.
func TestShelfNeverOverwrites(t *testing.T) {
	for name, link := range map[string]func(string, string) error{
		"links":    nil,
		"no links": func(string, string) error { return &os.LinkError{Op: "link", Err: errors.ErrUnsupported} },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := newShelf(t, dir)
			if link != nil {
				s.link = link
			}
			if err := os.WriteFile(filepath.Join(dir, shelfDir, "a.tar.gz"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			const many = numbered + 20
			var wg sync.WaitGroup
			paths := make([]string, many)
			for i := range many {
				wg.Go(func() {
					path, err := put(s, "a.tar.gz", fmt.Sprint(i))
					if err != nil {
						t.Error(err)
					}
					paths[i] = path
				})
			}
			wg.Wait()
			for i, path := range paths {
				if got, err := os.ReadFile(path); err != nil || string(got) != fmt.Sprint(i) {
					t.Errorf("%s has %q, %v, want %d", path, got, err, i)
				}
			}
			if got, err := os.ReadFile(filepath.Join(dir, shelfDir, "a.tar.gz")); err != nil || string(got) != "mine" {
				t.Errorf("the file that was there has %q, %v", got, err)
			}
			if !slices.Contains(paths, filepath.Join(dir, shelfDir, "a.tar (2).gz")) {
				t.Errorf("none of %q has a number before the ending", paths[:3])
			}
			if got := names(t, dir); len(got) != many+1 {
				t.Errorf("%d files are there, want %d: %q", len(got), many+1, got)
			}
		})
	}
}

// TestShelfSweeps: what a kill left is gone at the next start, and nothing else.
func TestShelfSweeps(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, dir)
	if _, err := put(s, "whole", "x"); err != nil {
		t.Fatal(err)
	}
	p, err := s.begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, shelfDir, ".mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 3 {
		t.Fatalf("%q are there, want 3", got)
	}
	newShelf(t, dir)
	if got, want := names(t, dir), []string{".mine", "whole"}; !slices.Equal(got, want) {
		t.Errorf("%q are there after a start, want %q", got, want)
	}
}

// TestShelfStaysInside: a directory that leads elsewhere is not followed.
func TestShelfStaysInside(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	if err := os.Symlink(elsewhere, filepath.Join(dir, shelfDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := openShelf(dir); err == nil || !strings.Contains(err.Error(), "move what is at "+filepath.Join(dir, shelfDir)) {
		t.Errorf("a shelf that leads out of its directory: %v", err)
	}
	dir = t.TempDir()
	s := newShelf(t, dir)
	if err := os.Remove(filepath.Join(dir, shelfDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, shelfDir)); err != nil {
		t.Fatal(err)
	}
	if path, err := put(s, "x", "x"); err == nil {
		t.Errorf("a file was put to %s, outside", path)
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
		t.Errorf("%v, %v is outside", left, err)
	}
}

func TestShelfIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	s := newShelf(t, dir)
	if err := os.Remove(filepath.Join(dir, shelfDir)); err != nil {
		t.Fatal(err)
	}
	path, err := put(s, "x", "content")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "content" {
		t.Errorf("%q, %v, want the content", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openShelf(filepath.Join(dir, "plain")); err == nil {
		t.Error("a shelf was opened in a file")
	}
}
