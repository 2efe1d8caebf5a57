package transport

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// takes asks n times at once, and returns how many were granted.
func takes(d *destinations, ip string, n int, now time.Time) (granted int) {
	for range n {
		if d.take(netip.MustParseAddr(ip), now) {
			granted++
		}
	}
	return granted
}

func TestDestinations(t *testing.T) {
	d, now := newDestinations(), time.Unix(1e9, 0)
	if got := takes(d, "192.0.2.1", 1000, now); got != destinationBurst {
		t.Errorf("%d of 1000 at once, want %d", got, destinationBurst)
	}
	if got := takes(d, "192.0.2.2", 1, now); got != 1 {
		t.Error("another host has no budget of its own")
	}
	if got := takes(d, "::ffff:192.0.2.1", 1, now); got != 0 {
		t.Error("a 4-in-6 address has a budget of its own")
	}
	if got := takes(d, "192.0.2.1", 1000, now.Add(3*time.Second)); got != 3*destinationRate {
		t.Errorf("%d of 1000 after 3 s, want %d", got, 3*destinationRate)
	}
	if got := takes(d, "192.0.2.1", 1000, now.Add(time.Hour)); got != destinationBurst {
		t.Errorf("%d of 1000 after an hour, want no more than %d", got, destinationBurst)
	}

	if got := takes(d, "2001:db8:0:1::1", 1000, now) + takes(d, "2001:db8:0:1:ffff::2", 1000, now); got != destinationBurst {
		t.Errorf("%d to one /64, want %d", got, destinationBurst)
	}
	if got := takes(d, "2001:db8:0:2::1", 1, now); got != 1 {
		t.Error("another /64 has no budget of its own")
	}
}

func TestDestinationsAreBounded(t *testing.T) {
	d, now := newDestinations(), time.Unix(1e9, 0)
	host := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 0x0A000000+uint32(i))))
	}
	for i := range 2 * maxDestinations {
		if got, want := d.take(host(i), now), i < maxDestinations; got != want {
			t.Fatalf("host %d: %v, want %v", i, got, want)
		}
	}
	if got := len(d.full); got != maxDestinations {
		t.Errorf("%d hosts are kept, want %d", got, maxDestinations)
	}
	// A full table still serves those in it, and forgets who has its whole budget back.
	if !d.take(host(0), now) {
		t.Error("a host in the full table is refused")
	}
	now = now.Add(destinationSweep)
	if !d.take(host(maxDestinations), now) || len(d.full) != 1 {
		t.Errorf("a second later a new host is refused, or old ones stay: %d kept", len(d.full))
	}
}

func TestSendable(t *testing.T) {
	for addr, want := range map[string]bool{
		"192.0.2.1:1": true, "[2001:db8::1]:65535": true, "127.0.0.1:4000": true, "[fe80::1%eth0]:4000": true,
		"192.0.2.1:0": false, "0.0.0.0:1": false, "[::]:1": false, "224.0.0.251:5353": false, "[ff02::fb]:5353": false,
		"255.255.255.255:1": false,
	} {
		if got := sendable(netip.MustParseAddrPort(addr)); got != want {
			t.Errorf("sendable(%s) = %v, want %v", addr, got, want)
		}
	}
	if sendable(netip.AddrPort{}) {
		t.Error("the zero address is sendable")
	}
}
