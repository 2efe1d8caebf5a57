package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/gocarrier/carrier/internal/wire"
)

// A data packet is
//
//	0   1  first byte: 0xC0, the key phase in bit 0, bits 1 and 2 zero
//	1   8  connection ID
//	9   4  low bytes of the packet number
//	13  …  ciphertext ‖ tag (16)
//
// The header is the additional data of the AEAD. After sealing, the low three
// bits and the packet number are masked.
const (
	dataFirst     = 0xC0
	dataPhase     = 0x01
	dataReserved  = 0x06
	dataProtected = dataPhase | dataReserved

	dataNumberAt = 1 + len(connID{})
	dataHeader   = dataNumberAt + 4
	dataTag      = 16
	dataOverhead = dataHeader + dataTag
)

// Why a packet is refused. All of them are dropped, but for those that match
// errPacketFault: they are authentic, and the link must close.
var (
	errNotData     = errors.New("transport: not a data packet")
	errAuth        = errors.New("transport: data packet does not open under the link's keys")
	errDuplicate   = errors.New("transport: data packet was received before")
	errOld         = errors.New("transport: data packet is older than the replay window")
	errPacketFault = errors.New("transport: the peer breaks the rules of data packets; close the link")
	errReserved    = fmt.Errorf("%w: reserved bits are set", errPacketFault)
	errPhase       = fmt.Errorf("%w: a key phase begins too early", errPacketFault)
)

// linkKeys seals and opens the data packets of one link. It reads no clock and
// does no I/O, and is not safe for concurrent use.
type linkKeys struct {
	limits  keyLimits
	send    sendPhase
	receive receivePhase
	window  replayWindow
	failed  uint64 // packets that did not open

	sendHeader, receiveHeader headerKey
	sendIDs, receiveIDs       connIDs

	// What goes through the interfaces of ciphers would be allocated anew for
	// each packet if it stood on the stack.
	nonceBuf [12]byte
	maskBuf  [sampleSize]byte
}

// newLinkKeys makes the keys of the end that has the lower ID, or of the other.
func newLinkKeys(s suite, master []byte, lower bool) *linkKeys {
	out, in := fromHigher, fromLower
	if lower {
		out, in = in, out
	}
	return &linkKeys{
		limits:        defaultKeyLimits(),
		send:          newSendPhase(s, master, out),
		receive:       newReceivePhase(s, master, in),
		sendHeader:    newHeaderKey(s, master, out),
		receiveHeader: newHeaderKey(s, master, in),
		sendIDs:       newConnIDs(master, out),
		receiveIDs:    newConnIDs(master, in),
	}
}

// outID returns the connection ID that our packets bear on the path of that
// index. An index is used for one path only. The ID is derived at each call: a
// path keeps it.
func (k *linkKeys) outID(index uint32) connID { return k.sendIDs.at(index) }

// inID returns the connection ID that the peer's packets bear on its path of
// that index.
func (k *linkKeys) inID(index uint32) connID { return k.receiveIDs.at(index) }

// inIDs returns those of n indexes from first.
func (k *linkKeys) inIDs(first, n uint32) []connID {
	ids := make([]connID, n)
	for i := range ids {
		ids[i] = k.inID(first + uint32(i))
	}
	return ids
}

// seal appends the packet to dst: dataOverhead bytes more than plaintext. It
// does not allocate if dst has room. Plaintext may stand where the ciphertext
// goes, at dst[len(dst)+dataHeader:]; otherwise they must not overlap.
//
// It panics unless pn is above all before, as a number that repeats would give
// the plaintext away. At the limit of a key, which exhausted tells of in time,
// it returns dst as it is.
func (k *linkKeys) seal(dst []byte, id connID, pn uint64, plaintext []byte) []byte {
	k.rekeyIfDue()
	s := &k.send
	if pn < s.next {
		panic(fmt.Sprintf("transport: seal packet %d after packet %d", pn, s.next-1))
	}
	if s.sealed >= k.limits.seal || pn > k.limits.number {
		return dst
	}
	if s.sealed == 0 {
		s.first = pn
	}
	s.sealed++
	s.next = pn + 1

	start := len(dst)
	dst = append(dst, dataFirst|byte(s.phase&dataPhase))
	dst = append(dst, id[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(pn))
	s.key.nonce(&k.nonceBuf, pn)
	dst = s.key.aead.Seal(dst, k.nonceBuf[:], plaintext, dst[start:])
	k.protect(k.sendHeader, dst[start:])
	return dst
}

// open opens a packet in place and returns its number and frames, which lie in
// b. If it fails b is spoilt. It does not allocate.
//
// A packet that is forged, replayed or of a wrong phase costs as much as a good
// one and tells no more by its time (RFC 9001 section 9.5): all checks of what
// the header hides come after the AEAD.
func (k *linkKeys) open(b []byte) (pn uint64, plaintext []byte, err error) {
	if !isData(b) {
		return 0, nil, errNotData
	}
	if k.failed >= k.limits.failed {
		return 0, nil, errFailedLimit
	}
	k.protect(k.receiveHeader, b)
	pn = expandNumber(k.window.next, binary.BigEndian.Uint32(b[dataNumberAt:]))
	key, next := k.receive.choose(b[0]&dataPhase, pn)
	key.nonce(&k.nonceBuf, pn)
	plaintext, err = key.aead.Open(b[dataHeader:dataHeader], k.nonceBuf[:], b[dataHeader:], b[:dataHeader])
	if err != nil {
		k.failed++
		return 0, nil, errAuth
	}
	switch {
	case b[0]&dataReserved != 0:
		return 0, nil, errReserved
	case next && !k.mayFollow(pn):
		return 0, nil, errPhase
	}
	if err := k.window.check(pn); err != nil {
		return 0, nil, err
	}
	k.window.add(pn)
	if next {
		k.follow(pn)
	}
	k.receive.forget(k.window.next - 1)
	return pn, plaintext, nil
}

// protect masks the header of a packet or takes the mask off: XOR does both.
// The number always has four bytes, so that the sample is the first 16 bytes of
// the ciphertext.
func (k *linkKeys) protect(h headerKey, b []byte) {
	h.mask(&k.maskBuf, b[dataHeader:dataHeader+sampleSize])
	b[0] ^= k.maskBuf[0] & dataProtected
	number := b[dataNumberAt:dataHeader]
	binary.BigEndian.PutUint32(number, binary.BigEndian.Uint32(number)^binary.BigEndian.Uint32(k.maskBuf[1:]))
}

// isData reports whether b has the first byte and the length of a data packet.
func isData(b []byte) bool {
	return len(b) >= dataOverhead && b[0]&^dataProtected == dataFirst
}

// expandNumber returns the packet number with these low bytes that is nearest
// to the expected one (RFC 9000 appendix A.3). It is never above what an ACK can
// name, whatever the peer does.
func expandNumber(expected uint64, low uint32) uint64 {
	const window = 1 << 32
	pn := expected&^(window-1) | uint64(low)
	switch {
	case pn > wire.MaxVarint: // all numbers are used up
		return pn - window
	case pn+window/2 <= expected && pn <= wire.MaxVarint-window:
		return pn + window
	case pn > expected+window/2 && pn >= window:
		return pn - window
	}
	return pn
}

// Format implements [fmt.Formatter]: keys print as "[redacted]".
func (linkKeys) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// LogValue implements [slog.LogValuer] in the same way.
func (linkKeys) LogValue() slog.Value { return slog.StringValue("[redacted]") }
