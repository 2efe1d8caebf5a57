package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/gocarrier/carrier/crypto"
)

// The reasons for which bytes are refused. Every error of this package
// matches exactly one of them.
var (
	// ErrShort: the bytes end too early.
	ErrShort = errors.New("bytes end too early")
	// ErrTrailing: bytes follow the end.
	ErrTrailing = errors.New("bytes follow the end")
	// ErrFormat: of a format that this node does not speak.
	ErrFormat = errors.New("unknown format")
	// ErrKind: a plaintext of a kind that this node does not know, or a frame
	// of another kind than the one that is read.
	ErrKind = errors.New("unknown kind")
	// ErrValue: a value is outside its limits, or not in its canonical form.
	ErrValue = errors.New("value outside its limits or not canonical")
)

// A Reader takes values off the front of a byte slice. The first fault
// sticks: from then on every method returns the zero value, and [Reader.Err]
// and [Reader.Done] return the fault, so that a decoder reads all its fields
// and checks once. Every length is checked before anything is allocated, and
// no result shares memory with the input.
//
// Rooms that keep rows of their own encode them by the Append functions and
// decode them by a Reader:
//
//	r := wire.NewReader(row)
//	n, at, label := r.Uint64(), r.Time(), r.String8(255)
//	if err := r.Done(); err != nil { … }
//
// A Reader is not safe for concurrent use.
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a Reader at the beginning of b.
func NewReader(b []byte) *Reader { return &Reader{rest: b} }

// Err returns the first fault, or nil.
func (r *Reader) Err() error { return r.err }

// Done returns the first fault, or [ErrTrailing] if anything is left.
func (r *Reader) Done() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = fmt.Errorf("%w: %d bytes", ErrTrailing, len(r.rest))
	}
	return r.err
}

// Fail makes err the fault unless there is one already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Len returns how many bytes are left, 0 after a fault.
func (r *Reader) Len() int {
	if r.err != nil {
		return 0
	}
	return len(r.rest)
}

// take returns the next n bytes, shared with the input, or nil after a fault.
func (r *Reader) take(n int) []byte {
	if r.err == nil && n > len(r.rest) {
		r.err = fmt.Errorf("%w: %d bytes wanted, %d left", ErrShort, n, len(r.rest))
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// check makes a fault of a value that is not as it must be.
func (r *Reader) check(ok bool, what string) {
	if !ok {
		r.Fail(fmt.Errorf("%w: %s", ErrValue, what))
	}
}

// Uint8 reads one byte.
func (r *Reader) Uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads 2 big-endian bytes.
func (r *Reader) Uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads 4 big-endian bytes.
func (r *Reader) Uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads 8 big-endian bytes.
func (r *Reader) Uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// Time reads a time in unix milliseconds, which must not be negative.
func (r *Reader) Time() int64 {
	v := r.Uint64()
	r.check(v <= math.MaxInt64, "time before 1970")
	if r.err != nil {
		return 0
	}
	return int64(v)
}

// Bool reads a byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	v := r.Uint8()
	r.check(v <= 1, "flag neither 0 nor 1")
	return r.err == nil && v == 1
}

// Fill reads len(dst) bytes into dst.
func (r *Reader) Fill(dst []byte) { copy(dst, r.take(len(dst))) }

// Bytes reads n bytes; none gives nil.
func (r *Reader) Bytes(n int) []byte {
	b := r.take(n)
	if len(b) == 0 {
		return nil
	}
	return bytes.Clone(b)
}

// Rest reads all that is left.
func (r *Reader) Rest() []byte { return r.Bytes(r.Len()) }

// Bytes8 reads a length of 1 byte, at most limit, and that many bytes.
func (r *Reader) Bytes8(limit int) []byte { return r.Bytes(r.length(int(r.Uint8()), limit)) }

// Bytes16 reads a length of 2 bytes, at most limit, and that many bytes.
func (r *Reader) Bytes16(limit int) []byte { return r.Bytes(r.length(int(r.Uint16()), limit)) }

// Bytes32 reads a length of 4 bytes, at most limit, and that many bytes.
func (r *Reader) Bytes32(limit int) []byte {
	n := min(int64(r.Uint32()), math.MaxInt32) // fits an int everywhere
	return r.Bytes(r.length(int(n), limit))
}

// String8 reads a length of 1 byte, at most limit, and as many bytes of UTF-8.
func (r *Reader) String8(limit int) string { return r.text(r.length(int(r.Uint8()), limit)) }

// String16 reads a length of 2 bytes, at most limit, and as many bytes of UTF-8.
func (r *Reader) String16(limit int) string { return r.text(r.length(int(r.Uint16()), limit)) }

// Count reads a number of elements of 1 byte, at most limit.
func (r *Reader) Count(limit int) int { return r.length(int(r.Uint8()), limit) }

// AddrPort reads family, address and port. No address (family 0) gives the
// zero AddrPort; an IPv4 address mapped into IPv6 is a fault.
func (r *Reader) AddrPort() netip.AddrPort {
	var ip netip.Addr
	switch family := r.Uint8(); family {
	case 0:
		return netip.AddrPort{}
	case 4:
		ip, _ = netip.AddrFromSlice(r.take(4))
	case 6:
		ip, _ = netip.AddrFromSlice(r.take(16))
		r.check(!ip.Is4In6(), "IPv4 address mapped into IPv6")
	default:
		r.check(false, "address family")
	}
	port := r.Uint16()
	if r.err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, port)
}

// Incarnation reads Created and Random.
func (r *Reader) Incarnation() crypto.Incarnation {
	return crypto.Incarnation{Created: r.Time(), Random: r.Uint64()}
}

// format reads the first byte of a record.
func (r *Reader) format() {
	if f := r.Uint8(); r.err == nil && f != Format {
		r.Fail(fmt.Errorf("%w %d", ErrFormat, f))
	}
}

// length returns n if it is at most limit, else 0 and makes it a fault.
func (r *Reader) length(n, limit int) int {
	if n > limit {
		r.Fail(fmt.Errorf("%w: length %d, at most %d", ErrValue, n, limit))
	}
	if r.err != nil {
		return 0
	}
	return n
}
