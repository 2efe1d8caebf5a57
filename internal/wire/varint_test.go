package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

// TestVarint has the samples of RFC 9000, appendix A.1, and the last number
// of each length with the first of the next.
func TestVarint(t *testing.T) {
	for _, c := range []struct {
		v    uint64
		want string
	}{
		{151288809941952652, "c2197c5eff14e88c"},
		{494878333, "9d7f3e7d"},
		{15293, "7bbd"},
		{37, "25"},
		{0, "00"},
		{1<<6 - 1, "3f"},
		{1 << 6, "4040"},
		{1<<14 - 1, "7fff"},
		{1 << 14, "80004000"},
		{1<<30 - 1, "bfffffff"},
		{1 << 30, "c000000040000000"},
		{MaxVarint, "ffffffffffffffff"},
	} {
		b := AppendVarint([]byte("dst"), c.v)
		if got := hex.EncodeToString(b[3:]); string(b[:3]) != "dst" || got != c.want {
			t.Errorf("%d: got %s, want %s", c.v, got, c.want)
		}
		if got, want := VarintLen(c.v), len(c.want)/2; got != want {
			t.Errorf("%d: length %d, want %d", c.v, got, want)
		}
		v, rest, err := ParseVarint(append(b[3:], "rest"...))
		if v != c.v || string(rest) != "rest" || err != nil {
			t.Errorf("%s: got %d, %q, %v", c.want, v, rest, err)
		}
		r := NewReader(append(b[3:], 9))
		if v, next, err := r.Varint(), r.Uint8(), r.Done(); v != c.v || next != 9 || err != nil {
			t.Errorf("%s: read as %d and %d, %v", c.want, v, next, err)
		}
		for n := range len(c.want) / 2 {
			if v, rest, err := ParseVarint(b[3 : 3+n]); v != 0 || rest != nil || !errors.Is(err, ErrShort) {
				t.Errorf("%s cut to %d: got %d, %q, %v", c.want, n, v, rest, err)
			}
		}
	}
}

// TestVarintShortest refuses numbers that have a shorter form.
func TestVarintShortest(t *testing.T) {
	for _, in := range []string{
		"4000", "4025", "403f", "80000000", "8000003f", "80003fff",
		"c000000000000000", "c00000000000003f", "c000000000003fff", "c00000003fffffff",
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if v, rest, err := ParseVarint(b); v != 0 || rest != nil || !errors.Is(err, ErrValue) {
			t.Errorf("%s: got %d, %q, %v, want ErrValue", in, v, rest, err)
		}
		r := NewReader(bytes.Clone(b))
		if v, again := r.Varint(), r.Varint(); v != 0 || again != 0 || !errors.Is(r.Err(), ErrValue) {
			t.Errorf("%s: read as %d and %d, %v, want ErrValue", in, v, again, r.Err())
		}
	}
}
