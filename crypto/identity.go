package crypto

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
)

// SeedSize is the length of an identity's seed.
const SeedSize = ed25519.SeedSize

// An Identity is a node's private key. It is always used by pointer.
type Identity struct {
	secret[identityKeys]
	id ID
}

type identityKeys struct {
	signing ed25519.PrivateKey
	agree   *ecdh.PrivateKey // the same key in X25519 form
}

// NewIdentity draws a new identity from the system's random source.
func NewIdentity() *Identity {
	seed := make([]byte, SeedSize)
	_, _ = rand.Read(seed) // never fails, or ends the program
	i, err := IdentityFromSeed(seed)
	if err != nil {
		panic("crypto: identity from a random seed: " + err.Error())
	}
	return i
}

// IdentityFromSeed returns the identity of a seed of [SeedSize] bytes (an RFC
// 8032 private key). Any other length is an error. The seed is not kept.
func IdentityFromSeed(seed []byte) (*Identity, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("identity: a seed has %d bytes, this one has %d", SeedSize, len(seed))
	}
	signing := ed25519.NewKeyFromSeed(seed)
	h := sha512.Sum512(seed)
	agree, err := ecdh.X25519().NewPrivateKey(h[:32]) // clamps when it multiplies
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return &Identity{secret: hide(identityKeys{signing, agree}), id: ID(signing[SeedSize:])}, nil
}

// ID returns the public half.
func (i *Identity) ID() ID { return i.id }

// InsecureSeed returns a copy of the secret seed. Whoever has it is this
// identity, for ever: write it nowhere unsealed.
func (i *Identity) InsecureSeed() []byte { return i.reveal().signing.Seed() }

// Equal reports in constant time whether two identities are the same.
func (i *Identity) Equal(o *Identity) bool {
	return subtle.ConstantTimeCompare(i.reveal().signing, o.reveal().signing) == 1
}

// Open opens what was sealed by [ID.Seal] to this identity, with the same
// info and ad. The error matches [ErrOpen].
func (i *Identity) Open(info, ad, sealed []byte) ([]byte, error) {
	return hpkeOpen(i.reveal().agree, info, ad, sealed)
}
