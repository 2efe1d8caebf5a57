package dht

import "net/netip"

const (
	maxVotes = 32 // nodes whose word on our address is remembered
	minVotes = 3  // that must agree
)

// vote notes which address of ours a node sees (BEP 42). The caller holds mu.
func (f *family) vote(from, ours netip.AddrPort) {
	if !ours.IsValid() || ours.Port() == 0 || !f.takes(ours) || ours.Addr().IsUnspecified() || ours.Addr().IsMulticast() {
		return
	}
	before, ok := f.votes.get(hostKey(from))
	f.votes.put(hostKey(from), ours)
	if !ok || before != ours {
		f.followAddress()
	}
}

// externalIP returns the IP address that enough nodes agree on. The caller
// holds mu.
func (f *family) externalIP() (netip.Addr, bool) {
	ips := make(map[netip.Addr]int)
	f.votes.each(func(_, ours netip.AddrPort) bool {
		ips[ours.Addr()]++
		return true
	})
	return winner(ips)
}

// followAddress draws a new node ID when enough nodes see us at an IP address
// that ours does not fit (BEP 42). The caller holds mu.
func (f *family) followAddress() {
	ip, ok := f.externalIP()
	if !ok || isSecure(f.id, ip) {
		return
	}
	f.id = secureID(ip)
	f.table.setSelf(f.id)
	f.node.count("node_id_changed")
}

// external returns the address that enough nodes agree on: the IP address first,
// then the port. Behind a NAT that maps each destination to another port no two
// honest nodes agree on a port, and three liars could name anybody's address, to
// which we would then send all whom we tell ours.
func (f *family) external() (netip.AddrPort, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ip, ok := f.externalIP()
	if !ok {
		return netip.AddrPort{}, false
	}
	addrs := make(map[netip.AddrPort]int)
	f.votes.each(func(_, ours netip.AddrPort) bool {
		if ours.Addr() == ip {
			addrs[ours]++
		}
		return true
	})
	return winner(addrs)
}

// winner returns what has more votes than anything else, if those are enough.
func winner[T comparable](votes map[T]int) (best T, ok bool) {
	most, tie := 0, false
	for candidate, count := range votes {
		switch {
		case count > most:
			best, most, tie = candidate, count, false
		case count == most:
			tie = true
		}
	}
	return best, most >= minVotes && !tie
}

// External returns our addresses as other nodes see them (BEP 42), at most one a
// family, IPv4 first. One is there once 3 nodes with different IP addresses
// (on loopback: different ports) agree on it, port included: behind a NAT that
// maps each destination to another port there is none.
func (n *Node) External() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, f := range n.families {
		if addr, ok := f.external(); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
