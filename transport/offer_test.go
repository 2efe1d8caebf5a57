package transport

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
)

func testAddr(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 6881)
}

// TestAttemptDigest: both sides come to the same, and nobody else does.
func TestAttemptDigest(t *testing.T) {
	a := linkEnd{crypto.ID{1}, crypto.Incarnation{Created: 1, Random: 2}, []byte("offer of a")}
	b := linkEnd{crypto.ID{2}, crypto.Incarnation{Created: 3, Random: 4}, []byte("offer of b")}
	want := attemptDigest(a, b)
	if got := attemptDigest(b, a); got != want {
		t.Error("the two sides differ")
	}
	// The middle is a friend of both and shows each the offer of the other as his own.
	middle := crypto.ID{3}
	left, right := attemptDigest(a, linkEnd{middle, b.Incarnation, b.Offer}), attemptDigest(linkEnd{middle, a.Incarnation, a.Offer}, b)
	seen := map[[32]byte]string{want: "the honest one"}
	for _, c := range []struct {
		what string
		got  [32]byte
	}{
		{"spliced, left", left},
		{"spliced, right", right},
		{"another incarnation", attemptDigest(linkEnd{a.ID, crypto.Incarnation{Created: 1, Random: 3}, a.Offer}, b)},
		{"another offer", attemptDigest(linkEnd{a.ID, a.Incarnation, []byte("offer of A")}, b)},
		{"a byte moved over", attemptDigest(linkEnd{a.ID, a.Incarnation, []byte("offer of ab")}, b)},
		{"offers exchanged", attemptDigest(linkEnd{a.ID, a.Incarnation, b.Offer}, linkEnd{b.ID, b.Incarnation, a.Offer})},
		{"a restart", restartDigest(attemptID{1}, a.ID, b.ID, signedOffer{Incarnation: a.Incarnation, Bytes: a.Offer})},
		{"a restart from the other", restartDigest(attemptID{1}, b.ID, a.ID, signedOffer{Incarnation: a.Incarnation, Bytes: a.Offer})},
		{"a restart of another link", restartDigest(attemptID{2}, a.ID, b.ID, signedOffer{Incarnation: a.Incarnation, Bytes: a.Offer})},
	} {
		if other, ok := seen[c.got]; ok {
			t.Errorf("%s has the digest of %s", c.what, other)
		}
		seen[c.got] = c.what
	}
}

// TestSplice: a friend of both passes one friend's offers on to the other, as
// they are, in envelopes of his own. Both answer him; their attempts differ.
func TestSplice(t *testing.T) {
	now := time.Unix(1700000000, 0)
	a, b, middle := crypto.ID{1}, crypto.ID{2}, crypto.ID{3}
	left := newPairing(pairingConfig{Self: a, Peer: middle, Start: 1})
	right := newPairing(pairingConfig{Self: b, Peer: middle, Start: 2})
	left.want(now)
	offer := left.take().Publish
	if err := right.received(now, offer.Incarnation, offer.Bytes); err != nil {
		t.Fatal(err)
	}
	out := right.take()
	if err := left.received(now, out.Publish.Incarnation, out.Publish.Bytes); err != nil {
		t.Fatal(err)
	}
	l, r := left.take().Start, out.Start
	if len(l) != 1 || len(r) != 1 || l[0].ID == r[0].ID {
		t.Errorf("attempts %+v and %+v, want one each, of different IDs", l, r)
	}
}

// TestRestartCredentials: all four of a restart differ, and so do those of
// another generation or link.
func TestRestartCredentials(t *testing.T) {
	seen := map[credentials]bool{}
	secrets := [][]byte{bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)}
	for _, secret := range secrets {
		for generation := range uint64(3) {
			for _, offerer := range []direction{fromLower, fromHigher} {
				for _, side := range []direction{fromLower, fromHigher} {
					c := restartICE(secret, generation, offerer, side)
					if seen[c] || len(c.Ufrag) != 8 || len(c.Password) != 24 {
						t.Errorf("%d, %d, %d: %q, %q", generation, offerer, side, c.Ufrag, c.Password)
					}
					seen[c] = true
					if text := fmt.Sprintf("%v %+v %#v", c, attemptSpec{LocalICE: c}, &c); bytes.Contains([]byte(text), []byte(c.Password)) {
						t.Errorf("printed as %s", text)
					}
				}
			}
		}
	}
	// A vector for other implementations: the figures of docs/SPEC.md.
	c := restartICE(restartSecret(secrets[0]), 1700000000000, fromLower, fromHigher)
	if got, want := c.Ufrag+" "+c.Password, "BPAB4AZC hh1SJ6aHt2megp2WG1lhi4Ko"; got != want {
		t.Errorf("credentials %q, want %q", got, want)
	}
}

// TestCertificate: it verifies itself and says nothing of its owner or the time.
func TestCertificate(t *testing.T) {
	c, d := newCertificate(), newCertificate()
	if fingerprint(c) == fingerprint(d) {
		t.Error("two certificates of one key")
	}
	x, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := x.CheckSignature(x.SignatureAlgorithm, x.RawTBSCertificate, x.Signature); err != nil {
		t.Error(err)
	}
	if x.Subject.String() != "" || x.Issuer.String() != "" || len(x.Extensions) != 0 || !x.NotBefore.Equal(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("certificate of %q by %q from %v, extensions %v", x.Subject, x.Issuer, x.NotBefore, x.Extensions)
	}
}
