//go:build !windows

// Windows does not let a file be written while it is mapped, and a damaged one
// can stay mapped until the process ends.

package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// whole makes a directory as a program leaves it, under a key file, and returns
// its files.
func whole(t testing.TB) (dir string, files dirState) {
	dir = t.TempDir()
	s := openTest(t, dir, nil)
	for i := range byte(20) {
		putTest(t, s, "t", testOwner(i%3), []byte{i}, bytes.Repeat([]byte{i}, 700))
	}
	p := s.Prekeys()
	if err := p.Replace([]Prekey{{Number: 1}, {Number: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, snapshot(t, dir)
}

// openAll does what a program does at its start: it opens everything and reads
// every row.
func openAll(dir string) error {
	s, err := Open(dir, Secret{})
	if err != nil {
		return err
	}
	rows := 0
	rerr := s.All("t", func(_, _, _ []byte) error { rows++; return nil })
	if rerr == nil && rows != 20 {
		rerr = fmt.Errorf("%d rows of 20", rows)
	}
	return errors.Join(rerr, s.Close())
}

// TestRefused: whatever is wrong with a directory, it is said by the right
// error, no byte of any file is written, and with the files put back it opens.
func TestRefused(t *testing.T) {
	dir, good := whole(t)
	other, otherFiles := whole(t)
	foreign := filepath.Join(t.TempDir(), "foreign")
	db, err := bbolt.Open(foreign, 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	foreignDB, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	sqlite := append([]byte("SQLite format 3\x00"), make([]byte, 16<<10)...)
	digit := bytes.Clone(good[keyName])
	if digit[3] = '1'; good[keyName][3] == '1' {
		digit[3] = '2'
	}

	for _, test := range []struct {
		name, file string
		to         []byte // nil: removed
		want       error
	}{
		{"no key file", keyName, nil, ErrWrongKey},
		{"empty key file", keyName, []byte{}, ErrDamaged},
		{"short key file", keyName, good[keyName][:40], ErrDamaged},
		{"long key file", keyName, append(bytes.Clone(good[keyName]), good[keyName]...), ErrDamaged},
		{"another's key file", keyName, otherFiles[keyName], ErrWrongKey},
		{"a digit changed", keyName, digit, ErrWrongKey},
		{"another's database", dbName, otherFiles[dbName], ErrWrongKey},
		{"another's prekeys", prekeysName, otherFiles[prekeysName], ErrWrongKey},
		{"no database", dbName, nil, ErrDamaged},
		{"empty database", dbName, []byte{}, ErrDamaged},
		{"database of another program", dbName, foreignDB, ErrDamaged},
		{"SQLite", dbName, sqlite, ErrDamaged},
		{"text", dbName, bytes.Repeat([]byte("Dear Bob,\n"), 4000), ErrDamaged},
		{"empty prekeys", prekeysName, []byte{}, ErrDamaged},
		{"database for prekeys", prekeysName, good[dbName], ErrDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			good.restore(t, dir)
			if test.to == nil {
				if err := os.Remove(filepath.Join(dir, test.file)); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(filepath.Join(dir, test.file), test.to, 0o600); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, dir)
			for range 2 { // the failed one gives the lock back
				if err := openAll(dir); !errors.Is(err, test.want) {
					t.Errorf("open = %v, want %v", err, test.want)
				}
			}
			before.same(t, dir)
		})
	}
	good.restore(t, dir)
	if err := openAll(dir); err != nil {
		t.Errorf("with the files put back: %v", err)
	}
	otherFiles.same(t, other)
}

// TestRefusedKinds: what stands in a file's place and is none is not waited for,
// and keeps its mode; a file of another program, too.
func TestRefusedKinds(t *testing.T) {
	for _, name := range []string{keyName, dbName, prekeysName} {
		dir, _ := whole(t)
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o755)); err != nil {
			t.Fatal(err)
		}
		if err := openAll(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("a directory for %s: %v, want ErrDamaged", name, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("a directory for %s now has the mode %v, %v", name, info.Mode(), err)
		}
		if err := errors.Join(os.Remove(path), os.Symlink(path, path)); err != nil {
			t.Fatal(err)
		}
		if err := openAll(dir); err == nil {
			t.Errorf("a link to itself for %s: opened", name)
		}
	}
	for _, name := range []string{keyName, prekeysName} { // a file with a hole, larger than any memory
		dir, _ := whole(t)
		if err := os.Truncate(filepath.Join(dir, name), 1<<40); err != nil {
			t.Fatal(err)
		}
		if err := openAll(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("an endless %s: %v, want ErrDamaged", name, err)
		}
	}
	dir, _ := whole(t)
	path := filepath.Join(dir, dbName)
	if err := os.WriteFile(path, bytes.Repeat([]byte("theirs"), 9000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := openAll(dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("open = %v, want ErrDamaged", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file of another program now has the mode %v, %v", info.Mode(), err)
	}
}

// TestCutShort: a file that lost its end, at whatever length, is refused and not
// written to.
func TestCutShort(t *testing.T) {
	dir, good := whole(t)
	page := os.Getpagesize()
	lengths := map[string][]int{dbName: {0, 1, 15, 16, 17, 63, 64, 80}}
	for n := page; n < len(good[dbName]); n += page {
		lengths[dbName] = append(lengths[dbName], n-1, n, n+1)
	}
	used := 0 // bbolt makes its file longer than it needs
	s := openTest(t, dir, nil)
	if err := s.view(func(tx *bbolt.Tx) error { used = int(tx.Size()); return nil }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	lengths[dbName] = append(lengths[dbName], used-1, used)
	for _, name := range []string{keyName, prekeysName} {
		for n := range len(good[name]) - 1 { // the last byte of the key file is its line end
			lengths[name] = append(lengths[name], n)
		}
	}
	for name, list := range lengths {
		for _, n := range list {
			good.restore(t, dir)
			if err := os.WriteFile(filepath.Join(dir, name), good[name][:n], 0o600); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, dir)
			if err := openAll(dir); name == dbName && n >= used {
				if err != nil {
					t.Errorf("%s cut to %d bytes, of which %d are used: %v", name, n, used, err)
				}
			} else if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s cut to %d of %d bytes: %v, want ErrDamaged", name, n, len(good[name]), err)
			}
			before.same(t, dir)
		}
	}
}

// TestFlipped: a flipped bit is found where it matters, never loses what is not
// said to be lost, and nothing is written.
func TestFlipped(t *testing.T) {
	dir, good := whole(t)
	rng := rand.New(rand.NewPCG(3, 4))
	found := 0
	for i := range 250 {
		file := bytes.Clone(good[dbName])
		at := rng.IntN(len(file) * 8)
		if i < 100 { // the head, where all that Open itself reads stands
			at = rng.IntN(2 * 80 * 8)
			if at >= 80*8 {
				at += (os.Getpagesize() - 80) * 8
			}
		}
		file[at/8] ^= 1 << (at % 8)
		good.restore(t, dir)
		if err := os.WriteFile(filepath.Join(dir, dbName), file, 0o600); err != nil {
			t.Fatal(err)
		}
		before := snapshot(t, dir)
		rows := 0
		s, err := Open(dir, Secret{})
		if err == nil {
			err = errors.Join(s.All("t", func(_, _, _ []byte) error { rows++; return nil }), s.Close())
		}
		switch {
		case err != nil:
			found++
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrNewer) {
				t.Errorf("bit %d: %v", at, err)
			}
		case rows < 19: // a head that does not fit its checksum gives way to the one before, of one commit earlier
			t.Errorf("bit %d: %d of 20 rows, and no error", at, rows)
		}
		before.same(t, dir)
	}
	if found < 10 {
		t.Errorf("only %d of 250 flips were found: the check is blind", found)
	}
}
