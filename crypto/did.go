package crypto

import (
	"strings"

	"github.com/mr-tron/base58"
)

// didPrefix is the method and the multibase letter of base58btc.
const didPrefix = "did:key:z"

// The multicodec of an Ed25519 public key, 0xed as an unsigned varint.
const (
	didCodec0 = 0xed
	didCodec1 = 0x01
)

// DIDKey returns the ID as a did:key of the W3C method of that name:
// "did:key:z" and base58 of 0xed 0x01 ‖ key.
func (id ID) DIDKey() string {
	return didPrefix + base58.Encode(append([]byte{didCodec0, didCodec1}, id[:]...))
}

// ParseDIDKey reads what [ID.DIDKey] writes. The error is a [*ParseError] of
// ErrPrefix, ErrCodec, ErrBase58, ErrLength or ErrKey.
func ParseDIDKey(s string) (ID, error) {
	id, err := parseDIDKey(s)
	if err != nil {
		return ID{}, &ParseError{What: "did:key", Err: err}
	}
	return id, nil
}

func parseDIDKey(s string) (ID, error) {
	text, ok := strings.CutPrefix(s, didPrefix)
	if !ok {
		return ID{}, ErrPrefix
	}
	const size = 2 + len(ID{})
	b, err := decodeBase58(text, size)
	if err != nil {
		return ID{}, err
	}
	switch {
	case len(b) < 2:
		return ID{}, ErrLength
	case b[0] != didCodec0 || b[1] != didCodec1:
		return ID{}, ErrCodec
	case len(b) != size:
		return ID{}, ErrLength
	}
	id := ID(b[2:])
	return id, id.Valid()
}
