package dht

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// TestNetwork50 is the whole life in small: 50 nodes form a network, one puts,
// closes, and another reads; peers are announced and found.
func TestNetwork50(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(10 * time.Millisecond)}
		s.network(50)
		defer s.closeAll()
		for i, n := range s.nodes {
			if n.NumNodes() < 12 {
				t.Errorf("node %d knows %d nodes after a second, want at least 12", i, n.NumNodes())
			}
		}
		ctx := context.Background()
		writer := s.nodes[7]
		key := testKey(1)
		start := time.Now()
		res, err := writer.Put(ctx, Put{Key: key, Salt: []byte("s"), Value: []byte("hello"), Seq: start.UnixMilli()})
		if err != nil || res.Stored < 8 {
			t.Fatalf("Put: %+v, %v, want 8 stored", res, err)
		}
		t.Logf("put: %+v in %v", res, time.Since(start))
		_ = writer.Close()
		reader := s.nodes[33]
		for _, n := range s.nodes[8:] {
			if n.items.len() == 0 {
				reader = n // it has to ask
			}
		}
		start = time.Now()
		var first time.Duration
		items := 0
		h, err := reader.Get(ctx, Query{Key: public(key), Salt: []byte("s")}, func(item Item) {
			items++
			first = time.Since(start)
			if got := string(item.Value); got != "hello" {
				t.Errorf("got value %q", got)
			}
		})
		if err != nil || items != 1 {
			t.Fatalf("Get: %+v, %v, %d items", h, err, items)
		}
		t.Logf("get: %+v, first item after %v, complete after %v", h, first, time.Since(start))

		hash := [20]byte{1, 2, 3}
		if h, err := s.nodes[3].Announce(ctx, hash, 4242); err != nil || h.Stored < 8 {
			t.Errorf("Announce: %+v, %v", h, err)
		}
		peers := map[netip.AddrPort]int{} // by how many nodes each was named
		if h, err := s.nodes[40].Peers(ctx, hash, 0, func(p netip.AddrPort) { peers[p]++ }); err != nil {
			t.Errorf("Peers: %+v, %v", h, err)
		}
		want := netip.AddrPortFrom(s.nodes[3].LocalAddrs()[0].Addr(), 4242)
		if len(peers) != 1 || peers[want] < 2 {
			t.Errorf("got peers %v, want %v named by several nodes", peers, want)
		}
	})
}
