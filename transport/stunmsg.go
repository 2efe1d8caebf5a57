package transport

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// Numbers of STUN (RFC 8489).
const (
	stunHeader = 20
	stunCookie = 0x2112A442

	stunBinding = 0x001 // the only method of connectivity checks

	stunUsername     = 0x0006
	stunIntegrity    = 0x0008
	stunErrorCode    = 0x0009
	stunIntegrity256 = 0x001C
	stunXORMapped    = 0x0020
)

// maxSTUN is the longest STUN message that is looked at, in bytes; a check has about 100.
const maxSTUN = 1280

// stunClass is the class of a STUN message.
type stunClass uint8

const (
	stunRequest stunClass = iota
	stunIndication
	stunSuccess
	stunError
)

// stunID is a transaction ID.
type stunID [12]byte

// stunMessage is what the mux needs of a STUN message. Its integrity is for the agent to check.
type stunMessage struct {
	class  stunClass
	method uint16
	id     stunID
	attrs  []byte // well-formed; of the datagram parsed
}

// parseSTUN reads a datagram that is one STUN message with the magic cookie, to the last byte.
func parseSTUN(b []byte) (stunMessage, bool) {
	if len(b) < stunHeader || b[0] > 3 || binary.BigEndian.Uint32(b[4:]) != stunCookie {
		return stunMessage{}, false
	}
	if size := int(binary.BigEndian.Uint16(b[2:])); size%4 != 0 || size != len(b)-stunHeader {
		return stunMessage{}, false
	}
	for rest := b[stunHeader:]; len(rest) > 0; {
		_, _, next, ok := cutSTUNAttr(rest)
		if !ok {
			return stunMessage{}, false
		}
		rest = next
	}
	t := binary.BigEndian.Uint16(b)
	return stunMessage{
		class:  stunClass(t>>4&1 | t>>7&2), // the bits of class and method are interleaved
		method: t&0xF | t>>1&0x70 | t>>2&0xF80,
		id:     stunID(b[8:stunHeader]),
		attrs:  b[stunHeader:],
	}, true
}

// clone returns the message with bytes of its own.
func (m stunMessage) clone() stunMessage {
	m.attrs = slices.Clone(m.attrs)
	return m
}

// cutSTUNAttr takes the first attribute off b.
func cutSTUNAttr(b []byte) (kind uint16, value, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	size := int(binary.BigEndian.Uint16(b[2:]))
	padded := (size + 3) &^ 3
	if len(b)-4 < padded {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint16(b), b[4 : 4+size], b[4+padded:], true
}

// attr returns the value of the first attribute of a kind. What follows the integrity is not covered by it, and so does
// not count (RFC 8489, section 14.5).
func (m stunMessage) attr(want uint16) ([]byte, bool) {
	for rest := m.attrs; ; {
		kind, value, next, ok := cutSTUNAttr(rest)
		switch {
		case !ok, kind == want:
			return value, ok
		case kind == stunIntegrity, kind == stunIntegrity256:
			return nil, false
		}
		rest = next
	}
}

// localUfrag returns the receiver's part of a check's user name, "receiver:sender" (RFC 8445, section 7.2.2); "" if there
// is none.
func (m stunMessage) localUfrag() string {
	name, _ := m.attr(stunUsername)
	local, _, ok := strings.Cut(string(name), ":")
	if !ok {
		return ""
	}
	return local
}

// mapped returns the XOR-MAPPED-ADDRESS, if it is one a datagram can come from.
func (m stunMessage) mapped() (netip.AddrPort, bool) {
	v, _ := m.attr(stunXORMapped)
	var key [16]byte
	binary.BigEndian.PutUint32(key[:], stunCookie)
	copy(key[4:], m.id[:])
	size := 0
	switch {
	case len(v) == 8 && v[1] == 1:
		size = 4
	case len(v) == 20 && v[1] == 2:
		size = 16
	default:
		return netip.AddrPort{}, false
	}
	for i := range size {
		key[i] ^= v[4+i]
	}
	ip, _ := netip.AddrFromSlice(key[:size])
	port := binary.BigEndian.Uint16(v[2:]) ^ stunCookie>>16
	addr := netip.AddrPortFrom(ip.Unmap(), port)
	return addr, sendable(addr)
}

// errorCode returns the code of an error response, 0 if it has none.
func (m stunMessage) errorCode() int {
	v, _ := m.attr(stunErrorCode)
	if len(v) < 4 {
		return 0
	}
	return int(v[2]&7)*100 + int(v[3])
}

// bindingRequest makes a binding request without attributes, as STUN servers answer it.
func bindingRequest(id stunID) []byte {
	b := make([]byte, stunHeader)
	binary.BigEndian.PutUint16(b, stunBinding)
	binary.BigEndian.PutUint32(b[4:], stunCookie)
	copy(b[8:], id[:])
	return b
}
