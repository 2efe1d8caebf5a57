package dht

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestWideLook: a put whose writer could not reach the nearest nodes stands on
// others, where a usual walk does not come to and a wide one does.
func TestWideLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(10 * time.Millisecond)}
		s.network(14)
		defer s.closeAll()
		key := testKey(1)
		q := Query{Key: public(key), Salt: []byte("s")}
		where := target(q.Key, q.Salt)
		nodes := slices.Clone(s.nodes)
		slices.SortFunc(nodes, func(a, b *Node) int {
			return closer(where, a.families[0].currentID(), b.families[0].currentID())
		})
		near, writer := map[netip.AddrPort]bool{}, nodes[len(nodes)-1]
		for _, n := range nodes[:9] { // the reader, who does not ask itself, and 8 more
			near[n.LocalAddrs()[0]] = true
		}
		s.mem.setTap(func(from, to netip.AddrPort, _ []byte) bool { return from != writer.LocalAddrs()[0] || !near[to] })
		if res, err := writer.Put(t.Context(), Put{Key: key, Salt: q.Salt, Value: []byte("far"), Seq: 1}); err != nil || res.Stored < 3 {
			t.Fatalf("Put: %+v, %v", res, err)
		}
		s.mem.setTap(nil)
		reader := nodes[0]
		if got, h := read(t, reader, q); got != "" || h.Answered < 8 {
			t.Errorf("a usual look: %q, %+v, want 8 nodes that have nothing", got, h)
		}
		q.Wide = true
		if got, h := read(t, reader, q); got != "far" || h.Answered < 12 {
			t.Errorf("a wide look: %q, %+v, want the item of the others", got, h)
		}
	})
}
