package crypto

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"
)

const hpkeEnc = 32 // length of the encapsulated key of DHKEM(X25519)

// HPKEOverhead is how much longer a value sealed by [ID.Seal] or
// [PrekeyPublic.Seal] is than its plaintext: encapsulated key (32) and
// authenticator (16).
const HPKEOverhead = hpkeEnc + 16

func hpkeSeal(to, info, ad, plaintext []byte) ([]byte, error) {
	pub, err := ecdh.X25519().NewPublicKey(to)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	recipient, err := hpke.NewDHKEMPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	enc, sender, err := hpke.NewSender(recipient, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	ct, err := sender.Seal(ad, plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return append(enc, ct...), nil
}

func hpkeOpen(key *ecdh.PrivateKey, info, ad, sealed []byte) ([]byte, error) {
	if len(sealed) < HPKEOverhead {
		return nil, ErrOpen
	}
	k, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	r, err := hpke.NewRecipient(sealed[:hpkeEnc], k, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info)
	if err != nil {
		return nil, ErrOpen
	}
	plaintext, err := r.Open(ad, sealed[hpkeEnc:])
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}
