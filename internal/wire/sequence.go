package wire

import (
	"encoding/hex"

	"github.com/gocarrier/carrier/crypto"
)

// A MessageID is drawn at random when a message is sent, and stays its name
// on both nodes.
type MessageID [16]byte

// String returns the ID in hexadecimal.
func (id MessageID) String() string { return hex.EncodeToString(id[:]) }

// A Sequence is one numbering of the mail from one store to one friend.
// Numbers in it start at 1.
type Sequence struct {
	Incarnation crypto.Incarnation
	Counter     uint32
}

// sequenceSize is the length of an encoded sequence:
//
//	 0  16  incarnation: created (8), random (8)
//	16   4  counter
const sequenceSize = 20

// AppendSequence appends the encoded sequence, 20 bytes.
func AppendSequence(dst []byte, s Sequence) []byte {
	return AppendUint32(AppendIncarnation(dst, s.Incarnation), s.Counter)
}

// ParseSequence decodes what AppendSequence writes.
func ParseSequence(b []byte) (Sequence, error) {
	r := NewReader(b)
	s := r.Sequence()
	return s, r.Done()
}

// Sequence reads a sequence.
func (r *Reader) Sequence() Sequence {
	return Sequence{Incarnation: r.Incarnation(), Counter: r.Uint32()}
}

// Range is From to To, both included.
type Range struct{ From, To uint64 }

// AppendRange appends From (8) and To (8). A receipt writes its ranges
// shorter, by their distance from its number.
func AppendRange(dst []byte, x Range) []byte {
	return AppendUint64(AppendUint64(dst, x.From), x.To)
}

// ParseRange decodes what AppendRange writes. A range that ends before it
// begins is an error.
func ParseRange(b []byte) (Range, error) {
	r := NewReader(b)
	x := r.Range()
	return x, r.Done()
}

// Range reads a range, which must not end before it begins.
func (r *Reader) Range() Range {
	x := Range{From: r.Uint64(), To: r.Uint64()}
	r.check(x.From <= x.To, "range ends before it begins")
	return x
}
