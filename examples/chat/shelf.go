package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where files go, and what they are called until they are whole: no name of a
// friend's file begins with a dot.
const (
	shelfDir      = "received"
	partialPrefix = ".chat-"
	partialSuffix = ".partial"
	numbered      = 100 // files of one name get a number; further ones a random one
)

// shelf is the directory that files of friends are put into. Nothing is ever
// written outside of it, or over what is there. It is safe for concurrent use.
type shelf struct {
	root *os.Root // the state directory
	path string
	open func(name string) (file, error) // makes a new file under root
	link func(name, as string) error     // gives a file a second name under root
}

// file is a file that is being written.
type file interface {
	io.Writer
	Sync() error
	Close() error
}

// openShelf opens the directory, made if missing, and removes what an earlier run
// left unfinished.
func openShelf(dir string) (*shelf, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &shelf{root: root, path: dir, link: root.Link}
	s.open = func(name string) (file, error) {
		return root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err := s.sweep(); err != nil {
		return nil, errors.Join(fmt.Errorf("files cannot be received: %w; move what is at %s away", err, filepath.Join(dir, shelfDir)), root.Close())
	}
	return s, nil
}

func (s *shelf) close() { _ = s.root.Close() } // only read through

// make makes the directory if it is missing.
func (s *shelf) make() error {
	if err := s.root.Mkdir(shelfDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// sweep removes partial files.
func (s *shelf) sweep() error {
	if err := s.make(); err != nil {
		return err
	}
	dir, err := s.root.Open(shelfDir)
	if err != nil {
		return err
	}
	names, err := dir.Readdirnames(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, partialPrefix) && strings.HasSuffix(name, partialSuffix) {
			if err := s.root.Remove(filepath.Join(shelfDir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// partial is a file that is not whole yet.
type partial struct {
	shelf *shelf
	name  string // under the shelf's root
	file
	closed, gone bool
}

// begin makes a file for what is to come.
func (s *shelf) begin() (*partial, error) {
	if err := s.make(); err != nil { // somebody may have removed it
		return nil, err
	}
	name := filepath.Join(shelfDir, partialPrefix+rand.Text()+partialSuffix)
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	return &partial{shelf: s, name: name, file: f}, nil
}

// keep makes the file durable under the name, which must be clean, or that name
// with a number where there is one. It returns the whole path.
func (p *partial) keep(name string) (string, error) {
	if err := p.Sync(); err != nil {
		return "", err
	}
	p.closed = true
	if err := p.Close(); err != nil {
		return "", err
	}
	for i := 1; ; i++ {
		as := filepath.Join(shelfDir, variant(name, i))
		switch err := p.place(as); {
		case err == nil:
			p.shelf.sync()
			return filepath.Join(p.shelf.path, as), nil
		case !errors.Is(err, fs.ErrExist) || i > 2*numbered:
			return "", err
		}
	}
}

// place gives the file its name unless that is taken (fs.ErrExist).
func (p *partial) place(as string) error {
	root := p.shelf.root
	err := p.shelf.link(p.name, as)
	switch {
	case err == nil:
		p.gone = true
		return root.Remove(p.name)
	case errors.Is(err, fs.ErrExist):
		return err
	}
	// No hard links here, as on FAT: take the name with an empty file first.
	empty, err := p.shelf.open(as)
	if err != nil {
		return err
	}
	if err := errors.Join(empty.Close(), root.Rename(p.name, as)); err != nil {
		return errors.Join(err, root.Remove(as))
	}
	p.gone = true
	return nil
}

// discard removes the file unless it was kept.
func (p *partial) discard() {
	if !p.closed {
		p.closed = true
		_ = p.Close() // it goes anyway
	}
	if !p.gone {
		p.gone = true
		_ = p.shelf.root.Remove(p.name) // or the next start does
	}
}

// sync makes names durable where the system can. The content is already.
func (s *shelf) sync() {
	if dir, err := s.root.Open(shelfDir); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
}

// variant is the i-th name to try for a file: itself, then with numbers before
// the ending, at last with random ones.
func variant(name string, i int) string {
	if i <= 1 {
		return name
	}
	mark := fmt.Sprintf(" (%d)", i)
	if i > numbered {
		mark = " (" + rand.Text()[:10] + ")"
	}
	ending := filepath.Ext(name)
	return strings.TrimSuffix(name, ending) + mark + ending
}
