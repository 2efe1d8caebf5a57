package decoder

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"slices"
)

// Offer is half of what begins a link, or the whole of a restart.
type Offer struct {
	Kind        uint8       `json:"kind,string"`
	Generation  uint64      `json:"generation,string"`
	ID          Hex         `json:"id"`
	Re          Hex         `json:"re"`
	Start       uint64      `json:"start,string"`
	Ufrag       Hex         `json:"ufrag"`
	Password    Hex         `json:"password"`
	Fingerprint Hex         `json:"fingerprint"`
	Link        Hex         `json:"link"`
	Candidates  []Candidate `json:"candidates"`
}

// Candidate is an address of an offer.
type Candidate struct {
	Type uint8          `json:"type,string"`
	Addr netip.AddrPort `json:"addr"`
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func readOffer(r *reader) *Offer {
	o := &Offer{Kind: r.u8(), Candidates: []Candidate{}}
	r.must(o.Kind == 1 || o.Kind == 2)
	o.Generation = r.u64()
	r.must(o.Generation >= 1)
	o.ID = r.take(8)
	r.must(!zero(o.ID))
	o.Re, o.Start = r.take(8), r.u64()
	o.Ufrag, o.Password, o.Fingerprint = r.take(6), r.take(18), r.take(32)
	o.Link = r.take(8)
	r.must(o.Kind == 1 || !zero(o.Link))
	n := r.u8()
	r.must(n <= 8)
	for i := uint8(0); i < n && r.err == nil; i++ {
		t := r.u8()
		r.must(t >= 1 && t <= 3)
		o.Candidates = append(o.Candidates, Candidate{Type: t, Addr: r.endpoint()})
	}
	return o
}

// signedOffer is the incarnation of the state and the bytes of the offer in it.
func signedOffer(in Incarnation, offer []byte) []byte {
	return slices.Concat(be64(in.Created), be64(in.Random), offer)
}

// AttemptID is the ID of the attempt of a pair of signed offers, and of its link.
func AttemptID(lower, higher ID, lowerOffer, higherOffer []byte) []byte {
	sum := sha256.Sum256(counted([]byte("carrier/1 attempt"), lower[:], higher[:], lowerOffer, higherOffer))
	return sum[:8]
}

// RestartID is the ID of the attempt of a signed offer of kind 2.
func RestartID(link []byte, writer, reader ID, offer []byte) []byte {
	sum := sha256.Sum256(counted([]byte("carrier/1 restart"), link, writer[:], reader[:], offer))
	return sum[:8]
}

// RestartSecret derives the secret of a link's restarts from its master secret.
func RestartSecret(master []byte) []byte { return expand(master, 32, []byte("carrier/1 restart")) }

// RestartCredentials are those of a side, 0 the lower ID, in the restart that an
// offerer asks for: user name fragment and password as ICE has them.
func RestartCredentials(secret []byte, generation uint64, offerer, side byte) (ufrag, password string) {
	b := expand(secret, 24, []byte("carrier/1 ice"), be64(generation), []byte{offerer, side})
	return base64.StdEncoding.EncodeToString(b[:6]), base64.StdEncoding.EncodeToString(b[6:])
}

// credentials are those of an offer's writer as ICE has them.
func (o *Offer) credentials() (ufrag, password string) {
	return base64.StdEncoding.EncodeToString(o.Ufrag), base64.StdEncoding.EncodeToString(o.Password)
}
