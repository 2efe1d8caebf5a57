package lab

import (
	"container/heap"
	"net/netip"
	"slices"
)

// Segment is one address space with its links: the internet, which each [Network] is, or the private network behind a
// [NAT]. Links, partitions and black holes are those of the segment's own addresses. All methods are safe for
// concurrent use.
type Segment struct {
	net     *Network
	seed    uint64
	gateway *NAT // where what is not for the segment goes; nil in the internet

	// Guarded by net.mu.
	link     Link // between two addresses that SetLink was not called for
	stations map[netip.Addr]station
	set      map[pair]bool // by SetLink
	paths    map[pair]*Path
	cuts     []*cut
}

// station is who has an address of a segment: a Host or a NAT.
type station interface {
	// arrive takes a datagram that has come over the segment. Called with net.mu held.
	arrive(s *Segment, d *datagram)
}

// pair is one direction between two addresses.
type pair struct{ from, to netip.Addr }

// newSegment makes a segment of n. Called with n.mu held, or before anybody knows n.
func newSegment(n *Network, seed uint64, l Link, gateway *NAT) *Segment {
	s := &Segment{
		net: n, seed: seed, link: l, gateway: gateway,
		stations: make(map[netip.Addr]station), set: make(map[pair]bool), paths: make(map[pair]*Path),
	}
	n.segments = append(n.segments, s)
	return s
}

// Host returns the host that has addr, IPv4 or IPv6, and makes it when there is none. [Host.AddAddr] gives it more
// addresses. It panics on an address no host can have: invalid, unspecified, loopback or multicast, or that of a NAT.
func (s *Segment) Host(addr netip.Addr) *Host {
	addr = usable(addr)
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	switch owner := s.stations[addr].(type) {
	case *Host:
		return owner
	case nil:
		h := &Host{net: s.net, home: s, ports: make(map[uint16][]*Conn), nextPort: firstEphemeral}
		s.net.hosts = append(s.net.hosts, h)
		h.attach(s, addr)
		return h
	default:
		panic("lab: a NAT has the address " + addr.String())
	}
}

// Attach gives a host another address, after those it has, in this segment, which may be another one than that of its
// others: so a host has two ways into the internet, or a public IPv6 address beside a private IPv4 one. It panics
// where Host would, and when another has the address or the host is of another Network.
func (s *Segment) Attach(h *Host, addr netip.Addr) {
	addr = usable(addr)
	if h.net != s.net {
		panic("lab: the host is of another network")
	}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	h.attach(s, addr)
}

// SetLink sets the link from one address to another, in this direction only. It holds for datagrams sent from now on,
// with the queue as [Path.Set] says; those in flight arrive as they would have. From an address to itself or to another
// of the same host the link is perfect unless set.
func (s *Segment) SetLink(from, to netip.Addr, l Link) {
	l.check()
	p := pair{from.Unmap(), to.Unmap()}
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.set[p] = true
	if k := s.paths[p]; k != nil {
		k.Set(l)
	} else {
		s.paths[p] = NewPath(l, pathSeed(s.seed, p))
	}
}

// SetDefault sets the link between all addresses of the segment that SetLink was not called for, as SetLink does.
func (s *Segment) SetDefault(l Link) {
	l.check()
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.link = l
	for p, k := range s.paths {
		if !s.set[p] {
			k.Set(l)
		}
	}
}

// LinkStats returns what the link from one address to another has counted, as [Path.Stats] does. A link that was never
// set and is perfect counts nothing.
func (s *Segment) LinkStats(from, to netip.Addr) Stats {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if k := s.paths[pair{from.Unmap(), to.Unmap()}]; k != nil {
		return k.Stats()
	}
	return Stats{}
}

// Partition cuts every address of a off from every address of b, both ways, in addition to earlier partitions; with b
// nil from every address that is not in a. Datagrams in flight between them are lost too, and nobody is told. It ends
// with heal, or Heal.
func (s *Segment) Partition(a, b []netip.Addr) (heal func()) {
	return s.cutOff(&cut{from: addrSet(a), to: setOrAll(b), both: true})
}

