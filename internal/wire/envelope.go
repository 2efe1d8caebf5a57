package wire

import (
	"fmt"

	"github.com/gocarrier/carrier/crypto"
)

// EnvelopeByte is the first byte of an envelope datagram of format 1. The
// three values after it are kept for envelopes of later formats.
const EnvelopeByte = 0xC8

const lastEnvelopeByte = 0xCB

// What each layer adds, in bytes, from the outside in.
const (
	EnvelopeOverhead = 1 + len(crypto.Tag{})   // first byte, tag
	PlainOverhead    = 1 + 2                   // kind, length
	MailBodyOverhead = 8 + crypto.HPKEOverhead // prekey number, seal
	SignedOverhead   = len(crypto.Signature{}) // signature
	slotOverhead     = crypto.KeyOverhead      // the pair key's seal
	requestOverhead  = crypto.HPKEOverhead     // the seal to the target
	datagramOverhead = EnvelopeOverhead + crypto.KeyOverhead
)

// The longest records that fit where they go, in bytes.
const (
	MaxSlotRecord     = MaxValue - slotOverhead - PlainOverhead - SignedOverhead        // state or profile
	MaxSlotMail       = MaxSlotRecord - MailBodyOverhead                                // mail
	MaxRequestRecord  = MaxValue - requestOverhead - PlainOverhead - SignedOverhead     // request
	MaxDatagramRecord = MaxDatagram - datagramOverhead - PlainOverhead - SignedOverhead // all but mail
	MaxDatagramMail   = MaxDatagramRecord - MailBodyOverhead                            // mail
)

// What a mail slot or a datagram has room for, in bytes.
const (
	MaxSlotItems     = MaxSlotMail - MailOverhead           // encoded items in one slot
	MaxSlotBody      = MaxSlotItems - ItemOverhead          // body of a message alone in a slot
	MaxPartBytes     = MaxSlotMail - PartOverhead           // piece of an encoded item in one slot
	MaxMailboxBody   = MaxSlots*MaxPartBytes - ItemOverhead // body of a message that takes every slot
	MaxDatagramItems = MaxDatagramMail - MailOverhead       // encoded items in one datagram
)

// AppendEnvelope appends an envelope datagram: 0xC8 ‖ tag(8) ‖ sealed. The
// seal's ad is the part before it.
func AppendEnvelope(dst []byte, tag crypto.Tag, sealed []byte) []byte {
	dst = append(dst, EnvelopeByte)
	dst = append(dst, tag[:]...)
	return append(dst, sealed...)
}

// ParseEnvelope takes an envelope datagram apart; sealed shares memory with
// b. The first byte of a later format is [ErrFormat]; any other first byte,
// and a length that is none of the padded ones, [ErrValue].
func ParseEnvelope(b []byte) (tag crypto.Tag, sealed []byte, err error) {
	if len(b) == 0 {
		return tag, nil, fmt.Errorf("%w: empty datagram", ErrShort)
	}
	if b[0] > EnvelopeByte && b[0] <= lastEnvelopeByte {
		return tag, nil, fmt.Errorf("%w: envelope 0x%X", ErrFormat, b[0])
	}
	if b[0] != EnvelopeByte {
		return tag, nil, fmt.Errorf("%w: first byte 0x%02X is no envelope's", ErrValue, b[0])
	}
	if fitDatagram(len(b)) != len(b) {
		return tag, nil, fmt.Errorf("%w: envelope of %d bytes", ErrValue, len(b))
	}
	return crypto.Tag(b[1:EnvelopeOverhead]), b[EnvelopeOverhead:], nil
}

// AppendPlain appends a plaintext of size bytes: kind(1) ‖ length(2) ‖ body ‖
// zeros. Size comes from [PadSlot], [PadRequest] or [PadDatagram]; it panics
// if the body does not fit.
func AppendPlain(dst []byte, kind Kind, body []byte, size int) []byte {
	padding := size - PlainOverhead - len(body)
	if padding < 0 {
		panic(fmt.Sprintf("wire: a body of %d bytes in a plaintext of %d", len(body), size))
	}
	dst = AppendUint8(dst, uint8(kind))
	dst = AppendBytes16(dst, body)
	return append(dst, make([]byte, padding)...)
}

// ParsePlain takes a plaintext apart; body shares memory with b. An unknown
// kind is [ErrKind], padding that is not zero [ErrValue].
func ParsePlain(b []byte) (kind Kind, body []byte, err error) {
	r := NewReader(b)
	kind = Kind(r.Uint8())
	body = r.take(int(r.Uint16()))
	if err := r.Err(); err != nil {
		return 0, nil, err
	}
	if kind < KindState || kind > KindRequest {
		return 0, nil, fmt.Errorf("%w %d", ErrKind, kind)
	}
	if !zeros(r.rest) {
		return 0, nil, fmt.Errorf("%w: padding is not zero", ErrValue)
	}
	return kind, body, nil
}

// zeros reports whether b has nothing but zeros.
func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// AppendSigned appends signature ‖ record: the body of every plaintext but
// mail, and what mail seals to the prekey.
func AppendSigned(dst []byte, s crypto.Signature, record []byte) []byte {
	return append(append(dst, s[:]...), record...)
}

// ParseSigned takes signature ‖ record apart; the record shares memory with b.
func ParseSigned(b []byte) (s crypto.Signature, record []byte, err error) {
	r := NewReader(b)
	r.Fill(s[:])
	return s, r.rest, r.Err()
}

// AppendMailBody appends prekey number(8) ‖ sealed: the body of a plaintext
// of mail.
func AppendMailBody(dst []byte, prekey uint64, sealed []byte) []byte {
	return append(AppendUint64(dst, prekey), sealed...)
}

// ParseMailBody takes prekey number ‖ sealed apart; sealed shares memory with
// b.
func ParseMailBody(b []byte) (prekey uint64, sealed []byte, err error) {
	r := NewReader(b)
	prekey = r.Uint64()
	return prekey, r.rest, r.Err()
}

// PadSlot returns the length of the plaintext of a body of n bytes that goes
// into a DHT slot: the sealed value then has 512 or 900 bytes. It reports
// false if the body is too long.
func PadSlot(n int) (size int, ok bool) {
	return pad(n, slotOverhead, fitValue)
}

// PadRequest does what [PadSlot] does for the value of a request bucket,
// which is sealed to the target's identity: 512 or 900 bytes.
func PadRequest(n int) (size int, ok bool) {
	return pad(n, requestOverhead, fitValue)
}

// PadDatagram does what [PadSlot] does for an envelope datagram: 256, 512,
// 900 or 1,408 bytes, with the envelope's first byte and tag.
func PadDatagram(n int) (size int, ok bool) {
	return pad(n, datagramOverhead, fitDatagram)
}

func pad(n, overhead int, fit func(int) int) (int, bool) {
	whole := fit(n + PlainOverhead + overhead)
	if whole == 0 {
		return 0, false
	}
	return whole - overhead, true
}

// fitValue returns the smallest size of a whole DHT value with room for n
// bytes, or 0.
func fitValue(n int) int { return smallest(n, 512, MaxValue) }

// fitDatagram returns the smallest size of a whole envelope datagram with
// room for n bytes, or 0.
func fitDatagram(n int) int { return smallest(n, 256, 512, 900, MaxDatagram) }

func smallest(n int, sizes ...int) int {
	for _, s := range sizes {
		if n <= s {
			return s
		}
	}
	return 0
}
