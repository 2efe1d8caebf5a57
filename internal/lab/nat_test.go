package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var (
	home   = netip.MustParseAddr("198.51.100.1") // outside addresses of NATs
	office = netip.MustParseAddr("198.51.100.2")
	inA    = netip.MustParseAddr("192.168.1.2") // hosts behind them; every home has the same range
	inB    = netip.MustParseAddr("192.168.1.3")
)

// onBubble runs f in a bubble with a network.
func onBubble(t *testing.T, o Options, f func(*testing.T, *Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(o)
		defer n.Close()
		f(t, n)
	})
}

// onNAT runs f in a bubble with a NAT at home, whose host A listens at port 7, and a public host A that listens at 7
// and 8, and B at 7.
func onNAT(t *testing.T, o NATOptions, f func(*testing.T, *natLine)) {
	t.Helper()
	onBubble(t, Options{Seed: 1}, func(t *testing.T, n *Network) {
		l := &natLine{Network: n, nat: n.NAT(home, o)}
		l.in = listen7(t, l.nat.Host(inA))
		l.out = listen7(t, n.Host(addrA))
		l.otherPort = listen(t, n.Host(addrA), "udp4", ":8")
		l.otherHost = listen7(t, n.Host(addrB))
		f(t, l)
	})
}

type natLine struct {
	*Network
	nat                           *NAT
	in, out, otherPort, otherHost udpConn
}

// TestNATKinds is the table of RFC 4787: what a port is for, who may answer to it, whether it is the inside one.
func TestNATKinds(t *testing.T) {
	cases := []struct {
		name                string
		opts                NATOptions
		samePort, sameHost  bool // the outside port toward another port, toward another host
		letsPort, letsOther bool // in who was not sent to: at another port, at another host
		preserves           bool
	}{
		{"full cone", FullCone(), true, true, true, true, false},
		{"address restricted", AddressRestricted(), true, true, true, false, false},
		{"port restricted", PortRestricted(), true, true, false, false, false},
		{"symmetric", Symmetric(), false, false, false, false, false},
		{"linux", Linux(), true, true, false, false, true},
		{"address dependent", NATOptions{Mapping: AddressDependent, Filtering: AddressDependent}, true, false, true, false, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			onNAT(t, c.opts, func(t *testing.T, l *natLine) {
				mapped := wantPasses(t, "out", l.in, at(addrA), l.out, true)
				if mapped.Addr() != home || mapped.Port() < 7 {
					t.Fatalf("came from %v, want a port of %v", mapped, home)
				}
				if got := mapped.Port() == 7; got != c.preserves {
					t.Errorf("came from %v, port kept: want %v", mapped, c.preserves)
				}
				wantPasses(t, "answer", l.out, mapped, l.in, true)
				wantPasses(t, "from another port", l.otherPort, mapped, l.in, c.letsPort)
				wantPasses(t, "from another host", l.otherHost, mapped, l.in, c.letsOther)
				wantPasses(t, "to a port without mapping", l.out, netip.AddrPortFrom(home, 9), l.in, false)

				second := wantPasses(t, "to another port", l.in, netip.AddrPortFrom(addrA, 8), l.otherPort, true)
				third := wantPasses(t, "to another host", l.in, at(addrB), l.otherHost, true)
				if (second == mapped) != c.samePort || (third == mapped) != c.sameHost {
					t.Errorf("came from %v, %v and %v, want the same port toward another port: %v, toward another host: %v", mapped, second, third, c.samePort, c.sameHost)
				}
				wantPasses(t, "from another port that was sent to", l.otherPort, second, l.in, true)
				wantPasses(t, "from another host that was sent to", l.otherHost, third, l.in, true)
				if again := wantPasses(t, "again", l.in, at(addrA), l.out, true); again != mapped {
					t.Errorf("came from %v, then from %v: want one mapping", mapped, again)
				}
				wantFiltered := uint64(1)
				for _, lets := range []bool{c.letsPort, c.letsOther} {
					if !lets {
						wantFiltered++
					}
				}
				if s := l.Stats(); s.Filtered != wantFiltered || s.Sent != s.Delivered+s.Filtered {
					t.Errorf("counted %+v, want %d filtered", s, wantFiltered)
				}
			})
		})
	}
}

