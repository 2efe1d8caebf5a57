//go:build !windows

// Windows does not let a file be written or removed while it is mapped, and a
// damaged one can stay mapped until the process ends.

package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// damagedSeed makes a database with some rows and returns its bytes.
func damagedSeed(t testing.TB, dir string) []byte {
	s := openTest(t, dir, testKey(1))
	for i := range 40 {
		var b Batch
		for j := range 5 {
			b.Put("t", testOwner(byte(j)), []byte{byte(i)}, bytes.Repeat([]byte{byte(i)}, 300))
		}
		b.Put("u", nil, []byte{byte(i)}, make([]byte, 9000))
		b.Delete("u", nil, []byte{byte(i - 3)})
		if err := s.Commit(&b); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	file, err := os.ReadFile(filepath.Join(dir, dbName))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// use opens a possibly damaged database, reads everything, writes and closes.
// It returns the first error, which must be one of a store.
func use(dir string) error {
	s, err := Open(dir, Secret{Key: testKey(1)})
	if err != nil {
		return err
	}
	var errs []error
	for _, table := range []string{"t", "u"} {
		errs = append(errs, s.All(table, func(_, _, _ []byte) error { return nil }))
	}
	var b Batch
	b.Put("t", testOwner(3), nil, make([]byte, 20000))
	b.DeleteOwner("t", testOwner(1))
	errs = append(errs, s.Commit(&b))
	if _, err := s.Get("t", testOwner(2), []byte{1}); err != nil {
		errs = append(errs, err)
	}
	if err := s.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close: %w", err))
	}
	return errors.Join(errs...)
}

func TestDamagedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, dbName)
	whole := damagedSeed(t, dir)
	write := func(file []byte) {
		t.Helper()
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(whole)
	if err := use(dir); err != nil {
		t.Fatalf("whole file: %v", err)
	}
	for name, file := range map[string][]byte{
		"empty":      {},
		"a byte":     {1},
		"zeros":      make([]byte, len(whole)),
		"text":       bytes.Repeat([]byte("not a database\n"), 5000),
		"two pages":  whole[:2*os.Getpagesize()],
		"cut":        whole[:len(whole)/3],
		"other half": append(bytes.Clone(whole[:4*os.Getpagesize()]), make([]byte, len(whole)-4*os.Getpagesize())...),
	} {
		write(file)
		if err := use(dir); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
	// These are seen before anything is read or written.
	for _, n := range []int{0, len(whole) / 3} {
		write(whole[:n])
		if _, err := Open(dir, Secret{Key: testKey(1)}); !errors.Is(err, ErrDamaged) {
			t.Errorf("Open of %d bytes: %v, want ErrDamaged", n, err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != int64(n) {
			t.Errorf("Open changed the size of a damaged file: %v, %v", info, err)
		}
	}
	// Single places: an error or, where the place does not matter, none. Never
	// a panic, a hang, or a lock that stays.
	rng := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range 150 {
		file := bytes.Clone(whole)
		at := rng.IntN(len(file) - 8)
		binary.LittleEndian.PutUint64(file[at:], rng.Uint64())
		write(file)
		if err := use(dir); err != nil {
			found++
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFailed) && !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrNewer) {
				t.Errorf("8 bytes at %d: %v", at, err)
			}
		}
	}
	if found < 5 { // most hit pages that are free; how the others lie differs from file to file
		t.Errorf("only %d of 150 damages were found: the check is blind", found)
	}
	write(whole)
	if err := use(dir); err != nil {
		t.Errorf("whole file again: %v", err)
	}
}
