package transport

import (
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier/crypto"
	"github.com/gocarrier/carrier/internal/lab"
	"github.com/gocarrier/carrier/internal/wire"
)

// addressTest is a Transport that only knows addresses.
func addressTest(local, reflexive []string) *Transport {
	parse := func(list []string) (addrs []netip.AddrPort) {
		for _, s := range list {
			addrs = append(addrs, netip.MustParseAddrPort(s))
		}
		return addrs
	}
	t := &Transport{counts: map[string]uint64{}, config: Config{
		Addresses: func() (l, r []netip.AddrPort) { return parse(local), parse(reflexive) },
	}}
	t.reflector = &reflector{t: t, seen: map[string][]netip.AddrPort{}}
	return t
}

// addressClaims are addresses, and whether they may be sent to where loopback
// means nothing, and where it is all there is.
var addressClaims = []struct {
	addr          string
	far, loopback bool
}{
	{"192.0.2.1:4000", true, true},
	{"10.0.0.1:1024", true, true},
	{"[2001:db8::1]:4000", true, true},
	{"[::ffff:192.0.2.2]:4000", true, true},
	{"127.0.0.1:4000", false, true},
	{"127.9.9.9:4000", false, true},
	{"[::1]:4000", false, true},
	{"[::ffff:127.0.0.1]:4001", false, true},
	{"192.0.2.1:1023", false, false},
	{"192.0.2.1:53", false, false},
	{"192.0.2.1:0", false, false},
	{"0.0.0.0:4000", false, false},
	{"0.1.2.3:4000", false, false},
	{"[::]:4000", false, false},
	{"224.0.0.251:5353", false, false},
	{"239.255.255.250:1900", false, false},
	{"[ff02::fb]:5353", false, false},
	{"255.255.255.255:4000", false, false},
	{"240.0.0.1:4000", false, false},
	{"[fe80::1]:4000", false, false},
	{"[fe80::1%eth0]:4000", false, false},
}

// TestClaimedCandidates: a friend's offer does not aim us at what no friend is at.
func TestClaimedCandidates(t *testing.T) {
	for _, c := range addressClaims {
		o := &wire.Offer{Generation: 7, Candidates: []wire.Candidate{
			{Type: wire.CandidateHost, Addr: netip.MustParseAddrPort(c.addr)},
			{Type: wire.CandidateRelayed, Addr: netip.MustParseAddrPort("198.51.100.1:5000")},
		}}
		for _, local := range []struct {
			addrs []string
			want  bool
		}{
			{[]string{"192.0.2.9:4000", "127.0.0.1:4000"}, c.far},
			{[]string{"127.0.0.1:4000"}, c.loopback},
			{nil, c.far},
		} {
			x := addressTest(local.addrs, nil)
			got := x.claimed(o)
			if kept := len(got.Candidates) == 2; kept != local.want || got.Generation != 7 || len(o.Candidates) != 2 {
				t.Errorf("%s at a node at %v: kept %v, want %v", c.addr, local.addrs, kept, local.want)
			}
			if refused := x.counts["offer.candidate.refused"]; (refused == 0) != local.want {
				t.Errorf("%s at a node at %v: %d counted", c.addr, local.addrs, refused)
			}
		}
	}
	var many wire.Offer
	for i := range 20 {
		many.Candidates = append(many.Candidates, wire.Candidate{Type: wire.CandidateHost, Addr: netip.AddrPortFrom(placeA.Addr(), uint16(2000+i))})
	}
	x := addressTest(nil, nil)
	if got := x.claimed(&many); len(got.Candidates) != wire.MaxCandidates {
		t.Errorf("%d candidates are used, want %d", len(got.Candidates), wire.MaxCandidates)
	}
	if x.claimed(nil) != nil {
		t.Error("no offer has become one")
	}
}

