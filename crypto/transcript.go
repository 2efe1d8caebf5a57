package crypto

import (
	"crypto/ed25519"
	"encoding/binary"
)

// A Signature is an Ed25519 signature over a [Transcript].
type Signature [ed25519.SignatureSize]byte

// A Transcript is all that a signature speaks for: what kind of statement it
// is, from whom and to whom, in which incarnation and version, and its body.
// A statement cannot be shown to anybody else, or as one of another kind.
//
// What is signed is the sequence of "carrier/1 signed", Type, From, To,
// Created (8), Random (8), Version (8) and Body, each field after its length
// as 4 big-endian bytes.
type Transcript struct {
	Type        string
	From, To    ID
	Incarnation Incarnation
	Version     uint64
	Body        []byte
}

const transcriptLabel = "carrier/1 signed"

// Sign signs the transcript. It panics unless t.From is i's ID: to sign in
// another's name is a fault in the program.
func (i *Identity) Sign(t Transcript) Signature {
	if t.From != i.id {
		panic("crypto: sign: the transcript is from another identity")
	}
	return Signature(ed25519.Sign(i.reveal().signing, t.bytes()))
}

// Verify reports whether s is From's signature over the transcript, and From
// a valid ID ([ID.Valid]).
func (t Transcript) Verify(s Signature) bool {
	// The signature first, so that forgeries cost one check and not two. The
	// check of the ID cannot be left out: anybody can sign for a point of
	// small order.
	return t.verify(s) && t.From.Valid() == nil
}

// Verify reports whether s is the friend's signature over the transcript, as
// [Transcript.Verify] does, at half the cost: the friend's ID was checked when
// the pair was made.
func (p *Pair) Verify(t Transcript, s Signature) bool {
	return t.From == p.friend && t.verify(s)
}

func (t Transcript) verify(s Signature) bool {
	return ed25519.Verify(t.From[:], t.bytes(), s[:])
}

func (t Transcript) bytes() []byte {
	const fixed = 8*4 + len(transcriptLabel) + 2*len(ID{}) + 3*8
	b := make([]byte, 0, fixed+len(t.Type)+len(t.Body))
	field := func(f []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	number := func(n uint64) { field(binary.BigEndian.AppendUint64(nil, n)) }
	field([]byte(transcriptLabel))
	field([]byte(t.Type))
	field(t.From[:])
	field(t.To[:])
	number(uint64(t.Incarnation.Created))
	number(t.Incarnation.Random)
	number(t.Version)
	field(t.Body)
	return b
}
