package udpio

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Net is the network as a program needs it: the operating system's ([OS]), or another that a test gives. The signatures
// are of the standard library only, so that anybody can implement it.
type Net interface {
	// ListenPacket opens a UDP socket, as [net.ListenConfig.ListenPacket] does. A port that is taken gives an error
	// that matches syscall.EADDRINUSE.
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	// DialContext connects, as [net.Dialer.DialContext] does.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	// LookupNetIP resolves a name, as [net.Resolver.LookupNetIP] does.
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// LocalAddrs returns the addresses at which others may reach this machine, always in the same order.
	LocalAddrs() ([]netip.Prefix, error)
}

// OS is the operating system's network. The zero value is ready; it is safe for concurrent use.
type OS struct{}

var _ Net = OS{}

// ListenPacket is [net.ListenConfig.ListenPacket]; a port that is taken matches syscall.EADDRINUSE on every system.
func (OS) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
	return conn, portable(err)
}

// DialContext is [net.Dialer.DialContext].
func (OS) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// LookupNetIP is [net.Resolver.LookupNetIP] of the default resolver.
func (OS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, network, host)
}

// LocalAddrs returns the unicast addresses of the interfaces that are up, sorted and each once. Link-local ones are
// left out, loopback ones too unless the machine has no other.
func (OS) LocalAddrs() ([]netip.Prefix, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var all []net.Addr
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away since it was listed
		}
		all = append(all, addrs...)
	}
	return usable(all), nil
}

// usable chooses from the addresses of the interfaces that are up.
func usable(addrs []net.Addr) []netip.Prefix {
	var outer, loopback []netip.Prefix
	for _, a := range addrs {
		ipNet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		addr, ok := netip.AddrFromSlice(ipNet.IP)
		if !ok {
			continue
		}
		ones, bits := ipNet.Mask.Size()
		addr = addr.Unmap()
		if addr.Is4() && bits == 128 {
			ones -= 96
		}
		prefix := netip.PrefixFrom(addr, ones)
		switch {
		case !prefix.IsValid() || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast():
		case addr.IsLoopback():
			loopback = append(loopback, prefix)
		default:
			outer = append(outer, prefix)
		}
	}
	if outer == nil {
		outer = loopback
	}
	slices.SortFunc(outer, netip.Prefix.Compare)
	return slices.Compact(outer)
}
