package udpio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// WriteWhole sends one datagram as [Socket.WriteTo] does, but neither this system nor a router may cut it into
// fragments: it arrives whole or not at all, which is how the size that a path carries is found out (RFC 8899). Other
// datagrams stay as the system has them, since those of the DHT have no limit of their own and nobody to find one out.
// The error is WriteTo's, as for a datagram too large for the way's first link, or matches [errors.ErrUnsupported] where
// the system has no such thing, or the socket is not the operating system's.
func (s *Socket) WriteWhole(b []byte, to netip.AddrPort) (err error) {
	udp, ok := s.conn.(*net.UDPConn)
	if !ok {
		return fmt.Errorf("send %d bytes in one piece by a socket of another network: %w", len(b), errors.ErrUnsupported)
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return err
	}
	six := s.local.Addr().Is6()
	s.whole.Lock()
	defer s.whole.Unlock()
	var before int
	set := func(value int) error {
		var failed error
		err := raw.Control(func(fd uintptr) { before, failed = swapFragmenting(fd, six, value) })
		return errors.Join(err, failed)
	}
	if err := set(neverFragment); err != nil {
		return fmt.Errorf("forbid that %d bytes are cut into fragments: %w", len(b), err)
	}
	defer func() { err = errors.Join(err, set(before)) }()
	return s.WriteTo(b, to)
}
