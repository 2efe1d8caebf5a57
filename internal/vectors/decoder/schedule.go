package decoder

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/chacha20poly1305"
)

// Suites that a link may have.
const (
	suiteAES    = 0xC02B
	suiteChaCha = 0xCCA9
)

// Schedule is the keys of a link (Key schedule).
type Schedule struct {
	Suite  uint16
	Master []byte
}

// keySize is the length of packet and header keys.
func keySize(suite uint16) int {
	if suite == suiteAES {
		return 16
	}
	return 32
}

// newAEAD makes the AEAD of a suite.
func newAEAD(suite uint16, key []byte) (cipher.AEAD, error) {
	switch suite {
	case suiteAES:
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		return cipher.NewGCM(block)
	case suiteChaCha:
		return chacha20poly1305.New(key)
	}
	return nil, fmt.Errorf("suite %#04x is none that a link may have", suite)
}

// LinkSalt is what the master secret of a link is extracted with.
func LinkSalt(suite uint16, lower, higher ID, lowerOffer, higherOffer []byte) []byte {
	sum := sha256.Sum256(counted([]byte("carrier/1 link"), binary.BigEndian.AppendUint16(nil, suite), []byte{1},
		lower[:], higher[:], lowerOffer, higherOffer))
	return sum[:]
}

// NewSchedule begins with what DTLS exported.
func NewSchedule(suite uint16, salt, exported []byte) *Schedule {
	return &Schedule{Suite: suite, Master: extract(salt, exported)}
}

// Secret is that of a direction and phase. It takes a step for each phase.
func (s *Schedule) Secret(direction byte, phase uint64) []byte {
	secret := expand(s.Master, 32, []byte("carrier/1 traffic"), []byte{direction})
	for range phase {
		secret = expand(secret, 32, []byte("carrier/1 key update"))
	}
	return secret
}

// PacketKey is the packet key of the secret of a phase.
func (s *Schedule) PacketKey(secret []byte) []byte {
	return expand(secret, keySize(s.Suite), []byte("carrier/1 packet key"))
}

// IV is the IV of the secret of a phase.
func (s *Schedule) IV(secret []byte) []byte { return expand(secret, 12, []byte("carrier/1 packet iv")) }

// HeaderKey is that of a direction, in all phases.
func (s *Schedule) HeaderKey(direction byte) []byte {
	return expand(s.Master, keySize(s.Suite), []byte("carrier/1 header"), []byte{direction})
}

// ConnectionID is that of a direction and index of a path.
func (s *Schedule) ConnectionID(direction byte, path uint32) []byte {
	secret := expand(s.Master, 32, []byte("carrier/1 connection"), []byte{direction})
	return expand(secret, 8, be32(path))
}

// HeaderMask is what a header is masked with, 5 bytes, for a sample of 16.
func HeaderMask(suite uint16, key, sample []byte) ([]byte, error) {
	mask := make([]byte, 16)
	switch suite {
	case suiteAES:
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		block.Encrypt(mask, sample)
	case suiteChaCha:
		c, err := chacha20.NewUnauthenticatedCipher(key, sample[4:16])
		if err != nil {
			return nil, err
		}
		c.SetCounter(binary.LittleEndian.Uint32(sample))
		c.XORKeyStream(mask[:5], mask[:5])
	default:
		return nil, fmt.Errorf("suite %#04x has no header mask", suite)
	}
	return mask[:5], nil
}
