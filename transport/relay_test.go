package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/udpio"
	"github.com/gocarrier/carrier/internal/wire"
)

// turnRealm is that of the TURN servers of tests, whose one user has these words.
const turnRealm, turnUser, turnPassword = "realm", "user", "password"

// turnServer is a TURN server, by pion, on a lab host or in the operating system.
type turnServer struct {
	addr   netip.AddrPort
	conn   net.PacketConn
	server *turn.Server
	net    Net

	mu    sync.Mutex
	deny  map[netip.Addr]bool // peers
	asked map[netip.Addr]int  // how often for a permission
}

func newTURNServer(t *testing.T, n Net, address string) *turnServer {
	t.Helper()
	conn, err := n.ListenPacket(t.Context(), "udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	return serveTURN(t, n, conn)
}

func serveTURN(t testing.TB, n Net, conn net.PacketConn) *turnServer {
	t.Helper()
	s := &turnServer{net: n, conn: conn, deny: map[netip.Addr]bool{}, asked: map[netip.Addr]int{}}
	s.addr, _ = udpAddrPort(conn.LocalAddr())
	var err error
	s.server, err = turn.NewServer(turn.ServerConfig{
		Realm: turnRealm, LoggerFactory: pionLogs{slog.New(slog.DiscardHandler)},
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			return a.Username, turn.GenerateAuthKey(turnUser, turnRealm, turnPassword), a.Username == turnUser
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: conn, RelayAddressGenerator: s, PermissionHandler: s.permit}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *turnServer) close() { _ = s.server.Close() }

func (s *turnServer) permit(_ net.Addr, peer net.IP) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ip, _ := netip.AddrFromSlice(peer)
	s.asked[ip.Unmap()]++
	return !s.deny[ip.Unmap()]
}

func (s *turnServer) Validate() error { return nil }

func (s *turnServer) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	conn, err := s.net.ListenPacket(context.Background(), c.Network, netip.AddrPortFrom(s.addr.Addr(), uint16(c.RequestedPort)).String())
	if err != nil {
		return nil, nil, err
	}
	return conn, conn.LocalAddr(), nil
}

func (s *turnServer) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errors.ErrUnsupported
}

func (s *turnServer) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// addRelay has the node keep a relay at a server; changes of its address are told on the channel.
func (n *attemptNode) addRelay(server TURNServer) (*relay, <-chan struct{}) {
	changed := make(chan struct{}, 100)
	r := newRelay(relayConfig{
		server: server, net: n.net, mux: n.mux, log: slog.New(slog.DiscardHandler),
		onData:  func(b []byte, c conduit, from netip.AddrPort) { n.data <- attemptData{string(b), c, from} },
		changed: func() { changed <- struct{}{} },
	})
	n.relays = append(n.relays, r)
	return r, changed
}

// addAllocated is addRelay, and waits for an address.
func (n *attemptNode) addAllocated(t *testing.T, server TURNServer) *relay {
	t.Helper()
	r, changed := n.addRelay(server)
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Error("no allocation in 10 s")
	}
	return r
}

func (s *turnServer) config() TURNServer {
	return TURNServer{Address: s.addr.String(), Username: turnUser, Password: turnPassword}
}

// relayBubble has a network with a TURN server; A is behind a symmetric NAT and has a relay, B behind one that lets in
// only whom it has sent to. Nothing gets from one to the other but by the relay.
func relayBubble(t *testing.T, test func(t *testing.T, n *lab.Network, s *turnServer, a, b *attemptNode)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := lab.New(attemptLink)
		defer n.Close()
		s := newTURNServer(t, n.Host(netip.MustParseAddr("192.0.2.9")), "192.0.2.9:3478")
		defer s.close()
		nat := n.NAT(netip.MustParseAddr("198.51.100.1"), lab.Symmetric())
		a := newAttemptNode(t, nat.Host(netip.MustParseAddr("10.0.0.2")), "10.0.0.2:4000")
		defer a.close()
		nat = n.NAT(netip.MustParseAddr("203.0.113.1"), lab.PortRestricted())
		b := newAttemptNode(t, nat.Host(netip.MustParseAddr("10.9.0.2")), "10.9.0.2:4000")
		defer b.close()
		a.addAllocated(t, s.config())
		test(t, n, s, a, b)
	})
}

