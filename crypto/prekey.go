package crypto

import (
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
)

// PrekeySize is the length of a prekey, private or public.
const PrekeySize = 32

// A Prekey is the private half of an X25519 key that lives for weeks: what
// was sealed to it cannot be opened any more once it is erased. It is always
// used by pointer.
type Prekey struct {
	secret[*ecdh.PrivateKey]
}

// A PrekeyPublic is the public half of a [Prekey]. Values may be compared by
// ==.
type PrekeyPublic [PrekeySize]byte

// NewPrekey draws a random prekey.
func NewPrekey() *Prekey {
	b := make([]byte, PrekeySize)
	_, _ = rand.Read(b) // never fails, or ends the program
	p, err := PrekeyFromBytes(b)
	if err != nil {
		panic("crypto: prekey from random bytes: " + err.Error())
	}
	return p
}

// PrekeyFromBytes returns the prekey of [PrekeySize] bytes, as
// [Prekey.InsecureBytes] gives them. Any other length is an error.
func PrekeyFromBytes(b []byte) (*Prekey, error) {
	key, err := ecdh.X25519().NewPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("prekey: a prekey has %d bytes, this one has %d", PrekeySize, len(b))
	}
	return &Prekey{hide(key)}, nil
}

// Public returns the public half.
func (p *Prekey) Public() PrekeyPublic { return PrekeyPublic(p.reveal().PublicKey().Bytes()) }

// InsecureBytes returns a copy of the secret.
func (p *Prekey) InsecureBytes() []byte { return p.reveal().Bytes() }

// Equal reports in constant time whether two prekeys are the same.
func (p *Prekey) Equal(o *Prekey) bool { return p.reveal().Equal(o.reveal()) }

// Open opens what was sealed by [PrekeyPublic.Seal] to this prekey, with the
// same info and ad. The error matches [ErrOpen].
func (p *Prekey) Open(info, ad, sealed []byte) ([]byte, error) {
	return hpkeOpen(p.reveal(), info, ad, sealed)
}

// Seal seals a plaintext so that only the owner of the prekey can open it:
// HPKE base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
// ChaCha20-Poly1305. The result is enc (32) ‖ ciphertext, [HPKEOverhead]
// longer than the plaintext. It says nothing about who sealed it. A public
// key whose shared secret is zero is an error.
func (p PrekeyPublic) Seal(info, ad, plaintext []byte) ([]byte, error) {
	return hpkeSeal(p[:], info, ad, plaintext)
}

// Seal seals a plaintext to the X25519 form of an identity, as
// [PrekeyPublic.Seal] does to a prekey. An invalid ID is an error matching
// [ErrKey].
func (id ID) Seal(info, ad, plaintext []byte) ([]byte, error) {
	m, err := id.montgomery()
	if err != nil {
		return nil, err
	}
	return hpkeSeal(m, info, ad, plaintext)
}
