package wire

import (
	"net/netip"
	"slices"
)

// Plain returns an address with one of IPv4 in its own form, and without a zone.
func Plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// OnLoopback reports whether loopback addresses mean anything to a node with
// these local ones: its sockets are bound to them, or the machine has no other.
func OnLoopback(local []netip.AddrPort) bool {
	return len(local) > 0 && !slices.ContainsFunc(local, func(a netip.AddrPort) bool { return !a.Addr().Unmap().IsLoopback() })
}

// Reachable reports whether a node could be at a plain address, and it may be
// sent to because somebody says so: an address in a record is a claim, and
// nobody must aim us at others. Loopback tells whether we are there ourselves.
func Reachable(a netip.AddrPort, loopback bool) bool {
	ip := a.Addr()
	switch {
	case !ip.IsValid(), ip.IsUnspecified(), ip.IsMulticast(), a.Port() < 1024:
		return false
	case ip.Is6() && ip.IsLinkLocalUnicast(): // needs a zone, which is nobody else's
		return false
	case ip.Is4() && (ip.As4()[0] == 0 || ip.As4()[0] >= 240): // "this network", reserved, broadcast
		return false
	case ip.IsLoopback():
		return loopback
	}
	return true
}
