package decoder

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"strings"
)

// ID is the public key of an identity.
type ID [32]byte

// Reason is why a text of an ID or address is refused, by the names of docs/vectors.
type Reason string

// Error makes a Reason an error; errors.Is finds it.
func (r Reason) Error() string { return "refused by its " + string(r) }

// Counts reports whether the ID is the canonical encoding of a point of prime order.
func (id ID) Counts() bool { return newCurve().counts(id) }

// String is the ID as text.
func (id ID) String() string { return toBase58(id[:]) }

// DID is the ID as did:key.
func (id ID) DID() string { return didPrefix + toBase58(append([]byte{0xed, 0x01}, id[:]...)) }

const didPrefix = "did:key:z"

// Identity is an Ed25519 key with its private half.
type Identity struct {
	ID      ID
	private ed25519.PrivateKey
	x25519  *ecdh.PrivateKey
}

// NewIdentity makes the identity of a seed of 32 bytes.
func NewIdentity(seed []byte) (*Identity, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("a seed has %d bytes, not %d", ed25519.SeedSize, len(seed))
	}
	i := &Identity{private: ed25519.NewKeyFromSeed(seed)}
	copy(i.ID[:], i.private[ed25519.SeedSize:])
	digest := sha512.Sum512(seed)
	var err error
	i.x25519, err = ecdh.X25519().NewPrivateKey(digest[:32])
	return i, err
}

// number of characters that so many bytes have at most in base58
const (
	idText      = 44 // of 32 bytes
	didText     = 47 // of 34 bytes
	addressText = 62 // of 45 bytes
)

// ParseID reads an ID as text.
func ParseID(text string) (ID, error) {
	b, err := parseText(text, idText, 32)
	if err != nil {
		return ID{}, err
	}
	return countedID(b)
}

// ParseDID reads a did:key.
func ParseDID(text string) (ID, error) {
	text, ok := strings.CutPrefix(text, didPrefix)
	if !ok {
		return ID{}, Reason("prefix")
	}
	b, err := parseText(text, didText, 34)
	if err != nil {
		return ID{}, err
	}
	if b[0] != 0xed || b[1] != 0x01 {
		return ID{}, Reason("codec")
	}
	return countedID(b[2:])
}

// ParseAddress reads an Address, and returns the first fault.
func ParseAddress(text string) (id ID, nospam Hex, err error) {
	b, err := parseText(text, addressText, 45)
	if err != nil {
		return ID{}, nil, err
	}
	sum := sha256.Sum256(b[:41])
	if !bytes.Equal(sum[:4], b[41:]) {
		return ID{}, nil, Reason("checksum")
	}
	if b[0] != 1 {
		return ID{}, nil, Reason("version")
	}
	id, err = countedID(b[1:33])
	return id, b[33:41], err
}

// FormatAddress writes an Address.
func FormatAddress(id ID, nospam []byte) string {
	b := append(append([]byte{1}, id[:]...), nospam...)
	sum := sha256.Sum256(b)
	return toBase58(append(b, sum[:4]...))
}

func parseText(text string, most, size int) ([]byte, error) {
	if text == "" || len(text) > most {
		return nil, Reason("length")
	}
	b, ok := base58(text)
	if !ok {
		return nil, Reason("base58")
	}
	if len(b) != size {
		return nil, Reason("length")
	}
	return b, nil
}

func countedID(b []byte) (ID, error) {
	id := ID(b)
	if !id.Counts() {
		return ID{}, Reason("key")
	}
	return id, nil
}
