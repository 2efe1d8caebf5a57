package wire

import "fmt"

// MaxLinkRecord is the length of the longest record that goes over a link, in
// bytes, with its kind: what one message of the link's control lane takes.
const MaxLinkRecord = 128 << 10

// MaxLinkItems is how many bytes of encoded items one batch of mail over a link
// has room for.
const MaxLinkItems = MaxLinkRecord - 1 - MailBodyOverhead - SignedOverhead - MailOverhead

// AppendLinkRecord appends what goes over a link: kind(1) ‖ body. The body is
// that of an envelope's plaintext; the link seals it, so that neither the
// pair's key nor padding is round it. It panics if the body is too long.
func AppendLinkRecord(dst []byte, kind Kind, body []byte) []byte {
	length(1+len(body), MaxLinkRecord)
	return append(AppendUint8(dst, uint8(kind)), body...)
}

// ParseLinkRecord takes kind ‖ body apart; body shares memory with b. A kind
// that does not go over links, hello and request too, is [ErrKind], more than
// [MaxLinkRecord] bytes are [ErrValue].
func ParseLinkRecord(b []byte) (kind Kind, body []byte, err error) {
	if len(b) > MaxLinkRecord {
		return 0, nil, fmt.Errorf("%w: record of %d bytes over a link, at most %d", ErrValue, len(b), MaxLinkRecord)
	}
	r := NewReader(b)
	kind = Kind(r.Uint8())
	if err := r.Err(); err != nil {
		return 0, nil, err
	}
	switch kind {
	case KindState, KindProfile, KindMail, KindReceipt:
		return kind, r.rest, nil
	case KindHello, KindRequest:
	}
	return 0, nil, fmt.Errorf("%w %d over a link", ErrKind, kind)
}
