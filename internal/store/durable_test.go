//go:build !windows

// Windows has no call that makes a directory's names durable.

package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recorder notes the calls that make files durable, and breaks one of them off.
type recorder struct {
	root  string
	calls []string
	fail  int // the number of the call that fails, from 1; 0: none
}

var errBroken = errors.New("input/output error")

func (r *recorder) step(call, path string) error {
	name, err := filepath.Rel(r.root, path)
	if err != nil {
		return err
	}
	r.calls = append(r.calls, call+" "+name)
	if len(r.calls) == r.fail {
		return fmt.Errorf("%s %s: %w", call, path, errBroken)
	}
	return nil
}

func (r *recorder) take() []string {
	calls := r.calls
	r.calls = nil
	return calls
}

// TestDurableOrder: a file has its bytes on the disk before it gets its name, and
// the name is there, in a directory that is itself, before the call returns; the
// key is there before what it seals.
func TestDurableOrder(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "a", "b")
	r := &recorder{root: root}
	s, err := openDisk(dir, Secret{}, files{step: r.step}, migrations())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := func(when string, calls ...string) {
		t.Helper()
		if got := r.take(); !slices.Equal(got, calls) {
			t.Errorf("%s:\n got %s\nwant %s", when, strings.Join(got, ", "), strings.Join(calls, ", "))
		}
	}
	replaced := func(name string) []string {
		return []string{"write a/b/" + name + ".new", "sync a/b/" + name + ".new", "rename a/b/" + name, "sync a/b"}
	}
	want("first open", slices.Concat([]string{"sync .", "sync a"}, replaced(keyName), []string{"rename a/b/" + dbName, "sync a/b"})...)
	if err := s.Prekeys().Replace([]Prekey{{Number: 1}}); err != nil {
		t.Fatal(err)
	}
	want("Prekeys.Replace", replaced(prekeysName)...)
	if err := s.SetPassphrase(nil); err != nil {
		t.Fatal(err)
	}
	want("SetPassphrase", replaced(keyName)...)
	// bbolt syncs its own file, unless it is told not to.
	if s.db.NoSync || s.db.NoGrowSync || s.db.NoFreelistSync {
		t.Errorf("bbolt leaves syncs out: NoSync %t, NoGrowSync %t, NoFreelistSync %t", s.db.NoSync, s.db.NoGrowSync, s.db.NoFreelistSync)
	}
	s.Close()
	again, err := openDisk(dir, Secret{}, files{step: r.step}, migrations())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	want("next open")
}

// TestDurableErrors: each of the calls that fails is told, and leaves the old
// file or the new one, whole; nothing is given as done that may not be there.
func TestDurableErrors(t *testing.T) {
	for fail := 1; ; fail++ { // of the first open
		r := &recorder{root: t.TempDir(), fail: fail}
		dir := filepath.Join(r.root, "a")
		s, err := openDisk(dir, Secret{}, files{step: r.step}, migrations())
		if err == nil {
			s.Close()
			if fail < 7 {
				t.Errorf("only %d calls could be broken off", fail-1)
			}
			break
		}
		if !errors.Is(err, errBroken) {
			t.Errorf("call %d broken off: %v", fail, err)
		}
		openTest(t, dir, nil).Close()
	}

	dir := t.TempDir()
	r := &recorder{root: dir}
	s, err := openDisk(dir, Secret{}, files{step: r.step}, migrations())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := s.Prekeys()
	if err := p.Replace([]Prekey{{Number: 1}}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		file string
		act  func() error
	}{
		{"Replace", prekeysName, func() error { return p.Replace([]Prekey{{Number: 2}}) }},
		{"SetPassphrase", keyName, func() error { return s.SetPassphrase(nil) }},
	} {
		for fail := 1; fail <= 4; fail++ {
			before := snapshot(t, dir)
			r.calls, r.fail = nil, fail
			if err := test.act(); !errors.Is(err, errBroken) {
				t.Errorf("%s with call %d broken off: %v", test.name, fail, err)
			}
			r.fail = 0
			if fail < 4 { // the fourth, of the directory, comes when the new one has its name
				before.same(t, dir)
			}
			if b, err := os.ReadFile(filepath.Join(dir, test.file)); err != nil || len(b) != len(before[test.file]) {
				t.Errorf("%s with call %d broken off leaves %d bytes, %v, want %d", test.name, fail, len(b), err, len(before[test.file]))
			}
			if left, err := filepath.Glob(filepath.Join(dir, "*"+newSuffix)); err != nil || len(left) != 0 {
				t.Errorf("%s with call %d broken off leaves %q, %v", test.name, fail, left, err)
			}
			if list := p.All(); list[0].Number != 1 {
				t.Errorf("%s with call %d broken off: prekey %d is in use, want 1", test.name, fail, list[0].Number)
			}
		}
	}
	if got := snapshot(t, dir)[keyName]; !bytes.HasSuffix(got, []byte("\n")) {
		t.Errorf("the key file is %q", got)
	}
}
