package transport

import (
	"fmt"
	"net/netip"
)

// direct is the conduit of the node's own sockets.
type direct struct{ sockets []Socket }

var _ conduit = (*direct)(nil)

// socket returns the socket of an address's family, nil if there is none.
func (d *direct) socket(ip netip.Addr) Socket {
	for _, s := range d.sockets {
		if s.LocalAddr().Addr().Unmap().Is4() == ip.Unmap().Is4() {
			return s
		}
	}
	return nil
}

func (d *direct) write(b []byte, size int, to netip.AddrPort) error {
	s := d.socket(to.Addr())
	if s == nil {
		return fmt.Errorf("no socket for the family of %v", to)
	}
	if len(b) <= size {
		return s.WriteTo(b, to)
	}
	return s.WriteSegments(b, size, to)
}

func (d *direct) writeWhole(b []byte, to netip.AddrPort) error {
	s := d.socket(to.Addr())
	if s == nil {
		return fmt.Errorf("no socket for the family of %v", to)
	}
	return s.WriteWhole(b, to)
}

// send sends one datagram.
func (d *direct) send(b []byte, to netip.AddrPort) error { return d.write(b, len(b), to) }

func (d *direct) local(to netip.AddrPort) netip.AddrPort {
	if s := d.socket(to.Addr()); s != nil {
		return s.LocalAddr()
	}
	return netip.AddrPort{}
}

func (d *direct) relayed() bool { return false }

// kindOf tells a path's kind. Addresses of private use reach no further than
// the network that both are in.
func kindOf(c conduit, remote netip.AddrPort) PathKind {
	ip := remote.Addr()
	switch {
	case c.relayed():
		return PathRelay
	case ip.IsPrivate(), ip.IsLoopback(), ip.IsLinkLocalUnicast():
		return PathLAN
	}
	return PathDirect
}