// Blackhole drops what goes from an address of one group to an address of the other, in this direction only, datagrams
// in flight included, and nobody is told; nil is every address that is not in the other group. It ends with heal, or
// Heal.
func (s *Segment) Blackhole(from, to []netip.Addr) (heal func()) {
	return s.cutOff(&cut{from: setOrAll(from), to: setOrAll(to)})
}

func (s *Segment) cutOff(c *cut) (heal func()) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.cuts = append(s.cuts, c)
	return func() {
		s.net.mu.Lock()
		defer s.net.mu.Unlock()
		s.cuts = slices.DeleteFunc(s.cuts, func(o *cut) bool { return o == c })
	}
}

// Heal ends all partitions and black holes of the segment.
func (s *Segment) Heal() {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	s.cuts = nil
}

// carry puts d on its way through the segment at d.due. What the path has due at that very instant is put in flight
// like the rest. Called with net.mu held.
func (s *Segment) carry(d *datagram) {
	n := s.net
	p := pair{d.from.Addr(), d.to.Addr()}
	if s.isCut(p) {
		n.stats.Partitioned++
		return
	}
	k, set := s.paths[p], s.set[p]
	if !set && (s.link == Link{} || d.origin != nil && d.origin.local(p.to)) {
		s.arrive(d)
		return
	}
	if k == nil {
		k = NewPath(s.link, pathSeed(s.seed, p))
		s.paths[p] = k
	}
	arriving := k.Carry(d.due, len(d.b))
	for i, due := range arriving {
		c := d
		if i+1 < len(arriving) {
			c = new(datagram)
			*c = *d // but for the bytes, which nobody writes to
		}
		n.seq++
		c.segment, c.due, c.seq = s, due, n.seq
		heap.Push(&n.flight, c)
	}
}

// land takes d out of flight. Called with net.mu held.
func (s *Segment) land(d *datagram) {
	if s.isCut(pair{d.from.Addr(), d.to.Addr()}) {
		s.net.stats.Partitioned++
		return
	}
	s.arrive(d)
}

// arrive hands d to whom it is for, or to the gateway. Called with net.mu held.
func (s *Segment) arrive(d *datagram) {
	to := d.to.Addr()
	switch st := s.stations[to]; {
	case d.origin != nil && d.origin.local(to):
		d.origin.arrive(s, d)
	case st != nil:
		st.arrive(s, d)
	case s.gateway != nil && !d.inward: // what came in for a host that has gone does not turn round
		s.gateway.arrive(s, d)
	default:
		s.net.stats.NoHost++
	}
}

// isCut says whether a partition or a black hole is in the way. Called with net.mu held.
func (s *Segment) isCut(p pair) bool {
	return p.from != p.to && slices.ContainsFunc(s.cuts, func(c *cut) bool { return c.covers(p) })
}

// cut is a direction, or both, between two groups of addresses in which nothing passes. A nil group is everybody who
// is not in the other.
type cut struct {
	from, to map[netip.Addr]bool
	both     bool
}

func (c *cut) covers(p pair) bool {
	return c.oneWay(p) || c.both && c.oneWay(pair{p.to, p.from})
}

func (c *cut) oneWay(p pair) bool {
	isFrom, isTo := c.from[p.from], c.to[p.to]
	if c.from == nil {
		isFrom = !c.to[p.from]
	}
	if c.to == nil {
		isTo = !c.from[p.to]
	}
	return isFrom && isTo
}

// usable returns addr in the form in which the network knows it.
func usable(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() {
		panic("lab: " + addr.String() + " cannot be the address of a host")
	}
	return addr
}

// setOrAll keeps nil, which stands for all others.
func setOrAll(addrs []netip.Addr) map[netip.Addr]bool {
	if addrs == nil {
		return nil
	}
	return addrSet(addrs)
}

func addrSet(addrs []netip.Addr) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		set[a.Unmap()] = true
	}
	return set
}
