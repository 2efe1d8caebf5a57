package courier

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/wire"
)

func TestLoopbackOnlyWithoutAnotherAddress(t *testing.T) {
	w := newWorld(t)
	n := w.node("n")
	n.start()
	lo, lan := netip.MustParseAddrPort("127.0.0.1:4000"), netip.MustParseAddrPort("192.168.1.2:4000")
	for _, tt := range []struct {
		local []netip.AddrPort
		want  string
	}{
		{[]netip.AddrPort{lo}, "[127.0.0.1:4000]"},
		{[]netip.AddrPort{lo, lan}, "[192.168.1.2:4000]"},
		{nil, "[]"},
	} {
		n.local = tt.local
		if got := fmt.Sprint(n.c.endpoints()); got != tt.want {
			t.Errorf("local %v: endpoints %s, want %s", tt.local, got, tt.want)
		}
	}
	n.external = netip.MustParseAddrPort("198.51.100.7:4000")
	n.local = nil
	for i := range 12 {
		n.local = append(n.local, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 4000))
	}
	got := n.c.endpoints()
	if len(got) != wire.MaxEndpoints || got[0] != n.external {
		t.Errorf("endpoints %v, want 8 and the external one first", got)
	}
}

// claim has the friend say that it is at these addresses.
func (n *node) claim(to *node, addrs ...netip.AddrPort) {
	p := n.c.peers[to.id]
	var b []byte
	n.do(func() {
		s := p.assemble()
		s.Endpoints = addrs
		s.Start = n.w.random.Uint64()
		body := p.sign(signState, s.Incarnation, s.Version, wire.AppendState(nil, s))
		b = p.sealDatagram(wire.KindState, body)
	})
	to.receive(b, n.addr)
}

// sentTo counts what went to hosts that hold.
func (w *world) sentTo(cond func(netip.AddrPort) bool) (n, bytes int) {
	for _, d := range w.wire {
		if cond(d.to) {
			n++
			bytes += len(d.b)
		}
	}
	return n, bytes
}

func isVictim(a netip.AddrPort) bool {
	return netip.MustParsePrefix("203.0.113.0/24").Contains(a.Addr())
}

func victim(host, port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(host)}), uint16(port))
}

func TestAFriendCannotAimUsAtAVictim(t *testing.T) {
	w := newWorld(t)
	w.keep = true
	a, b := w.node("alice"), w.node("mallory")
	befriend(a, b)
	a.start()
	b.start()
	a.ready()
	b.ready()
	w.run(5 * time.Second)
	// Mallory goes silent and tells of the victim all the time.
	w.filter = func(from, _ netip.AddrPort, _ []byte) bool { return from != b.addr }
	const minutes = 10
	for range minutes * 60 {
		b.claim(a, victim(1, 5000))
		w.run(time.Second)
	}
	if n, _ := w.sentTo(isVictim); n == 0 || n > 3*minutes+3 {
		t.Errorf("%d datagrams to the victim in %d minutes, want 3 a minute at most", n, minutes)
	}
}

func TestAFriendCannotRotateClaims(t *testing.T) {
	w := newWorld(t)
	w.keep = true
	a, b := w.node("alice"), w.node("mallory")
	befriend(a, b)
	a.start()
	b.start()
	a.ready()
	b.ready()
	w.run(5 * time.Second)
	w.filter = func(from, _ netip.AddrPort, _ []byte) bool { return from != b.addr }
	const minutes = 5
	port := 2000
	for range minutes * 60 {
		var addrs []netip.AddrPort
		for range 8 {
			port++
			addrs = append(addrs, victim(1, port))
		}
		b.claim(a, addrs...)
		w.run(time.Second)
	}
	// The host's share of the node is 30 at once and 30 a minute.
	if n, _ := w.sentTo(isVictim); n == 0 || n > 30*minutes+30 {
		t.Errorf("%d datagrams to the victim's ports in %d minutes", n, minutes)
	}
	if got := len(a.c.peers[b.id].endpoints); got > maxEndpoints {
		t.Errorf("%d endpoints are remembered, want %d at most", got, maxEndpoints)
	}
}

