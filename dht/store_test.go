package dht

import (
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// putArgs are the arguments of a put query of a signed item.
func putArgs(i Item) *args {
	seq := i.Seq
	return &args{v: appendString(nil, i.Value), key: i.Key, hasKey: true, sig: i.Sig, salt: i.Salt, seq: &seq}
}

// TestItemStoreRules: each rule of BEP 44, with the error that it is answered with.
func TestItemStoreRules(t *testing.T) {
	key := testKey(1)
	now := time.Now()
	store := newItemStore(10, 1<<20)
	if fault := store.put(putArgs(signItem(key, "s", "five", 5)), now); fault != nil {
		t.Fatalf("put: %+v", fault)
	}
	long := strings.Repeat("v", 997) // 1,001 bytes encoded
	longSalt := strings.Repeat("s", 65)
	cas := func(seq, expected int64) *args {
		a := putArgs(signItem(key, "s", "cas", seq))
		a.cas = &expected
		return a
	}
	noSeq := putArgs(signItem(key, "s", "six", 6))
	noSeq.seq = nil
	forged := putArgs(signItem(key, "s", "six", 6))
	forged.v = []byte("3:sex")
	moved := putArgs(signItem(key, "s", "six", 6))
	moved.salt = []byte("t")
	for _, test := range []struct {
		name string
		args *args
		want int64
	}{
		{"no value", &args{}, 203},
		{"no seq", noSeq, 203},
		{"too big", putArgs(signItem(key, "s", long, 6)), 205},
		{"immutable, too big", &args{v: appendString(nil, long)}, 205},
		{"other value", forged, 206},
		{"other salt", moved, 206},
		{"salt too big", putArgs(signItem(key, longSalt, "six", 6)), 207},
		{"lower seq", putArgs(signItem(key, "s", "four", 4)), 302},
		{"same seq, other value", putArgs(signItem(key, "s", "FIVE", 5)), 302},
		{"same seq, same value", putArgs(signItem(key, "s", "five", 5)), 0},
		{"cas of another seq", cas(6, 4), 301},
		{"cas of zero", cas(6, 0), 301},
		{"cas of the item's seq", cas(6, 5), 0},
		{"higher seq", putArgs(signItem(key, "s", "seven", 7)), 0},
		{"immutable", &args{v: []byte("d1:ai1ee")}, 0},
	} {
		got := int64(0)
		if fault := store.put(test.args, now); fault != nil {
			got = fault.code
		}
		if got != test.want {
			t.Errorf("put with %s answered %d, want %d", test.name, got, test.want)
		}
	}
	item, ok := store.get(target(public(key), []byte("s")), now)
	if !ok || string(item.v) != "5:seven" {
		t.Errorf("got %+v, %v", item, ok)
	}
	if _, ok := store.get(sha1.Sum([]byte("d1:ai1ee")), now); !ok {
		t.Error("the immutable item is not there")
	}
	if _, ok := store.get(target(public(key), []byte("s")), now.Add(itemLife+time.Second)); ok {
		t.Error("the item outlived its life")
	}
	store.sweep(now.Add(itemLife + time.Second))
	if store.len() != 0 || store.bytes != 0 {
		t.Errorf("%d items, %d bytes after all expired", store.len(), store.bytes)
	}
}

// TestDefectItemStoreBounds: the library's item store grows without bound; ours
// drops what was used longest ago.
func TestDefectItemStoreBounds(t *testing.T) {
	now := time.Now()
	value := func(i int) []byte {
		return appendString(nil, binary.BigEndian.AppendUint32(make([]byte, 700), uint32(i)))
	}
	for name, store := range map[string]*itemStore{"items": newItemStore(100, 1<<30), "bytes": newItemStore(1<<20, 100*(704+4+itemOverhead))} {
		for i := range 1000 {
			if fault := store.put(&args{v: value(i)}, now); fault != nil {
				t.Fatalf("put: %+v", fault)
			}
			if _, ok := store.get(sha1.Sum(value(0)), now); !ok { // used all the time
				t.Fatalf("bound by %s: the item in use was dropped", name)
			}
		}
		if got := store.len(); got != 100 {
			t.Errorf("bound by %s: %d items, want 100", name, got)
		}
		if _, ok := store.get(sha1.Sum(value(999)), now); !ok {
			t.Errorf("bound by %s: the last item is not there", name)
		}
	}
}

// TestDefectPeerStoreBounds: the library's peer store grows without bound; ours
// keeps 8 ports of an IP address, a bounded number of peers and infohashes, and
// a flood replaces at random instead of shutting others out.
func TestDefectPeerStoreBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newPeerStore(50, 100)
		hash := nodeID{1}
		ip := netip.MustParseAddr("80.0.0.1")
		for port := range 1000 {
			store.add(hash, netip.AddrPortFrom(ip, uint16(port+1)), time.Now())
		}
		got := store.get(hash, maxPeers, anyFamily)
		if len(got) != portsPerIP {
			t.Errorf("%d ports of one address kept, want %d", len(got), portsPerIP)
		}
		late := false
		for _, peer := range got {
			late = late || peer.Port() > 100
		}
		if !late {
			t.Error("the first announces keep all later ones out")
		}
		prefix := netip.MustParseAddr("2001:db8::1").As16()
		for i := range 100 { // addresses of one /64 are one host
			prefix[15] = byte(i)
			store.add(hash, netip.AddrPortFrom(netip.AddrFrom16(prefix), 1), time.Now())
		}
		if got := store.get(hash, maxPeers, onlyIPv6); len(got) != portsPerIP {
			t.Errorf("%d addresses of one /64 kept, want %d", len(got), portsPerIP)
		}
		if got := store.get(hash, maxPeers, onlyIPv4); len(got) != portsPerIP {
			t.Errorf("%d IPv4 peers", len(got))
		}
		for i := range 1000 {
			store.add(hash, netip.MustParseAddrPort(memAddr(i)), time.Now())
		}
		if got := store.get(hash, maxPeers, anyFamily); len(got) != 100 {
			t.Errorf("%d peers under one infohash, want 100", len(got))
		}
		if got := store.get(hash, 10, anyFamily); len(got) != 10 {
			t.Errorf("%d peers, want 10", len(got))
		}
		for i := range 1000 {
			store.add(nodeID{2, byte(i), byte(i >> 8)}, netip.AddrPortFrom(ip, 1), time.Now())
		}
		if got := store.len(); got != 50 {
			t.Errorf("%d infohashes, want 50", got)
		}
		last := nodeID{2, 999 & 255, 999 >> 8}
		time.Sleep(peerLife + time.Second)
		if got := store.get(last, 10, anyFamily); len(got) != 0 {
			t.Errorf("peers %v outlived their life", got)
		}
		store.sweep(time.Now())
		if got := store.len(); got != 0 {
			t.Errorf("%d infohashes after all expired", got)
		}
	})
}

