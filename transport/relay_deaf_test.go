package transport

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gocarrier/carrier/internal/lab"
)

// deafNet is the network of a TURN server that answers everything, allocates and
// permits, and while it is deaf carries nothing from or to anybody's peer.
type deafNet struct {
	Net
	deaf atomic.Bool
}

func (n *deafNet) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	conn, err := n.Net.ListenPacket(ctx, network, address)
	if err != nil || strings.HasSuffix(address, ":3478") { // where clients talk to it
		return conn, err
	}
	return &deafConn{conn, n}, nil
}

type deafConn struct {
	net.PacketConn
	net *deafNet
}

func (c *deafConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || !c.net.deaf.Load() {
			return n, from, err
		}
	}
}

func (c *deafConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if c.net.deaf.Load() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

// TestRelayThatCarriesNothing: a relay that answers but does not work stands in
// nobody's way. The link goes straight where it can, by a relay that works where
// it cannot, and by the other one when that stops working under it.
func TestRelayThatCarriesNothing(t *testing.T) {
	peerLabOver(t, peerWay, func(t *testing.T, n *lab.Network, s *post) {
		s.every = 2 * time.Second
		var nets []*deafNet
		var servers []TURNServer
		for _, at := range []string{"192.0.2.1", "192.0.2.2"} {
			relay := &deafNet{Net: n.Host(netip.MustParseAddr(at))}
			server := newTURNServer(t, relay, at+":3478")
			defer server.close()
			nets, servers = append(nets, relay), append(servers, server.config())
		}
		nets[0].deaf.Store(true)
		a := newPeerNode(t, s, peerHost(n, 0), peerOptions{turn: servers})
		b := newPeerNode(t, s, peerHost(n, 1), peerOptions{})
		defer b.stop()
		defer a.stop()
		time.Sleep(time.Second)
		if made := a.Stats()["relay.allocated"]; made != 2 {
			t.Fatalf("%d relays were allocated, want both", made)
		}

		begun := time.Now()
		a.Connect(b.id)
		la, lb := linked(a, b, time.Minute)
		if took := time.Since(begun); la.Path().Kind != PathDirect || took > 3*time.Second {
			t.Errorf("the path is %v after %v, want a direct one at once", la.Path(), took)
		}
		by := func(relay string) {
			t.Helper()
			moved := time.Now()
			for ; lb.Path().Remote.Addr().String() != relay; time.Sleep(100 * time.Millisecond) {
				if time.Since(moved) > 20*time.Second {
					t.Fatalf("the path is %v after %v, want %s", lb.Path(), time.Since(moved), relay)
				}
			}
			t.Logf("by %s after %v", relay, time.Since(moved))
		}
		during(t, la, lb, func() {
			n.Partition([]netip.Addr{peerHostAddr(0)}, []netip.Addr{peerHostAddr(1)})
			by("192.0.2.2")
		})
		during(t, la, lb, func() {
			nets[0].deaf.Store(false)
			nets[1].deaf.Store(true)
			by("192.0.2.1")
		})
		if ups, downs := a.counts(); ups != 1 || downs != 0 {
			t.Errorf("%d links came up and %d went down, want the first to go on", ups, downs)
		}
	})
}
