package crypto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/crypto/curve25519"
)

func TestPairSelf(t *testing.T) {
	i := NewIdentity()
	if _, err := i.Pair(i.ID()); !errors.Is(err, ErrSelf) {
		t.Errorf("got %v, want ErrSelf", err)
	}
}

// TestPairBothEnds: what one end derives for Out, the other does for In.
func TestPairBothEnds(t *testing.T) {
	for range 8 { // so that either is the lower one
		a, b := NewIdentity(), NewIdentity()
		ab, ba := pairOf(t, a, b), pairOf(t, b, a)
		if ab.Friend() != b.ID() || ba.Friend() != a.ID() {
			t.Fatal("Friend is not the friend")
		}
		for _, d := range []struct{ a, b Direction }{{Out, In}, {In, Out}} {
			if !ab.Slot(d.a, 7).Equal(ba.Slot(d.b, 7)) {
				t.Errorf("slot keys of direction %d differ", d.a)
			}
			if !ab.Key(d.a, 7).Equal(ba.Key(d.b, 7)) {
				t.Errorf("pair keys of direction %d differ", d.a)
			}
			if ab.Tag(d.a, 7) != ba.Tag(d.b, 7) {
				t.Errorf("tags of direction %d differ", d.a)
			}
		}
	}
}

// TestPairSeparation: every purpose, direction, epoch and pair gives another
// value, and no shorter one is the beginning of a longer.
func TestPairSeparation(t *testing.T) {
	a, b, c := NewIdentity(), NewIdentity(), NewIdentity()
	seen := map[string]string{}
	add := func(what string, value []byte) {
		t.Helper()
		if was, ok := seen[string(value[:8])]; ok {
			t.Errorf("%s is the same as %s", what, was)
		}
		seen[string(value[:8])] = what
	}
	for name, p := range map[string]*Pair{"ab": pairOf(t, a, b), "ac": pairOf(t, a, c), "bc": pairOf(t, b, c)} {
		for _, d := range []Direction{Out, In} {
			for _, e := range []Epoch{0, 1, 256, 1 << 24, 1<<32 - 1} {
				slot := p.Slot(d, e)
				add(name+" seed", slot.Seed())
				add(name+" slot", slot.Public().(ed25519.PublicKey))
				add(name+" key", p.Key(d, e).InsecureBytes())
				tag := p.Tag(d, e)
				add(name+" tag", tag[:])
			}
		}
	}
	if len(seen) != 3*2*5*4 {
		t.Errorf("%d values, want %d", len(seen), 3*2*5*4)
	}
}

// TestDerivationByHand derives again from the text of the package comment,
// with HMAC alone.
func TestDerivationByHand(t *testing.T) {
	mac := func(key []byte, parts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	be := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	one := []byte{1}

	low, high := NewIdentity(), NewIdentity()
	if low.ID().Compare(high.ID()) > 0 {
		low, high = high, low
	}
	u, err := high.ID().montgomery()
	if err != nil {
		t.Fatal(err)
	}
	shared, err := curve25519.X25519(low.reveal().agree.Bytes(), u)
	if err != nil {
		t.Fatal(err)
	}
	prk := mac(append(append([]byte("carrier/1 pair"), low.id[:]...), high.id[:]...), shared)
	p := pairOf(t, low, high)
	for way, d := range []Direction{Out, In} {
		b := []byte{byte(way)}
		if want := mac(prk, []byte("carrier/1 slot"), b, be(9), one); !bytes.Equal(p.Slot(d, 9).Seed(), want) {
			t.Errorf("slot of direction %d", d)
		}
		if want := mac(prk, []byte("carrier/1 key"), b, be(9), one); !bytes.Equal(p.Key(d, 9).InsecureBytes(), want) {
			t.Errorf("key of direction %d", d)
		}
		if want := mac(prk, []byte("carrier/1 tag"), b, be(9), one)[:8]; p.Tag(d, 9) != Tag(want) {
			t.Errorf("tag of direction %d", d)
		}
	}

	a := Address{ID: low.ID(), Nospam: NewNospam()}
	prk = mac([]byte("carrier/1 address"), a.ID[:], a.Nospam[:])
	if want := mac(prk, []byte("carrier/1 request slot"), be(5), be(77), one); !bytes.Equal(a.RequestSlot(5, 77).Seed(), want) {
		t.Error("request slot")
	}
	if want := mac(prk, []byte("carrier/1 request bell"), be(5), one)[:20]; a.RequestBell(5) != [20]byte(want) {
		t.Error("request bell")
	}
}

// TestRequestSeparation: nospam, day and bucket each change what a request
// stands under.
func TestRequestSeparation(t *testing.T) {
	a := Address{ID: NewIdentity().ID(), Nospam: NewNospam()}
	renewed := Address{ID: a.ID, Nospam: NewNospam()}
	seen := map[string]bool{}
	for _, x := range []Address{a, renewed} {
		for _, day := range []Epoch{1, 2} {
			bell := x.RequestBell(day)
			seen[string(bell[:])] = true
			for _, bucket := range []uint32{1, 2, RandomBuckets, FirstFixedBucket} {
				seen[string(x.RequestSlot(day, bucket).Seed()[:20])] = true
			}
		}
	}
	if want := 2 * 2 * 5; len(seen) != want {
		t.Errorf("%d different values, want %d", len(seen), want)
	}
}

func TestFixedBucket(t *testing.T) {
	seen := map[uint32]bool{}
	for n := range 256 {
		b := FixedBucket(ID{byte(n)})
		if b < FirstFixedBucket || b >= FirstFixedBucket+FixedBuckets {
			t.Fatalf("bucket %d of first byte %d", b, n)
		}
		seen[b] = true
	}
	if len(seen) != FixedBuckets {
		t.Errorf("%d buckets used, want %d", len(seen), FixedBuckets)
	}
}

func pairOf(t testing.TB, own, friend *Identity) *Pair {
	t.Helper()
	p, err := own.Pair(friend.ID())
	if err != nil {
		t.Fatal(err)
	}
	return p
}
