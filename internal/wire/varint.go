package wire

import (
	"encoding/binary"
	"fmt"
)

// MaxVarint is the largest number that a varint holds.
const MaxVarint = 1<<62 - 1

// AppendVarint appends v as a variable-length integer of RFC 9000, section
// 16, in its shortest form: 1, 2, 4 or 8 big-endian bytes, whose top two bits
// say which. It panics if v is above [MaxVarint].
func AppendVarint(dst []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(dst, byte(v))
	case v < 1<<14:
		return append(dst, byte(v>>8)|0x40, byte(v))
	case v < 1<<30:
		return binary.BigEndian.AppendUint32(dst, uint32(v)|0x80<<24)
	case v <= MaxVarint:
		return binary.BigEndian.AppendUint64(dst, v|0xC0<<56)
	}
	panic("wire: number above every varint") // without fmt, which would slow all down
}

// VarintLen returns how many bytes AppendVarint appends.
func VarintLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	}
	return 8
}

// ParseVarint takes a varint off the front of b. One that is cut is
// [ErrShort], one that is longer than it need be [ErrValue].
func ParseVarint(b []byte) (v uint64, rest []byte, err error) {
	v, n := varint(b)
	if n == 0 {
		return 0, nil, varintError(b)
	}
	return v, b[n:], nil
}

// Varint reads a varint in its shortest form.
func (r *Reader) Varint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := varint(r.rest)
	if n == 0 {
		r.err = varintError(r.rest)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// varint returns the varint that b begins with and its length, 0 if there is
// none: the reason is found by varintError, out of the way of what is right.
func varint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	switch b[0] >> 6 {
	case 0:
		return uint64(b[0]), 1
	case 1:
		if len(b) >= 2 {
			if v = uint64(binary.BigEndian.Uint16(b)) & (1<<14 - 1); v >= 1<<6 {
				return v, 2
			}
		}
	case 2:
		if len(b) >= 4 {
			if v = uint64(binary.BigEndian.Uint32(b)) & (1<<30 - 1); v >= 1<<14 {
				return v, 4
			}
		}
	case 3:
		if len(b) >= 8 {
			if v = binary.BigEndian.Uint64(b) & MaxVarint; v >= 1<<30 {
				return v, 8
			}
		}
	}
	return 0, 0
}

// varintError returns why b does not begin with a varint.
func varintError(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: no varint left", ErrShort)
	}
	if n := 1 << (b[0] >> 6); len(b) < n {
		return fmt.Errorf("%w: varint of %d bytes, %d left", ErrShort, n, len(b))
	}
	return fmt.Errorf("%w: varint longer than it need be", ErrValue)
}
