package wire

import "fmt"

// MaxAckRanges is how many ranges an ACK holds at most. One less than their
// number is a varint of one byte, so that each range adds its own length and
// nothing more.
const MaxAckRanges = 64

// MaxAckDelay is how long a receiver may keep an ACK back, in microseconds. A
// longer delay is well-formed; a sender takes it for this one.
const MaxAckDelay = 25_000

// AckRange is the packet numbers from Low to High, both included.
type AckRange struct{ Low, High uint64 }

// Ack says which packets have arrived.
type Ack struct {
	Delay  uint64     // since the packet of the highest number came, in microseconds; up to MaxVarint
	Ranges []AckRange // 1 to MaxAckRanges, falling; between two of them at least one number has not arrived
}

// AppendAck appends an ACK frame:
//
//	kind ‖ highest number ‖ delay ‖ ranges − 1 ‖ length − 1 ‖ (gap − 1 ‖ length − 1)…
//
// where a length is how many numbers a range has, and a gap how many are
// missing between it and the range before. It panics if the ranges are not as
// [Ack] says.
func AppendAck(dst []byte, a *Ack) []byte {
	n := length(len(a.Ranges), MaxAckRanges)
	dst = AppendVarint(append(dst, byte(FrameAck)), a.Ranges[0].High)
	dst = AppendVarint(dst, a.Delay)
	dst = append(dst, byte(n-1))
	// What is not in order gives a negative number here: no varint.
	dst = AppendVarint(dst, a.Ranges[0].High-a.Ranges[0].Low)
	for i, x := range a.Ranges[1:] {
		dst = AppendVarint(dst, a.Ranges[i].Low-x.High-2)
		dst = AppendVarint(dst, x.High-x.Low)
	}
	return dst
}

// AckLen returns how many of the first ranges of a fit into a frame of at
// most room bytes, at most [MaxAckRanges], and how long that frame is; 0 and 0
// if there is no room for one.
func AckLen(a *Ack, room int) (ranges, size int) {
	for i, x := range a.Ranges[:min(len(a.Ranges), MaxAckRanges)] {
		n := size + VarintLen(x.High-x.Low)
		if i == 0 {
			n += 1 + VarintLen(x.High) + VarintLen(a.Delay) + 1
		} else {
			n += VarintLen(a.Ranges[i-1].Low - x.High - 2)
		}
		if n > room {
			break
		}
		ranges, size = i+1, n
	}
	return ranges, size
}

// ParseAck takes an ACK frame off the front of b. The ranges are written over
// the memory of ranges, which is allocated anew only if it has no room for
// them.
func ParseAck(b []byte, ranges []AckRange) (a Ack, rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FrameAck)
	high, delay, more := r.Varint(), r.Varint(), r.Varint()
	r.check(more < MaxAckRanges, "number of ranges")
	if r.err != nil {
		return Ack{}, nil, r.err
	}
	ranges, rest = ranges[:0], r.rest
	for {
		n, i := varint(rest)
		if i == 0 {
			return Ack{}, nil, varintError(rest)
		}
		if n > high {
			return Ack{}, nil, errBelowZero
		}
		low := high - n
		ranges, rest = append(ranges, AckRange{Low: low, High: high}), rest[i:]
		if more == 0 {
			return Ack{Delay: delay, Ranges: ranges}, rest, nil
		}
		more--
		gap, i := varint(rest)
		if i == 0 {
			return Ack{}, nil, varintError(rest)
		}
		if gap+2 > low {
			return Ack{}, nil, errBelowZero
		}
		high, rest = low-gap-2, rest[i:]
	}
}

var errBelowZero = fmt.Errorf("%w: acknowledged range below packet number 0", ErrValue)