// relayEnds are the ends of an attempt between the nodes of relayBubble.
func relayEnds(t *testing.T, s *turnServer, a, b *attemptNode) (attemptEnd, attemptEnd) {
	t.Helper()
	mapped, err := b.mux.reflexive(t.Context(), s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return newAttemptEnd(a, wire.Candidate{Type: wire.CandidateHost, Addr: a.addr}, wire.Candidate{Type: wire.CandidateRelayed, Addr: a.relays[0].addr()}),
		newAttemptEnd(b, wire.Candidate{Type: wire.CandidateHost, Addr: b.addr}, wire.Candidate{Type: wire.CandidateServerReflexive, Addr: mapped})
}

// exchange sends data packets both ways by paths that attempts have found: pathA is of the node with the relay.
func exchange(t *testing.T, what string, a, b *attemptNode, pathA, pathB foundPath) {
	t.Helper()
	got := make(chan attemptData, 100)
	b.socket.Handle(udpio.Data, func(p []byte, from netip.AddrPort) { got <- attemptData{string(p), nil, from} })
	defer b.socket.Handle(udpio.Data, nil)
	if err := pathA.conduit.write([]byte("\xc0to b 1\xc0to b 2\xc0to b"), 7, pathA.remote); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, want := range []string{"\xc0to b 1", "\xc0to b 2", "\xc0to b"} {
		select {
		case d := <-got:
			if d.b != want || d.from != pathB.remote {
				t.Errorf("%s: b got %q from %v, want %q from %v", what, d.b, d.from, want, pathB.remote)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: b has not got %q", what, want)
		}
	}
	// Not before: a relay lets in only whom it was told of.
	if err := b.socket.WriteTo([]byte("\xc0to a"), pathB.remote); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	select {
	case d := <-a.data:
		if want := (attemptData{"\xc0to a", pathA.conduit, pathA.remote}); d != want {
			t.Errorf("%s: a got %v, want %v", what, d, want)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("%s: a got nothing", what)
	}
}

// TestRelay: where nothing else gets through, attempts come to a path by the relay, which then outlives them.
func TestRelay(t *testing.T) {
	for _, lower := range []bool{true, false} {
		for _, kind := range []wire.OfferKind{wire.OfferNew, wire.OfferRestart} {
			t.Run(fmt.Sprintf("lower %v, kind %d", lower, kind), func(t *testing.T) {
				relayBubble(t, func(t *testing.T, _ *lab.Network, s *turnServer, a, b *attemptNode) {
					endA, endB := relayEnds(t, s, a, b)
					i, ends := 0, [2]attemptEnd{endA, endB}
					if !lower {
						i, ends = 1, [2]attemptEnd{endB, endA}
					}
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					r := runBoth(ctx, crossed(kind, ends[0], ends[1]), [2]*attemptNode{ends[0].node, ends[1].node}, 0)
					if err := errors.Join(r[0].err, r[1].err); err != nil {
						t.Fatal(err)
					}
					if kind == wire.OfferNew {
						agreed(t, r)
					}
					t.Logf("a established after %v, b after %v", r[i].took, r[1-i].took)
					eA, eB := r[i], r[1-i]
					if eA.conduit != conduit(a.relays[0]) || eB.conduit != nil || eB.remote != a.relays[0].addr() {
						t.Errorf("a's path is by %v to %v, b's by %v to %v; the relay is at %v", eA.conduit, eA.remote, eB.conduit, eB.remote, a.relays[0].addr())
					}
					pathA, pathB := foundPath{eA.conduit, eA.remote, true}, foundPath{eB.conduit, eB.remote, true}
					closeBoth(r)
					exchange(t, "after close", a, b, pathA, pathB)
					for range 40 { // past the lives of permission, channel and allocation
						time.Sleep(time.Minute)
						b.socket.WriteTo([]byte("\xc0"), pathB.remote) // keeps B's NAT open
						time.Sleep(time.Second)
						if len(a.data) != 1 {
							t.Fatal("what b sends does not arrive")
						}
						<-a.data
					}
					exchange(t, "40 minutes later", a, b, pathA, pathB)
				})
			})
		}
	}
}

// TestRelayThenDirect: the direct path is waited for; when what is found first is the relay nevertheless, the end that
// controls ICE proposes the direct path as soon as it answers.
func TestRelayThenDirect(t *testing.T) {
	for _, c := range []struct {
		name    string
		kind    wire.OfferKind
		lower   bool // who has the relay
		delay   time.Duration
		relayed bool // at first
	}{
		{"new, far", wire.OfferNew, true, 400 * time.Millisecond, true},
		{"new, far, relay of the higher", wire.OfferNew, false, 400 * time.Millisecond, true},
		{"restart, far", wire.OfferRestart, true, 400 * time.Millisecond, true},
		{"restart, far, relay of the higher", wire.OfferRestart, false, 400 * time.Millisecond, true},
		{"restart, near", wire.OfferRestart, true, 100 * time.Millisecond, false},
		{"restart, near, relay of the higher", wire.OfferRestart, false, 100 * time.Millisecond, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := lab.Options{Default: lab.Link{Delay: 5 * time.Millisecond}}
			attemptBubble(t, opts, func(t *testing.T, n *lab.Network, a, b *attemptNode) {
				s := newTURNServer(t, n.Host(netip.MustParseAddr("192.0.2.9")), "192.0.2.9:3478")
				defer s.close()
				n.SetLink(a.addr.Addr(), b.addr.Addr(), lab.Link{Delay: c.delay})
				n.SetLink(b.addr.Addr(), a.addr.Addr(), lab.Link{Delay: c.delay})
				relay := a.addAllocated(t, s.config())
				ends := [2]attemptEnd{newAttemptEnd(a, wire.Candidate{Type: wire.CandidateHost, Addr: a.addr}, wire.Candidate{Type: wire.CandidateRelayed, Addr: relay.addr()}), newAttemptEnd(b)}
				ofA, ofB := 0, 1
				if !c.lower {
					ends[0], ends[1] = ends[1], ends[0]
					ofA, ofB = 1, 0
				}
				r := runBoth(t.Context(), crossed(c.kind, ends[0], ends[1]), [2]*attemptNode{ends[0].node, ends[1].node}, 0)
				defer closeBoth(r)
				if err := errors.Join(r[0].err, r[1].err); err != nil {
					t.Fatal(err)
				}
				t.Logf("first path after %v and %v", r[0].took, r[1].took)
				wantA, wantB := foundPath{nil, b.addr, false}, foundPath{nil, a.addr, false}
				if c.relayed {
					wantA, wantB = foundPath{relay, b.addr, true}, foundPath{nil, relay.addr(), true}
				}
				gotA, gotB := foundPath{r[ofA].conduit, r[ofA].remote, r[ofA].relayed}, foundPath{r[ofB].conduit, r[ofB].remote, r[ofB].relayed}
				if gotA != wantA || gotB != wantB {
					t.Errorf("a's path is %v, want %v; b's %v, want %v", gotA, wantA, gotB, wantB)
				}
				time.Sleep(3 * time.Second)
				r[0].close()
				r[1].close()
				if p, ok := <-r[0].paths; ok != c.relayed || ok && p != (foundPath{nil, ends[1].node.addr, false}) {
					t.Errorf("proposed %v, %v", p, ok)
				}
				if p, ok := <-r[1].paths; ok {
					t.Errorf("the controlled end proposes %v", p)
				}
				if _, ok := <-r[0].paths; ok {
					t.Error("a path was proposed twice")
				}
			})
		})
	}
}

// TestRelayForeign: what comes to the relay's socket from elsewhere than the server is dropped.
func TestRelayForeign(t *testing.T) {
	attemptBubble(t, attemptLink, func(t *testing.T, n *lab.Network, a, _ *attemptNode) {
		s := newTURNServer(t, n.Host(netip.MustParseAddr("192.0.2.9")), "192.0.2.9:3478")
		defer s.close()
		var socket netip.AddrPort
		n.Tap(func(from, to netip.AddrPort, _ []byte) {
			if to == s.addr {
				socket = from
			}
		})
		r := a.addAllocated(t, s.config())
		stranger, err := n.Host(netip.MustParseAddr("192.0.2.7")).ListenPacket(t.Context(), "udp4", "192.0.2.7:3478")
		if err != nil {
			t.Fatal(err)
		}
		defer stranger.Close()
		data, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication),
			stun.RawAttribute{Type: stun.AttrXORPeerAddress, Value: []byte{0, 1, 0x11, 0x2B, 0xE1, 0x12, 0xA6, 0x45}},
			stun.RawAttribute{Type: stun.AttrData, Value: []byte("\xc0abc")})
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []net.PacketConn{stranger, s.conn} {
			if _, err := from.WriteTo(data.Raw, net.UDPAddrFromAddrPort(socket)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if len(a.data) != 1 || r.dropped.Load() != 1 {
			t.Errorf("%d were taken and %d dropped, want the server's taken and the stranger's dropped", len(a.data), r.dropped.Load())
		}
	})
}

// TestRelayAgain: a server that forgets gives another allocation.
func TestRelayAgain(t *testing.T) {
	relayBubble(t, func(t *testing.T, n *lab.Network, s *turnServer, a, b *attemptNode) {
		r := a.relays[0]
		first := r.addr()
		s.close()
		start := time.Now()
		for r.addr().IsValid() && time.Since(start) < time.Hour {
			time.Sleep(time.Second)
		}
		t.Logf("noticed after %v", time.Since(start))
		if took := time.Since(start); took > time.Minute {
			t.Errorf("noticed after %v", took)
		}
		if err := r.write([]byte("\xc0"), 1, b.addr); !errors.Is(err, errNoRelay) {
			t.Errorf("a write without an allocation gives %v", err)
		}
		time.Sleep(10 * time.Minute)
		sent := n.Stats().Sent
		time.Sleep(time.Hour)
		if got := n.Stats().Sent - sent; got > 300 {
			t.Errorf("%d datagrams in an hour to a server that is not there", got)
		}
		s = newTURNServer(t, n.Host(netip.MustParseAddr("192.0.2.9")), "192.0.2.9:3478")
		defer s.close()
		start = time.Now()
		for !r.addr().IsValid() && time.Since(start) < time.Hour {
			time.Sleep(time.Second)
		}
		t.Logf("again after %v, at %v instead of %v", time.Since(start), r.addr(), first)
		time.Sleep(relayProven)
		// A server that has forgotten the allocation, and answers nevertheless.
		s.close()
		s = newTURNServer(t, n.Host(netip.MustParseAddr("192.0.2.9")), "192.0.2.9:3478")
		defer s.close()
		made := r.made.Load()
		time.Sleep(2 * time.Minute)
		if r.made.Load() == made || !r.addr().IsValid() {
			t.Error("a restart of the server went unnoticed")
		}
	})
}

// TestRelayPermissions: writes never wait for the server, a peer that it refuses costs nothing, and others go on.
func TestRelayPermissions(t *testing.T) {
	relayBubble(t, func(t *testing.T, n *lab.Network, s *turnServer, a, _ *attemptNode) {
		r := a.relays[0]
		bad, good := netip.MustParseAddrPort("192.0.2.7:1"), netip.MustParseAddrPort("192.0.2.8:1")
		s.mu.Lock()
		s.deny[bad.Addr()] = true
		s.mu.Unlock()
		conn, err := n.Host(good.Addr()).ListenPacket(t.Context(), "udp4", good.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		start := time.Now()
		for i := range 100 {
			for _, to := range []netip.AddrPort{bad, good} {
				if err := r.write([]byte{0xC0, byte(i)}, 2, to); err != nil {
					t.Fatal(err)
				}
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("200 writes took %v", took)
		}
		time.Sleep(time.Second)
		r.write([]byte{0xC0, 200}, 2, good)
		var got []byte
		conn.SetReadDeadline(time.Now().Add(time.Second))
		b := make([]byte, 100)
		for {
			k, _, err := conn.ReadFrom(b)
			if err != nil {
				break
			}
			got = append(got, b[k-1])
		}
		if len(got) <= maxRelayWaiting || got[len(got)-1] != 200 || !slices.IsSorted(got) {
			t.Errorf("the permitted peer got %v, want the first %d and the last, in order", got, maxRelayWaiting)
		}
		stats := map[string]uint64{}
		r.addStats(stats)
		if stats["relay.refused"] == 0 || stats["relay.allocated"] != 1 {
			t.Errorf("stats are %v", stats)
		}
		asked := func() int {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.asked[bad.Addr()]
		}
		if n := asked(); n != 1 {
			t.Errorf("the server was asked %d times for what it refused, want once", n)
		}
		for range 20 {
			r.write([]byte{0xC0}, 1, bad)
			time.Sleep(time.Second)
		}
		if n := asked(); n != 1 {
			t.Errorf("20 s later the server was asked %d times for what it refused, want once", n)
		}
		time.Sleep(relayRefusal)
		r.write([]byte{0xC0}, 1, bad)
		time.Sleep(time.Second)
		if n := asked(); n != 2 {
			t.Errorf("after the time the server was asked %d times, want twice", n)
		}
	})
}

// TestRelayFull: an allocation that has served too many peers is exchanged for another.
func TestRelayFull(t *testing.T) {
	relayBubble(t, func(t *testing.T, _ *lab.Network, _ *turnServer, a, _ *attemptNode) {
		r := a.relays[0]
		first := r.addr()
		var err error
		for i := 0; i <= maxRelayPeers && err == nil; i++ {
			err = r.write([]byte{0xC0}, 1, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), uint16(i+1)))
		}
		if !errors.Is(err, errRelayFull) {
			t.Errorf("after %d peers: %v", maxRelayPeers, err)
		}
		time.Sleep(30 * time.Second)
		if now := r.addr(); !now.IsValid() || now == first {
			t.Errorf("the address is %v, was %v", now, first)
		}
	})
}

// TestRelayRefused: servers that are wrong, or give nothing, are asked ever more seldom.
func TestRelayRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		server TURNServer
	}{
		{"wrong password", TURNServer{"192.0.2.9:3478", turnUser, "wrong"}},
		{"wrong user", TURNServer{"192.0.2.9:3478", "nobody", turnPassword}},
		{"not there", TURNServer{"192.0.2.99:3478", turnUser, turnPassword}},
		{"no such name", TURNServer{"no.such.name:3478", turnUser, turnPassword}},
		{"no port", TURNServer{"192.0.2.9", turnUser, turnPassword}},
		{"port 0", TURNServer{"192.0.2.9:0", turnUser, turnPassword}},
	} {
		t.Run(c.name, func(t *testing.T) {
			relayBubble(t, func(t *testing.T, n *lab.Network, _ *turnServer, _, b *attemptNode) {
				r, changed := b.addRelay(c.server)
				time.Sleep(time.Hour)
				if r.addr().IsValid() || r.base() != nil || len(changed) != 0 {
					t.Errorf("the relay has the address %v", r.addr())
				}
				sent := n.Stats().Sent
				time.Sleep(time.Hour)
				if got := n.Stats().Sent - sent; got > 1000 { // with what keeps A's allocation
					t.Errorf("%d datagrams in the second hour", got)
				}
			})
		})
	}
}

