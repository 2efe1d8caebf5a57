package lab

import (
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// at is port 7 of addr, where the tests of this file listen.
func at(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, 7) }

// listen7 listens at port 7 of a host.
func listen7(t *testing.T, h *Host) udpConn {
	t.Helper()
	return listen(t, h, "udp4", ":7")
}

// passes says whether a datagram from one conn to an address reaches another within ten seconds, and from where.
func passes(t *testing.T, from udpConn, to netip.AddrPort, at udpConn) (netip.AddrPort, bool) {
	t.Helper()
	if _, err := from.WriteToUDPAddrPort([]byte("x"), to); err != nil {
		t.Fatal(err)
	}
	at.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, sender, err := at.ReadFromUDPAddrPort(make([]byte, 10))
	if err != nil {
		wantTimeout(t, err)
	}
	return sender, err == nil
}

func wantPasses(t *testing.T, what string, from udpConn, to netip.AddrPort, at udpConn, want bool) netip.AddrPort {
	t.Helper()
	sender, got := passes(t, from, to, at)
	if got != want {
		t.Errorf("%s: arrives %v, want %v", what, got, want)
	}
	return sender
}

func TestBlackholeIsOneWay(t *testing.T) {
	onBubble(t, Options{Default: Link{Delay: time.Second}}, func(t *testing.T, n *Network) {
		a, b, c := listen7(t, n.Host(addrA)), listen7(t, n.Host(addrB)), listen7(t, n.Host(addrC))
		heal := n.Blackhole([]netip.Addr{addrA}, []netip.Addr{addrB})
		wantPasses(t, "into the hole", a, at(addrB), b, false)
		wantPasses(t, "the other way", b, at(addrA), a, true)
		wantPasses(t, "beside it", a, at(addrC), c, true)
		heal()
		heal()
		wantPasses(t, "after it", a, at(addrB), b, true)

		n.Blackhole([]netip.Addr{addrA}, nil)
		wantPasses(t, "A to all, B", a, at(addrB), b, false)
		wantPasses(t, "A to all, C", a, at(addrC), c, false)
		wantPasses(t, "all to A", b, at(addrA), a, true)
		n.Heal()
		n.Blackhole(nil, []netip.Addr{addrA})
		wantPasses(t, "from all to A", b, at(addrA), a, false)
		wantPasses(t, "from A to all", a, at(addrB), b, true)
		wantPasses(t, "among the others", b, at(addrC), c, true)
		n.Heal()
		n.Blackhole(nil, []netip.Addr{addrA, addrB})
		wantPasses(t, "from one of the group", a, at(addrB), b, true)
		n.Heal()
		n.Blackhole([]netip.Addr{addrA, addrB}, nil)
		wantPasses(t, "to one of the group", a, at(addrB), b, true)
		n.Heal()
		n.Blackhole(nil, nil)
		wantPasses(t, "from all to all", b, at(addrC), c, false)
		if got := n.Stats().Partitioned; got != 5 {
			t.Errorf("%d counted, want 5", got)
		}
	})
}

func TestBlackholeTakesWhatIsInFlight(t *testing.T) {
	onBubble(t, Options{Default: Link{Delay: time.Second}}, func(t *testing.T, n *Network) {
		a, b := listen7(t, n.Host(addrA)), listen7(t, n.Host(addrB))
		a.WriteToUDPAddrPort([]byte("x"), at(addrB))
		time.Sleep(time.Second / 2)
		heal := n.Partition([]netip.Addr{addrA}, []netip.Addr{addrB})
		other := n.Partition([]netip.Addr{addrB}, nil)
		time.Sleep(time.Second)
		heal()
		wantPasses(t, "one of two partitions is left", a, at(addrB), b, false)
		other()
		wantPasses(t, "both are healed", a, at(addrB), b, true)
	})
}

func TestHostBlackhole(t *testing.T) {
	onBubble(t, Options{Default: Link{Delay: time.Second}}, func(t *testing.T, n *Network) {
		h := n.Host(addrA)
		a, b := listen7(t, h), listen7(t, n.Host(addrB))
		h.Blackhole(true, false)
		wantPasses(t, "in", b, at(addrA), a, false)
		wantPasses(t, "out beside a hole for in", a, at(addrB), b, true)
		h.Blackhole(false, true)
		wantPasses(t, "out", a, at(addrB), b, false)
		wantPasses(t, "in beside a hole for out", b, at(addrA), a, true)
		h.Blackhole(true, true)
		h.Move(n.Segment, addrC)
		wantPasses(t, "in at another address", b, at(addrC), a, false)
		wantPasses(t, "out from another address", a, at(addrB), b, false)
		wantPasses(t, "to itself", a, at(addrC), a, true)
		if addrs, _ := h.LocalAddrs(); len(addrs) != 1 {
			t.Errorf("LocalAddrs = %v, want the one address: nobody is told", addrs)
		}
		h.Blackhole(false, false)
		wantPasses(t, "in after it", b, at(addrC), a, true)
		wantPasses(t, "out after it", a, at(addrB), b, true)
		if got := n.Stats().Partitioned; got != 4 {
			t.Errorf("%d counted, want 4", got)
		}
	})
}

