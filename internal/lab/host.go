package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// firstEphemeral is the first port that is given to who asks for any.
const firstEphemeral = 49152

// errUDPOnly answers who asks a host for anything but UDP.
var errUDPOnly = errors.New("the lab network carries udp only, not tcp or others")

// Host is a computer on a [Network]: addresses, and ports to listen at. Its ListenPacket, DialContext, LookupNetIP and
// LocalAddrs are what a program needs of a network, so that a whole node can run on a host. All methods are safe for
// concurrent use.
type Host struct {
	net *Network

	// Guarded by net.mu.
	home            *Segment // where AddAddr adds
	ifaces          []iface
	down            bool
	holeIn, holeOut bool
	ports           map[uint16][]*Conn
	nextPort        uint16
}

// iface is an address of a host and the segment that it is of.
type iface struct {
	addr    netip.Addr
	segment *Segment
}

// AddAddr gives the host another address, after those it has, in the segment it was made in or last moved to. It
// panics where [Segment.Attach] would.
func (h *Host) AddAddr(addr netip.Addr) {
	addr = usable(addr)
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.attach(h.home, addr)
}

// attach gives the host an address. Called with net.mu held.
func (h *Host) attach(s *Segment, addr netip.Addr) {
	switch owner := s.stations[addr]; {
	case owner == h:
	case owner != nil:
		panic("lab: another has the address " + addr.String())
	case h.segment(addr) != nil:
		panic("lab: the host has " + addr.String() + " in another segment")
	default:
		s.stations[addr] = h
		h.ifaces = append(h.ifaces, iface{addr, s})
	}
}

// RemoveAddr takes an address from the host, as roaming does; another host may then have it. Conns bound to it stay
// open and cannot send; those bound to no address go on with the first address left of their family.
func (h *Host) RemoveAddr(addr netip.Addr) {
	addr = addr.Unmap()
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.ifaces = slices.DeleteFunc(h.ifaces, func(i iface) bool {
		if i.addr == addr {
			delete(i.segment.stations, addr)
		}
		return i.addr == addr
	})
}

// Move takes the host to a segment, with these addresses in place of all it had, in one step, as when a laptop comes
// home: [NAT] and [Network] have the segment as a field. Within one segment it is a change of addresses. Conns live on
// as under RemoveAddr. It panics where [Segment.Attach] would.
func (h *Host) Move(s *Segment, addrs ...netip.Addr) {
	if h.net != s.net {
		panic("lab: the segment is of another network")
	}
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	for _, i := range h.ifaces {
		delete(i.segment.stations, i.addr)
	}
	h.home, h.ifaces = s, nil
	for _, addr := range addrs {
		h.attach(s, usable(addr))
	}
}

// Blackhole drops from now on what comes to the host, what leaves it, or both, and nobody is told: its addresses stay
// and sending succeeds. It follows the host through every change of address. With neither it ends.
func (h *Host) Blackhole(in, out bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.holeIn, h.holeOut = in, out
}

// Down unplugs the host: it has no addresses to show, sending fails with an error that matches syscall.ENETUNREACH,
// and what arrives is dropped, datagrams in flight included. Conns stay
// open, and what does not leave the host still passes.
func (h *Host) Down() { h.setDown(true) }

// Up ends Down.
func (h *Host) Up() { h.setDown(false) }

func (h *Host) setDown(down bool) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.down = down
}

// LocalAddrs returns the addresses in the order in which they were given, IPv4 as /24 and IPv6 as /64; none while the
// host is down.
func (h *Host) LocalAddrs() ([]netip.Prefix, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.down {
		return nil, nil
	}
	prefixes := make([]netip.Prefix, len(h.ifaces))
	for k, i := range h.ifaces {
		bits := 64
		if i.addr.Is4() {
			bits = 24
		}
		prefixes[k] = netip.PrefixFrom(i.addr, bits)
	}
	return prefixes, nil
}

// LookupNetIP resolves a literal IP address or a name given to [Network.Name], for network "ip", "ip4" or "ip6". What
// is not found gives a *net.DNSError with IsNotFound.
func (h *Host) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if network != "ip" && network != "ip4" && network != "ip6" {
		return nil, net.UnknownNetworkError(network)
	}
	var found []netip.Addr
	if a, err := netip.ParseAddr(host); err == nil {
		found = []netip.Addr{a}
	} else {
		h.net.mu.Lock()
		found = slices.Clone(h.net.names[host])
		h.net.mu.Unlock()
	}
	found = slices.DeleteFunc(found, func(a netip.Addr) bool {
		return network == "ip4" && !a.Unmap().Is4() || network == "ip6" && a.Unmap().Is4()
	})
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return found, nil
}

// ListenPacket opens a [Conn] for network "udp4", "udp6" or "udp" (both families where address names no IP) at
// address, "ip:port", "name:port" or ":port"; port 0 takes a free one from 49152 up. A port that is taken gives a
// *net.OpError that matches syscall.EADDRINUSE, an IP the host does not have one that matches syscall.EADDRNOTAVAIL.
func (h *Host) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	at, err := h.resolve(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	c, err := h.open(network, at, netip.AddrPort{})
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.UDPAddrFromAddrPort(at), Err: err}
	}
	return c, nil
}

