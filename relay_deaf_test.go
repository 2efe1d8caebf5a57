package carrier_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/turn/v5"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/carriertest"
)

// deafRelay is a TURN server that answers everything, allocates and permits, and
// while it is deaf carries nothing. It makes the sockets of its allocations.
type deafRelay struct {
	net    carrier.Net
	server carrier.TURNServer
	deaf   atomic.Bool
	asked  atomic.Int64 // to carry something
}

func newDeafRelay(t *testing.T, n *carriertest.Network) *deafRelay {
	t.Helper()
	r := &deafRelay{net: n.Host()}
	conn, err := r.net.ListenPacket(t.Context(), "udp4", "0.0.0.0:3478")
	if err != nil {
		t.Fatal(err)
	}
	local, err := r.net.LocalAddrs()
	if err != nil {
		t.Fatal(err)
	}
	r.server = carrier.TURNServer{Address: netip.AddrPortFrom(local[0].Addr(), 3478).String(), Username: "user", Password: "password"}
	server, err := turn.NewServer(turn.ServerConfig{
		Realm: "realm",
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			return a.Username, turn.GenerateAuthKey("user", "realm", "password"), true
		},
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: conn, RelayAddressGenerator: r}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() }) // of no more use
	return r
}

func (r *deafRelay) Validate() error { return nil }

func (r *deafRelay) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	local, err := r.net.LocalAddrs()
	if err != nil {
		return nil, nil, err
	}
	conn, err := r.net.ListenPacket(context.Background(), c.Network, netip.AddrPortFrom(local[0].Addr(), uint16(c.RequestedPort)).String())
	if err != nil {
		return nil, nil, err
	}
	return &deafConn{conn, r}, conn.LocalAddr(), nil
}

func (r *deafRelay) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errors.ErrUnsupported
}

func (r *deafRelay) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// deafConn is the relayed address of one allocation.
type deafConn struct {
	net.PacketConn
	relay *deafRelay
}

// Close never fails: the server closes twice, after the network at times, and
// would log an error.
func (c *deafConn) Close() error {
	_ = c.PacketConn.Close()
	return nil
}

func (c *deafConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || !c.relay.deaf.Load() {
			return n, from, err
		}
	}
}

func (c *deafConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.relay.asked.Add(1)
	if c.relay.deaf.Load() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

const (
	deafMail    = time.Minute // messages take so long at most
	deafPackets = 20          // a second and node
)

// TestNothingButARelayThatCarriesNothing: two whose only way is a relay that
// answers and does not work have no link, and are no worse off: their messages
// go by the DHT, both ways, and the link is tried for without a storm. It comes
// when the relay carries, and their messages go on when it stops.
func TestNothingButARelayThatCarriesNothing(t *testing.T) {
	t.Parallel()
	bubbleWith(t, &carriertest.Options{Routers: 6, Delay: 20 * time.Millisecond}, func(t *testing.T, n *carriertest.Network) {
		relay := newDeafRelay(t, n)
		relay.deaf.Store(true)
		alice, bob := newPerson(t, n, "Alice"), newPerson(t, n, "Bob")
		befriend(alice, bob)
		for _, p := range []*person{alice, bob} {
			p.stop()
			p.config.TURN = []carrier.TURNServer{relay.server}
			p.start()
		}
		n.SetLink(alice.Node, bob.Node, carriertest.Link{Loss: 1})
		ab, ba := alice.friend(bob.ID()), bob.friend(alice.ID())

		var sent, turns atomic.Int64 // by the two
		at := [2]netip.Addr{alice.LocalAddrs()[0].Addr(), bob.LocalAddrs()[0].Addr()}
		n.Tap(func(from, to netip.AddrPort, _ []byte) {
			if from.Addr() != at[0] && from.Addr() != at[1] {
				return
			}
			sent.Add(1)
			if to.String() == relay.server.Address {
				turns.Add(1)
			}
		})
		talk := func(by carrier.Courier, within time.Duration) {
			t.Helper()
			begun := time.Now()
			ma, mb := alice.send(bob.ID(), "to Bob"), bob.send(alice.ID(), "to Alice")
			if b, a := bob.next(), alice.next(); b.id != ma.ID() || a.id != mb.ID() || b.courier != by || a.courier != by {
				t.Errorf("%q came by %v and %q by %v, want both by %v", b.body, b.courier, a.body, a.courier, by)
			}
			alice.delivered(ma)
			bob.delivered(mb)
			took := time.Since(begun)
			t.Logf("both ways by %v in %v", by, took)
			if took > within {
				t.Errorf("messages by %v took %v, want at most %v", by, took, within)
			}
		}

		begun := time.Now()
		talk(carrier.CourierDHT, deafMail)
		time.Sleep(3 * time.Minute)
		talk(carrier.CourierDHT, deafMail)
		seconds := time.Since(begun).Seconds()
		each, asks := float64(sent.Load())/2/seconds, float64(turns.Load())/2/seconds
		t.Logf("each sends %.1f packets a second, %.1f of them to the relay, which has not carried %d", each, asks, relay.asked.Load())
		if each > deafPackets || asks > deafPackets/2 {
			t.Errorf("each sends %.1f packets a second, %.1f of them to the relay; want at most %d and %d", each, asks, deafPackets, deafPackets/2)
		}
		if relay.asked.Load() == 0 || ab.Path().Kind != carrier.PathNone || ba.Path().Kind != carrier.PathNone {
			t.Errorf("the relay was asked %d times, the paths are %v and %v; want none", relay.asked.Load(), ab.Path(), ba.Path())
		}

		relay.deaf.Store(false)
		eventually(t, "there is a link", func() bool { return ab.Path().Kind == carrier.PathRelay && ba.Path().Kind == carrier.PathRelay })
		talk(carrier.CourierLink, time.Second)
		relay.deaf.Store(true)
		talk(carrier.CourierDHT, deafMail)
		if ab.Path().Kind != carrier.PathNone || ba.Path().Kind != carrier.PathNone {
			t.Errorf("the paths are %v and %v by a relay that has become deaf", ab.Path(), ba.Path())
		}
		alice.stop()
		bob.stop()
	})
}
