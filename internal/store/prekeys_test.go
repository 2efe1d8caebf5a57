package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// openPrekeysTest opens prekeys in a directory that has a store's key.
func openPrekeysTest(t *testing.T, dir string) *Prekeys {
	t.Helper()
	p, err := openPrekeys(dir, testKey(1), files{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var day0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestPrekeysReplace(t *testing.T) {
	dir := t.TempDir()
	p := openPrekeysTest(t, dir)
	if got := p.All(); len(got) != 0 {
		t.Errorf("new file has %v", got)
	}
	list := []Prekey{
		{Number: 9, Private: Private(testKey(9)), Created: day0},
		{Number: 4, Private: Private(testKey(4)), Created: day0.Add(-time.Hour), Superseded: day0},
	}
	for _, open := range []func() *Prekeys{
		func() *Prekeys { return openPrekeysTest(t, dir) },
		func() *Prekeys { return p },
	} {
		if err := p.Replace(list); err != nil {
			t.Fatal(err)
		}
		got := open().All()
		if len(got) != 2 || got[0].Number != 4 || got[1].Private != Private(testKey(9)) ||
			!got[0].Created.Equal(day0.Add(-time.Hour)) || !got[0].Superseded.Equal(day0) || !got[1].Superseded.IsZero() {
			t.Errorf("got numbers %d, %d", got[0].Number, got[1].Number)
		}
		got[0].Number = 77 // a copy
	}
	if got := p.All(); got[0].Number != 4 || list[0].Number != 9 {
		t.Error("lists are shared with the caller")
	}
	for name, bad := range map[string][]Prekey{
		"too many":   make([]Prekey, MaxPrekeys+1),
		"same twice": {{Number: 1}, {Number: 1}},
	} {
		if err := p.Replace(bad); !errors.Is(err, ErrLimit) {
			t.Errorf("Replace with %s = %v, want ErrLimit", name, err)
		}
	}
	if got := openPrekeysTest(t, dir).All(); len(got) != 2 {
		t.Errorf("a refused Replace left %d prekeys, want 2", len(got))
	}
}

// Erased keys are in no file of the directory, even to who has the at-rest key.
func TestPrekeysErased(t *testing.T) {
	dir := t.TempDir()
	p := openPrekeysTest(t, dir)
	if err := p.Replace([]Prekey{{Number: 1}, {Number: 2}, {Number: 3}}); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(p.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Replace([]Prekey{{Number: 3}}); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(p.path)
	if err != nil {
		t.Fatal(err)
	}
	if os.SameFile(before, after) {
		t.Error("the file was changed in place")
	}
	if got, want := after.Size(), before.Size()-2*int64(prekeySize); got != want {
		t.Errorf("the file has %d bytes, want %d", got, want)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
		t.Errorf("files %q, %v, want one", names, err)
	}
	if got := openPrekeysTest(t, dir).All(); len(got) != 1 || got[0].Number != 3 {
		t.Errorf("%d prekeys left, want number 3", len(got))
	}
}

func TestPrekeysRotate(t *testing.T) {
	for _, test := range []struct {
		name string
		open func(t *testing.T) (p *Prekeys, again func() *Prekeys)
	}{
		{"memory", func(*testing.T) (*Prekeys, func() *Prekeys) {
			p := MemoryPrekeys()
			return p, func() *Prekeys { return p }
		}},
		{"disk", func(t *testing.T) (*Prekeys, func() *Prekeys) {
			dir := t.TempDir()
			return openPrekeysTest(t, dir), func() *Prekeys { return openPrekeysTest(t, dir) }
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, again := test.open(t)
			next := uint64(0)
			newKey := func() (uint64, [32]byte) {
				next++
				return next, [32]byte{byte(next)}
			}
			rotate := func(now time.Time, want bool, numbers ...uint64) {
				t.Helper()
				changed, err := p.Rotate(now, newKey)
				if err != nil || changed != want {
					t.Errorf("Rotate = %t, %v, want %t", changed, err, want)
				}
				p = again()
				var got []uint64
				for _, k := range p.All() {
					got = append(got, k.Number)
					if k.Private != (Private{byte(k.Number)}) {
						t.Errorf("prekey %d has another's private key", k.Number)
					}
				}
				if !slices.Equal(got, numbers) {
					t.Errorf("prekeys %d, want %d", got, numbers)
				}
			}
			now := day0
			rotate(now, true, 1)
			rotate(now.Add(RotateAfter-1), false, 1)
			rotate(now.Add(RotateAfter), true, 1, 2)
			rotate(now.Add(RotateAfter), false, 1, 2)
			// 1 was superseded on day 1: it is there until day 31.
			for d := time.Duration(2); d <= 30; d++ {
				if _, err := p.Rotate(now.Add(d*RotateAfter), newKey); err != nil {
					t.Fatal(err)
				}
			}
			if got := p.All(); len(got) != 31 || got[0].Number != 1 {
				t.Errorf("day 30: %d prekeys from %d, want 31 from 1", len(got), got[0].Number)
			}
			if _, err := p.Rotate(now.Add(31*RotateAfter), newKey); err != nil {
				t.Fatal(err)
			}
			if got := p.All(); len(got) != 31 || got[0].Number != 2 || !got[30].Superseded.IsZero() || got[29].Superseded.IsZero() {
				t.Errorf("day 31: %d prekeys from %d, want 31 from 2", len(got), got[0].Number)
			}
			// Off for a long time: the current one is superseded now, and kept.
			rotate(now.Add(400*RotateAfter), true, 32, 33)
			// The clock was ahead by all that: neither key stays for it.
			rotate(now.Add(32*RotateAfter), true, 32, 33, 34)
			rotate(now.Add(32*RotateAfter+time.Hour), false, 32, 33, 34)
			rotate(now.Add(62*RotateAfter), true, 34, 35)

			next = 3 // a number that is not above the others
			if changed, err := p.Rotate(now.Add(70*RotateAfter), newKey); err == nil || changed {
				t.Errorf("Rotate with an old number = %t, %v, want an error", changed, err)
			}
			p = again()
			next = 35
			rotate(now.Add(62*RotateAfter), false, 34, 35)
		})
	}
}

func TestPrekeysWriteFails(t *testing.T) {
	dir := t.TempDir()
	p := openPrekeysTest(t, dir)
	newKey := func() (uint64, [32]byte) { return uint64(len(p.list)) + 1, [32]byte{} }
	// A directory stands where the new file is to be made.
	obstacle := p.path + newSuffix
	if err := os.MkdirAll(filepath.Join(obstacle, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if changed, err := p.Rotate(day0, newKey); err == nil || changed || len(p.All()) != 0 {
		t.Errorf("Rotate = %t, %v and %d prekeys, want an error and none", changed, err, len(p.All()))
	}
	if err := os.RemoveAll(obstacle); err != nil {
		t.Fatal(err)
	}
	if changed, err := p.Rotate(day0, newKey); err != nil || !changed {
		t.Errorf("Rotate again = %t, %v", changed, err)
	}
}

func TestPrekeysOpen(t *testing.T) {
	dir := t.TempDir()
	p := openPrekeysTest(t, dir)
	if err := p.Replace([]Prekey{{Number: 1}, {Number: 2}}); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"another": testKey(2), "no": nil, "a short": {1}} {
		if _, err := openPrekeys(dir, key, files{}); !errors.Is(err, ErrWrongKey) {
			t.Errorf("Open with %s key = %v, want ErrWrongKey", name, err)
		}
	}
	whole, err := os.ReadFile(p.path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x80
		if err := os.WriteFile(p.path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openPrekeys(dir, testKey(1), files{})
		want := ErrDamaged
		switch {
		case at >= 8 && at < 12:
			want = ErrNewer
		case at >= 12 && at < prekeysHeader:
			want = ErrWrongKey
		}
		if !errors.Is(err, want) {
			t.Errorf("byte %d changed: %v, want %v", at, err, want)
		}
	}
	for n := range whole {
		if err := os.WriteFile(p.path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openPrekeys(dir, testKey(1), files{}); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v, want ErrDamaged", n, err)
		}
	}
}

func TestPrekeysRedact(t *testing.T) {
	k := Prekey{Number: 5, Private: Private(bytes.Repeat([]byte("s"), 32))}
	p := MemoryPrekeys()
	if err := p.Replace([]Prekey{k}); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		fmt.Fprintf(&out, verb+"\n"+verb+"\n"+verb+"\n"+verb+"\n", k, &k, k.Private, p)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("key", "prekey", k, "private", k.Private, "prekeys", p, "list", p.All())
	}
	if err := json.NewEncoder(&out).Encode([]any{k, k.Private, p}); err != nil {
		t.Fatal(err)
	}
	text := strings.ToLower(out.String())
	// Six bytes at least of hexadecimal: the time in a log can have two by chance.
	for _, secret := range []string{"ssss", "737373737373", "73, 73", "115 115", "115,115", "0x73, 0x73"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q shows in:\n%s", secret, text)
		}
	}
	if !strings.Contains(text, redacted) {
		t.Error("nothing was printed")
	}
}
