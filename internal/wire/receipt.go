package wire

import "github.com/gocarrier/carrier/crypto"

// Receipt tells a sender what has been received for good of one sequence.
type Receipt struct {
	Sequence    Sequence
	Incarnation crypto.Incarnation // of the receiver's store
	Number      uint64             // all up to here are final
	Mark        [8]byte            // first bytes of the ID of message Number
	Known       uint16             // how many of the last up to Number it speaks for, at most 1,024
	Skipped     []Range            // of those the ones not delivered; rising, apart
	Fork        bool               // a number came back with another ID: begin a new sequence
}

// Bits of a receipt's flags.
const (
	receiptFork  = 1
	receiptKnown = 2 // known follows; else it is as large as it can be
)

// AppendReceipt appends the encoded receipt, at most 120 bytes:
//
//	 0  20  sequence
//	20  16  incarnation of the receiver's store
//	36   8  number
//	44   8  mark
//	52   1  flags: 1 fork, 2 known
//	53   1  count of skipped ranges, at most 16
//	54  4n  each: number − From (2), number − To (2), both below known
//	 …   2  with flag 2: known, less than 1,024 and number; else it is the lesser of them
//
// Ranges rise and are apart: at least one number lies between two of them. It
// panics if known and the ranges are not as the type says.
func AppendReceipt(dst []byte, x *Receipt) []byte {
	dst = AppendSequence(dst, x.Sequence)
	dst = AppendIncarnation(dst, x.Incarnation)
	dst = AppendUint64(dst, x.Number)
	dst = append(dst, x.Mark[:]...)
	var flags uint8
	if x.Fork {
		flags |= receiptFork
	}
	switch {
	case x.Known > x.mostKnown():
		panic("wire: a receipt speaks for more messages than there are")
	case x.Known < x.mostKnown():
		flags |= receiptKnown
	}
	dst = AppendUint8(dst, flags)
	dst = AppendUint8(dst, uint8(length(len(x.Skipped), MaxSkipped)))
	for i, s := range x.Skipped {
		if !x.skips(i) {
			panic("wire: skipped ranges of a receipt out of bounds or order")
		}
		dst = AppendUint16(dst, uint16(x.Number-s.From))
		dst = AppendUint16(dst, uint16(x.Number-s.To))
	}
	if flags&receiptKnown != 0 {
		dst = AppendUint16(dst, x.Known)
	}
	return dst
}

// ParseReceipt decodes what AppendReceipt writes.
func ParseReceipt(b []byte) (*Receipt, error) {
	r := NewReader(b)
	x := r.receipt()
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}

// mostKnown is for how many messages the receipt can speak at most.
func (x *Receipt) mostKnown() uint16 { return uint16(min(x.Number, InFlight)) }

// skips reports whether the i-th skipped range is within the numbers that the
// receipt speaks for, and above and apart from the one before it.
func (x *Receipt) skips(i int) bool {
	s := x.Skipped[i]
	within := s.From <= s.To && s.To <= x.Number && x.Number-s.From < uint64(x.Known)
	return within && (i == 0 || s.From-1 > x.Skipped[i-1].To)
}

func (r *Reader) receipt() *Receipt {
	x := &Receipt{Sequence: r.Sequence(), Incarnation: r.Incarnation(), Number: r.Uint64()}
	r.Fill(x.Mark[:])
	flags := r.Uint8()
	r.check(flags&^(receiptFork|receiptKnown) == 0, "unknown flags of a receipt")
	x.Fork = flags&receiptFork != 0
	for range r.Count(MaxSkipped) {
		from, to := uint64(r.Uint16()), uint64(r.Uint16())
		// A distance above the number wraps around, and then lies above it.
		x.Skipped = append(x.Skipped, Range{From: x.Number - from, To: x.Number - to})
	}
	if x.Known = x.mostKnown(); flags&receiptKnown != 0 {
		x.Known = r.Uint16()
		r.check(x.Known < x.mostKnown(), "a receipt speaks for more messages than there are")
	}
	for i := range x.Skipped {
		r.check(x.skips(i), "skipped ranges out of bounds or order")
	}
	return x
}

// ReceiptNote is a receipt on its own, in a datagram.
type ReceiptNote struct {
	Version uint64 // rising
	Bond    uint64
	Receipt Receipt
}

// AppendReceiptNote appends the encoded note, at most 137 bytes:
//
//	 0  1  format
//	 1  8  version
//	 9  8  bond
//	17  …  receipt
func AppendReceiptNote(dst []byte, x *ReceiptNote) []byte {
	dst = AppendUint8(dst, Format)
	dst = AppendUint64(dst, x.Version)
	dst = AppendUint64(dst, x.Bond)
	return AppendReceipt(dst, &x.Receipt)
}

// ParseReceiptNote decodes what AppendReceiptNote writes.
func ParseReceiptNote(b []byte) (*ReceiptNote, error) {
	r := NewReader(b)
	r.format()
	x := &ReceiptNote{Version: r.Uint64(), Bond: r.Uint64(), Receipt: *r.receipt()}
	if err := r.Done(); err != nil {
		return nil, err
	}
	return x, nil
}