// TestRelayEndsAnyTime closes a relay in every stage of its making; the bubble shows that nothing goes on.
func TestRelayEndsAnyTime(t *testing.T) {
	stages := []time.Duration{relayProbe + 250*time.Millisecond, 5*time.Minute + 250*time.Millisecond} // while the server is asked
	for at := time.Duration(0); at < 600*time.Millisecond; at += 25 * time.Millisecond {
		stages = append(stages, at)
	}
	for _, at := range stages {
		relayBubble(t, func(t *testing.T, _ *lab.Network, s *turnServer, _, b *attemptNode) {
			r, _ := b.addRelay(s.config())
			time.Sleep(at)
			r.write([]byte{0xC0}, 1, netip.MustParseAddrPort("192.0.2.7:1")) // fails before there is an allocation
			start := time.Now()
			r.close()
			if took := time.Since(start); took != 0 {
				t.Errorf("close at %v took %v", at, took)
			}
		})
	}
}

// TestRelayName resolves a name, and takes the address of the other family when the first does not answer.
func TestRelayName(t *testing.T) {
	relayBubble(t, func(t *testing.T, n *lab.Network, s *turnServer, _, b *attemptNode) {
		n.Name("turn.example", netip.MustParseAddr("2001:db8::9"), s.addr.Addr())
		r := b.addAllocated(t, TURNServer{"turn.example:3478", turnUser, turnPassword})
		if r.addr().Addr() != s.addr.Addr() {
			t.Errorf("the relay is at %v", r.addr())
		}
	})
}

