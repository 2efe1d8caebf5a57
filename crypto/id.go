package crypto

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"filippo.io/edwards25519"
	"github.com/mr-tron/base58"
)

// An ID is a node's permanent name: its Ed25519 public key. IDs may be
// compared by == and used as map keys. The zero ID names nobody.
type ID [ed25519.PublicKeySize]byte

// ParseID reads an ID from base58, as [ID.String] writes it. The error is a
// [*ParseError] of ErrBase58, ErrLength or ErrKey.
func ParseID(s string) (ID, error) {
	id, err := parseID(s)
	if err != nil {
		return ID{}, &ParseError{What: "id", Err: err}
	}
	return id, nil
}

func parseID(s string) (ID, error) {
	b, err := decodeBase58(s, len(ID{}))
	if err != nil {
		return ID{}, err
	}
	if len(b) != len(ID{}) {
		return ID{}, ErrLength
	}
	id := ID(b)
	return id, id.Valid()
}

// String returns the ID in base58, 32 to 44 characters.
func (id ID) String() string { return base58.Encode(id[:]) }

// Bytes returns a copy of the 32 bytes of the key.
func (id ID) Bytes() []byte { return bytes.Clone(id[:]) }

// Compare orders IDs by their bytes: -1 if id is lower than o, 0 if they are
// equal, 1 if it is higher.
func (id ID) Compare(o ID) int { return bytes.Compare(id[:], o[:]) }

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// Valid returns nil if the ID is the canonical encoding of a point of prime
// order, as every key that a seed gives is, else an error matching [ErrKey].
// It costs about as much as a signature check.
func (id ID) Valid() error {
	_, err := id.point()
	return err
}

// minusOne is the order of the prime subgroup less one.
func minusOne() *edwards25519.Scalar {
	one := make([]byte, 32)
	one[0] = 1
	s, err := edwards25519.NewScalar().SetCanonicalBytes(one)
	if err != nil {
		panic("crypto: 1 is a canonical scalar: " + err.Error())
	}
	return s.Negate(s)
}

// point returns the ID's point after all checks of Valid.
func (id ID) point() (*edwards25519.Point, error) {
	p, err := edwards25519.NewIdentityPoint().SetBytes(id[:])
	if err != nil {
		return nil, fmt.Errorf("%w: not a point of the curve", ErrKey)
	}
	if !bytes.Equal(p.Bytes(), id[:]) {
		return nil, fmt.Errorf("%w: not canonical", ErrKey)
	}
	if p.Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, fmt.Errorf("%w: the neutral element", ErrKey)
	}
	// [L]P = 0 exactly when [L-1]P = -P. Points of small order fail too, since
	// L and 8 have no common factor. Variable time is fine: IDs are public.
	q := edwards25519.NewIdentityPoint().VarTimeDoubleScalarBaseMult(minusOne(), p, edwards25519.NewScalar())
	if q.Equal(edwards25519.NewIdentityPoint().Negate(p)) != 1 {
		return nil, fmt.Errorf("%w: not of prime order", ErrKey)
	}
	return p, nil
}

// montgomery returns the ID's X25519 form after all checks of Valid.
func (id ID) montgomery() ([]byte, error) {
	p, err := id.point()
	if err != nil {
		return nil, err
	}
	return p.BytesMontgomery(), nil
}

// MarshalText implements [encoding.TextMarshaler]: base58, or nothing for the
// zero ID.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. An empty text gives
// the zero ID; errors are those of [ParseID].
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID{}
		return nil
	}
	v, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// sorted returns two IDs, the lower one first.
func sorted(a, b ID) (lower, higher ID) {
	if a.Compare(b) > 0 {
		return b, a
	}
	return a, b
}
