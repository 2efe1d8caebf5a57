package dht

import (
	"net"
	"net/netip"
	"testing"
	"time"

	mainline "github.com/anacrolix/dht/v2"
	"github.com/anacrolix/dht/v2/bep44"
	"github.com/anacrolix/dht/v2/int160"
	"github.com/anacrolix/dht/v2/krpc"
	peerstore "github.com/anacrolix/dht/v2/peer-store"
	alog "github.com/anacrolix/log"
	"golang.org/x/time/rate"
)

// TestInteropLibrary: our nodes among plain servers of the library, which speak
// for another implementation, with its own tables, tokens, stores and answers.
func TestInteropLibrary(t *testing.T) {
	ours := loopback(t, 3)
	var plain []*mainline.Server
	for range 6 {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		logger := alog.Default
		logger.SetHandlers(alog.DiscardHandler)
		server, err := mainline.NewServer(&mainline.ServerConfig{
			Conn: conn, NoSecurity: true, Logger: logger, Store: bep44.NewMemory(), Exp: time.Hour,
			SendLimiter: rate.NewLimiter(rate.Inf, 1), PeerStore: &peerstore.InMemory{},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		plain = append(plain, server)
		addr, _ := addrPort(conn.LocalAddr())
		for _, n := range ours {
			n.AddNode(addr)
		}
	}
	formed(t, ours, 8)
	key := testKey(1)
	salt := []byte("s")
	for seq := int64(1); seq <= 2; seq++ {
		res, err := ours[0].Put(t.Context(), Put{Key: key, Salt: salt, Value: make([]byte, MaxValue), Seq: seq})
		if err != nil || res.Stored != 8 {
			t.Errorf("Put: %+v, %v, want 8 stored", res, err)
		}
	}
	for _, n := range ours {
		seq := int64(0)
		if h, err := n.Get(t.Context(), Query{Key: public(key), Salt: salt}, func(i Item) { seq = i.Seq }); err != nil || seq != 2 {
			t.Errorf("Get: seq %d, %+v, %v", seq, h, err)
		}
	}
	// The library reads ours.
	where := target(public(key), salt)
	for _, n := range ours[1:] {
		to := mainline.NewAddr(net.UDPAddrFromAddrPort(n.LocalAddrs()[0]))
		res := plain[0].Get(t.Context(), to, bep44.Target(where), nil, mainline.QueryRateLimiting{})
		if res.Err != nil || res.Reply.R == nil || res.Reply.R.Seq == nil || *res.Reply.R.Seq != 2 || len(res.Reply.R.V) != MaxValue+4 {
			t.Fatalf("the library reads %+v", res)
		}
		// And writes to us: an item of its own.
		k := public(testKey(2))
		put := bep44.Put{V: "from the library", K: &k, Seq: 5}
		put.Sign(testKey(2))
		whereTheirs := bep44.Target(target(k, nil))
		res = plain[0].Get(t.Context(), to, whereTheirs, nil, mainline.QueryRateLimiting{})
		if res.Err != nil || res.Reply.R == nil || res.Reply.R.Token == nil {
			t.Fatalf("the library gets no token: %+v", res)
		}
		res = plain[0].Put(t.Context(), to, put, *res.Reply.R.Token, mainline.QueryRateLimiting{})
		if err := res.ToError(); err != nil {
			t.Errorf("the library's put: %v", err)
		}
		if got, _ := read(t, n, Query{Key: k}); got != "from the library" {
			t.Errorf("got %q", got)
		}
	}
	// Peers, both ways.
	hash := [20]byte{1, 2, 3}
	if h, err := ours[0].Announce(t.Context(), hash, 4242); err != nil || h.Stored != 8 {
		t.Errorf("Announce: %+v, %v, want 8 stored", h, err)
	}
	time.Sleep(10 * time.Millisecond) // the library stores after it answers
	ports := map[uint16]int{}
	if _, err := ours[1].Peers(t.Context(), hash, 0, func(p netip.AddrPort) { ports[p.Port()]++ }); err != nil || len(ports) != 1 || ports[4242] == 0 {
		t.Errorf("Peers: %v, %v", ports, err)
	}
	to := mainline.NewAddr(net.UDPAddrFromAddrPort(ours[2].LocalAddrs()[0]))
	res := plain[0].GetPeers(t.Context(), to, int160.FromByteArray(hash), false, mainline.QueryRateLimiting{})
	if res.Err != nil || len(res.Reply.R.Values) != 1 || !res.Reply.R.Values[0].Equal(krpc.NodeAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4242}) {
		t.Errorf("the library finds %+v", res)
	}
	if external := ours[0].External(); len(external) != 1 || external[0] != ours[0].LocalAddrs()[0] {
		t.Errorf("External on loopback: %v, want %v", external, ours[0].LocalAddrs())
	}
}
