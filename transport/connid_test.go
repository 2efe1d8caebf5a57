package transport

import (
	"fmt"
	"testing"
)

// TestConnIDs holds that no connection ID comes twice, on whatever link, path
// and direction, and that both ends derive the same.
func TestConnIDs(t *testing.T) {
	seen := map[connID]string{}
	for link := range byte(20) {
		lower := newLinkKeys(suiteAES128GCM, packetMaster(link), true)
		higher := newLinkKeys(suiteAES128GCM, packetMaster(link), false)
		for path := range uint32(100) {
			for from, ids := range map[string][2]connID{
				"lower":  {lower.outID(path), higher.inID(path)},
				"higher": {higher.outID(path), lower.inID(path)},
			} {
				name := fmt.Sprintf("link %d, path %d, from %s", link, path, from)
				if ids[0] != ids[1] {
					t.Errorf("%s: sent as %x, expected as %x", name, ids[0], ids[1])
				}
				if other, ok := seen[ids[0]]; ok {
					t.Errorf("%s: that of %s", name, other)
				}
				seen[ids[0]] = name
			}
		}
	}
	if want := 20 * 100 * 2; len(seen) != want {
		t.Errorf("%d connection IDs, want %d", len(seen), want)
	}
}

func TestDataConnID(t *testing.T) {
	a, b := packetPair(suiteAES128GCM)
	p := a.seal(nil, a.outID(9), 0, nil)
	if id, ok := dataConnID(p); !ok || id != b.inID(9) {
		t.Errorf("got %x, %v, want %x", id, ok, b.inID(9))
	}
	for name, bad := range map[string][]byte{
		"empty":         nil,
		"one byte":      {0xC0},
		"cut":           p[:dataOverhead-1],
		"an envelope":   append([]byte{0xC8}, p[1:]...),
		"a handshake":   append([]byte{0xCC}, p[1:]...),
		"not a carrier": append([]byte{0x40}, p[1:]...),
	} {
		if id, ok := dataConnID(bad); ok {
			t.Errorf("%s: taken for a data packet of %x", name, id)
		}
	}
}
