package decoder

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// openKey opens what was sealed with a pair key.
func openKey(key, ad, sealed []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errors.New("sealed bytes are shorter than their nonce")
	}
	return aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], ad)
}

// openHPKE opens what was sealed to an X25519 key.
func openHPKE(key *ecdh.PrivateKey, info, ad, sealed []byte) ([]byte, error) {
	const encSize = 32
	if len(sealed) < encSize {
		return nil, errors.New("sealed bytes are shorter than their encapsulated key")
	}
	private, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return nil, err
	}
	r, err := hpke.NewRecipient(sealed[:encSize], private, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	if err != nil {
		return nil, fmt.Errorf("decapsulate: %w", err)
	}
	return r.Open(ad, sealed[encSize:])
}

// counted is fields, each after its length in 4 bytes.
func counted(fields ...[]byte) []byte {
	var b []byte
	for _, f := range fields {
		b = slices.Concat(b, be32(uint32(len(f))), f)
	}
	return b
}

// Transcript is what the writer of a record signs (Signatures).
func Transcript(kind string, writer, reader ID, in Incarnation, version uint64, record []byte) []byte {
	return counted([]byte("carrier/1 signed"), []byte(kind), writer[:], reader[:],
		be64(in.Created), be64(in.Random), be64(version), record)
}

// verified checks a signature by an ID that is known to count. Verify refuses an
// S that is not below L, and compares R as it is written.
func verified(writer ID, transcript, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize && ed25519.Verify(writer[:], transcript, signature)
}