func TestHostMove(t *testing.T) {
	onBubble(t, Options{}, func(t *testing.T, n *Network) {
		six := netip.MustParseAddr("2001:db8::1")
		h := n.Host(addrA)
		wild, bound, b := listen7(t, h), listen(t, h, "udp4", "10.0.0.1:8"), listen7(t, n.Host(addrB))
		h.Move(n.Segment, addrC, six)
		got, _ := h.LocalAddrs()
		if want := []netip.Prefix{netip.PrefixFrom(addrC, 24), netip.PrefixFrom(six, 64)}; !reflect.DeepEqual(got, want) {
			t.Errorf("LocalAddrs = %v, want %v", got, want)
		}
		if from := wantPasses(t, "from the new address", wild, at(addrB), b, true); from != at(addrC) {
			t.Errorf("came from %v, want %v", from, at(addrC))
		}
		if _, err := bound.WriteToUDPAddrPort([]byte("x"), at(addrB)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("sending from a lost address gave %v, want EADDRNOTAVAIL", err)
		}
		wantPasses(t, "to the old address", b, at(addrA), wild, false)
		if n.Host(six) != h || n.Host(addrA) == h {
			t.Error("the network has not followed")
		}
		h.Move(n.Segment)
		if _, err := wild.WriteToUDPAddrPort([]byte("x"), at(addrB)); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("sending without an address gave %v, want ENETUNREACH", err)
		}
		h.AddAddr(addrC)
		wantPasses(t, "with an address again", wild, at(addrB), b, true)
	})
}

// TestCloseReachesAHostWithoutAddress: such a host is in no table of addresses, and has conns all the same.
func TestCloseReachesAHostWithoutAddress(t *testing.T) {
	n := New(Options{})
	h := n.Host(addrA)
	c := listen7(t, h)
	h.RemoveAddr(addrA)
	n.Close()
	if _, _, err := c.ReadFrom(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
}

func TestLocalTrafficIsPerfectUnlessSet(t *testing.T) {
	onBubble(t, Options{Default: Link{Delay: time.Second, Loss: 1}}, func(t *testing.T, n *Network) {
		h := n.Host(addrA)
		h.AddAddr(addrC)
		c := listen7(t, h)
		loopback := netip.MustParseAddr("127.0.0.1")
		for _, to := range []netip.Addr{addrA, addrC, loopback} {
			start := time.Now()
			wantPasses(t, to.String(), c, at(to), c, true)
			if took := time.Since(start); took != 0 {
				t.Errorf("%v took %v, want no time", to, took)
			}
		}
		n.SetLink(addrA, addrC, Link{MTU: 0, Delay: time.Minute})
		wantPasses(t, "over a link that was set", c, at(addrC), c, false)
	})
}

func TestLinkStats(t *testing.T) {
	onBubble(t, Options{}, func(t *testing.T, n *Network) {
		a, b := listen7(t, n.Host(addrA)), listen7(t, n.Host(addrB))
		wantPasses(t, "before it is set", a, at(addrB), b, true)
		n.SetLink(addrA, addrB, Link{MTU: 100})
		for i, size := range []int{50, 100, 101} {
			a.WriteToUDPAddrPort(make([]byte, size), at(addrB))
			if got, want := n.Stats().Delivered, uint64(min(i+2, 3)); got != want {
				t.Errorf("%d delivered when the write returns, want %d: the link has no delay", got, want)
			}
		}
		b.WriteToUDPAddrPort(make([]byte, 1000), at(addrA))
		want := Stats{Sent: 3, SentBytes: 251, Delivered: 2, TooLong: 1}
		if got := n.LinkStats(addrA, addrB); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		want = Stats{Sent: 5, SentBytes: 1252, Delivered: 4, TooLong: 1}
		if got := n.Stats(); got != want {
			t.Errorf("in all %+v, want %+v", got, want)
		}
		n.SetLink(addrA, addrB, Link{Rate: 1000})
		for range 2 {
			a.WriteToUDPAddrPort(make([]byte, 1000), at(addrB))
		}
		if got := n.LinkStats(addrA, addrB); got.Sent != 5 || got.QueueFull != 0 {
			t.Errorf("counted %+v, want the count to go on, and a queue that takes two", got)
		}
	})
}

func TestAddressesThatCannotBe(t *testing.T) {
	n, other := New(Options{}), New(Options{})
	defer n.Close()
	defer other.Close()
	home := n.NAT(addrC, FullCone())
	h := n.Host(addrA)
	n.Host(addrB)
	home.Attach(h, netip.MustParseAddr("192.168.1.2"))
	cases := []struct {
		name string
		do   func()
		want string
	}{
		{"loopback", func() { n.Host(netip.MustParseAddr("127.0.0.1")) }, "cannot be the address of a host"},
		{"the NAT's", func() { n.Host(addrC) }, "a NAT has the address"},
		{"taken by a host", func() { h.AddAddr(addrB) }, "another has the address"},
		{"taken by a NAT", func() { h.AddAddr(addrC) }, "another has the address"},
		{"a NAT at a host's", func() { n.NAT(addrA, FullCone()) }, "another has the address"},
		{"a NAT moved to a host's", func() { home.SetAddr(addrA) }, "another has the address"},
		{"in two segments", func() { n.Attach(h, netip.MustParseAddr("192.168.1.2")) }, "in another segment"},
		{"attached to another network", func() { other.Attach(h, addrC) }, "another network"},
		{"moved to another network", func() { h.Move(other.Segment, addrC) }, "another network"},
		{"filters less than it maps", func() { n.NAT(netip.MustParseAddr("10.0.0.9"), NATOptions{Mapping: AddressDependent}) }, "Filtering"},
		{"unknown mapping", func() { n.NAT(netip.MustParseAddr("10.0.0.9"), NATOptions{Mapping: 7, Filtering: 7}) }, "unknown"},
		{"negative timeout", func() { n.NAT(netip.MustParseAddr("10.0.0.9"), NATOptions{Timeout: -1}) }, "Timeout"},
	}
	for _, c := range cases {
		func() {
			defer func() {
				if msg, _ := recover().(string); !strings.Contains(msg, c.want) {
					t.Errorf("%s: panic %q, want one about %q", c.name, msg, c.want)
				}
			}()
			c.do()
		}()
	}
}
