package decoder

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"unicode"
	"unicode/utf8"
)

// Hex is bytes that are hexadecimal text in JSON.
type Hex []byte

// MarshalText writes the bytes as docs/vectors does.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.AppendDecode(nil, text)
	return err
}

// reader takes fields off a byte string (Conventions). The first fault stays and
// all that is read after it is zero.
type reader struct {
	bytes []byte
	at    int
	err   error
}

// whole reads all of b as one value.
func whole[T any](b []byte, read func(*reader) T) (v T, err error) {
	r := &reader{bytes: b}
	v = read(r)
	if r.err == nil && r.left() > 0 {
		r.fail(Trailing)
	}
	if r.err != nil {
		var none T
		return none, r.err
	}
	return v, nil
}

func (r *reader) fail(f Fault) {
	if r.err == nil {
		r.err = fmt.Errorf("byte %d: %w", r.at, f)
	}
}

// must refuses a value that does not hold what the specification says of it.
func (r *reader) must(ok bool) {
	if !ok {
		r.fail(Value)
	}
}

func (r *reader) left() uint64 { return uint64(len(r.bytes) - r.at) }

// take returns the next n bytes, nil after a fault.
func (r *reader) take(n uint64) Hex {
	if r.err == nil && n > r.left() {
		r.fail(Short)
	}
	if r.err != nil {
		return nil
	}
	b := r.bytes[r.at : r.at+int(n) : r.at+int(n)]
	r.at += int(n)
	return Hex(b)
}

func (r *reader) tail() Hex { return r.take(r.left()) }

// number is an unsigned integer of n bytes.
func (r *reader) number(n uint64) (v uint64) {
	for _, b := range r.take(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (r *reader) u8() uint8   { return uint8(r.number(1)) }
func (r *reader) u16() uint16 { return uint16(r.number(2)) }
func (r *reader) u32() uint32 { return uint32(r.number(4)) }
func (r *reader) u64() uint64 { return r.number(8) }

func (r *reader) flag() bool {
	b := r.u8()
	r.must(b <= 1)
	return b == 1
}

// time has the top bit clear.
func (r *reader) time() uint64 {
	t := r.u64()
	r.must(t>>63 == 0)
	return t
}

// varint is in its shortest form.
func (r *reader) varint() uint64 {
	if r.err == nil && r.left() == 0 {
		r.fail(Short)
	}
	if r.err != nil {
		return 0
	}
	size := uint64(1) << (r.bytes[r.at] >> 6)
	b := r.take(size)
	if b == nil {
		return 0
	}
	var wide [8]byte
	copy(wide[8-size:], b)
	wide[8-size] &= 0x3f
	v := binary.BigEndian.Uint64(wide[:])
	switch size {
	case 2:
		r.must(v >= 1<<6)
	case 4:
		r.must(v >= 1<<14)
	case 8:
		r.must(v >= 1<<30)
	}
	return v
}

// limited takes n bytes, which are at most most: a length above its limit is a
// fault of its own, however many bytes there are.
func (r *reader) limited(n, most uint64) Hex {
	r.must(n <= most)
	return r.take(n)
}

// text is n bytes of UTF-8.
func (r *reader) text(n, most uint64) string {
	s := string(r.limited(n, most))
	r.must(utf8.ValidString(s))
	return s
}

// name is a text without control characters, but for those in except.
func (r *reader) name(n, most uint64, except string) string {
	s := r.text(n, most)
	for _, c := range s {
		allowed := false
		for _, e := range except {
			allowed = allowed || c == e
		}
		r.must(allowed || !unicode.IsControl(c))
	}
	return s
}

// prose is what a name may be, and newline and tab.
const prose = "\n\t"

// socket is an address, nil for family 0.
func (r *reader) socket() *netip.AddrPort {
	var ip netip.Addr
	switch r.u8() {
	case 0:
		return nil
	case 4:
		ip, _ = netip.AddrFromSlice(r.take(4))
	case 6:
		ip, _ = netip.AddrFromSlice(r.take(16))
		r.must(!ip.Is4In6())
	default:
		r.fail(Value)
	}
	a := netip.AddrPortFrom(ip, r.u16())
	return &a
}

// endpoint is an address that is there.
func (r *reader) endpoint() netip.AddrPort {
	a := r.socket()
	if a == nil {
		r.fail(Value)
		return netip.AddrPort{}
	}
	return *a
}

func (r *reader) endpoints() []netip.AddrPort {
	n := r.u8()
	r.must(n <= 8)
	list := []netip.AddrPort{}
	for i := uint8(0); i < n && r.err == nil; i++ {
		list = append(list, r.endpoint())
	}
	return list
}
