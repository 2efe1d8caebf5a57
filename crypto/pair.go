package crypto

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrSelf is returned for a pair of an identity with itself.
var ErrSelf = errors.New("an identity has no pair with itself")

// A Direction tells the two ways between friends apart, as seen from the
// owner of the [Pair].
type Direction uint8

// The directions.
const (
	Out Direction = 1 // from the owner of the pair to the friend
	In  Direction = 2 // from the friend to the owner of the pair
)

// A Tag tells a node which friend an envelope may be from, and nobody else
// anything. It changes each hour.
type Tag [8]byte

// String returns the tag in hexadecimal.
func (t Tag) String() string { return hex.EncodeToString(t[:]) }

// A Pair holds the secret that two friends share, and derives from it. Both
// derive the same values: one's Out is the other's In. It is always used by
// pointer.
type Pair struct {
	secret[[sha256.Size]byte]
	friend ID
	lower  bool // the owner's ID is the lower one
}

const (
	pairLabel = "carrier/1 pair"
	slotLabel = "carrier/1 slot"
	keyLabel  = "carrier/1 key"
	tagLabel  = "carrier/1 tag"
)

// Pair agrees with a friend on their common secret. The error matches
// [ErrSelf], or [ErrKey] if the friend's ID is not valid or the shared secret
// would be zero.
func (i *Identity) Pair(friend ID) (*Pair, error) {
	if friend == i.id {
		return nil, ErrSelf
	}
	m, err := friend.montgomery()
	if err != nil {
		return nil, fmt.Errorf("pair: %w", err)
	}
	pub, err := ecdh.X25519().NewPublicKey(m)
	if err != nil {
		return nil, fmt.Errorf("pair: %w: %w", ErrKey, err)
	}
	shared, err := i.reveal().agree.ECDH(pub) // refuses an all-zero result
	if err != nil {
		return nil, fmt.Errorf("pair: %w: %w", ErrKey, err)
	}
	lower, higher := sorted(i.id, friend)
	salt := append([]byte(pairLabel), lower[:]...)
	salt = append(salt, higher[:]...)
	prk := [sha256.Size]byte(extract(shared, salt))
	return &Pair{secret: hide(prk), friend: friend, lower: i.id == lower}, nil
}

// Friend returns the ID of the friend.
func (p *Pair) Friend() ID { return p.friend }

// Slot returns the BEP 44 key under which values of direction d stand in the
// DHT during a week. It is known to both friends, so that a value there says
// nothing about who put it.
func (p *Pair) Slot(d Direction, week Epoch) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(p.derive(slotLabel, d, week, ed25519.SeedSize))
}

// Key returns the key that seals envelopes and slot values of direction d
// during a week.
func (p *Pair) Key(d Direction, week Epoch) Key {
	return Key{hide([KeySize]byte(p.derive(keyLabel, d, week, KeySize)))}
}

// Tag returns the tag of envelopes of direction d during an hour.
func (p *Pair) Tag(d Direction, hour Epoch) Tag {
	return Tag(p.derive(tagLabel, d, hour, len(Tag{})))
}

// derive expands the secret with a purpose, the direction as both friends
// see it (0 from the lower ID to the higher one, 1 the other way) and an epoch.
func (p *Pair) derive(label string, d Direction, e Epoch, size int) []byte {
	way := byte(0)
	if p.lower != (d == Out) {
		way = 1
	}
	info := append([]byte(label), way)
	prk := p.reveal()
	return expand(prk[:], binary.BigEndian.AppendUint32(info, uint32(e)), size)
}

func extract(ikm, salt []byte) []byte {
	prk, err := hkdf.Extract(sha256.New, ikm, salt)
	if err != nil {
		panic("crypto: hkdf: " + err.Error()) // only under FIPS rules, for short secrets; ours has 32 bytes
	}
	return prk
}

func expand(prk, info []byte, size int) []byte {
	b, err := hkdf.Expand(sha256.New, prk, string(info), size)
	if err != nil {
		panic("crypto: hkdf: " + err.Error()) // only for more than 255 hashes
	}
	return b
}
