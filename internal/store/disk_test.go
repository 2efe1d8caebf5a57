package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

func testKey(n byte) []byte { return bytes.Repeat([]byte{n}, KeySize) }

func testOwner(n byte) []byte { return bytes.Repeat([]byte{n}, OwnerSize) }

// openTest opens a store that the test closes at its end.
func openTest(t testing.TB, dir string, key []byte) *Disk {
	t.Helper()
	s, err := Open(dir, Secret{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// putTest commits one row.
func putTest(t testing.TB, s Store, table string, owner, key, value []byte) {
	t.Helper()
	var b Batch
	b.Put(table, owner, key, value)
	if err := s.Commit(&b); err != nil {
		t.Fatal(err)
	}
}

// edit changes the closed database of a directory without its key.
func edit(t testing.TB, dir string, f func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, dbName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
}

func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, nil)
	for range 3 {
		if _, err := Open(dir, Secret{}); !errors.Is(err, ErrInUse) {
			t.Fatalf("second Open = %v, want ErrInUse", err)
		}
	}
	putTest(t, s, "t", nil, []byte("k"), []byte("v"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, nil)
	if got, err := s.Get("t", nil, []byte("k")); err != nil || string(got) != "v" {
		t.Errorf("Get after it = %q, %v", got, err)
	}
}

// The directory's lock by itself, without bbolt's behind it.
func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		f, err := lockDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lockDir(dir); !errors.Is(err, ErrInUse) {
			t.Errorf("second lock = %v, want ErrInUse", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenWhileBboltHasIt(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir, nil).Close()
	db, err := bbolt.Open(filepath.Join(dir, dbName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Secret{}); !errors.Is(err, ErrInUse) {
		t.Errorf("Open = %v, want ErrInUse", err)
	}
	db.Close()
	openTest(t, dir, nil)
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir, testKey(1)).Close()
	if _, err := os.Stat(filepath.Join(dir, keyName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key file was made for a given key: %v", err)
	}
	for _, key := range [][]byte{testKey(2), nil, {}, testKey(1)[1:]} {
		if _, err := Open(dir, Secret{Key: key}); !errors.Is(err, ErrWrongKey) {
			t.Errorf("Open with key %.4x = %v, want ErrWrongKey", key, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, keyName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key file was made for a directory that has a key: %v", err)
	}
	openTest(t, dir, testKey(1)).Close()

	dir = t.TempDir()
	if _, err := Open(dir, Secret{Key: testKey(1)[1:]}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("first Open with a short key = %v, want ErrWrongKey", err)
	}
	openTest(t, dir, nil).Close()
	if _, err := Open(dir, Secret{Key: testKey(1)}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("Open with a key in place of the file's = %v, want ErrWrongKey", err)
	}
	path := filepath.Join(dir, keyName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", string(whole[:20]), "x" + string(whole[1:]), string(whole) + "00"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, Secret{}); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), string(whole[1:8])) {
			t.Errorf("Open with key file %.8q = %v, want ErrDamaged", text, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	openTest(t, dir, nil)
}

// A crash between the key file and the database, or while either is made,
// leaves a directory that opens.
func TestInterruptedFirstStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	openTest(t, dir, nil).Close()
	key, err := os.ReadFile(filepath.Join(dir, keyName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, dbName)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{keyName, dbName, prekeysName} {
		if err := os.WriteFile(filepath.Join(dir, name+newSuffix), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openTest(t, dir, nil)
	if got, _ := os.ReadFile(filepath.Join(dir, keyName)); !bytes.Equal(got, key) {
		t.Error("the key file was made again")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"+newSuffix))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestNothingInClear(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, testKey(7))
	owner := []byte("the owner's thirty-two byte name")
	for _, table := range []string{"inbox", "outbox"} {
		putTest(t, s, table, owner, []byte("number"), []byte("a secret message"))
	}
	s.Close()
	file, err := os.ReadFile(filepath.Join(dir, dbName))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{owner[:8], []byte("secret"), testKey(7), s.keys.mask} {
		if bytes.Contains(file, secret) {
			t.Errorf("the file shows %q", secret)
		}
	}
	for _, clear := range []string{"inbox", "number"} { // what the test would find
		if !bytes.Contains(file, []byte(clear)) {
			t.Errorf("the file does not show %q", clear)
		}
	}
	in, out := s.keys.address("inbox", owner, nil), s.keys.address("outbox", owner, nil)
	if bytes.Equal(in, out) {
		t.Error("an owner has the same mask in two tables")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got, want := fmt.Sprintf(verb, s), "store("+dir+")"; got != want {
			t.Errorf("%s gives %.60q, want %q", verb, got, want)
		}
	}
}

// Who can write the file but has no key can take rows out, not move them.
func TestSwappedRows(t *testing.T) {
	for _, test := range []struct {
		name             string
		fromTable, to    string
		fromOwner, toOwn byte
		fromKey, toKey   string
		same             bool
	}{
		{"same place", "t", "t", 1, 1, "a", "a", true},
		{"key", "t", "t", 1, 1, "a", "b", false},
		{"owner", "t", "t", 1, 2, "a", "a", false},
		{"table", "t", "u", 1, 1, "a", "a", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openTest(t, dir, nil)
			putTest(t, s, test.fromTable, testOwner(test.fromOwner), []byte(test.fromKey), []byte("from"))
			putTest(t, s, test.to, testOwner(test.toOwn), []byte(test.toKey), []byte("to"))
			from := s.keys.address(test.fromTable, testOwner(test.fromOwner), []byte(test.fromKey))
			to := s.keys.address(test.to, testOwner(test.toOwn), []byte(test.toKey))
			s.Close()
			edit(t, dir, func(tx *bbolt.Tx) error {
				sealed := bytes.Clone(tx.Bucket([]byte(test.fromTable)).Get(from))
				return tx.Bucket([]byte(test.to)).Put(to, sealed)
			})
			s = openTest(t, dir, nil)
			_, get := s.Get(test.to, testOwner(test.toOwn), []byte(test.toKey))
			rng := s.Range(test.to, testOwner(test.toOwn), nil, func(_, _ []byte) error { return nil })
			all := s.All(test.to, func(_, _, _ []byte) error { return nil })
			for call, err := range map[string]error{"Get": get, "Range": rng, "All": all} {
				if test.same && err != nil || !test.same && !errors.Is(err, ErrDamaged) {
					t.Errorf("%s = %v, want ErrDamaged: %t", call, err, !test.same)
				}
			}
			// One bad row does not end the store.
			putTest(t, s, test.to, testOwner(test.toOwn), []byte(test.toKey), []byte("new"))
			if got, err := s.Get(test.to, testOwner(test.toOwn), []byte(test.toKey)); err != nil || string(got) != "new" {
				t.Errorf("Get after mending = %q, %v", got, err)
			}
		})
	}
}

func TestMeta(t *testing.T) {
	set := func(key, value []byte) func(*bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(key, value) }
	}
	for _, test := range []struct {
		name string
		edit func(*bbolt.Tx) error
		want error
	}{
		{"newer format", set(metaFormat, binary.BigEndian.AppendUint32(nil, newest(migrations())+1)), ErrNewer},
		{"format zero", set(metaFormat, make([]byte, 4)), ErrDamaged},
		{"short format", set(metaFormat, []byte{1}), ErrDamaged},
		{"no salt", func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Delete(metaSalt) }, ErrDamaged},
		{"other salt", set(metaSalt, make([]byte, saltSize)), ErrWrongKey},
		{"short check", set(metaCheck, []byte{1}), ErrDamaged},
		{"other check", set(metaCheck, make([]byte, checkSize)), ErrWrongKey},
		{"no meta", func(tx *bbolt.Tx) error { return tx.DeleteBucket(metaBucket) }, ErrDamaged},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			openTest(t, dir, nil).Close()
			edit(t, dir, test.edit)
			for range 2 { // the failed one gives the lock back
				if _, err := Open(dir, Secret{}); !errors.Is(err, test.want) {
					t.Errorf("Open = %v, want %v", err, test.want)
				}
			}
		})
	}
}

// A commit that fails on the disk ends the store, and what was acknowledged
// before is there when it is opened again.
func TestFailedCommit(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(*Disk)
	}{
		{"disk full", func(s *Disk) { s.db.MaxSize = 1 }},
		{"disk gone", func(s *Disk) { s.file.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openTest(t, dir, nil)
			putTest(t, s, "t", nil, []byte("before"), []byte("v"))
			test.fail(s)
			var b Batch
			for i := range 8 {
				b.Put("t", nil, []byte{byte(i)}, make([]byte, MaxValue))
			}
			if err := s.Commit(&b); !errors.Is(err, ErrFailed) {
				t.Fatalf("Commit = %v, want ErrFailed", err)
			}
			b.Reset()
			b.Put("t", nil, []byte("after"), nil)
			if err := s.Commit(&b); !errors.Is(err, ErrFailed) {
				t.Errorf("next Commit = %v, want ErrFailed", err)
			}
			if _, err := s.Get("t", nil, []byte("before")); !errors.Is(err, ErrFailed) {
				t.Errorf("Get = %v, want ErrFailed", err)
			}
			s.Close() // of a file that is gone: an error, and the lock is free
			if err := s.Commit(&b); !errors.Is(err, ErrClosed) {
				t.Errorf("Commit after Close = %v, want ErrClosed", err)
			}
			s = openTest(t, dir, nil)
			if got, err := s.Get("t", nil, []byte("before")); err != nil || string(got) != "v" {
				t.Errorf("Get = %q, %v after opening again", got, err)
			}
			if got, err := s.Get("t", nil, []byte{0}); err != nil || got != nil {
				t.Errorf("a failed batch left %d bytes, %v", len(got), err)
			}
		})
	}
}

// The format of rows on disk does not change by accident.
func TestGolden(t *testing.T) {
	k, err := deriveKeys(testKey(1), bytes.Repeat([]byte{2}, saltSize), dbName)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(k.check); got != goldenCheck {
		t.Errorf("check value %s, want %s", got, goldenCheck)
	}
	address := k.address("outbox", testOwner(3), []byte("key"))
	if got := hex.EncodeToString(address); got != goldenAddress {
		t.Errorf("address %s, want %s", got, goldenAddress)
	}
	sealed, err := hex.DecodeString(goldenSealed)
	if err != nil {
		t.Fatal(err)
	}
	owner, key, value, err := k.openRow("outbox", address, sealed)
	if err != nil || !bytes.Equal(owner, testOwner(3)) || string(key) != "key" || string(value) != "value" {
		t.Errorf("openRow = %x, %q, %q, %v", owner, key, value, err)
	}
	if t.Failed() {
		t.Logf("sealed now: %x", k.sealRow("outbox", address, testOwner(3), []byte("value")))
	}
}

const (
	goldenCheck   = "172f3f6976d45cf4b83e11e132441aa7"
	goldenAddress = "499cbd42f25348eb221f10f3431af32d6b6579"
	goldenSealed  = "e78b2aba8c1cfbd73400a48c694a562393dcf1027493066391af64f394be2bed0b4f73c93d305154e42c490a801b73e95bd3629e146e2841c0e625aba21d8d20b1ff482006457e3f5ea7b9dea300"
)

// FuzzOpenRow opens whatever may stand in the database.
func FuzzOpenRow(f *testing.F) {
	k, err := deriveKeys(testKey(1), make([]byte, saltSize), dbName)
	if err != nil {
		f.Fatal(err)
	}
	for _, owner := range [][]byte{nil, testOwner(1)} {
		for _, value := range []string{"", "value", strings.Repeat("x", 300)} {
			address := k.address("t", owner, []byte("key"))
			sealed := k.sealRow("t", address, owner, []byte(value))
			f.Add("t", address, sealed, false)
			f.Add("u", address, sealed, false)
			f.Add("t", address[:len(address)-1], sealed, false)
			f.Add("t", address[:maskSize-1], sealed, false)
			f.Add("t", address, sealed[:len(sealed)-1], false)
			f.Add("t", address, append([]byte{OwnerSize}, value...), true)
			f.Add("t", address, append(append([]byte{OwnerSize}, testOwner(2)...), value...), true)
		}
	}
	f.Add("t", []byte{}, []byte{}, true)
	f.Fuzz(func(t *testing.T, table string, address, sealed []byte, reseal bool) {
		if checkRow(table, nil, nil, 0) != nil {
			return
		}
		if reseal { // what lies behind the seal is reached, too
			sealed = k.seal.Seal(nil, rowAD(table, address), sealed)
		}
		owner, key, value, err := k.openRow(table, address, sealed)
		if err != nil {
			if !errors.Is(err, ErrDamaged) || owner != nil || key != nil || value != nil {
				t.Errorf("openRow = %x, %x, %x, %v, want only ErrDamaged", owner, key, value, err)
			}
			return
		}
		if got := k.address(table, owner, key); !bytes.Equal(got, address) {
			t.Errorf("row of %x opened at %x", got, address)
		}
		o, _, v, err := k.openRow(table, address, k.sealRow(table, address, owner, value))
		if err != nil || !bytes.Equal(o, owner) || !bytes.Equal(v, value) {
			t.Errorf("sealed again it opens as %x, %x, %v, want %x, %x", o, v, err, owner, value)
		}
	})
}
