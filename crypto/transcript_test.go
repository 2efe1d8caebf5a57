package crypto

import (
	"errors"
	"math/big"
	"slices"
	"testing"
)

func sampleTranscript(from, to ID) Transcript {
	return Transcript{
		Type: "state", From: from, To: to, Incarnation: Incarnation{Created: 1, Random: 2}, Version: 3, Body: []byte("body"),
	}
}

// TestTranscriptFields: a signature speaks for every field.
func TestTranscriptFields(t *testing.T) {
	me, you, other := NewIdentity(), NewIdentity(), NewIdentity()
	tr := sampleTranscript(me.ID(), you.ID())
	s := me.Sign(tr)
	pair := pairOf(t, you, me)
	verifiers := map[string]func(Transcript, Signature) bool{"by the ID": Transcript.Verify, "by the pair": pair.Verify}
	for name, verify := range verifiers {
		if !verify(tr, s) {
			t.Fatalf("a good signature does not verify %s", name)
		}
	}
	if own := sampleTranscript(you.ID(), me.ID()); pair.Verify(own, you.Sign(own)) {
		t.Error("the owner of a pair passes for the friend")
	}
	if third := sampleTranscript(other.ID(), you.ID()); pair.Verify(third, other.Sign(third)) {
		t.Error("a third one passes for the friend")
	}
	for name, change := range map[string]func(*Transcript){
		"type":         func(x *Transcript) { x.Type = "mail" },
		"type longer":  func(x *Transcript) { x.Type = "states" },
		"from":         func(x *Transcript) { x.From = other.ID() },
		"to":           func(x *Transcript) { x.To = other.ID() },
		"ends swapped": func(x *Transcript) { x.From, x.To = x.To, x.From },
		"created":      func(x *Transcript) { x.Incarnation.Created++ },
		"random":       func(x *Transcript) { x.Incarnation.Random++ },
		"version":      func(x *Transcript) { x.Version++ },
		"body":         func(x *Transcript) { x.Body = []byte("bodY") },
		"body longer":  func(x *Transcript) { x.Body = []byte("body\x00") },
		"body empty":   func(x *Transcript) { x.Body = nil },
	} {
		changed := tr
		change(&changed)
		for by, verify := range verifiers {
			if verify(changed, s) {
				t.Errorf("%s changed, and the signature still verifies %s", name, by)
			}
		}
	}
	for n := range s {
		bad := s
		bad[n] ^= 1
		for by, verify := range verifiers {
			if verify(tr, bad) {
				t.Errorf("byte %d of the signature changed, and it still verifies %s", n, by)
			}
		}
	}
}

// TestTranscriptBoundaries: bytes cannot move from one field to the next.
func TestTranscriptBoundaries(t *testing.T) {
	me := NewIdentity()
	a := Transcript{Type: "ab", From: me.ID(), Body: []byte("c")}
	b := Transcript{Type: "a", From: me.ID(), Body: []byte("bc")}
	if slices.Equal(a.bytes(), b.bytes()) {
		t.Error("two transcripts have the same bytes")
	}
}

// TestTranscriptMalleable: S plus the group order is another signature with
// the same equation; it must be refused.
func TestTranscriptMalleable(t *testing.T) {
	me := NewIdentity()
	tr := sampleTranscript(me.ID(), NewIdentity().ID())
	s := me.Sign(tr)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	le := slices.Clone(s[32:])
	slices.Reverse(le)
	sum := new(big.Int).Add(new(big.Int).SetBytes(le), order).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	copy(s[32:], sum)
	if tr.Verify(s) {
		t.Error("a second form of a signature verifies")
	}
}

// TestStolenKey: a thief of my key derives the pair keys of me and my friend,
// and can open and seal with them; but cannot say anything in the friend's
// name, to me or to others.
func TestStolenKey(t *testing.T) {
	me, friend := NewIdentity(), NewIdentity()
	stolen, err := IdentityFromSeed(me.InsecureSeed())
	if err != nil {
		t.Fatal(err)
	}
	thief, mine := pairOf(t, stolen, friend), pairOf(t, me, friend)
	sealed := thief.Key(In, 1).Seal(nil, nil, []byte("x"))
	if _, err := mine.Key(In, 1).Open(nil, nil, sealed); err != nil {
		t.Fatalf("the thief's seal does not open: %v", err)
	}
	tr := sampleTranscript(friend.ID(), me.ID())
	asMe := tr
	asMe.From = me.ID()
	if tr.Verify(stolen.Sign(asMe)) {
		t.Error("a signature by my key passes for my friend's")
	}
	defer func() {
		if recover() == nil {
			t.Error("Sign signs a transcript from somebody else")
		}
	}()
	stolen.Sign(tr)
}

