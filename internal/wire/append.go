package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"

	"github.com/gocarrier/carrier/crypto"
)

// The Append functions write what the methods of [Reader] of the same name
// read. A length that its prefix cannot say is a fault of the program: they
// panic, as a cut value would be worse.

// AppendUint8 appends one byte.
func AppendUint8(dst []byte, v uint8) []byte { return append(dst, v) }

// AppendUint16 appends 2 big-endian bytes.
func AppendUint16(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }

// AppendUint32 appends 4 big-endian bytes.
func AppendUint32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

// AppendUint64 appends 8 big-endian bytes.
func AppendUint64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

// AppendTime appends a time in unix milliseconds as 8 big-endian bytes.
func AppendTime(dst []byte, ms int64) []byte { return AppendUint64(dst, uint64(ms)) }

// AppendBool appends 1 for true, 0 for false.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendBytes8 appends a length of 1 byte and b, which has at most 255 bytes.
func AppendBytes8(dst, b []byte) []byte {
	return append(AppendUint8(dst, uint8(length(len(b), math.MaxUint8))), b...)
}

// AppendBytes16 appends a length of 2 bytes and b, which has at most 65,535
// bytes.
func AppendBytes16(dst, b []byte) []byte {
	return append(AppendUint16(dst, uint16(length(len(b), math.MaxUint16))), b...)
}

// AppendBytes32 appends a length of 4 bytes and b, which is shorter than 2 GiB.
func AppendBytes32(dst, b []byte) []byte {
	return append(AppendUint32(dst, uint32(length(len(b), math.MaxInt32))), b...)
}

// AppendString8 appends a length of 1 byte and s, which has at most 255 bytes.
func AppendString8(dst []byte, s string) []byte {
	return append(AppendUint8(dst, uint8(length(len(s), math.MaxUint8))), s...)
}

// AppendString16 appends a length of 2 bytes and s, which has at most 65,535
// bytes.
func AppendString16(dst []byte, s string) []byte {
	return append(AppendUint16(dst, uint16(length(len(s), math.MaxUint16))), s...)
}

// AppendAddrPort appends family (4, 6, or 0 for none), address and port: 7,
// 19 or 1 bytes. An IPv4 address mapped into IPv6 is written as IPv4; a zone
// means nothing elsewhere and is left out.
func AppendAddrPort(dst []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return append(dst, 0)
	}
	ip := a.Addr().Unmap()
	if ip.Is4() {
		dst = append(dst, 4)
	} else {
		dst = append(dst, 6)
	}
	dst = append(dst, ip.AsSlice()...)
	return AppendUint16(dst, a.Port())
}

// AppendIncarnation appends Created and Random: 16 bytes.
func AppendIncarnation(dst []byte, i crypto.Incarnation) []byte {
	return AppendUint64(AppendTime(dst, i.Created), i.Random)
}

// length returns n, which must not be above limit.
func length(n, limit int) int {
	if n > limit {
		panic(fmt.Sprintf("wire: %d elements where %d fit", n, limit))
	}
	return n
}
