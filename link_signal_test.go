package carrier_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
	"github.com/gocarrier/carrier/internal/lab"
)

// muteHost loses every envelope that is sent: whoever is on it speaks to friends
// by the DHT, as two do whose NATs let nothing in before a link's ICE.
type muteHost struct{ *lab.Host }

func (h *muteHost) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := h.Host.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &muteConn{c.(*lab.Conn)}, nil
}

type muteConn struct{ *lab.Conn }

func (c *muteConn) WriteTo(b []byte, to net.Addr) (int, error) {
	return c.WriteToUDPAddrPort(b, to.(*net.UDPAddr).AddrPort())
}

func (c *muteConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if b[0]&^3 == 0xC8 {
		return len(b), nil
	}
	return c.Conn.WriteToUDPAddrPort(b, to)
}

// TestLinkByTheDHTAlone: friends who reach each other by nothing but the DHT have
// a link some seconds after the acceptance: its record has an offer, and both
// look for the other's answer while it is due.
func TestLinkByTheDHTAlone(t *testing.T) {
	t.Parallel()
	const limit = 5 * time.Second
	var took []time.Duration
	for i := range fewer(7, 3) {
		bubbleWith(t, &carriertest.Options{Seed: uint64(i), Delay: 25 * time.Millisecond}, func(t *testing.T, n *carriertest.Network) {
			newMute := func(name string) *person { return newPersonAt(t, n, name, &muteHost{n.Host().(*lab.Host)}) }
			alice, bob := newMute("Alice"), newMute("Bob")
			alice.add(bob.Address(), "")
			bob.request(alice.ID())
			begun := time.Now()
			ba := bob.accept(alice.ID())
			ab := alice.friend(bob.ID())
			eventually(t, "both have a link", func() bool {
				return ab.Path().Kind != carrier.PathNone && ba.Path().Kind != carrier.PathNone
			})
			took = append(took, time.Since(begun))
		})
	}
	t.Logf("links up after %v", took)
	if m := median(took); m > limit {
		t.Errorf("the median is %v, want at most %v", m, limit)
	}
}
