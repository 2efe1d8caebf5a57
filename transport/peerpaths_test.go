package transport

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/lab"
)

// peerWay is a way that 2 MiB take 8 s on.
var peerWay = lab.Link{Delay: tripTime / 2, Rate: 1 << 18}

// during sends 2 MiB there and back by the links of both, and has something
// happen meanwhile. Nothing may be lost or doubled.
func during(t *testing.T, la, lb *Link, happens func()) {
	t.Helper()
	var wg sync.WaitGroup
	begun := time.Now()
	for _, l := range []*Link{la, lb} {
		wg.Go(func() { echo(t, l, 2<<20) })
	}
	time.Sleep(3 * time.Second)
	happens()
	wg.Wait()
	t.Logf("2 MiB each way in %v", time.Since(begun))
	if took := time.Since(begun); took > 50*time.Second {
		t.Errorf("2 MiB each way took %v", took)
	}
	if la.Err() != nil || lb.Err() != nil || la.Suspect() || lb.Suspect() {
		t.Errorf("the link has ended (%v, %v) or is suspect", la.Err(), lb.Err())
	}
}

// TestSilentlyDeadPath: the link finds another way when its own goes silent, in
// both directions or in one.
func TestSilentlyDeadPath(t *testing.T) {
	for _, kind := range []string{"both directions", "towards the lower ID", "towards the higher ID"} {
		t.Run(kind, func(t *testing.T) {
			peerLabOver(t, peerWay, func(t *testing.T, n *lab.Network, s *post) {
				s.every = 2 * time.Second
				a, b := newPeerNode(t, s, sixHost(n, 0), peerOptions{six: true}), newPeerNode(t, s, sixHost(n, 1), peerOptions{six: true})
				defer b.stop()
				defer a.stop()
				a.Connect(b.id)
				la, lb := linked(a, b, time.Minute)
				if !la.Lower() {
					a, b, la, lb = b, a, lb, la
				}
				first := la.Path()
				during(t, la, lb, func() {
					own, peer := []netip.Addr{lb.Path().Remote.Addr()}, []netip.Addr{first.Remote.Addr()}
					switch kind {
					case "both directions":
						n.Partition(own, peer)
					case "towards the lower ID":
						n.Blackhole(peer, own)
					default:
						n.Blackhole(own, peer)
					}
				})
				if p := la.Path(); p.Remote == first.Remote || p.Remote.Addr().Is4() == first.Remote.Addr().Is4() {
					t.Errorf("the path is %v, and was %v", p, first)
				}
				if ups, downs := a.counts(); ups != 1 || downs != 0 {
					t.Errorf("%d links came up and %d went down", ups, downs)
				}
				time.Sleep(5 * time.Minute)
				s.mu.Lock()
				defer s.mu.Unlock()
				if len(s.open) > 0 || la.Err() != nil {
					t.Errorf("later %d offers stand, and the link has ended by %v", len(s.open), la.Err())
				}
			})
		})
	}
}

func sixHost(n *lab.Network, i int) *lab.Host {
	h := peerHost(n, i)
	h.AddAddr(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))
	return h
}

// mirror is a STUN server.
func mirror(t *testing.T, n *lab.Network) string {
	t.Helper()
	server := netip.MustParseAddrPort("192.0.2.9:3478")
	muxSTUNServer(t, n, server, func(m *stun.Message, from netip.AddrPort) []stun.Setter {
		return []stun.Setter{m, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}}
	})
	return server.String()
}

// TestNATForgets: a NAT that loses its mappings, in front of either end or both.
func TestNATForgets(t *testing.T) {
	for _, behind := range []string{"lower", "higher", "both"} {
		t.Run(behind, func(t *testing.T) {
			peerLabOver(t, peerWay, func(t *testing.T, n *lab.Network, s *post) {
				s.every = 2 * time.Second
				hosts, nats := make([]*lab.Host, 2), make([]*lab.NAT, 2)
				for i := range hosts {
					nats[i] = n.NAT(peerHostAddr(i), lab.PortRestricted())
					hosts[i] = nats[i].Host(netip.AddrFrom4([4]byte{192, 168, byte(i), 2}))
				}
				o := peerOptions{stun: []string{mirror(t, n)}}
				a, b := newPeerNode(t, s, hosts[0], o), newPeerNode(t, s, hosts[1], o)
				defer b.stop()
				defer a.stop()
				time.Sleep(time.Second)
				a.Connect(b.id)
				la, lb := linked(a, b, time.Minute)
				natA, natB := nats[0], nats[1]
				if !la.Lower() {
					natA, natB = natB, natA
				}
				during(t, la, lb, func() {
					if behind != "higher" {
						natA.Flush()
					}
					if behind != "lower" {
						natB.Flush()
					}
				})
			})
		})
	}
}

// TestAddressMoves: a node that gets another address keeps its links.
func TestAddressMoves(t *testing.T) {
	for _, notice := range []time.Duration{0, 2 * time.Second} {
		peerLabOver(t, peerWay, func(t *testing.T, n *lab.Network, s *post) {
			s.every = 2 * time.Second
			a, b := newPeerNode(t, s, peerHost(n, 0), peerOptions{}), newPeerNode(t, s, peerHost(n, 1), peerOptions{})
			defer b.stop()
			defer a.stop()
			a.Connect(b.id)
			la, lb := linked(a, b, time.Minute)
			for i, mover := range []*peerNode{a, b} {
				during(t, la, lb, func() {
					mover.host.Move(n.Segment, peerHostAddr(10+i))
					time.Sleep(notice)
					mover.AddressesChanged()
				})
			}
			if pa, pb := la.Path(), lb.Path(); pa.Remote.Addr() != peerHostAddr(11) || pb.Remote.Addr() != peerHostAddr(10) {
				t.Errorf("the paths are %v and %v", pa, pb)
			}
			if ups, _ := a.counts(); ups != 1 {
				t.Errorf("%d links came up", ups)
			}
		})
	}
}