func TestManyFriendsCannotAimUsAtOneHost(t *testing.T) {
	w := newWorld(t)
	w.keep = true
	a := w.node("alice")
	a.start()
	a.ready()
	for i := range 40 {
		m := w.node(fmt.Sprint("mallory ", i))
		number := uint64(w.now.UnixMilli())
		a.add(m.id, wire.RelationFriend, number)
		r := m.request(number)
		r.Endpoints = nil
		for j := range 8 {
			r.Endpoints = append(r.Endpoints, victim(1, 2000+8*i+j))
		}
		a.do(func() { a.c.Introduce(r) })
	}
	w.run(10 * time.Second)
	n, _ := w.sentTo(isVictim)
	if n == 0 || n > 35 {
		t.Errorf("%d datagrams to one host within 10 s, want the node's burst of 30 at most", n)
	}
	w.run(10 * time.Minute)
	if n, _ := w.sentTo(isVictim); n > 30+31*10+10 {
		t.Errorf("%d datagrams to one host in 10 minutes", n)
	}
}

// A friend that asks from addresses that are not its own gets no more bytes
// sent there than came, and at most 3 datagrams a minute.
func TestUnprovenAddressesGetNoMoreThanTheySent(t *testing.T) {
	w := newWorld(t)
	w.keep = true
	a, b := w.node("alice"), w.node("mallory")
	befriend(a, b)
	a.start()
	b.start()
	a.ready()
	w.run(time.Second)
	sent := 0
	for range 59 {
		q := b.hello(a, func(*wire.Hello) {})
		sent += len(q)
		a.receive(q, victim(9, 4444))
		w.run(time.Second)
	}
	n, bytes := w.sentTo(isVictim)
	if bytes > sent {
		t.Errorf("%d bytes went out for %d that came", bytes, sent)
	}
	if n == 0 || n > 3 {
		t.Errorf("%d datagrams in a minute, want 3 at most", n)
	}
}

func TestMailAndStateOnlyGoToProvenEndpoints(t *testing.T) {
	w := newWorld(t)
	w.keep = true
	a, b := w.node("alice"), w.node("bob")
	befriend(a, b)
	a.start()
	a.ready()
	r := b.request(uint64(w.now.UnixMilli()))
	r.Endpoints = []netip.AddrPort{victim(2, 4000)}
	a.do(func() { a.c.Introduce(r) })
	a.send(b, "secret")
	w.run(5 * time.Minute)
	for _, d := range w.wire {
		if isVictim(d.to) && len(d.b) != 256 {
			t.Fatalf("a datagram of %d bytes went to an unproven endpoint", len(d.b))
		}
	}
}

func TestTheHostLimitIsBounded(t *testing.T) {
	l := newLimiter(targetLimit())
	now := midweek
	for i := range 3 * limiterKeys {
		l.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if len(l.hosts) > limiterKeys {
		t.Errorf("%d hosts are remembered, want %d at most", len(l.hosts), limiterKeys)
	}
	if l.take(netip.MustParseAddr("192.0.2.77"), now) {
		t.Error("a new host got a token though nothing more can be remembered")
	}
	if !l.take(netip.MustParseAddr("192.0.2.77"), now.Add(time.Hour)) {
		t.Error("no token after an hour of quiet")
	}
	x := netip.MustParseAddr("2001:db8::1")
	for range 40 {
		l.take(x, now.Add(time.Hour))
	}
	if l.left(netip.MustParseAddr("2001:db8::2"), now.Add(time.Hour)) {
		t.Error("addresses of one /64 are counted apart")
	}
}

func TestWhoWasRefusedLearnsNoMore(t *testing.T) {
	w := newWorld(t)
	a, b := w.node("alice"), w.node("bob")
	for _, r := range []wire.Relation{wire.RelationRefused, wire.RelationRemoved} {
		a.add(b.id, r, 5)
		a.start()
		a.ready()
		s := a.c.peers[b.id].assembleIn(a)
		if len(s.Endpoints) != 0 || s.Prekey != (wire.Prekey{}) || s.Window != nil {
			t.Errorf("relation %d: the state tells %v", r, s)
		}
		w.run(time.Minute)
		sent := a.datagrams
		b.add(a.id, wire.RelationFriend, 5)
		if b.c == nil {
			b.start()
		}
		a.receive(b.hello(a, func(*wire.Hello) {}), b.addr)
		w.run(time.Second)
		if a.datagrams != sent {
			t.Errorf("relation %d: a hello was answered", r)
		}
		a.stop()
	}
}

func (p *peer) assembleIn(n *node) (s *wire.State) {
	n.do(func() { s = p.assemble() })
	return s
}
