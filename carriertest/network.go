// Package carriertest gives programs that embed carrier a network for their own
// tests: a DHT and any number of nodes in one process, without a socket, that
// find each other within seconds.
//
//	func TestGreeting(t *testing.T) {
//		net := carriertest.NewNetwork(t, nil)
//		alice, bob := net.Node("Alice"), net.Node("Bob")
//		toBob, _ := net.Befriend(alice, bob)
//		if _, err := toBob.Send(t.Context(), []byte("hi"), nil); err != nil {
//			t.Fatal(err)
//		}
//		if got := net.AwaitMessage(bob); string(got.Body()) != "hi" {
//			t.Errorf("Bob got %q", got.Body())
//		}
//	}
//
// # What can happen to a node
//
// [Network.SetLink] and [Network.SetLinks] change delay, loss and rate while the
// nodes run, [Network.Partition] cuts some off without their notice,
// [Network.Offline] with it, [Network.Move] gives one another address, and
// [Network.Crash] ends one on the spot. [Network.Heal], [Network.Online] and
// [Network.Restart] make it good again.
//
// # Virtual time
//
// [Virtual] runs all this in a testing/synctest bubble: seconds take
// milliseconds, an hour with a few nodes a second or two, and a goroutine that a
// node leaves behind fails the test.
package carriertest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gocarrier/carrier"
	"github.com/gocarrier/carrier/dht"
	"github.com/gocarrier/carrier/internal/lab"
)

// patience bounds the waits of this package.
const patience = 2 * time.Minute

// Options are the choices of a Network; nil or zero means the defaults.
type Options struct {
	// Seed chooses the chances of loss and jitter. The same seed draws the same.
	Seed uint64
	// Routers is how many DHT nodes the network has besides the carrier nodes.
	// 0: 10.
	Routers int
	// Delay is the time that each datagram takes one way, Jitter what is added
	// at random.
	Delay, Jitter time.Duration
	// Loss, Duplicate and Reorder are the shares of datagrams, 0 to 1, that are
	// lost, come twice, or are overtaken.
	Loss, Duplicate, Reorder float64
}

// Network is an in-process network with a DHT. Its methods end the test on
// failure; they are safe for concurrent use but must be called from the test's
// own goroutine where testing.TB.FailNow demands it.
type Network struct {
	t   testing.TB
	lab *lab.Network

	mu        sync.Mutex
	hosts     int
	routers   []*dht.Node
	bootstrap []string
	addrs     map[carrier.Net]netip.Addr // of each host that was given away
	configs   map[*carrier.Node]carrier.Config
}

