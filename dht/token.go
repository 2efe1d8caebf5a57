package dht

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// tokenTurn is how often the write tokens that we give change. The last one
// before is taken too: a token lives 5 to 10 minutes.
const tokenTurn = 5 * time.Minute

// tokens gives and checks write tokens: keyed hashes of the IP address and the
// time, so that nothing is remembered. It is safe for concurrent use.
type tokens struct{ secret [32]byte }

func newTokens() *tokens { return &tokens{secret: randomSecret()} }

func randomSecret() (secret [32]byte) {
	_, _ = rand.Read(secret[:]) // never fails
	return secret
}

func (t *tokens) at(turn int64, ip netip.Addr) []byte {
	mac := hmac.New(sha256.New, t.secret[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(turn)))
	mac.Write(ip.AsSlice())
	return mac.Sum(nil)[:8]
}

func (t *tokens) give(ip netip.Addr, now time.Time) []byte {
	return t.at(now.UnixNano()/int64(tokenTurn), ip)
}

func (t *tokens) valid(token []byte, ip netip.Addr, now time.Time) bool {
	turn := now.UnixNano() / int64(tokenTurn)
	return hmac.Equal(token, t.at(turn, ip)) || hmac.Equal(token, t.at(turn-1, ip))
}