// TestStoreOverTheWire: tokens are checked, and bounds hold, with real queries.
func TestStoreOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(0)}
		n := s.node(Config{MaxItems: 3})
		defer s.closeAll()
		f := n.families[0]
		from := netip.MustParseAddrPort(memAddr(9))
		put := func(token []byte, item Item) int64 {
			a := putArgs(item)
			a.token = token
			if _, fault := f.result(&message{method: "put", args: *a}, from, time.Now()); fault != nil {
				return fault.code
			}
			return 0
		}
		item := signItem(testKey(1), "", "v", 1)
		token := f.tokens.give(from.Addr(), time.Now())
		other := f.tokens.give(netip.MustParseAddr("80.9.9.9"), time.Now())
		if got := put(other, item); got != 203 {
			t.Errorf("put with another address's token answered %d", got)
		}
		if got := put(token, item); got != 0 {
			t.Errorf("put answered %d", got)
		}
		time.Sleep(tokenTurn)
		if got := put(token, item); got != 0 {
			t.Errorf("put with a token of 5 minutes answered %d", got)
		}
		time.Sleep(tokenTurn)
		if got := put(token, item); got != 203 {
			t.Errorf("put with a token of 10 minutes answered %d", got)
		}
		token = f.tokens.give(from.Addr(), time.Now())
		for i := range 10 {
			if got := put(token, signItem(testKey(byte(i)), "", "v", 1)); got != 0 {
				t.Errorf("put answered %d", got)
			}
		}
		if got := n.Stats()["items"]; got != 3 {
			t.Errorf("%d items, want 3", got)
		}
		for _, port := range []int64{0, -1, 65536} {
			a := args{target: nodeID{1}, hasTarget: true, token: token, port: port}
			if _, fault := f.result(&message{method: "announce_peer", args: a}, from, time.Now()); fault != errQueryPort {
				t.Errorf("announce of port %d: %+v", port, fault)
			}
		}
	})
}