// TestClaimsAreNotSentTo: no check goes to what a friend's offer names and is
// nobody's.
func TestClaimsAreNotSentTo(t *testing.T) {
	peerLab(t, func(t *testing.T, n *lab.Network, s *post) {
		good := netip.MustParseAddrPort("203.0.113.5:4000")
		bad := []netip.AddrPort{
			netip.MustParseAddrPort("203.0.113.5:53"), netip.MustParseAddrPort("224.0.0.251:5353"),
			netip.MustParseAddrPort("127.0.0.1:4000"), netip.MustParseAddrPort("255.255.255.255:4000"),
		}
		n.Host(good.Addr())
		var mu sync.Mutex
		got := map[netip.AddrPort]int{}
		n.Tap(func(_, to netip.AddrPort, _ []byte) {
			mu.Lock()
			defer mu.Unlock()
			got[to]++
		})
		a := newPeerNode(t, s, peerHost(n, 0), peerOptions{})
		defer a.stop()
		b := crypto.NewIdentity().ID()
		a.Connect(b)
		time.Sleep(time.Second)
		first, err := wire.ParseOffer(s.offers(a.id, b)[0].offer)
		if err != nil {
			t.Fatal(err)
		}
		o := &wire.Offer{Kind: wire.OfferNew, Generation: 1, ID: wire.OfferID{1}, Re: first.ID, Start: 1}
		for _, addr := range append(bad, good) {
			o.Candidates = append(o.Candidates, wire.Candidate{Type: wire.CandidateHost, Addr: addr})
		}
		if err := a.Offer(b, crypto.Incarnation{Created: 1}, wire.AppendOffer(nil, o)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if n := got[good]; n == 0 || n > thinLimit {
			t.Errorf("%d datagrams went to the good candidate", n)
		}
		for _, addr := range bad {
			if got[addr] > 0 {
				t.Errorf("%d datagrams went to %v", got[addr], addr)
			}
		}
		if refused := a.Stats()["offer.candidate.refused"]; refused != uint64(len(bad)) {
			t.Errorf("%d candidates were counted as refused, want %d", refused, len(bad))
		}
	})
}

// TestOwnCandidates: our offers name what others can use, each once, at most 8,
// with room for those that work between networks.
func TestOwnCandidates(t *testing.T) {
	var hosts, seen []string
	for i := range 20 {
		hosts = append(hosts, "10.0.0."+strconv.Itoa(i+1)+":4000")
		seen = append(seen, "192.0.2."+strconv.Itoa(i+1)+":4000")
	}
	for name, c := range map[string]struct{ local, reflexive, want []string }{
		"usual":         {[]string{"10.0.0.1:4000", "127.0.0.1:4000"}, []string{"192.0.2.1:9"}, []string{"10.0.0.1:4000"}},
		"reflexive":     {[]string{"10.0.0.1:4000"}, []string{"192.0.2.1:4009"}, []string{"10.0.0.1:4000", "192.0.2.1:4009"}},
		"no NAT":        {[]string{"192.0.2.1:4000"}, []string{"192.0.2.1:4000"}, []string{"192.0.2.1:4000"}},
		"mapped":        {[]string{"[::ffff:192.0.2.1]:4000"}, []string{"192.0.2.1:4000"}, []string{"192.0.2.1:4000"}},
		"only loopback": {[]string{"127.0.0.1:4000", "[::1]:4000"}, nil, []string{"127.0.0.1:4000", "[::1]:4000"}},
		"many":          {hosts, []string{"192.0.2.1:4000"}, append(slices.Clone(hosts[:7]), "192.0.2.1:4000")},
		"many, no NAT":  {hosts, hosts[10:], hosts[:8]},
		"many of both":  {hosts, seen, append(slices.Clone(hosts[:1]), seen[:7]...)},
		"nothing":       {nil, nil, nil},
	} {
		var got []string
		for _, x := range addressTest(c.local, c.reflexive).candidates() {
			got = append(got, x.Addr.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
