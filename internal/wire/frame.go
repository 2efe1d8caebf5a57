package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// FrameKind is the first byte of a frame.
type FrameKind uint8

// The kinds of frames. The plaintext of a data packet is a row of them, at
// least one.
const (
	FramePadding       FrameKind = 0x00 // zeros up to the packet's end
	FramePing          FrameKind = 0x01 // asks for an ACK at once
	FrameAck           FrameKind = 0x02
	FrameClose         FrameKind = 0x03
	FrameLinkWindow    FrameKind = 0x04
	FrameLaneWindow    FrameKind = 0x05
	FrameLanes         FrameKind = 0x06
	FrameReset         FrameKind = 0x07
	FrameStop          FrameKind = 0x08
	FramePathChallenge FrameKind = 0x09
	FramePathResponse  FrameKind = 0x0A
	FrameDatagram      FrameKind = 0x0B
	FrameAsk           FrameKind = 0x0C // key confirmation
	FrameAnswer        FrameKind = 0x0D
	FrameData          FrameKind = 0x10
	FrameDataFin       FrameKind = 0x11 // data up to the lane's end
)

// MaxCloseReason is how long the reason in a CLOSE is at most, in bytes.
const MaxCloseReason = 255

// Close ends a link.
type Close struct {
	Code   uint64 // up to MaxVarint
	Reason string // for people to read: UTF-8 of at most MaxCloseReason bytes
}

// AppendPadding appends n zeros, a PADDING frame if n is above 0. Nothing may
// follow it in a packet.
func AppendPadding(dst []byte, n int) []byte { return append(dst, make([]byte, n)...) }

// ParsePadding checks that b, the rest of a packet, is a PADDING frame.
func ParsePadding(b []byte) error {
	r := Reader{rest: b}
	r.frame(FramePadding)
	r.check(zeros(r.rest), "padding is not zero")
	return r.err
}

// AppendPing appends a PING frame, one byte.
func AppendPing(dst []byte) []byte { return append(dst, byte(FramePing)) }

// ParsePing takes a PING frame off the front of b.
func ParsePing(b []byte) (rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FramePing)
	return r.rest, r.err
}

// AppendClose appends a CLOSE frame: kind ‖ code ‖ length ‖ reason. It panics
// if the reason is too long; [CloseReason] makes one that is not.
func AppendClose(dst []byte, c Close) []byte {
	dst = AppendVarint(append(dst, byte(FrameClose)), c.Code)
	dst = AppendVarint(dst, uint64(length(len(c.Reason), MaxCloseReason)))
	return append(dst, c.Reason...)
}

// ParseClose takes a CLOSE frame off the front of b. The reason is a copy.
func ParseClose(b []byte) (c Close, rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(FrameClose)
	c.Code = r.Varint()
	n := r.Varint()
	r.check(n <= MaxCloseReason, "length of the reason")
	c.Reason = r.text(int(n))
	return c, r.rest, r.err
}

// CloseReason returns what of a text can be the reason in a CLOSE: without
// bytes that are not UTF-8, cut between two characters.
func CloseReason(text string) string {
	text = strings.ToValidUTF8(text, "")
	if len(text) <= MaxCloseReason {
		return text
	}
	n := MaxCloseReason
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// AppendPathChallenge appends a PATH_CHALLENGE frame: kind ‖ token (8).
func AppendPathChallenge(dst []byte, token [8]byte) []byte {
	return append(append(dst, byte(FramePathChallenge)), token[:]...)
}

// ParsePathChallenge takes a PATH_CHALLENGE frame off the front of b.
func ParsePathChallenge(b []byte) (token [8]byte, rest []byte, err error) {
	rest, err = parseFixed(b, FramePathChallenge, token[:])
	return token, rest, err
}

// AppendPathResponse appends a PATH_RESPONSE frame: kind ‖ token (8) of the
// challenge that it answers.
func AppendPathResponse(dst []byte, token [8]byte) []byte {
	return append(append(dst, byte(FramePathResponse)), token[:]...)
}

// ParsePathResponse takes a PATH_RESPONSE frame off the front of b.
func ParsePathResponse(b []byte) (token [8]byte, rest []byte, err error) {
	rest, err = parseFixed(b, FramePathResponse, token[:])
	return token, rest, err
}

// AppendAsk appends an ASK frame: kind ‖ token (16).
func AppendAsk(dst []byte, token [16]byte) []byte {
	return append(append(dst, byte(FrameAsk)), token[:]...)
}

// ParseAsk takes an ASK frame off the front of b.
func ParseAsk(b []byte) (token [16]byte, rest []byte, err error) {
	rest, err = parseFixed(b, FrameAsk, token[:])
	return token, rest, err
}

// AppendAnswer appends an ANSWER frame: kind ‖ token (16).
func AppendAnswer(dst []byte, token [16]byte) []byte {
	return append(append(dst, byte(FrameAnswer)), token[:]...)
}

// ParseAnswer takes an ANSWER frame off the front of b.
func ParseAnswer(b []byte) (token [16]byte, rest []byte, err error) {
	rest, err = parseFixed(b, FrameAnswer, token[:])
	return token, rest, err
}

// parseFixed takes a frame off the front of b that is its kind and len(dst)
// bytes.
func parseFixed(b []byte, kind FrameKind, dst []byte) (rest []byte, err error) {
	r := Reader{rest: b}
	r.frame(kind)
	r.Fill(dst)
	return r.rest, r.err
}

// frame reads the kind of a frame.
func (r *Reader) frame(want FrameKind) {
	if got := FrameKind(r.Uint8()); r.err == nil && got != want {
		r.err = fmt.Errorf("%w: frame 0x%02X where 0x%02X is read", ErrKind, got, want)
	}
}