// TestNATPunching has two hosts behind NATs learn their outside endpoints from a server and then send to each other,
// and wants the outcome that theory has for each pair of kinds.
func TestNATPunching(t *testing.T) {
	kinds := []struct {
		name string
		opts NATOptions
	}{{"fullcone", FullCone()}, {"addrrestricted", AddressRestricted()}, {"portrestricted", PortRestricted()}, {"linux", Linux()}, {"symmetric", Symmetric()}}
	fails := map[string]bool{
		"portrestricted-symmetric": true, "symmetric-portrestricted": true, "linux-symmetric": true,
		"symmetric-linux": true, "symmetric-symmetric": true,
	}
	for _, x := range kinds {
		for _, y := range kinds {
			name := x.name + "-" + y.name
			onBubble(t, Options{Seed: 1, Default: Link{Delay: 20 * time.Millisecond}}, func(t *testing.T, n *Network) {
				server := listen7(t, n.Host(addrA))
				a, b := listen7(t, n.NAT(home, x.opts).Host(inA)), listen7(t, n.NAT(office, y.opts).Host(inA))
				seenA := wantPasses(t, name, a, at(addrA), server, true)
				seenB := wantPasses(t, name, b, at(addrA), server, true)
				connected := exchange(a, b, seenA, seenB)
				if connected == fails[name] {
					t.Errorf("%s: connected %v, want %v", name, connected, !fails[name])
				}
			})
		}
	}
}

// exchange has two conns send to each other for five seconds, first where the other was seen, then where it is heard
// from, and says whether each heard an answer to what it sent.
func exchange(a, b udpConn, seenA, seenB netip.AddrPort) bool {
	run := func(c udpConn, to netip.AddrPort, answered chan<- bool) {
		ok := false
		buf := make([]byte, 10)
		for range 50 {
			c.WriteToUDPAddrPort([]byte("ask"), to)
			c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			for {
				k, from, err := c.ReadFromUDPAddrPort(buf)
				if err != nil {
					break
				}
				if to = from; string(buf[:k]) == "ask" {
					c.WriteToUDPAddrPort([]byte("answer"), from)
				} else {
					ok = true
				}
			}
		}
		answered <- ok
	}
	answered := make(chan bool, 2)
	go run(a, seenB, answered)
	go run(b, seenA, answered)
	first, second := <-answered, <-answered
	return first && second
}

func TestNATTimeout(t *testing.T) {
	const timeout = time.Minute
	for _, c := range []struct {
		name    string
		inbound bool
	}{{"by traffic from inside", false}, {"by both", true}} {
		t.Run(c.name, func(t *testing.T) {
			o := NATOptions{Timeout: timeout, InboundRefresh: c.inbound}
			onNAT(t, o, func(t *testing.T, l *natLine) {
				mapped := wantPasses(t, "out", l.in, at(addrA), l.out, true)
				time.Sleep(timeout - 1)
				wantPasses(t, "a nanosecond before the end", l.out, mapped, l.in, true)
				time.Sleep(time.Nanosecond)
				wantPasses(t, "then", l.out, mapped, l.in, c.inbound)
				again := wantPasses(t, "out again", l.in, at(addrA), l.out, true)
				if (again == mapped) != c.inbound {
					t.Errorf("mapped to %v, then to %v, prolonged from outside: %v", mapped, again, c.inbound)
				}
				for range 5 {
					time.Sleep(timeout - 1)
					wantPasses(t, "prolonged", l.in, at(addrB), l.otherHost, true)
				}
				wantPasses(t, "in after minutes", l.out, again, l.in, true)
			})
		})
	}
	t.Run("filter", func(t *testing.T) {
		onNAT(t, NATOptions{Filtering: AddressAndPortDependent, Timeout: timeout}, func(t *testing.T, l *natLine) {
			time.Sleep(timeout / 2) // so that it is over at no time at which all that is over is taken out
			mapped := wantPasses(t, "out", l.in, at(addrA), l.out, true)
			time.Sleep(timeout / 2)
			wantPasses(t, "out to another", l.in, at(addrB), l.otherHost, true)
			time.Sleep(timeout / 2)
			wantPasses(t, "in from who was sent to long ago", l.out, mapped, l.in, false)
			wantPasses(t, "in from the other", l.otherHost, mapped, l.in, true)
		})
	})
}