// TestReflector: STUN servers tell nodes behind NATs where they are seen, at
// start and when addresses change, and not too often.
func TestReflector(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		server := netip.MustParseAddrPort("192.0.2.1:3478")
		var mu sync.Mutex
		asked := 0
		muxSTUNServer(t, n, server, func(m *stun.Message, from netip.AddrPort) []stun.Setter {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return []stun.Setter{m, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}}
		})
		n.Name("stun.example", server.Addr())
		hosts := make([]*lab.Host, 2)
		for i := range hosts {
			hosts[i] = n.NAT(peerHostAddr(i), lab.PortRestricted()).Host(netip.AddrFrom4([4]byte{192, 168, byte(i), 2}))
		}
		o := peerOptions{stun: []string{"stun.example:3478", "nowhere.example:3478", "no port"}}
		a, b := newPeerNode(t, s, hosts[0], o), newPeerNode(t, s, hosts[1], o)
		defer b.stop()
		defer a.stop()
		time.Sleep(time.Second)
		for i, x := range []*peerNode{a, b} {
			if got := x.reflected(); len(got) != 1 || got[0].Addr() != peerHostAddr(i) {
				t.Errorf("seen at %v, want %v", got, peerHostAddr(i))
			}
		}
		a.Connect(b.id)
		la, _ := linked(a, b, time.Minute)
		if p := la.Path(); p.Kind != PathDirect {
			t.Errorf("the path is %v", p)
		}
		echo(t, la, 10<<10)
		mu.Lock()
		before := asked
		mu.Unlock()
		for range 1000 { // flapping
			a.AddressesChanged()
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(18 * time.Minute)
		mu.Lock()
		if n := asked - before; n < 10+2*3 || n > 12+2*5 {
			t.Errorf("the server was asked %d times in 20 min of which 100 s had changes", n)
		}
		mu.Unlock()
	})
}

// TestPeersByRelay: where nothing else works the link goes by a relay.
func TestPeersByRelay(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		hosts := make([]*lab.Host, 2)
		for i := range hosts {
			hosts[i] = n.NAT(peerHostAddr(i), lab.Symmetric()).Host(netip.AddrFrom4([4]byte{192, 168, byte(i), 2}))
		}
		server := newTURNServer(t, n.Host(netip.MustParseAddr("192.0.2.1")), "192.0.2.1:3478")
		defer server.close()
		at := []string{mirror(t, n)}
		a := newPeerNode(t, s, hosts[0], peerOptions{stun: at, turn: []TURNServer{server.config()}})
		b := newPeerNode(t, s, hosts[1], peerOptions{stun: at})
		defer b.stop()
		defer a.stop()
		time.Sleep(time.Second)
		a.Connect(b.id)
		la, lb := linked(a, b, time.Minute)
		for _, l := range []*Link{la, lb} {
			if p := l.Path(); p.Kind != PathRelay {
				t.Errorf("the path is %v", p)
			}
		}
		echo(t, la, 100<<10)
		if made := a.Stats()["relay.allocated"]; made != 1 {
			t.Errorf("%d relays were allocated", made)
		}
	})
}

// TestRelayIsLeft: a link that goes by a relay goes straight as soon as that
// works, and by the relay again when it no longer does, whichever end leads.
func TestRelayIsLeft(t *testing.T) {
	for i, lowerHasRelay := range []bool{true, false} {
		peerLabOver(t, peerWay, func(t *testing.T, n *lab.Network, s *post) {
			s.every = 2 * time.Second
			server := newTURNServer(t, n.Host(netip.MustParseAddr("192.0.2.1")), "192.0.2.1:3478")
			defer server.close()
			ids := []*crypto.Identity{crypto.NewIdentity(), crypto.NewIdentity()}
			if lower := ids[0].ID().Compare(ids[1].ID()) < 0; lower != lowerHasRelay {
				slices.Reverse(ids)
			}
			a := newPeerNode(t, s, peerHost(n, 0), peerOptions{who: ids[0], turn: []TURNServer{server.config()}})
			b := newPeerNode(t, s, peerHost(n, 1), peerOptions{who: ids[1]})
			defer b.stop()
			defer a.stop()
			apart := func() (heal func()) {
				return n.Partition([]netip.Addr{peerHostAddr(0)}, []netip.Addr{peerHostAddr(1)})
			}
			heal := apart()
			time.Sleep(time.Second)
			a.Connect(b.id)
			la, lb := linked(a, b, time.Minute)
			want := func(what string, kind PathKind, by time.Duration) {
				begun := time.Now()
				for la.Path().Kind != kind || lb.Path().Kind != kind {
					if time.Sleep(100 * time.Millisecond); time.Since(begun) > by {
						t.Fatalf("%d: %s: the paths are %v and %v after %v", i, what, la.Path(), lb.Path(), by)
					}
				}
				t.Logf("%s: %v after %v", what, kind, time.Since(begun))
			}
			want("apart", PathRelay, time.Millisecond)
			time.Sleep(2 * time.Minute)
			during(t, la, lb, func() {
				heal()
				want("healed", PathDirect, 5*time.Minute)
			})
			during(t, la, lb, func() {
				apart()
				want("apart again", PathRelay, 15*time.Second)
			})
			if ups, downs := a.counts(); ups != 1 || downs != 0 {
				t.Errorf("%d links came up and %d went down", ups, downs)
			}
		})
	}
}
