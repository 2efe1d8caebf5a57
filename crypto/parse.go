package crypto

import (
	"errors"
	"fmt"

	"github.com/mr-tron/base58"
)

// The reasons for which a text is refused as an ID, an address or a did:key.
// Each comes wrapped in a [*ParseError].
var (
	// ErrBase58: a character is not of the base58 alphabet.
	ErrBase58 = errors.New("a character is not of the base58 alphabet (0, O, I and l are not)")
	// ErrLength: too short or too long.
	ErrLength = errors.New("too short or too long")
	// ErrVersion: the address is of a version that this package does not know.
	ErrVersion = errors.New("unknown version; a newer program may have made it")
	// ErrChecksum: the checksum of the address does not match.
	ErrChecksum = errors.New("the checksum does not match; copy it again")
	// ErrPrefix: the text does not begin with "did:key:z".
	ErrPrefix = errors.New(`does not begin with "did:key:z"`)
	// ErrCodec: the did:key names a key of another type than Ed25519.
	ErrCodec = errors.New("not an Ed25519 key")
	// ErrKey: not the canonical encoding of a point of prime order.
	ErrKey = errors.New("not a valid Ed25519 public key")
)

// A ParseError says why a text was refused. It does not repeat the text.
type ParseError struct {
	What string // "id", "address" or "did:key"
	Err  error  // one of the sentinels above
}

// Error implements error.
func (e *ParseError) Error() string { return fmt.Sprintf("parse %s: %v", e.What, e.Err) }

// Unwrap returns the reason.
func (e *ParseError) Unwrap() error { return e.Err }

// maxBase58 returns the length of the longest base58 text of n bytes
// (log 256 / log 58 = 1.366 characters a byte).
func maxBase58(n int) int { return n*1366/1000 + 1 }

// decodeBase58 decodes a text of at most n bytes. The time of decoding is
// quadratic, so the length is checked first.
func decodeBase58(s string, n int) ([]byte, error) {
	if s == "" || len(s) > maxBase58(n) {
		return nil, ErrLength
	}
	b, err := base58.Decode(s)
	if err != nil {
		return nil, ErrBase58
	}
	return b, nil
}