// TestNATForgets: a NAT that a crawler sits behind holds what its timeout covers, and no more.
func TestNATForgets(t *testing.T) {
	for _, o := range []NATOptions{PortRestricted(), Symmetric(), Linux()} {
		onNAT(t, o, func(t *testing.T, l *natLine) {
			const minutes, each = 20, 500
			for m := range minutes {
				for i := range each {
					l.in.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(addrC, uint16(1+m*each+i)))
				}
				time.Sleep(time.Minute)
			}
			mappings, peers := len(l.nat.byInner), 0
			for _, m := range l.nat.byInner {
				peers += len(m.peers)
			}
			if most := 4 * each; mappings > most || peers > most || len(l.nat.byOuter) != mappings {
				t.Errorf("%+v: holds %d and %d mappings and %d peers, want at most %d", o, mappings, len(l.nat.byOuter), peers, most)
			}
		})
	}
}

// TestNATPortClash has two inside hosts send from one port.
func TestNATPortClash(t *testing.T) {
	onNAT(t, Linux(), func(t *testing.T, l *natLine) {
		b := listen7(t, l.nat.Host(inB))
		first := wantPasses(t, "A", l.in, at(addrA), l.out, true)
		elsewhere := wantPasses(t, "B to another", b, at(addrB), l.otherHost, true)
		clash := wantPasses(t, "B to the same", b, at(addrA), l.out, true)
		if first.Port() != 7 || elsewhere.Port() != 7 || clash.Port() < 1024 {
			t.Errorf("mapped to %v, %v and %v, want 7, 7, which is free toward another, and a random one", first, elsewhere, clash)
		}
		wantPasses(t, "back to A", l.out, first, l.in, true)
		wantPasses(t, "back to B", l.out, clash, b, true)
		wantPasses(t, "back to B at A's port", l.otherHost, elsewhere, b, true)
	})
	onNAT(t, NATOptions{PreservePort: true}, func(t *testing.T, l *natLine) {
		b := listen7(t, l.nat.Host(inB))
		first := wantPasses(t, "A", l.in, at(addrA), l.out, true)
		if second := wantPasses(t, "B", b, at(addrB), l.otherHost, true); first.Port() != 7 || second.Port() < 1024 {
			t.Errorf("mapped to %v and %v, want 7 for one host only", first, second)
		}
	})
}

func TestNATRunsOutOfPorts(t *testing.T) {
	onNAT(t, NATOptions{PreservePort: true}, func(t *testing.T, l *natLine) {
		const lowest, ports = 1024, 65536 - 1024
		got := 0
		l.nat.net.mu.Lock()
		for i := range ports {
			d := datagram{from: netip.AddrPortFrom(inB, uint16(lowest+i)), to: at(addrA)}
			if l.nat.outbound(&d) {
				got++
			}
		}
		l.nat.net.mu.Unlock()
		if got != ports {
			t.Fatalf("%d ports, want %d", got, ports)
		}
		if m := wantPasses(t, "at a low port, which is kept", l.in, at(addrA), l.out, true); m.Port() != 7 {
			t.Errorf("came from %v, want port 7", m)
		}
		other := listen7(t, l.nat.Host(netip.MustParseAddr("192.168.1.4")))
		wantPasses(t, "without a port", other, at(addrA), l.out, false)
		if got := l.Stats().NoMapping; got != 1 {
			t.Errorf("%d counted, want 1", got)
		}
		time.Sleep(DefaultNATTimeout)
		wantPasses(t, "when they are free again", other, at(addrA), l.out, true)
	})
}

func TestNATHairpin(t *testing.T) {
	for _, hairpin := range []bool{false, true} {
		for _, o := range []NATOptions{FullCone(), PortRestricted()} {
			o.Hairpin = hairpin
			onNAT(t, o, func(t *testing.T, l *natLine) {
				b := listen7(t, l.nat.Host(inB))
				mappedA := wantPasses(t, "A out", l.in, at(addrA), l.out, true)
				mappedB := wantPasses(t, "B out", b, at(addrA), l.out, true)
				wantPasses(t, "within", l.in, at(inB), b, true)
				opened := wantPasses(t, "A to B's outside", l.in, mappedB, b, hairpin && o.Filtering == EndpointIndependent)
				if opened.IsValid() && opened != mappedA {
					t.Errorf("came from %v, want A's outside endpoint %v", opened, mappedA)
				}
				if from := wantPasses(t, "B to A's outside", b, mappedA, l.in, hairpin); hairpin && from != mappedB {
					t.Errorf("came from %v, want B's outside endpoint %v", from, mappedB)
				}
				wantPasses(t, "A to B's outside, punched", l.in, mappedB, b, hairpin)
			})
		}
	}
}