func TestKeySeal(t *testing.T) {
	k := NewKey()
	ad, plaintext := []byte("ad"), []byte("plaintext")
	sealed := k.Seal([]byte("dst"), ad, plaintext)
	if string(sealed[:3]) != "dst" || len(sealed) != 3+len(plaintext)+KeyOverhead {
		t.Fatalf("sealed to %d bytes", len(sealed))
	}
	sealed = sealed[3:]
	got, err := k.Open([]byte("dst"), ad, sealed)
	if err != nil || string(got) != "dstplaintext" {
		t.Fatalf("got %q, %v", got, err)
	}
	if again := k.Seal(nil, ad, plaintext); slices.Equal(again, sealed) {
		t.Error("sealed twice to the same bytes")
	}
	fails := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrOpen) {
			t.Errorf("%s: got %v, want ErrOpen", what, err)
		}
	}
	for n := range sealed {
		bad := slices.Clone(sealed)
		bad[n] ^= 0x10
		_, err := k.Open(nil, ad, bad)
		fails("a changed byte", err)
		_, err = k.Open(nil, ad, sealed[:n])
		fails("cut off", err)
	}
	_, err = k.Open(nil, []byte("AD"), sealed)
	fails("other ad", err)
	_, err = NewKey().Open(nil, ad, sealed)
	fails("another key", err)
	_, err = Key{}.Open(nil, ad, sealed)
	fails("the zero key", err)
	_, err = Key{}.Open(nil, nil, nil)
	fails("nothing", err)
	defer func() {
		if recover() == nil {
			t.Error("the zero key seals")
		}
	}()
	Key{}.Seal(nil, nil, nil)
}

// TestHPKE seals to a prekey and to an identity.
func TestHPKE(t *testing.T) {
	prekey, identity := NewPrekey(), NewIdentity()
	info, ad, plaintext := []byte("info"), []byte("ad"), []byte("plaintext")
	for name, c := range map[string]struct {
		seal func(info, ad, plaintext []byte) ([]byte, error)
		open func(info, ad, sealed []byte) ([]byte, error)
	}{
		"prekey":   {prekey.Public().Seal, prekey.Open},
		"identity": {identity.ID().Seal, identity.Open},
	} {
		t.Run(name, func(t *testing.T) {
			sealed, err := c.seal(info, ad, plaintext)
			if err != nil || len(sealed) != len(plaintext)+HPKEOverhead {
				t.Fatalf("sealed to %d bytes, %v", len(sealed), err)
			}
			got, err := c.open(info, ad, sealed)
			if err != nil || string(got) != "plaintext" {
				t.Fatalf("got %q, %v", got, err)
			}
			for n := range sealed {
				bad := slices.Clone(sealed)
				bad[n] ^= 1
				if _, err := c.open(info, ad, bad); !errors.Is(err, ErrOpen) {
					t.Errorf("byte %d changed: got %v, want ErrOpen", n, err)
				}
				if _, err := c.open(info, ad, sealed[:n]); !errors.Is(err, ErrOpen) {
					t.Errorf("cut to %d: got %v, want ErrOpen", n, err)
				}
			}
			if _, err := c.open([]byte("x"), ad, sealed); !errors.Is(err, ErrOpen) {
				t.Errorf("other info: got %v", err)
			}
			if _, err := c.open(info, []byte("x"), sealed); !errors.Is(err, ErrOpen) {
				t.Errorf("other ad: got %v", err)
			}
			if _, err := NewPrekey().Open(info, ad, sealed); !errors.Is(err, ErrOpen) {
				t.Errorf("another prekey: got %v", err)
			}
			if _, err := NewIdentity().Open(info, ad, sealed); !errors.Is(err, ErrOpen) {
				t.Errorf("another identity: got %v", err)
			}
			// An encapsulated key of small order gives a shared secret of zero.
			if _, err := c.open(info, ad, make([]byte, len(sealed))); !errors.Is(err, ErrOpen) {
				t.Errorf("zero encapsulated key: got %v", err)
			}
		})
	}
	if _, err := (PrekeyPublic{}).Seal(nil, nil, nil); err == nil {
		t.Error("sealed to a prekey of small order")
	}
}
