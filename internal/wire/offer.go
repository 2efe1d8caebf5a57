package wire

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
)

// MaxCandidates is the number of candidates that an offer may have.
const MaxCandidates = 8

// OfferID names an offer among those of one node to one friend; zeros name none.
type OfferID [8]byte

// LinkID names a link: it is the ID of the attempt that made it. Zeros name none.
type LinkID [8]byte

// OfferKind is what an offer is for.
type OfferKind uint8

// The kinds of offers.
const (
	OfferNew     OfferKind = 1 // a new link
	OfferRestart OfferKind = 2 // new paths for a link that both still have
)

// CandidateType is how an address came to be a node's own (RFC 8445 section 5.1.1).
type CandidateType uint8

// The types of candidates.
const (
	CandidateHost            CandidateType = 1 // of an interface
	CandidateServerReflexive CandidateType = 2 // as others see it
	CandidateRelayed         CandidateType = 3 // of a TURN server
)

// A Candidate is an address at which the writer of an offer may be reached,
// by UDP. It is a claim.
type Candidate struct {
	Type CandidateType
	Addr netip.AddrPort
}

// OfferPassword is the password of an offer's ICE checks. It prints and logs
// as "[redacted]".
type OfferPassword [18]byte

const redacted = "[redacted]"

// Format implements [fmt.Formatter]: every verb prints "[redacted]".
func (OfferPassword) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer]: the value logs as "[redacted]".
func (OfferPassword) LogValue() slog.Value { return slog.StringValue(redacted) }

// Offer is what a friend needs to make a link with us, or to find new paths
// for one. It goes in a state record, which is signed for that friend.
type Offer struct {
	Kind        OfferKind
	Generation  uint64  // rising, at least 1
	ID          OfferID // random
	Re          OfferID // the newest offer of the reader that the writer knows; zeros: none
	Start       uint64  // nonce of the writer's present run
	Ufrag       [6]byte
	Password    OfferPassword
	Fingerprint [32]byte // SHA-256 of the certificate of the handshake
	Link        LinkID   // the last link that the writer has had in this run; zeros: none. A restart is for it
	Candidates  []Candidate
}

// ICEUfrag returns the user name fragment as ICE writes it: base64, whose
// characters are those that RFC 8839 section 5.4 allows.
func (x *Offer) ICEUfrag() string { return base64.RawStdEncoding.EncodeToString(x.Ufrag[:]) }

// ICEPassword returns the password as ICE writes it, in base64.
func (x *Offer) ICEPassword() string { return base64.RawStdEncoding.EncodeToString(x.Password[:]) }

// Priority returns the ICE priority of candidate i, which is not sent: the
// recommended preference of its type, and within it the order in the offer
// (RFC 8445 section 5.1.2). The component is 1.
func (x *Offer) Priority(i int) uint32 {
	var preference uint32
	switch x.Candidates[i].Type {
	case CandidateHost:
		preference = 126
	case CandidateServerReflexive:
		preference = 100
	case CandidateRelayed: // 0
	}
	return preference<<24 | uint32(math.MaxUint16-i)<<8 | 255
}

// AppendOffer appends the encoded offer, 98 to 258 bytes:
//
//	 0   1  kind: 1 new link, 2 restart
//	 1   8  generation, at least 1
//	 9   8  id, not 0
//	17   8  re, or zeros
//	25   8  start
//	33   6  ICE user name fragment
//	39  18  ICE password
//	57  32  fingerprint
//	89   8  link, or zeros; not 0 in a restart
//	97   1  count of candidates, at most 8
//	98   …  candidates: type 1, address 7 or 19
//
// It panics if a candidate has no address.
func AppendOffer(dst []byte, x *Offer) []byte {
	dst = AppendUint8(dst, uint8(x.Kind))
	dst = AppendUint64(dst, x.Generation)
	dst = append(dst, x.ID[:]...)
	dst = append(dst, x.Re[:]...)
	dst = AppendUint64(dst, x.Start)
	dst = append(dst, x.Ufrag[:]...)
	dst = append(dst, x.Password[:]...)
	dst = append(dst, x.Fingerprint[:]...)
	dst = append(dst, x.Link[:]...)
	dst = AppendUint8(dst, uint8(length(len(x.Candidates), MaxCandidates)))
	for _, c := range x.Candidates {
		if !c.Addr.IsValid() {
			panic("wire: a candidate without an address")
		}
		dst = AppendAddrPort(AppendUint8(dst, uint8(c.Type)), c.Addr)
	}
	return dst
}

// ParseOffer decodes what AppendOffer writes.
func ParseOffer(b []byte) (*Offer, error) {
	r := NewReader(b)
	x := &Offer{Kind: OfferKind(r.Uint8()), Generation: r.Uint64()}
	r.Fill(x.ID[:])
	r.Fill(x.Re[:])
	x.Start = r.Uint64()
	r.Fill(x.Ufrag[:])
	r.Fill(x.Password[:])
	r.Fill(x.Fingerprint[:])
	r.Fill(x.Link[:])
	for range r.Count(MaxCandidates) {
		c := Candidate{Type: CandidateType(r.Uint8()), Addr: r.AddrPort()}
		r.check(c.Type >= CandidateHost && c.Type <= CandidateRelayed, "candidate type")
		r.check(c.Addr.IsValid(), "candidate without an address")
		x.Candidates = append(x.Candidates, c)
	}
	r.check(x.Kind == OfferNew || x.Kind == OfferRestart, "kind of offer")
	r.check(x.Generation != 0, "generation 0")
	r.check(x.ID != OfferID{}, "offer without an ID")
	r.check(x.Link != LinkID{} || x.Kind != OfferRestart, "restart of no link")
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}