// NewNetwork returns a network whose DHT has formed. It is closed, with every
// node that Node or Start made, when the test ends.
func NewNetwork(t testing.TB, opts *Options) *Network {
	t.Helper()
	if opts == nil {
		opts = &Options{}
	}
	routers := opts.Routers
	if routers == 0 {
		routers = 10
	}
	n := &Network{
		t: t,
		lab: lab.New(lab.Options{Seed: opts.Seed, Default: lab.Link{
			Delay: opts.Delay, Jitter: opts.Jitter,
			Loss: opts.Loss, Duplicate: opts.Duplicate, Reorder: opts.Reorder,
		}}),
		addrs: map[carrier.Net]netip.Addr{},

		configs: map[*carrier.Node]carrier.Config{},
	}
	t.Cleanup(n.close)
	var first netip.AddrPort
	for range routers {
		at := netip.AddrPortFrom(n.nextAddr(), 6881)
		conn, err := n.lab.Host(at.Addr()).ListenPacket(context.Background(), "udp4", at.String())
		if err != nil {
			t.Fatalf("listen for a DHT node: %v", err)
		}
		router, err := dht.New(dht.Config{
			Conns: []net.PacketConn{conn},
			Bootstrap: func(context.Context) ([]netip.AddrPort, error) {
				if !first.IsValid() {
					return nil, nil
				}
				return []netip.AddrPort{first}, nil
			},
		})
		if err != nil {
			t.Fatalf("start a DHT node: %v", err)
		}
		n.routers = append(n.routers, router)
		if !first.IsValid() {
			first = at
		}
		n.bootstrap = append(n.bootstrap, at.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, routers)
	for i, router := range n.routers[1:] {
		wg.Go(func() { errs[i] = join(ctx, router) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatalf("form the DHT: %v", err)
		}
	}
	return n
}

// join waits until the DHT has answered a router, however often it must ask: on
// a line with loss the first attempt may well fail.
func join(ctx context.Context, router *dht.Node) error {
	err := router.Join(ctx)
	if err == nil {
		return nil
	}
	select {
	case <-router.Ready():
		return nil
	case <-ctx.Done():
		return err
	}
}

func (n *Network) close() {
	for _, r := range n.routers {
		if err := r.Close(); err != nil {
			n.t.Errorf("close a DHT node: %v", err)
		}
	}
	n.lab.Close()
}

// nextAddr gives each host an address of its own, from the range that RFC 2544
// keeps for tests. They are never put on a wire.
func (n *Network) nextAddr() netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts++
	return netip.AddrFrom4([4]byte{198, 18, byte(n.hosts >> 8), byte(n.hosts)})
}

// Node starts an ephemeral node of that name on a host of its own and waits
// until the DHT answers it. It is closed when the test ends.
func (n *Network) Node(name string) *carrier.Node {
	n.t.Helper()
	node := n.Start(carrier.Config{Name: name, Ephemeral: true})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := node.WaitReady(ctx); err != nil {
		n.t.Fatalf("node %q: %v", name, err)
	}
	return node
}

// Start starts a node with a Config of the test's own, in which Net, Bootstrap
// and NoBootstrap are filled in unless set. It does not wait for the DHT. The
// node is closed when the test ends, if it is not before.
func (n *Network) Start(config carrier.Config) *carrier.Node {
	n.t.Helper()
	if config.Net == nil {
		config.Net = n.Host()
	}
	if config.Bootstrap == nil && !config.NoBootstrap {
		config.Bootstrap = n.Bootstrap()
	}
	node, err := carrier.Start(context.Background(), config)
	if err != nil {
		n.t.Fatalf("start node %q: %v", config.Name, err)
	}
	n.mu.Lock()
	n.configs[node] = config
	n.mu.Unlock()
	n.t.Cleanup(func() {
		if err := node.Close(); err != nil {
			n.t.Errorf("close node %q: %v", config.Name, err)
		}
	})
	return node
}

// Host returns the network as a new host of its own sees it, for Config.Net:
// a node that is started again with it comes back at the same address.
func (n *Network) Host() carrier.Net {
	addr := n.nextAddr()
	host := n.lab.Host(addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs[host] = addr
	return host
}

// host returns the host of a node, for a call that needs one of this network.
func (n *Network) host(call string, node *carrier.Node) *lab.Host {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addr(call, node)
	return n.configs[node].Net.(*lab.Host)
}

// addr is the address of a node's host. Called with n.mu held.
func (n *Network) addr(call string, node *carrier.Node) netip.Addr {
	n.t.Helper()
	addr, ok := n.addrs[n.configs[node].Net]
	if !ok {
		n.t.Fatalf("%s: node %s has no host of this network", call, node.ID())
	}
	return addr
}

// Bootstrap returns the DHT nodes for Config.Bootstrap.
func (n *Network) Bootstrap() []string {
	return append([]string(nil), n.bootstrap[:min(4, len(n.bootstrap))]...)
}

// Befriend makes two nodes friends through the DHT and waits until both are
// online to each other. It returns a's handle of b and b's of a.
func (n *Network) Befriend(a, b *carrier.Node) (ab, ba *carrier.Friend) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	events := b.Events(ctx)
	ab, err := a.AddFriend(ctx, b.Address(), "")
	if err != nil {
		n.t.Fatalf("add friend: %v", err)
	}
	for ev := range events {
		if req, ok := ev.(carrier.FriendRequest); ok && req.ID == a.ID() {
			if ba, err = b.Accept(req.ID); err != nil {
				n.t.Fatalf("accept: %v", err)
			}
			break
		}
	}
	if ba == nil {
		n.t.Fatalf("the friend request of %s has not arrived", a.ID())
	}
	for _, f := range []*carrier.Friend{ab, ba} {
		if err := f.WaitAccepted(ctx); err != nil {
			n.t.Fatalf("befriend: %v", err)
		}
		if err := f.WaitOnline(ctx); err != nil {
			n.t.Fatalf("befriend: %v", err)
		}
	}
	return ab, ba
}

// Tap has f called with every datagram that is handed to the network, from now
// on, lost ones included; b is valid during the call. The network stands still
// meanwhile: f must not use it or a node, nor wait for somebody who does.
func (n *Network) Tap(f func(from, to netip.AddrPort, b []byte)) { n.lab.Tap(f) }
