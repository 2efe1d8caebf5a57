package wire

import (
	"net/netip"
	"testing"
)

func TestClaimsThatAreNeverSentTo(t *testing.T) {
	for _, tt := range []struct {
		addr     string
		loopback bool // we are on loopback
		want     bool
	}{
		{"192.0.2.1:4000", false, true},
		{"10.0.0.1:1024", false, true},
		{"[2001:db8::1]:4000", false, true},
		{"[::ffff:192.0.2.1]:4000", false, true},
		{"192.0.2.1:1023", false, false},
		{"192.0.2.1:53", false, false},
		{"192.0.2.1:0", false, false},
		{"0.0.0.0:4000", false, false},
		{"0.1.2.3:4000", false, false},
		{"[::]:4000", false, false},
		{"224.0.0.1:4000", false, false},
		{"239.255.255.250:1900", false, false},
		{"[ff02::1]:4000", false, false},
		{"255.255.255.255:4000", false, false},
		{"250.0.0.1:4000", false, false},
		{"[fe80::1]:4000", false, false},
		{"127.0.0.1:4000", false, false},
		{"[::1]:4000", false, false},
		{"[::ffff:127.0.0.1]:4000", false, false},
		{"127.0.0.1:4000", true, true},
		{"[::1]:4000", true, true},
		{"127.0.0.1:80", true, false},
	} {
		if got := Reachable(Plain(netip.MustParseAddrPort(tt.addr)), tt.loopback); got != tt.want {
			t.Errorf("%s (on loopback %v): %v, want %v", tt.addr, tt.loopback, got, tt.want)
		}
	}
}
