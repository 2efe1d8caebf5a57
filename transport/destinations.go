package transport

import (
	"net/netip"
	"sync"
	"time"
)

// What a destination that has not proven itself gets from the whole node.
const (
	destinationRate  = 20  // datagrams/s
	destinationBurst = 200 // datagrams; the first checks of 20 friends behind one NAT
	// maxDestinations bounds the memory: about 1 MiB.
	maxDestinations = 16384
	// destinationSweep is how often a full table is searched for room.
	destinationSweep = time.Second
)

// destinations is the node-wide budget of each host that was only claimed to be a friend's: whatever friends claim,
// alone or together, we cannot be aimed at a victim with more than this. A host is an IPv4 address, or an IPv6 /64,
// within which anybody has addresses enough. It is safe for concurrent use.
type destinations struct {
	mu    sync.Mutex
	full  map[netip.Addr]time.Time // when the host's bucket will be full again; those that are full are not kept
	swept time.Time
}

func newDestinations() *destinations {
	return &destinations{full: make(map[netip.Addr]time.Time)}
}

// take asks leave for one datagram to ip.
func (d *destinations) take(ip netip.Addr, now time.Time) bool {
	host := destinationHost(ip)
	d.mu.Lock()
	defer d.mu.Unlock()
	full, known := d.full[host]
	if !known && !d.room(now) {
		return false
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(time.Second / destinationRate)
	if full.Sub(now) > destinationBurst*time.Second/destinationRate {
		return false
	}
	d.full[host] = full
	return true
}

// room makes room for a host. Called with d.mu held.
func (d *destinations) room(now time.Time) bool {
	if len(d.full) < maxDestinations {
		return true
	}
	if now.Sub(d.swept) < destinationSweep {
		return false
	}
	d.swept = now
	for host, full := range d.full {
		if !full.After(now) {
			delete(d.full, host)
		}
	}
	return len(d.full) < maxDestinations
}

func destinationHost(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if p, err := ip.Prefix(64); ip.Is6() && err == nil {
		return p.Addr()
	}
	return ip
}

// sendable says whether one host can be at addr.
func sendable(addr netip.AddrPort) bool {
	ip := addr.Addr()
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && ip != broadcast && addr.Port() != 0
}
