package decoder

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
)

const (
	hourSeconds  = 3600
	hoursPerWeek = 168
)

// expand is HKDF-Expand; the lengths asked for here are always allowed.
func expand(secret []byte, size int, info ...[]byte) []byte {
	b, err := hkdf.Expand(sha256.New, secret, string(slices.Concat(info...)), size)
	if err != nil {
		return nil
	}
	return b
}

// extract is HKDF-Extract with SHA-256.
func extract(salt, key []byte) []byte {
	b, err := hkdf.Extract(sha256.New, key, salt)
	if err != nil {
		return nil
	}
	return b
}

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// Pair is what two friends derive (Keys).
type Pair struct {
	Lower, Higher ID
	secret        []byte
}

// NewPair agrees between an identity and the ID of its friend.
func NewPair(own *Identity, friend ID) (*Pair, error) {
	c := newCurve()
	if own.ID == friend || !c.counts(friend) {
		return nil, errors.New("no pair: the friend's ID is our own or does not count")
	}
	form := c.montgomery(friend)
	public, err := ecdh.X25519().NewPublicKey(form[:])
	if err != nil {
		return nil, err
	}
	shared, err := own.x25519.ECDH(public)
	if err != nil {
		return nil, err
	}
	p := &Pair{Lower: own.ID, Higher: friend}
	if bytes.Compare(own.ID[:], friend[:]) > 0 {
		p.Lower, p.Higher = friend, own.ID
	}
	salt := slices.Concat([]byte("carrier/1 pair"), p.Lower[:], p.Higher[:])
	p.secret = extract(salt, shared)
	return p, nil
}

// Direction is 0 from the lower ID, 1 from the higher.
func (p *Pair) Direction(from ID) byte {
	if from == p.Lower {
		return 0
	}
	return 1
}

// Slot is the key of the slots of a direction and week.
func (p *Pair) Slot(direction byte, week uint32) ed25519.PublicKey {
	return seedPublic(expand(p.secret, 32, []byte("carrier/1 slot"), []byte{direction}, be32(week)))
}

// Key is the pair key of a direction and week.
func (p *Pair) Key(direction byte, week uint32) []byte {
	return expand(p.secret, 32, []byte("carrier/1 key"), []byte{direction}, be32(week))
}

// Tag is the tag of a direction and hour.
func (p *Pair) Tag(direction byte, hour uint32) []byte {
	return expand(p.secret, 8, []byte("carrier/1 tag"), []byte{direction}, be32(hour))
}

// RequestSlot is the key of the slot of requests to an Address.
func RequestSlot(id ID, nospam []byte, day, bucket uint32) ed25519.PublicKey {
	return seedPublic(expand(addressSecret(id, nospam), 32, []byte("carrier/1 request slot"), be32(day), be32(bucket)))
}

// RequestBell is the infohash where buckets of requests are announced.
func RequestBell(id ID, nospam []byte, day uint32) []byte {
	return expand(addressSecret(id, nospam), 20, []byte("carrier/1 request bell"), be32(day))
}

// FixedBucket is the bucket of a requester that needs no announcement.
func FixedBucket(requester ID) uint32 { return 65536 + uint32(requester[0]&0x0f) }

func addressSecret(id ID, nospam []byte) []byte {
	return extract([]byte("carrier/1 address"), slices.Concat(id[:], nospam))
}

func seedPublic(seed []byte) ed25519.PublicKey {
	return ed25519.PublicKey(ed25519.NewKeyFromSeed(seed)[ed25519.SeedSize:])
}
