package crypto

import (
	"crypto/ed25519"
	"encoding/binary"
)

// Requests to an [Address] stand in DHT slots called buckets. Random buckets
// are 1 to RandomBuckets, so that a port number can name one; fixed ones
// follow them, from FirstFixedBucket on, and are found without being told.
const (
	RandomBuckets    = 65535
	FirstFixedBucket = RandomBuckets + 1
	FixedBuckets     = 16
)

const (
	addressLabel     = "carrier/1 address"
	requestSlotLabel = "carrier/1 request slot"
	requestBellLabel = "carrier/1 request bell"
)

// FixedBucket returns the fixed bucket of requests from a requester: always
// the same one, FirstFixedBucket plus the low 4 bits of the ID's first byte.
func FixedBucket(from ID) uint32 {
	return FirstFixedBucket + uint32(from[0])%FixedBuckets
}

// RequestSlot returns the BEP 44 key of a bucket of requests to the address
// during a day. Everybody who has the address can derive it.
func (a Address) RequestSlot(day Epoch, bucket uint32) ed25519.PrivateKey {
	info := binary.BigEndian.AppendUint32([]byte(requestSlotLabel), uint32(day))
	info = binary.BigEndian.AppendUint32(info, bucket)
	return ed25519.NewKeyFromSeed(expand(a.secret(), info, ed25519.SeedSize))
}

// RequestBell returns the BEP 5 infohash on which requesters announce, as a
// port, the random bucket of the day that holds their request.
func (a Address) RequestBell(day Epoch) [20]byte {
	info := binary.BigEndian.AppendUint32([]byte(requestBellLabel), uint32(day))
	return [20]byte(expand(a.secret(), info, 20))
}

func (a Address) secret() []byte {
	ikm := append(a.ID.Bytes(), a.Nospam[:]...)
	return extract(ikm, []byte(addressLabel))
}