// TestServeBudget: one source gets 2 KB a second, whatever it asks, and another
// is not touched by that.
func TestServeBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		n := s.node(Config{ServeRate: 2048})
		defer s.closeAll()
		greedy, modest := netip.MustParseAddrPort(memAddr(9)), netip.MustParseAddrPort(memAddr(8))
		served := map[netip.AddrPort]int{}
		conns := map[netip.AddrPort]*memConn{greedy: s.mem.listen(greedy.String()), modest: s.mem.listen(modest.String())}
		for range 60 { // a minute
			for range 100 {
				s.mem.send(greedy, n.LocalAddrs()[0], []byte(strings.Replace(findNode, "1:y1:q", "2:roi1e1:y1:q", 1)))
			}
			s.mem.send(modest, n.LocalAddrs()[0], []byte(strings.Replace(findNode, "1:y1:q", "2:roi1e1:y1:q", 1)))
			time.Sleep(time.Second)
		}
		answers := 0
		for addr, conn := range conns {
			for len(conn.in) > 0 {
				served[addr] += len((<-conn.in).b)
				if addr == modest {
					answers++
				}
			}
		}
		if limit := 2048*64 + 1500; served[greedy] > limit || served[greedy] < 2048*55 {
			t.Errorf("the greedy source got %d bytes in a minute, want about %d", served[greedy], limit)
		}
		if answers != 60 {
			t.Errorf("the modest source got %d answers to 60 queries", answers)
		}
		if n.Stats()["query_over_serve_budget"] == 0 {
			t.Errorf("what was not answered did not count: %v", n.Stats())
		}
	})
}

// TestSourceKeys: what budgets count by.
func TestSourceKeys(t *testing.T) {
	for _, test := range []struct{ addr, host, source string }{
		{"80.0.0.1:5", "80.0.0.1:0", "80.0.0.1:0"},
		{"127.0.0.1:5", "127.0.0.1:5", "127.0.0.1:5"},
		{"[::1]:5", "[::1]:5", "[::1]:5"},
		{"[2001:db8::7:8]:5", "[2001:db8::7:8]:0", "[2001:db8::]:0"},
	} {
		addr := netip.MustParseAddrPort(test.addr)
		if got := hostKey(addr).String(); got != test.host {
			t.Errorf("hostKey(%s) = %s, want %s", addr, got, test.host)
		}
		if got := sourceKey(addr).String(); got != test.source {
			t.Errorf("sourceKey(%s) = %s, want %s", addr, got, test.source)
		}
	}
}

// TestSignedVector checks against the test vector of BEP 44.
func TestSignedVector(t *testing.T) {
	if got, want := string(signed([]byte("foobar"), 1, []byte("12:Hello World!"))), "4:salt6:foobar3:seqi1e1:v12:Hello World!"; got != want {
		t.Errorf("signed bytes are %q, want %q", got, want)
	}
	if got, want := string(signed(nil, 1, []byte("12:Hello World!"))), "3:seqi1e1:v12:Hello World!"; got != want {
		t.Errorf("signed bytes are %q, want %q", got, want)
	}
	var item Item
	copy(item.Key[:], unhex(t, "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548"))
	copy(item.Sig[:], unhex(t, "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"+
		"df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08"))
	item.Salt, item.Value, item.Seq = []byte("foobar"), []byte("Hello World!"), 1
	if !item.verify() {
		t.Error("the vector's signature is not valid")
	}
	where := target(item.Key, item.Salt)
	if want := unhex(t, "411eba73b6f087ca51a3795d9c8c938d365e32c1"); string(where[:]) != string(want) {
		t.Errorf("target %x, want %x", where, want)
	}
	item.Seq++
	if item.verify() {
		t.Error("the signature is valid for another number")
	}
}
