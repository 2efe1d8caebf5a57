package crypto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"filippo.io/edwards25519"
)

// smallOrder are all points of small order in their canonical encodings.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}

func TestSmallOrderRefused(t *testing.T) {
	own := NewIdentity()
	for _, s := range smallOrder {
		id := ID(unhex(t, s))
		p, err := edwards25519.NewIdentityPoint().SetBytes(id[:])
		if err != nil || edwards25519.NewIdentityPoint().MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) != 1 {
			t.Fatalf("%s is not a point of small order", s)
		}
		refused(t, own, id)
	}
}

// TestMixedOrderRefused adds each point of small order to good keys.
func TestMixedOrderRefused(t *testing.T) {
	own := NewIdentity()
	for range 4 {
		good := NewIdentity().ID()
		if err := good.Valid(); err != nil {
			t.Fatalf("a good key: %v", err)
		}
		p, err := edwards25519.NewIdentityPoint().SetBytes(good[:])
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range smallOrder[1:] {
			q, err := edwards25519.NewIdentityPoint().SetBytes(unhex(t, s))
			if err != nil {
				t.Fatal(err)
			}
			refused(t, own, ID(q.Add(q, p).Bytes()))
		}
	}
}

// TestNonCanonicalRefused tries every encoding with y of p or more, and zero
// x with a sign bit: whichever the decoder takes for a point must be refused.
func TestNonCanonicalRefused(t *testing.T) {
	own := NewIdentity()
	var points int
	for n := range byte(19) {
		for _, sign := range []byte{0, 0x80} {
			id := ID(bytes.Repeat([]byte{0xff}, 32))
			id[0], id[31] = 0xed+n, 0x7f|sign
			refused(t, own, id)
			if _, err := edwards25519.NewIdentityPoint().SetBytes(id[:]); err != nil {
				continue
			}
			// As it happens none of these points has prime order, so that the
			// check of the order refuses them too: look for the reason.
			points++
			if err := id.Valid(); err == nil || !strings.Contains(err.Error(), "not canonical") {
				t.Errorf("%x: got %v, want the encoding as the reason", id[:], err)
			}
		}
	}
	if points == 0 {
		t.Error("the decoder took none of them for a point: the check of the encoding guards nothing")
	}
	refused(t, own, ID{0: 1, 31: 0x80})
	refused(t, own, ID(unhex(t, "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")))
}

func refused(t *testing.T, own *Identity, id ID) {
	t.Helper()
	if err := id.Valid(); !errors.Is(err, ErrKey) {
		t.Errorf("Valid of %x: got %v, want ErrKey", id[:], err)
	}
	if _, err := ParseID(id.String()); !errors.Is(err, ErrKey) {
		t.Errorf("ParseID of %x: got %v, want ErrKey", id[:], err)
	}
	if _, err := ParseDIDKey(id.DIDKey()); !errors.Is(err, ErrKey) {
		t.Errorf("ParseDIDKey of %x: got %v, want ErrKey", id[:], err)
	}
	if _, err := ParseAddress(Address{ID: id, Nospam: Nospam{1}}.String()); !errors.Is(err, ErrKey) {
		t.Errorf("ParseAddress of %x: got %v, want ErrKey", id[:], err)
	}
	if _, err := own.Pair(id); !errors.Is(err, ErrKey) {
		t.Errorf("Pair with %x: got %v, want ErrKey", id[:], err)
	}
	if _, err := id.Seal(nil, nil, nil); !errors.Is(err, ErrKey) {
		t.Errorf("Seal to %x: got %v, want ErrKey", id[:], err)
	}
}

// TestSmallOrderSignature makes the signature that anybody can make for the
// neutral element: S = 0 and R the neutral element solve [S]B = R + [k]A.
// Package ed25519 accepts it; a transcript must not.
func TestSmallOrderSignature(t *testing.T) {
	tr := Transcript{Type: "state", From: ID{0: 1}, Body: []byte("anything")}
	var s Signature
	s[0] = 1
	if !ed25519.Verify(tr.From[:], tr.bytes(), s[:]) {
		t.Fatal("package ed25519 refuses it by itself: choose another forgery")
	}
	if tr.Verify(s) {
		t.Error("a signature by nobody verifies")
	}
}

