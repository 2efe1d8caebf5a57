package dht

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestJoinErrors: each says what was asked, and Join goes on in the background.
func TestJoinErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		defer s.closeAll()
		alone := s.node(Config{})
		if err := alone.Join(t.Context()); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "neither a saved routing table nor") {
			t.Errorf("Join with nothing: %v", err)
		}
		var calls atomic.Int32
		boot := netip.MustParseAddrPort(memAddr(77))
		n := s.node(Config{Bootstrap: func(context.Context) ([]netip.AddrPort, error) {
			if calls.Add(1) == 1 {
				return nil, errors.New("no such host")
			}
			return []netip.AddrPort{boot}, nil
		}})
		if err := n.Join(t.Context()); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("Join with no names: %v", err)
		}
		if err := n.Join(t.Context()); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), boot.String()) {
			t.Errorf("Join with a dead node: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := n.Join(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Join with a short ctx: %v", err)
		}
		time.Sleep(time.Hour)
		if got := calls.Load(); got < 50 || got > 200 {
			t.Errorf("%d attempts in an hour, want about one a minute", got)
		}
		late := s.node(Config{Conns: []net.PacketConn{s.mem.listen(boot.String())}})
		select {
		case <-n.Ready():
		case <-time.After(2 * time.Minute):
			t.Error("not ready 2 minutes after the bootstrap node is there")
		}
		if err := n.Join(t.Context()); err != nil {
			t.Errorf("Join: %v", err)
		}
		<-late.Ready() // by the ping back
	})
}

// TestRecovery: after an outage of an hour, and after all other nodes moved, the
// node is back within a few minutes.
func TestRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(10)
		defer s.closeAll()
		n := s.nodes[9]
		var down atomic.Bool
		s.mem.setTap(func(from, to netip.AddrPort, _ []byte) bool {
			local := n.LocalAddrs()[0]
			return !down.Load() || from != local && to != local
		})
		down.Store(true)
		time.Sleep(time.Hour)
		for range 3 {
			_, _ = n.Get(t.Context(), Query{}, func(Item) {})
		}
		if n.NumNodes() == 0 {
			t.Error("an outage of ours emptied the routing table")
		}
		down.Store(false)
		time.Sleep(3 * time.Minute)
		if res, err := n.Put(t.Context(), Put{Key: testKey(1), Value: []byte("v"), Seq: 1}); err != nil || res.Stored < 8 {
			t.Errorf("Put after the outage: %+v, %v", res, err)
		}
		for _, other := range s.nodes {
			if other != n {
				_ = other.Close()
			}
		}
		again := &starter{t: t, mem: s.mem}
		again.network(5) // at the addresses of the first ones, the bootstrap node too
		defer again.closeAll()
		time.Sleep(20 * time.Minute)
		if h, err := n.Get(t.Context(), Query{}, func(Item) {}); err != nil || h.Answered < 3 {
			t.Errorf("Get after all others started anew: %+v, %v", h, err)
		}
	})
}

