package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"go.etcd.io/bbolt"
)

// formatOf reads the format of a closed database.
func formatOf(t *testing.T, dir string) (v uint32) {
	t.Helper()
	edit(t, dir, func(tx *bbolt.Tx) error {
		v = binary.BigEndian.Uint32(tx.Bucket(metaBucket).Get(metaFormat))
		return nil
	})
	return v
}

// rename moves the rows of one table to another, sealed anew: what a migration
// may have to do.
func rename(from, to string) migration {
	return func(tx *bbolt.Tx, k *keys) error {
		b, err := tx.CreateBucket([]byte(to))
		if err != nil {
			return err
		}
		err = tx.Bucket([]byte(from)).ForEach(func(address, sealed []byte) error {
			owner, key, value, err := k.openRow(from, address, sealed)
			if err != nil {
				return err
			}
			at := k.address(to, owner, key)
			return b.Put(at, k.sealRow(to, at, owner, value))
		})
		return errors.Join(err, tx.DeleteBucket([]byte(from)))
	}
}

// TestMigrate: a database of an older format is brought up step by step, all the
// way or not at all, once; and then an older program leaves it alone.
func TestMigrate(t *testing.T) {
	dir := t.TempDir()
	first := []migration{}
	s, err := openDisk(dir, Secret{Key: testKey(1)}, files{}, first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range byte(3) {
		putTest(t, s, "old", testOwner(i), []byte{i}, bytes.Repeat([]byte{i}, 100))
	}
	s.Close()
	if got := formatOf(t, dir); got != 1 {
		t.Fatalf("made with format %d, want 1", got)
	}

	broken := errors.New("broken")
	before := snapshot(t, dir)
	steps := []migration{rename("old", "middle"), nil, func(*bbolt.Tx, *keys) error { return broken }}
	if _, err := openDisk(dir, Secret{Key: testKey(1)}, files{}, steps); !errors.Is(err, broken) {
		t.Errorf("with a migration that fails: %v", err)
	}
	before.same(t, dir)

	ran := 0
	steps[2] = func(tx *bbolt.Tx, k *keys) error { ran++; return rename("middle", "new")(tx, k) }
	for range 2 {
		if s, err = openDisk(dir, Secret{Key: testKey(1)}, files{}, steps); err != nil {
			t.Fatal(err)
		}
		for i := range byte(3) {
			if got, err := s.Get("new", testOwner(i), []byte{i}); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{i}, 100)) {
				t.Errorf("row %d is %x, %v", i, got, err)
			}
		}
		if err := s.All("old", func(_, _, _ []byte) error { return errors.New("a row") }); err != nil {
			t.Errorf("of the old table: %v", err)
		}
		s.Close()
	}
	if ran != 1 || formatOf(t, dir) != 4 {
		t.Errorf("the last step ran %d times, and the format is %d; want once, 4", ran, formatOf(t, dir))
	}
	before = snapshot(t, dir)
	for _, older := range [][]migration{first, steps[:2]} {
		if _, err := openDisk(dir, Secret{Key: testKey(1)}, files{}, older); !errors.Is(err, ErrNewer) {
			t.Errorf("opened by format %d: %v, want ErrNewer", newest(older), err)
		}
	}
	before.same(t, dir)
}

// A damaged database is not brought up: what is left of it stays as it is.
func TestMigrateDamaged(t *testing.T) {
	dir := t.TempDir()
	s, err := openDisk(dir, Secret{}, files{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	putTest(t, s, "a", testOwner(1), []byte("good"), []byte("v"))
	putTest(t, s, "z", nil, []byte("bad"), []byte("v"))
	address := s.keys.address("z", nil, []byte("bad"))
	s.Close()
	edit(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("z")).Put(address, []byte("changed")) })
	before := snapshot(t, dir)
	if _, err := openDisk(dir, Secret{}, files{}, []migration{nil}); !errors.Is(err, ErrDamaged) {
		t.Errorf("open = %v, want ErrDamaged", err)
	}
	before.same(t, dir)
}
