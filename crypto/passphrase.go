package crypto

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/argon2"
)

// PassphraseOverhead is how much longer a value sealed by [SealPassphrase] is
// than its plaintext.
const PassphraseOverhead = passphraseHeader + KeyOverhead + checksumSize

// The reasons, beside those of [ParseError], for which [OpenPassphrase] fails.
var (
	// ErrPassphrase: the value is whole, but was sealed by another passphrase.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrCost: opening would take more memory or time than this package gives.
	ErrCost = errors.New("asks for more memory or time than is given to a passphrase")
)

const (
	passphraseVersion = 1
	passphraseSalt    = 16
	passphraseHeader  = 1 + 4 + 4 + 1 + passphraseSalt
	checksumSize      = 4
)

// cost is what Argon2id (RFC 9106) takes to make a key of a passphrase.
type cost struct {
	passes uint32
	memory uint32 // KiB
	lanes  uint8
}

// usualCost is the second of the two choices that RFC 9106 (section 4)
// recommends; the first takes 2 GiB, too much for a telephone or for a program
// that runs several nodes. It takes about a tenth of a second.
func usualCost() cost { return cost{passes: 3, memory: 64 << 10, lanes: 4} }

// Limits of what somebody else's value may make us spend: sixteen times the
// usual memory, twenty times the usual work.
const (
	maxMemory = 1 << 20 // KiB
	maxWork   = 4 << 20 // passes × KiB
	maxLanes  = 64
)

// valid tells whether the cost is one of RFC 9106 and within our limits.
func (c cost) valid() bool {
	return c.passes >= 1 && c.lanes >= 1 && c.lanes <= maxLanes &&
		c.memory >= 8*uint32(c.lanes) && c.memory <= maxMemory &&
		uint64(c.passes)*uint64(c.memory) <= maxWork
}

// SealPassphrase seals a plaintext under a passphrase of any bytes, which are
// taken as they are: a program that reads text should bring it to one form
// (Unicode's NFC) first. ad is authenticated and not part of the result:
//
//	 0  1   version 1
//	 1  4   passes of Argon2id, 3
//	 5  4   its memory in KiB, 65,536
//	 9  1   its lanes, 4
//	10  16  salt, random
//	26  …   nonce (24) ‖ XChaCha20-Poly1305, as of [Key.Seal], with
//	        "carrier/1 passphrase" ‖ the first 26 bytes ‖ ad as additional data
//	 …  4   the first bytes of SHA-256 of all before
//
// integers in big-endian. The key is Argon2id (version 0x13, RFC 9106) of
// passphrase and salt, 32 bytes. It takes 64 MiB of memory and about a tenth of
// a second.
func SealPassphrase(passphrase, ad, plaintext []byte) []byte {
	return sealPassphrase(usualCost(), passphrase, ad, plaintext)
}

func sealPassphrase(c cost, passphrase, ad, plaintext []byte) []byte {
	out := make([]byte, 0, PassphraseOverhead+len(plaintext))
	out = append(out, passphraseVersion)
	out = binary.BigEndian.AppendUint32(out, c.passes)
	out = binary.BigEndian.AppendUint32(out, c.memory)
	out = append(out, c.lanes)
	out = append(out, make([]byte, passphraseSalt)...)
	salt := out[len(out)-passphraseSalt:]
	_, _ = rand.Read(salt) // never fails, or ends the program
	out = c.key(passphrase, salt).Seal(out, passphraseAD(out, ad), plaintext)
	sum := sha256.Sum256(out)
	return append(out, sum[:checksumSize]...)
}

// OpenPassphrase opens what [SealPassphrase] sealed. The error is
// [ErrPassphrase], or says what is wrong with the bytes before any work is
// done: [ErrLength], [ErrVersion], [ErrChecksum] or [ErrCost]. The cost stands
// in the value; it is at most 1 GiB of memory and some seconds.
func OpenPassphrase(passphrase, ad, sealed []byte) ([]byte, error) {
	if len(sealed) < PassphraseOverhead {
		return nil, ErrLength
	}
	body, check := sealed[:len(sealed)-checksumSize], sealed[len(sealed)-checksumSize:]
	sum := sha256.Sum256(body)
	if !bytes.Equal(sum[:checksumSize], check) {
		return nil, ErrChecksum
	}
	if body[0] != passphraseVersion {
		return nil, ErrVersion
	}
	c := cost{binary.BigEndian.Uint32(body[1:]), binary.BigEndian.Uint32(body[5:]), body[9]}
	if !c.valid() {
		return nil, ErrCost
	}
	header := body[:passphraseHeader]
	plain, err := c.key(passphrase, header[passphraseHeader-passphraseSalt:]).Open(nil, passphraseAD(header, ad), body[passphraseHeader:])
	if err != nil {
		return nil, ErrPassphrase
	}
	return plain, nil
}

func (c cost) key(passphrase, salt []byte) Key {
	b := argon2.IDKey(passphrase, salt, c.passes, c.memory, c.lanes, KeySize)
	k := Key{hide([KeySize]byte(b))}
	clear(b)
	return k
}

func passphraseAD(header, ad []byte) []byte {
	return append(append([]byte("carrier/1 passphrase"), header...), ad...)
}