// TestReturned: while nobody answers at all, few packets are sent and a lookup
// asks few; the end of the outage is told once, within seconds.
func TestReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(20)
		defer s.closeAll()
		var returns atomic.Int32
		n := s.node(Config{
			Bootstrap: func(context.Context) ([]netip.AddrPort, error) { return s.nodes[0].LocalAddrs(), nil },
			Returned:  func() { returns.Add(1) },
		})
		if err := n.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		var down atomic.Bool
		var sent atomic.Int32
		local := n.LocalAddrs()[0]
		s.mem.setTap(func(from, to netip.AddrPort, _ []byte) bool {
			if from == local {
				sent.Add(1)
			}
			return !down.Load() || from != local && to != local
		})
		for _, outage := range []time.Duration{time.Minute, 20 * time.Minute} {
			before := returns.Load()
			down.Store(true)
			time.Sleep(silentAfter)
			for range silentQueries { // somebody wants something
				_, _ = n.Get(t.Context(), Query{}, func(Item) {})
			}
			if h, err := n.Get(t.Context(), Query{}, func(Item) {}); h.Asked > knockAt || !errors.Is(err, ErrNoAnswer) {
				t.Errorf("a lookup in an outage asked %d nodes, %v; want %d at most, and ErrNoAnswer", h.Asked, err, knockAt)
			}
			sent.Store(0)
			time.Sleep(outage)
			if rate := float64(sent.Load()) / outage.Seconds(); rate > 5 || rate < 0.5 {
				t.Errorf("%.1f packets/s in %v of an outage, want 0.5 to 5", rate, outage)
			}
			down.Store(false)
			time.Sleep(2 * knockEvery)
			if got := returns.Load() - before; got != 1 {
				t.Errorf("after an outage of %v its end was told %d times, want once", outage, got)
			}
			if h, err := n.Get(t.Context(), Query{}, func(Item) {}); err != nil || h.Answered < walkK {
				t.Errorf("a lookup after it: %+v, %v", h, err)
			}
			time.Sleep(10 * time.Minute)
			if got := returns.Load() - before; got != 1 {
				t.Errorf("the end of the outage was told %d times, want once", got)
			}
		}
	})
}

// TestSavedTable: a node that saved its table joins without bootstrap nodes,
// under the same ID.
func TestSavedTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(20)
		defer s.closeAll()
		n := s.nodes[5]
		id := n.families[0].currentID()
		table := n.Table()
		_ = n.Close()
		nobody := func(context.Context) ([]netip.AddrPort, error) { return nil, nil }
		again := s.node(Config{Table: table, Bootstrap: nobody, Conns: []net.PacketConn{s.mem.listen(memAddr(5))}})
		if err := again.Join(t.Context()); err != nil {
			t.Fatalf("Join: %v", err)
		}
		time.Sleep(time.Second)
		if again.NumNodes() < 10 || again.families[0].currentID() != id {
			t.Errorf("%d nodes known, ID %x, was %x", again.NumNodes(), again.families[0].currentID(), id)
		}
		if len(table) > 12<<10 {
			t.Errorf("the saved table has %d bytes", len(table))
		}
	})
}

func FuzzSavedTable(f *testing.F) {
	s := &starter{t: f, mem: newMemNet(0)}
	n := s.node(Config{})
	f.Cleanup(s.closeAll)
	four := n.families[0]
	for i := range 5 {
		four.heard(contact{randomID(), netip.MustParseAddrPort(memAddr(i + 1))}, time.Millisecond, netip.AddrPort{})
	}
	f.Add(n.Table())
	f.Add(n.Table()[:100])
	f.Add([]byte{})
	f.Add([]byte("damaged"))
	f.Fuzz(func(t *testing.T, b []byte) {
		four, six, err := parseSaved(b)
		if err != nil {
			return
		}
		if want := 45 + compactNode4*len(four.nodes) + compactNode6*len(six.nodes); want != len(b) {
			t.Errorf("%d bytes hold %d and %d nodes", len(b), len(four.nodes), len(six.nodes))
		}
	})
}

// TestChanged: after a change of address the votes and tokens of the old one are
// gone, and the new address is known within a second.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(10)
		defer s.closeAll()
		n := s.nodes[3]
		if got := n.External(); len(got) != 1 || got[0] != n.LocalAddrs()[0] {
			t.Fatalf("External: %v, want %v", got, n.LocalAddrs())
		}
		// A NAT: what the node sends comes from elsewhere from now on.
		local, outer := n.LocalAddrs()[0], netip.MustParseAddrPort("99.1.2.3:999")
		conn := s.mem.at(local)
		s.mem.mu.Lock()
		s.mem.conns[outer] = conn
		s.mem.mu.Unlock()
		s.mem.setTap(func(from, to netip.AddrPort, b []byte) bool {
			if from != local {
				return true
			}
			go s.mem.send(outer, to, append([]byte(nil), b...))
			return false
		})
		n.Changed()
		time.Sleep(time.Second)
		if got := n.External(); len(got) != 1 || got[0] != outer {
			t.Errorf("External after the change: %v, want %v", got, outer)
		}
		if !isSecure(n.families[0].currentID(), outer.Addr()) {
			t.Error("the node ID did not follow the address")
		}
		if res, err := n.Put(t.Context(), Put{Key: testKey(1), Value: []byte("v"), Seq: 1}); err != nil || res.Stored < 8 {
			t.Errorf("Put from the new address: %+v, %v", res, err)
		}
	})
}