// TestNATBehindNAT: a home behind a provider's NAT, with the same private range on both.
func TestNATBehindNAT(t *testing.T) {
	onBubble(t, Options{Seed: 1, Default: Link{Delay: 10 * time.Millisecond}}, func(t *testing.T, n *Network) {
		provider := n.NAT(home, PortRestricted())
		inner := provider.NAT(inB, Linux())
		a, neighbour, out := listen7(t, inner.Host(inA)), listen7(t, provider.Host(inA)), listen7(t, n.Host(addrA))
		mapped := wantPasses(t, "out", a, at(addrA), out, true)
		if mapped.Addr() != home {
			t.Errorf("came from %v, want the outermost NAT", mapped)
		}
		wantPasses(t, "back", out, mapped, a, true)
		provider.SetLink(inB, addrA, Link{Delay: time.Second})
		start := time.Now()
		wantPasses(t, "over the set link between the NATs", a, at(addrA), out, true)
		if took := time.Since(start); took != 1010*time.Millisecond {
			t.Errorf("took %v, want 1.01 s", took)
		}
		if from := wantPasses(t, "neighbour out", neighbour, at(addrA), out, true); from == mapped {
			t.Error("two hosts have one outside endpoint")
		}
		if got := provider.LinkStats(inB, addrA).Sent; got != 1 {
			t.Errorf("%d counted between the NATs since the link was set, want 1", got)
		}
	})
	onBubble(t, Options{}, func(t *testing.T, n *Network) {
		provider := n.NAT(home, FullCone())
		inner := provider.NAT(inB, FullCone())
		middle := netip.MustParseAddr("192.168.1.4")
		a, neighbour, server := listen7(t, inner.Host(inA)), listen7(t, provider.Host(inA)), listen7(t, provider.Host(middle))
		mapped := wantPasses(t, "out to the middle", a, at(middle), server, true)
		if from := wantPasses(t, "to a host of the sender's own address", neighbour, mapped, a, true); from != at(inA) {
			t.Errorf("came from %v, want %v", from, at(inA))
		}
	})
}

func TestNATAddrAndFlush(t *testing.T) {
	onNAT(t, PortRestricted(), func(t *testing.T, l *natLine) {
		mapped := wantPasses(t, "out", l.in, at(addrA), l.out, true)
		l.nat.Flush()
		wantPasses(t, "in after Flush", l.out, mapped, l.in, false)
		fresh := wantPasses(t, "out after Flush", l.in, at(addrA), l.out, true)
		if fresh == mapped {
			t.Error("the mapping survived Flush")
		}
		l.nat.SetAddr(office)
		wantPasses(t, "in at the old address", l.out, fresh, l.in, false)
		moved := wantPasses(t, "out from the new address", l.in, at(addrA), l.out, true)
		if moved.Addr() != office || l.nat.Addr() != office {
			t.Errorf("came from %v of a NAT at %v, want %v", moved, l.nat.Addr(), office)
		}
		wantPasses(t, "in at the new address", l.out, moved, l.in, true)
		l.nat.SetAddr(office)
		l.Blackhole([]netip.Addr{office}, nil)
		wantPasses(t, "out through a hole before the NAT", l.in, at(addrA), l.out, false)
	})
}

