package wire

import "fmt"

// Data is a piece of what a lane carries.
type Data struct {
	Lane   uint64 // up to MaxVarint
	Offset uint64 // of the first byte in the lane; with the length up to MaxVarint
	Fin    bool   // the lane ends with this piece
	Data   []byte
}

// DataOverhead returns how long a DATA frame of n bytes of data is without
// them.
func DataOverhead(lane, offset uint64, n int) int {
	return 1 + VarintLen(lane) + VarintLen(offset) + VarintLen(uint64(n))
}

// AppendDataHeader appends a DATA frame up to its data: kind ‖ lane ‖ offset ‖
// length. The caller puts n bytes right behind it. It panics if lane or
// offset + n is above [MaxVarint].
func AppendDataHeader(dst []byte, lane, offset uint64, n int, fin bool) []byte {
	if offset+uint64(n) > MaxVarint {
		panic(offsetError(offset, uint64(n)))
	}
	kind := FrameData
	if fin {
		kind = FrameDataFin
	}
	dst = AppendVarint(append(dst, byte(kind)), lane)
	dst = AppendVarint(dst, offset)
	return AppendVarint(dst, uint64(n))
}

// AppendData appends a DATA frame: header and data.
func AppendData(dst []byte, d Data) []byte {
	return append(AppendDataHeader(dst, d.Lane, d.Offset, len(d.Data), d.Fin), d.Data...)
}

// ParseDataHeader takes the header of a DATA frame, with or without FIN, off
// the front of b. The rest begins with n bytes of data, which have been
// checked to be there. Its results fit the registers, which makes it twice as
// fast as ParseData.
func ParseDataHeader(b []byte) (lane, offset uint64, n int, fin bool, rest []byte, err error) {
	if len(b) == 0 || FrameKind(b[0]) != FrameData && FrameKind(b[0]) != FrameDataFin {
		return 0, 0, 0, false, nil, frameError(b, FrameData)
	}
	fin, rest = FrameKind(b[0]) == FrameDataFin, b[1:]
	lane, i := varint(rest)
	if i == 0 {
		return 0, 0, 0, false, nil, varintError(rest)
	}
	rest = rest[i:]
	offset, i = varint(rest)
	if i == 0 {
		return 0, 0, 0, false, nil, varintError(rest)
	}
	rest = rest[i:]
	size, i := varint(rest)
	if i == 0 {
		return 0, 0, 0, false, nil, varintError(rest)
	}
	rest = rest[i:]
	if size > uint64(len(rest)) {
		return 0, 0, 0, false, nil, shortError(size, rest)
	}
	if offset > MaxVarint-size {
		return 0, 0, 0, false, nil, offsetError(offset, size)
	}
	return lane, offset, int(size), fin, rest, nil
}

// ParseData takes a DATA frame, with or without FIN, off the front of b; the
// data shares memory with b.
func ParseData(b []byte) (d Data, rest []byte, err error) {
	lane, offset, n, fin, rest, err := ParseDataHeader(b)
	if err != nil {
		return Data{}, nil, err
	}
	return Data{Lane: lane, Offset: offset, Fin: fin, Data: rest[:n:n]}, rest[n:], nil
}

// Datagram is one datagram of a flow.
type Datagram struct {
	Session, Flow uint64 // up to MaxVarint
	Data          []byte
}

// DatagramOverhead returns how long a DATAGRAM frame of n bytes of data is
// without them.
func DatagramOverhead(session, flow uint64, n int) int {
	return 1 + VarintLen(session) + VarintLen(flow) + VarintLen(uint64(n))
}

// AppendDatagram appends a DATAGRAM frame: kind ‖ session ‖ flow ‖ length ‖
// data. It panics if session or flow is above [MaxVarint].
func AppendDatagram(dst []byte, d Datagram) []byte {
	dst = AppendVarint(append(dst, byte(FrameDatagram)), d.Session)
	dst = AppendVarint(dst, d.Flow)
	dst = AppendVarint(dst, uint64(len(d.Data)))
	return append(dst, d.Data...)
}

// ParseDatagram takes a DATAGRAM frame off the front of b; the data shares
// memory with b.
func ParseDatagram(b []byte) (d Datagram, rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FrameDatagram)
	d.Session, d.Flow = r.Varint(), r.Varint()
	n := r.Varint()
	if r.err == nil && n > uint64(len(r.rest)) {
		r.err = shortError(n, r.rest)
	}
	if r.err != nil {
		return Datagram{}, nil, r.err
	}
	d.Data = r.rest[:n:n]
	return d, r.rest[n:], nil
}

// frameError returns why b does not begin with the kind that is wanted.
func frameError(b []byte, want FrameKind) error {
	r := Reader{rest: b}
	r.frame(want)
	return r.err
}

// shortError says that n bytes are not left.
func shortError(n uint64, rest []byte) error {
	return fmt.Errorf("%w: %d bytes wanted, %d left", ErrShort, n, len(rest))
}

// offsetError says that a lane is not as long as to hold n bytes at offset.
func offsetError(offset, n uint64) error {
	return fmt.Errorf("%w: %d bytes at offset %d of a lane", ErrValue, n, offset)
}