// TestExternalVotes: two nodes are not enough, one host has one vote, a tie is none.
func TestExternalVotes(t *testing.T) {
	s := &starter{t: t, mem: newMemNet(0)}
	n := s.node(Config{})
	defer s.closeAll()
	f := n.families[0]
	a, b := netip.MustParseAddrPort("99.0.0.1:1"), netip.MustParseAddrPort("99.0.0.2:2")
	vote := func(from string, ours netip.AddrPort) {
		f.heard(contact{randomID(), netip.MustParseAddrPort(from)}, time.Millisecond, ours)
	}
	check := func(want ...netip.AddrPort) {
		t.Helper()
		got := n.External()
		if len(got) != len(want) || len(got) == 1 && got[0] != want[0] {
			t.Errorf("External: %v, want %v", got, want)
		}
	}
	vote("80.0.0.1:1", a)
	vote("80.0.0.2:1", a)
	vote("80.0.0.2:2", a) // the same host
	check()
	vote("80.0.0.3:1", netip.AddrPortFrom(a.Addr(), 0)) // no port
	vote("80.0.0.3:1", netip.MustParseAddrPort("[2001:db8::1]:1"))
	check()
	vote("80.0.0.3:1", a)
	check(a)
	for _, from := range []string{"80.0.0.4:1", "80.0.0.5:1", "80.0.0.6:1"} {
		vote(from, b)
	}
	check()
	vote("80.0.0.1:1", b) // changed its mind
	check(b)
	vote("127.0.0.1:1", a)
	vote("127.0.0.1:2", a)
	vote("127.0.0.1:3", a) // loopback: each port
	check(a)
}

// TestExternalVotesOfLiars: behind a NAT that maps each destination to another
// port the honest agree on the IP address alone. Three liars who agree on a port
// too do not outvote them.
func TestExternalVotesOfLiars(t *testing.T) {
	s := &starter{t: t, mem: newMemNet(0)}
	n := s.node(Config{})
	defer s.closeAll()
	f := n.families[0]
	heard := func(from byte, ours netip.AddrPort) {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{80, 0, 0, from}), 1)
		f.heard(contact{randomID(), at}, time.Millisecond, ours)
	}
	for i := range byte(8) {
		heard(i, netip.AddrPortFrom(netip.MustParseAddr("99.0.0.1"), 2000+uint16(i)))
	}
	for i := range byte(3) {
		heard(100+i, netip.MustParseAddrPort("203.0.113.5:53530"))
	}
	if got := n.External(); len(got) != 0 {
		t.Errorf("External: %v, the word of 3 liars against 8", got)
	}
}