// TestNATHostGone: what comes in for a host that has left is lost there, and does not go round for ever where inside
// and outside endpoint are alike.
func TestNATHostGone(t *testing.T) {
	onBubble(t, Options{}, func(t *testing.T, n *Network) {
		provider := n.NAT(home, FullCone())
		inner := provider.NAT(inB, NATOptions{PreservePort: true, Hairpin: true})
		h := inner.Host(inB) // the NAT's own outside address, from the same private range
		a, server, out := listen7(t, h), listen7(t, provider.Host(inA)), listen7(t, n.Host(addrA))
		mapped := wantPasses(t, "to the provider's host", a, at(inA), server, true)
		outermost := wantPasses(t, "out", a, at(addrA), out, true)
		h.Move(n.Segment, addrC)
		wantPasses(t, "to who has left", server, mapped, a, false)
		wantPasses(t, "to who has left, from far", out, outermost, a, false)
		if s := n.Stats(); s.NoHost != 2 || len(inner.byInner) != 1 {
			t.Errorf("counted %+v and %d mappings, want 2 without a host and no new mapping", s, len(inner.byInner))
		}
	})
}

// TestHostRoams moves a host from one NAT to another, then to the internet, with one conn all along.
func TestHostRoams(t *testing.T) {
	onNAT(t, PortRestricted(), func(t *testing.T, l *natLine) {
		h, other := l.nat.Host(inA), l.NAT(office, Symmetric())
		other.Host(inB)
		h.Move(other.Segment, inA)
		mapped := wantPasses(t, "from the office", l.in, at(addrA), l.out, true)
		if mapped.Addr() != office {
			t.Errorf("came from %v, want the office", mapped)
		}
		wantPasses(t, "to the office", l.out, mapped, l.in, true)
		h.Move(l.Segment, addrC)
		h.AddAddr(netip.MustParseAddr("10.0.0.4"))
		wantPasses(t, "to an address added there", l.out, at(netip.MustParseAddr("10.0.0.4")), l.in, true)
		h.RemoveAddr(netip.MustParseAddr("10.0.0.4"))
		if got := wantPasses(t, "from the internet", l.in, at(addrA), l.out, true); got != at(addrC) {
			t.Errorf("came from %v, want %v", got, at(addrC))
		}
		l.nat.Attach(h, inA)
		if got, _ := h.LocalAddrs(); len(got) != 2 {
			t.Errorf("LocalAddrs = %v, want one of each network", got)
		}
		behind := listen(t, h, "udp4", inA.String()+":9")
		if got := wantPasses(t, "by the second way", behind, at(addrA), l.out, true); got.Addr() != home {
			t.Errorf("came from %v, want home", got)
		}
		if got := wantPasses(t, "from one own address to the other", behind, at(addrC), l.in, true); got.Addr() != inA {
			t.Errorf("came from %v, want %v: it stays on the host", got, inA)
		}
	})
}

func TestNATTranslatesOneFamily(t *testing.T) {
	onNAT(t, FullCone(), func(t *testing.T, l *natLine) {
		six, sixOut := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("2001:db8::1")
		h := l.nat.Host(inA)
		out := listen(t, l.Host(sixOut), "udp6", ":7")
		private := listen(t, h, "udp6", ":7")
		if _, err := private.WriteTo([]byte("x"), &net.UDPAddr{IP: sixOut.AsSlice(), Port: 7}); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("sending without an IPv6 address gave %v, want ENETUNREACH", err)
		}
		h.AddAddr(six)
		wantPasses(t, "IPv6 through a NAT for IPv4", private, at(sixOut), out, false)
		if got := l.Stats().NoMapping; got != 1 {
			t.Errorf("%d counted, want 1", got)
		}
		h.RemoveAddr(six)
		l.Attach(h, netip.MustParseAddr("2001:db8::2"))
		wantPasses(t, "public IPv6 beside the NAT", private, at(sixOut), out, true)
		wantPasses(t, "IPv4 beside it", l.in, at(addrA), l.out, true)
	})
}

func TestNATSeed(t *testing.T) {
	ports := func(seed uint64) (all string) {
		onBubble(t, Options{Seed: seed}, func(t *testing.T, n *Network) {
			out := listen7(t, n.Host(addrA))
			for _, addr := range []netip.Addr{home, office} {
				in := listen7(t, n.NAT(addr, Symmetric()).Host(inA))
				all += fmt.Sprintln(wantPasses(t, "out", in, at(addrA), out, true))
			}
		})
		return all
	}
	if first, again, other := ports(1), ports(1), ports(2); first != again || first == other {
		t.Errorf("got\n%s%sand with another seed\n%s", first, again, other)
	}
}
