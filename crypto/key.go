package crypto

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the length of a [Key].
const KeySize = chacha20poly1305.KeySize

// KeyOverhead is how much longer a value sealed by [Key.Seal] is than its
// plaintext: nonce (24) and authenticator (16).
const KeyOverhead = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

// ErrOpen is returned when a sealed value does not open: it was sealed by
// another key or with other data, or was changed.
var ErrOpen = errors.New("sealed value does not open: of another key, or changed")

// A Key is a symmetric key. The zero Key holds none: its Seal panics and its
// Open fails.
type Key struct {
	secret[[KeySize]byte]
}

// NewKey draws a random key.
func NewKey() Key {
	var k [KeySize]byte
	_, _ = rand.Read(k[:]) // never fails, or ends the program
	return Key{hide(k)}
}

// KeyFromBytes returns the key of [KeySize] bytes, which it copies. Any other
// length is an error.
func KeyFromBytes(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, fmt.Errorf("key: a key has %d bytes, this one has %d", KeySize, len(b))
	}
	return Key{hide([KeySize]byte(b))}, nil
}

// IsZero reports whether k is the zero Key.
func (k Key) IsZero() bool { return k.reveal == nil }

// InsecureBytes returns a copy of the secret; it panics for the zero Key.
func (k Key) InsecureBytes() []byte {
	b := k.reveal()
	return b[:]
}

// Equal reports in constant time whether two keys are the same.
func (k Key) Equal(o Key) bool {
	if k.IsZero() || o.IsZero() {
		return k.IsZero() && o.IsZero()
	}
	return subtle.ConstantTimeCompare(k.InsecureBytes(), o.InsecureBytes()) == 1
}

// Seal appends nonce (24 random bytes) ‖ XChaCha20-Poly1305 of the plaintext
// to dst and returns it; ad is authenticated and not part of the result. dst
// and plaintext must not overlap.
func (k Key) Seal(dst, ad, plaintext []byte) []byte {
	aead := k.aead()
	at := len(dst)
	dst = append(dst, make([]byte, chacha20poly1305.NonceSizeX)...)
	nonce := dst[at:]
	_, _ = rand.Read(nonce) // never fails, or ends the program
	return aead.Seal(dst, nonce, plaintext, ad)
}

// Open appends the plaintext of a sealed value to dst and returns it. The
// error is [ErrOpen]. dst and sealed must not overlap.
func (k Key) Open(dst, ad, sealed []byte) ([]byte, error) {
	if len(sealed) < KeyOverhead || k.IsZero() {
		return nil, ErrOpen
	}
	nonce, ct := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	out, err := k.aead().Open(dst, nonce, ct, ad)
	if err != nil {
		return nil, ErrOpen
	}
	return out, nil
}

func (k Key) aead() cipher.AEAD {
	if k.IsZero() {
		panic("crypto: seal by the zero key")
	}
	b := k.reveal()
	aead, err := chacha20poly1305.NewX(b[:])
	if err != nil {
		panic("crypto: " + err.Error())
	}
	return aead
}