// TestTableRules: who gets in, who makes room, who is told to others.
func TestTableRules(t *testing.T) {
	now := time.Now()
	self := nodeID{}
	far := func(i int, addr string) contact {
		id := nodeID{0x80, byte(i), byte(i >> 8)}
		return contact{id, netip.MustParseAddrPort(addr)}
	}
	table := newTable(self)
	for port := range 10 {
		table.answered(contact{nodeID{0x80, 9, byte(port)}, netip.AddrPortFrom(netip.MustParseAddr("80.9.9.9"), uint16(port+1))}, now)
	}
	if got := table.len(); got != tablePerIP {
		t.Errorf("%d nodes of one address, want %d", got, tablePerIP)
	}
	table = newTable(self)
	for i := range 200 {
		table.answered(far(i, memAddr(i)), now)
	}
	if got := table.len(); got != nearHalf {
		t.Errorf("%d nodes in the far half, want %d", got, nearHalf)
	}
	var good contact // in the far half, with an ID that fits its address (BEP 42)
	for i := 0; good.id[0]&0x80 == 0; i++ {
		addr := netip.MustParseAddrPort(memAddr(5000 + i))
		good = contact{secureID(addr.Addr()), addr}
	}
	table.answered(good, now)
	if !table.has(good.addr) || table.len() != nearHalf {
		t.Error("a node whose ID fits its address found no room among those that do not")
	}
	victim := table.buckets[0][0]
	table.unanswered(victim.addr)
	table.answered(far(999, memAddr(999)), now)
	if table.has(victim.addr) || !table.has(netip.MustParseAddrPort(memAddr(999))) {
		t.Error("a node that failed did not make room")
	}
	other := table.buckets[0][1].contact
	for range failuresKept + 1 {
		table.unanswered(other.addr)
	}
	if table.has(other.addr) {
		t.Error("a node that failed three times is still there")
	}
	silent := table.buckets[0][2].contact
	table.unanswered(silent.addr)
	for _, c := range table.closest(silent.id, 300, now.Add(-time.Second)) {
		if c == silent {
			t.Error("a node that failed is told to others")
		}
	}
	moved := contact{nodeID{1}, table.buckets[0][3].addr}
	table.answered(moved, now)
	if got := table.closest(moved.id, 1, time.Time{}); len(got) != 1 || got[0] != moved {
		t.Errorf("a node with a new ID is %v", got)
	}
	table.answered(contact{self, netip.MustParseAddrPort("99.0.0.1:1")}, now)
	if table.has(netip.MustParseAddrPort("99.0.0.1:1")) {
		t.Error("a node with our own ID is in the table")
	}
}

// TestNewInvalid: what New refuses, and that it closes what it was given.
func TestNewInvalid(t *testing.T) {
	mem := newMemNet(0)
	for name, conns := range map[string][]net.PacketConn{
		"none":            nil,
		"nil":             {nil},
		"two of a family": {mem.listen("80.0.0.1:1"), mem.listen("80.0.0.2:1")},
	} {
		if _, err := New(Config{Conns: conns}); !errors.Is(err, ErrInvalid) {
			t.Errorf("New with %s: %v, want ErrInvalid", name, err)
		}
	}
	if len(mem.conns) != 0 {
		t.Error("connections were left open")
	}
}

// TestPartedNetworkReunites: two halves of a small network that were apart for
// so long that neither knows anybody of the other find each other again.
func TestPartedNetworkReunites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &starter{t: t, mem: newMemNet(time.Millisecond)}
		s.network(16)
		defer s.closeAll()
		half := map[netip.AddrPort]bool{}
		for _, n := range s.nodes[:8] {
			half[n.LocalAddrs()[0]] = true
		}
		s.mem.setTap(func(from, to netip.AddrPort, _ []byte) bool { return half[from] == half[to] })
		time.Sleep(2 * time.Hour)
		if res, err := s.nodes[15].Put(t.Context(), Put{Key: testKey(1), Value: []byte("v"), Seq: 1}); err != nil || res.Asked > 8 {
			t.Fatalf("Put in one half: %+v, %v; want that half alone to be known", res, err)
		}
		s.mem.setTap(nil)
		time.Sleep(5 * time.Minute)
		for _, n := range s.nodes {
			if got := n.NumNodes(); got <= 7 {
				t.Errorf("node %s knows %d others after 5 minutes, want some of the other half", n.LocalAddrs()[0], got)
			}
		}
		time.Sleep(25 * time.Minute)
		for _, n := range s.nodes {
			if got := n.NumNodes(); got < 13 { // two may do without each other
				t.Errorf("node %s knows %d others after half an hour, want nearly all 15", n.LocalAddrs()[0], got)
			}
		}
	})
}