// TestMixedOrderSignature signs with a good key for its public key plus a
// point of small order: one secret must not speak for several IDs.
func TestMixedOrderSignature(t *testing.T) {
	i := NewIdentity()
	p, err := edwards25519.NewIdentityPoint().SetBytes(i.id[:])
	if err != nil {
		t.Fatal(err)
	}
	low, err := edwards25519.NewIdentityPoint().SetBytes(unhex(t, smallOrder[1])) // order 2
	if err != nil {
		t.Fatal(err)
	}
	mixed := ID(p.Add(p, low).Bytes())
	h := sha512.Sum512(i.InsecureSeed())
	a, err := edwards25519.NewScalar().SetBytesWithClamping(h[:32])
	if err != nil {
		t.Fatal(err)
	}
	r, err := edwards25519.NewScalar().SetUniformBytes(bytes.Repeat([]byte{9}, 64))
	if err != nil {
		t.Fatal(err)
	}
	forged := false
	for n := range byte(64) { // every second k is even, and then [k] of the low point vanishes
		tr := Transcript{Type: "state", From: mixed, Body: []byte{n}}
		R := edwards25519.NewIdentityPoint().ScalarBaseMult(r).Bytes()
		hash := sha512.Sum512(append(append(bytes.Clone(R), mixed[:]...), tr.bytes()...))
		k, err := edwards25519.NewScalar().SetUniformBytes(hash[:])
		if err != nil {
			t.Fatal(err)
		}
		s := Signature(append(R, edwards25519.NewScalar().MultiplyAdd(k, a, r).Bytes()...))
		forged = forged || ed25519.Verify(mixed[:], tr.bytes(), s[:])
		if tr.Verify(s) {
			t.Fatal("a signature for a key of mixed order verifies")
		}
	}
	if !forged {
		t.Error("package ed25519 accepted none: the forgery is wrong")
	}
}

func TestIDText(t *testing.T) {
	id := NewIdentity().ID()
	type doc struct {
		ID   ID
		Addr Address
	}
	for _, want := range []doc{{}, {ID: id, Addr: Address{ID: id, Nospam: NewNospam()}}} {
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := doc{ID: id, Addr: Address{Nospam: Nospam{9}}} // must be overwritten
		if err := json.Unmarshal(b, &got); err != nil || got != want {
			t.Errorf("through %s: got %v, %v", b, got, err)
		}
	}
	var got doc
	if err := json.Unmarshal([]byte(`{"ID":"0"}`), &got); !errors.Is(err, ErrBase58) {
		t.Errorf("ID 0: got %v, want ErrBase58", err)
	}
	if err := json.Unmarshal([]byte(`{"Addr":"22"}`), &got); !errors.Is(err, ErrLength) {
		t.Errorf("address 22: got %v, want ErrLength", err)
	}
}

// TestIDLowestKeys: keys with leading zero bytes keep their length in base58.
func TestIDLowestKeys(t *testing.T) {
	var found int
	for y := range 2000 {
		id := ID{30: byte(y >> 8), 31: byte(y) & 0x7f}
		if id.Valid() != nil {
			continue
		}
		found++
		if got, err := ParseID(id.String()); err != nil || got != id {
			t.Errorf("%x: got %x, %v", id[:], got[:], err)
		}
		a := Address{ID: id}
		if got, err := ParseAddress(a.String()); err != nil || got != a {
			t.Errorf("address of %x: got %v, %v", id[:], got, err)
		}
	}
	if found == 0 {
		t.Error("no valid key with leading zeros found")
	}
}

func TestIDOrder(t *testing.T) {
	a, b := ID{1}, ID{2}
	if a.Compare(b) != -1 || b.Compare(a) != 1 || a.Compare(a) != 0 {
		t.Error("IDs are not ordered by their bytes")
	}
	if !(ID{}).IsZero() || a.IsZero() {
		t.Error("IsZero")
	}
	b2 := a.Bytes()
	b2[0] = 9
	if a[0] != 1 {
		t.Error("Bytes is not a copy")
	}
	if got := hex.EncodeToString(a.Bytes()[:1]); got != "01" {
		t.Errorf("Bytes: got %s", got)
	}
}

// TestParseLength: decoding is quadratic, so long texts are not decoded.
func TestParseLength(t *testing.T) {
	long := string(bytes.Repeat([]byte("z"), 10<<20))
	for _, parse := range []func(string) error{
		func(s string) error { _, err := ParseID(s); return err },
		func(s string) error { _, err := ParseAddress(s); return err },
		func(s string) error { _, err := ParseDIDKey(didPrefix + s); return err },
	} {
		if err := parse(long); !errors.Is(err, ErrLength) {
			t.Errorf("got %v, want ErrLength", err)
		}
	}
	// The bound lets the longest text of every size through.
	for n := 1; n < 64; n++ {
		if s := base58Max(n); len(s) > maxBase58(n) {
			t.Errorf("%d bytes take %d characters, the bound is %d", n, len(s), maxBase58(n))
		}
	}
}
