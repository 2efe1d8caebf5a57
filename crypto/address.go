package crypto

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"

	"github.com/mr-tron/base58"
)

// A Nospam is the part of an [Address] that its owner can change, so that
// those who know the old address cannot send requests any more.
type Nospam [8]byte

// NewNospam draws a random Nospam.
func NewNospam() Nospam {
	var n Nospam
	_, _ = rand.Read(n[:]) // never fails, or ends the program
	return n
}

// String returns the Nospam in hexadecimal.
func (n Nospam) String() string { return hex.EncodeToString(n[:]) }

// An Address is what a person gives away to be asked for friendship. Whoever
// has it may send a request, and can count the requests that others send to
// it. As bytes it is version ‖ ID ‖ nospam ‖ checksum:
//
//	0   1  version, 1
//	1  32  ID
//	33  8  nospam
//	41  4  first bytes of SHA-256 of bytes 0-40
type Address struct {
	ID     ID
	Nospam Nospam
}

const (
	addressVersion  = 1
	addressBody     = 1 + len(ID{}) + len(Nospam{})
	addressChecksum = 4
	addressSize     = addressBody + addressChecksum
)

// ParseAddress reads an address from base58, as [Address.String] writes it.
// The error is a [*ParseError] of ErrBase58, ErrLength, ErrChecksum,
// ErrVersion or ErrKey.
func ParseAddress(s string) (Address, error) {
	a, err := parseAddress(s)
	if err != nil {
		return Address{}, &ParseError{What: "address", Err: err}
	}
	return a, nil
}

func parseAddress(s string) (Address, error) {
	b, err := decodeBase58(s, addressSize)
	if err != nil {
		return Address{}, err
	}
	if len(b) != addressSize {
		return Address{}, ErrLength
	}
	// The checksum before the version, so that a wrong character is never
	// taken for a newer version.
	sum := sha256.Sum256(b[:addressBody])
	if !bytes.Equal(sum[:addressChecksum], b[addressBody:]) {
		return Address{}, ErrChecksum
	}
	if b[0] != addressVersion {
		return Address{}, ErrVersion
	}
	a := Address{ID: ID(b[1:33]), Nospam: Nospam(b[33:addressBody])}
	return a, a.ID.Valid()
}

// String returns the address in base58, 61 characters.
func (a Address) String() string {
	b := make([]byte, 0, addressSize)
	b = append(b, addressVersion)
	b = append(b, a.ID[:]...)
	b = append(b, a.Nospam[:]...)
	sum := sha256.Sum256(b)
	return base58.Encode(append(b, sum[:addressChecksum]...))
}

// IsZero reports whether a is the zero Address.
func (a Address) IsZero() bool { return a == Address{} }

// MarshalText implements [encoding.TextMarshaler]: base58, or nothing for the
// zero Address.
func (a Address) MarshalText() ([]byte, error) {
	if a.IsZero() {
		return []byte{}, nil
	}
	return []byte(a.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. An empty text gives
// the zero Address; errors are those of [ParseAddress].
func (a *Address) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Address{}
		return nil
	}
	v, err := ParseAddress(string(text))
	if err != nil {
		return err
	}
	*a = v
	return nil
}