// DialContext opens a [Conn] at a free port that sends to and receives from address only, for network "udp4", "udp6"
// or "udp". Other networks are refused.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := h.resolve(ctx, network, address)
	if err == nil && !to.Addr().IsValid() {
		err = &net.AddrError{Err: "missing address to dial", Addr: address}
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	h.net.mu.Lock()
	from, err := h.source(to.Addr())
	h.net.mu.Unlock()
	if err == nil {
		var c *Conn
		if c, err = h.open(network, netip.AddrPortFrom(from, 0), to); err == nil {
			return c, nil
		}
	}
	return nil, &net.OpError{Op: "dial", Net: network, Addr: net.UDPAddrFromAddrPort(to), Err: err}
}

// resolve parses "host:port". An empty host gives an invalid Addr.
func (h *Host) resolve(ctx context.Context, network, address string) (netip.AddrPort, error) {
	ipNetwork := ""
	switch network {
	case "udp":
		ipNetwork = "ip"
	case "udp4":
		ipNetwork = "ip4"
	case "udp6":
		ipNetwork = "ip6"
	default:
		return netip.AddrPort{}, errUDPOnly
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, &net.AddrError{Err: "port is not a number up to 65535", Addr: address}
	}
	if host == "" {
		return netip.AddrPortFrom(netip.Addr{}, uint16(port)), ctx.Err()
	}
	addrs, err := h.LookupNetIP(ctx, ipNetwork, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0].Unmap().WithZone(""), uint16(port)), nil
}

// open makes a conn bound to at, connected to remote if that is valid.
func (h *Host) open(network string, at, remote netip.AddrPort) (*Conn, error) {
	c := newConn(h, network, at, remote)
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, net.ErrClosed
	}
	if a := c.local.Addr(); !a.IsUnspecified() && !h.local(a) {
		return nil, os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)
	}
	port := c.local.Port()
	ok := !h.taken(port, c)
	if port == 0 {
		port, ok = h.freePort(c)
	}
	if !ok {
		return nil, os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	c.local = netip.AddrPortFrom(c.local.Addr(), port)
	h.ports[port] = append(h.ports[port], c)
	return c, nil
}

// freePort finds a port for c. Called with net.mu held.
func (h *Host) freePort(c *Conn) (uint16, bool) {
	for range 65536 - firstEphemeral {
		port := h.nextPort
		if h.nextPort++; h.nextPort < firstEphemeral { // wrapped around
			h.nextPort = firstEphemeral
		}
		if !h.taken(port, c) {
			return port, true
		}
	}
	return 0, false
}

// taken says whether a conn at port stands in the way of c. Called with net.mu held.
func (h *Host) taken(port uint16, c *Conn) bool {
	return slices.ContainsFunc(h.ports[port], c.conflicts)
}

// receiver finds the conn that takes a datagram: one bound to the address before one bound to any. Called with net.mu
// held.
func (h *Host) receiver(from, to netip.AddrPort) *Conn {
	var wildcard *Conn
	for _, c := range h.ports[to.Port()] {
		switch {
		case !c.speaks(to.Addr()), c.remote.IsValid() && c.remote != from:
		case c.local.Addr() == to.Addr():
			return c
		case c.local.Addr().IsUnspecified():
			wildcard = c
		}
	}
	return wildcard
}

// local says whether a datagram to addr stays on the host. Called with net.mu held.
func (h *Host) local(addr netip.Addr) bool { return addr.IsLoopback() || h.segment(addr) != nil }

// segment returns the segment in which the host has addr, nil where it has not. Called with net.mu held.
func (h *Host) segment(addr netip.Addr) *Segment {
	for _, i := range h.ifaces {
		if i.addr == addr {
			return i.segment
		}
	}
	return nil
}

// Forge sends a datagram as from somebody else's address, as one may where the network does not look at sources. Taps
// do not see it.
func (h *Host) Forge(b []byte, from, to netip.AddrPort) {
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	n.deliverDue(now)
	n.stats.Sent++
	n.stats.SentBytes += uint64(len(b))
	h.home.carry(&datagram{due: now, origin: h, from: from, to: to, b: slices.Clone(b)})
	n.deliverDue(now)
	n.arm(now)
}

// arrive puts a datagram into the receive buffer of the conn it is for. Called with net.mu held.
func (h *Host) arrive(_ *Segment, d *datagram) {
	stats := &h.net.stats
	switch c := h.receiver(d.from, d.to); {
	case h.down && h != d.origin:
		stats.HostDown++
	case h.holeIn && h != d.origin:
		stats.Partitioned++
	case c == nil:
		stats.NoPort++
	case !c.take(d):
		stats.BufferFull++
	default:
		stats.Delivered++
	}
}

// source chooses the address from which to reach addr. Called with net.mu held.
func (h *Host) source(addr netip.Addr) (netip.Addr, error) {
	if addr.IsLoopback() {
		if addr.Is4() {
			return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
		}
		return netip.IPv6Loopback(), nil
	}
	reachable := !h.down || h.local(addr)
	for _, i := range h.ifaces {
		if reachable && i.addr.Is4() == addr.Is4() {
			return i.addr, nil
		}
	}
	return netip.Addr{}, os.NewSyscallError("sendto", syscall.ENETUNREACH)
}

// forget takes a closed conn out. Called with net.mu held.
func (h *Host) forget(c *Conn) {
	port := c.local.Port()
	h.ports[port] = slices.DeleteFunc(h.ports[port], func(o *Conn) bool { return o == c })
	if len(h.ports[port]) == 0 {
		delete(h.ports, port)
	}
}
