package dht

import (
	"bytes"
	"crypto/rand"
	"math/bits"
	"net/netip"

	mainline "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/krpc"
)

// nodeID is a place in the 160-bit space of nodes and targets.
type nodeID [20]byte

// contact is a node with its address.
type contact struct {
	id   nodeID
	addr netip.AddrPort
}

func randomID() (id nodeID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// secureID returns a random node ID that is valid for ip (BEP 42).
func secureID(ip netip.Addr) nodeID {
	id := krpc.ID(randomID())
	mainline.SecureNodeId(&id, ip.AsSlice())
	return nodeID(id)
}

// isSecure says whether id is valid for ip; on local networks every ID is.
func isSecure(id nodeID, ip netip.Addr) bool {
	return mainline.NodeIdSecure(id, ip.AsSlice())
}

// closer compares the distances of a and b to target, as cmp.Compare would.
func closer(target, a, b nodeID) int {
	for i := range target {
		x, y := a[i]^target[i], b[i]^target[i]
		if x != y {
			return int(x) - int(y)
		}
	}
	return 0
}

// commonBits returns how many leading bits a and b share: 0 to 160.
func commonBits(a, b nodeID) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return i*8 + bits.LeadingZeros8(x)
		}
	}
	return 160
}

// parseNodes reads compact nodes; b's length was checked.
func parseNodes(b []byte, size int) []contact {
	var nodes []contact
	for ; len(b) >= size; b = b[size:] {
		if addr, ok := parseCompact(b[20:size]); ok {
			nodes = append(nodes, contact{nodeID(b[:20]), addr})
		}
	}
	return nodes
}

func appendNodes(b []byte, nodes []contact) []byte {
	for _, c := range nodes {
		b = append(b, c.id[:]...)
		b = appendCompact(b, c.addr)
	}
	return b
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