// TestRelayRealSockets relays over the operating system's loopback, in real time.
func TestRelayRealSockets(t *testing.T) {
	s := newTURNServer(t, udpio.OS{}, "127.0.0.1:0")
	defer s.close()
	a, b := newAttemptNode(t, udpio.OS{}, "127.0.0.1:0"), newAttemptNode(t, udpio.OS{}, "127.0.0.1:0")
	defer a.close()
	defer b.close()
	relay := a.addAllocated(t, s.config())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	endA := newAttemptEnd(a, wire.Candidate{Type: wire.CandidateRelayed, Addr: relay.addr()})
	r := runBoth(ctx, crossed(wire.OfferNew, endA, newAttemptEnd(b)), [2]*attemptNode{a, b}, 0)
	agreed(t, r)
	closeBoth(r)
	exchange(t, "after close", a, b, foundPath{relay, b.addr, true}, foundPath{nil, relay.addr(), true})
}

// FuzzRelayInbound gives an allocation what a TURN server that is mad or hostile may send.
func FuzzRelayInbound(f *testing.F) {
	for _, seed := range []string{
		"\x40\x00\x00\x04\xc0abc",                      // on a channel
		"\x40\x00\xff\xff\xc0abc",                      // longer than it is
		"\x4f\xff\x00\x00",                             // nothing
		"\x00\x17\x00\x00\x21\x12\xa4\x42abcdefghijkl", // data of nobody
		"\x00\x17\x00\x14\x21\x12\xa4\x42abcdefghijkl\x00\x12\x00\x08\x00\x01\x11\x2b\xe1\x12\xa6\x45\x00\x13\x00\x04\xc0abc",
		"\x00\x17\x00\x10\x21\x12\xa4\x42abcdefghijkl\x00\x12\x00\x08\x00\x01\x11\x2b\xe1\x12\xa6\x45\x00\x13\x00\x00", // empty
		"\x01\x03\x00\x00\x21\x12\xa4\x42abcdefghijkl",                                                                 // allocated, what nobody asked for
		"\x01\x14\x00\x08\x21\x12\xa4\x42abcdefghijkl\x00\x09\x00\x04\x00\x00\x04\x25",
		"\xc0abc", "",
	} {
		f.Add([]byte(seed))
	}
	n := lab.New(lab.Options{})
	f.Cleanup(n.Close)
	conn, err := n.Host(netip.MustParseAddr("192.0.2.9")).ListenPacket(f.Context(), "udp4", "192.0.2.9:3478")
	if err != nil {
		f.Fatal(err)
	}
	s := serveTURN(f, n.Host(netip.MustParseAddr("192.0.2.9")), conn)
	f.Cleanup(s.close)
	h := n.Host(netip.MustParseAddr("192.0.2.1"))
	m := newMux(muxConfig{send: func([]byte, netip.AddrPort) error { return nil }})
	f.Cleanup(func() { m.Close() })
	r := &relay{relayConfig: relayConfig{
		server: s.config(), net: h, mux: m, log: slog.New(slog.DiscardHandler),
		onData: func(b []byte, _ conduit, _ netip.AddrPort) { clear(b) },
	}}
	a, err := newAllocation(f.Context(), r, s.addr)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(a.close)
	if err := a.send([]byte{0xC0}, netip.MustParseAddrPort("192.0.2.7:1")); err != nil { // so that there is a channel
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = conn.WriteTo(b, a.socket.LocalAddr())                      // fails for what is too long for a datagram
		_, _ = a.client.HandleInbound(b, net.UDPAddrFromAddrPort(s.addr)) // at once too, so that what panics is found here
	})
}
