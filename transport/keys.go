package transport

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/gocarrier/carrier/crypto"
)

// suite is the DTLS cipher suite that made a link's keys, by its number in
// IANA's registry. Data packets are sealed with the AEAD that it names.
type suite uint16

const (
	suiteAES128GCM        suite = 0xC02B // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
	suiteChaCha20Poly1305 suite = 0xCCA9 // TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
)

// keySize returns the length of the suite's AEAD and header keys.
func (s suite) keySize() int {
	switch s {
	case suiteAES128GCM:
		return 16
	case suiteChaCha20Poly1305:
		return chacha20poly1305.KeySize
	}
	panic(fmt.Sprintf("transport: no keys for cipher suite %#04x", uint16(s)))
}

// Labels of the key schedule. A direction follows those of keys that each
// direction has for itself.
const (
	saltLabel       = "carrier/1 link"
	trafficLabel    = "carrier/1 traffic"
	headerLabel     = "carrier/1 header"
	connectionLabel = "carrier/1 connection"
	keyLabel        = "carrier/1 packet key"
	ivLabel         = "carrier/1 packet iv"
	updateLabel     = "carrier/1 key update"
)

const (
	dataVersion = 1 // of the data packets; both ends' keys differ if theirs do
	secretSize  = sha256.Size
)

// direction is who sends: 0 the end with the lower ID, 1 the other.
type direction byte

const (
	fromLower  direction = 0
	fromHigher direction = 1
)

// linkEnd is one end of a link as its signed offer describes it.
type linkEnd struct {
	ID          crypto.ID
	Incarnation crypto.Incarnation
	Offer       []byte // as it was signed
}

// linkSalt binds the keys to both identities and both signed offers, in either
// order. The certificates' fingerprints, which DTLS binds, are not enough: a
// friend of both could offer one friend's fingerprint to the other as his own
// and so splice the two together (unknown key-share, RFC 8844).
func linkSalt(s suite, a, b linkEnd) [32]byte {
	if bytes.Compare(a.ID[:], b.ID[:]) > 0 {
		a, b = b, a
	}
	var salted []byte
	field := func(f []byte) {
		salted = binary.BigEndian.AppendUint32(salted, uint32(len(f)))
		salted = append(salted, f...)
	}
	signed := func(e linkEnd) []byte {
		f := binary.BigEndian.AppendUint64(nil, uint64(e.Incarnation.Created))
		f = binary.BigEndian.AppendUint64(f, e.Incarnation.Random)
		return append(f, e.Offer...)
	}
	field([]byte(saltLabel))
	field(binary.BigEndian.AppendUint16(nil, uint16(s)))
	field([]byte{dataVersion})
	field(a.ID[:])
	field(b.ID[:])
	field(signed(a))
	field(signed(b))
	return sha256.Sum256(salted)
}

// linkMaster returns the secret from which all keys of a link come. exporter
// is what DTLS exports for the link (RFC 5705), 32 bytes.
func linkMaster(exporter []byte, salt [32]byte) []byte {
	master, err := hkdf.Extract(sha256.New, exporter, salt[:])
	if err != nil {
		panic("transport: key schedule: " + err.Error()) // SHA-256 is always there
	}
	return master
}

// expandSecret is HKDF-Expand (RFC 5869).
func expandSecret(secret []byte, label string, size int) []byte {
	b, err := hkdf.Expand(sha256.New, secret, label, size)
	if err != nil {
		panic("transport: key schedule: " + err.Error()) // all sizes are constants in range
	}
	return b
}

// directional returns the label of a key that belongs to one direction.
func directional(label string, d direction) string { return label + string([]byte{byte(d)}) }

// packetKey seals and opens the packets of one direction and key phase.
type packetKey struct {
	aead cipher.AEAD
	iv   [12]byte
}

func newPacketKey(s suite, secret []byte) packetKey {
	key := expandSecret(secret, keyLabel, s.keySize())
	var p packetKey
	var err error
	if s == suiteAES128GCM {
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			p.aead, err = cipher.NewGCM(block)
		}
	} else {
		p.aead, err = chacha20poly1305.New(key)
	}
	if err != nil {
		panic("transport: packet key: " + err.Error()) // keySize is right
	}
	copy(p.iv[:], expandSecret(secret, ivLabel, len(p.iv)))
	return p
}

// nonce writes the nonce of a packet number: the IV, the number added to its
// end by XOR.
func (p *packetKey) nonce(dst *[12]byte, pn uint64) {
	*dst = p.iv
	tail := dst[4:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^pn)
}

// ratchet gives the packet keys of one direction, one phase after the other.
// It only holds the secret of the phase to come, from which none that went
// before can be computed.
type ratchet struct {
	suite  suite
	secret [secretSize]byte
}

func newRatchet(s suite, master []byte, d direction) ratchet {
	r := ratchet{suite: s}
	copy(r.secret[:], expandSecret(master, directional(trafficLabel, d), secretSize))
	return r
}

// next returns the keys of the next phase, the first one at the first call.
func (r *ratchet) next() packetKey {
	p := newPacketKey(r.suite, r.secret[:])
	copy(r.secret[:], expandSecret(r.secret[:], updateLabel, secretSize))
	return p
}

const (
	sampleSize = 16 // of the ciphertext, what the mask is made from
	maskSize   = 5  // first byte and packet number
)

// headerKey makes the masks that hide packet headers (RFC 9001 section 5.4).
// It stays the same in all phases.
type headerKey interface {
	// mask writes the mask of a sample to the first maskSize bytes of dst.
	mask(dst *[sampleSize]byte, sample []byte)
}

func newHeaderKey(s suite, master []byte, d direction) headerKey {
	key := expandSecret(master, directional(headerLabel, d), s.keySize())
	if s == suiteChaCha20Poly1305 {
		return (*chachaHeaderKey)(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("transport: header key: " + err.Error()) // keySize is right
	}
	return aesHeaderKey{block}
}

// aesHeaderKey is RFC 9001 section 5.4.3.
type aesHeaderKey struct{ block cipher.Block }

func (k aesHeaderKey) mask(dst *[sampleSize]byte, sample []byte) { k.block.Encrypt(dst[:], sample) }

// chachaHeaderKey is RFC 9001 section 5.4.4.
type chachaHeaderKey [chacha20.KeySize]byte

func (k *chachaHeaderKey) mask(dst *[sampleSize]byte, sample []byte) {
	c, err := chacha20.NewUnauthenticatedCipher(k[:], sample[4:sampleSize])
	if err != nil {
		panic("transport: header key: " + err.Error()) // the sizes are right
	}
	c.SetCounter(binary.LittleEndian.Uint32(sample))
	clear(dst[:])
	c.XORKeyStream(dst[:maskSize], dst[:maskSize])
}
