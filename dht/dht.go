// Package dht is a node of the BitTorrent Mainline DHT: it joins, reads and
// writes mutable items (BEP 44), announces and finds peers (BEP 5), and serves
// others.
//
//	node, err := dht.New(dht.Config{
//		Conns:     []net.PacketConn{conn}, // one for IPv4, one for IPv6, or both
//		Bootstrap: resolve,                // the addresses of some nodes
//	})
//	...
//	err = node.Join(ctx) // nil when the DHT has answered
//	res, err := node.Put(ctx, dht.Put{Key: private, Salt: []byte("s"), Value: value, Seq: time.Now().UnixMilli()})
//	health, err := node.Get(ctx, dht.Query{Key: public, Salt: []byte("s")}, func(item dht.Item) { ... })
//	node.Close()
//
// # What it promises
//
// Anybody can run a DHT node, so nothing that comes from one is believed but
// signatures. Each datagram is decoded and checked before anything acts on it;
// what is not well-formed is dropped and counted (see [Node.Stats]). What is
// kept for others and the bytes answered to one source are bounded.
//
// Items are not secret: everybody who knows a key and salt can read them, and
// the nodes that hold one see who reads and writes it. How long one lives while
// its writer is away is up to the nodes that hold it.
//
// # Network use
//
// A full walk takes some 20 to 100 packets, an operation on known holders (the
// Ask of [Query], the Direct of [Put]) one packet a holder. At most 2 packets a
// second, 6 at once, go to one IP address: some implementations go silent at 50
// in 10 s, answers counted. Puts and announces, which somebody waits for, need
// not stand in line behind questions: one packet a second of theirs, 6 at once,
// goes ahead of them. On loopback each port counts by itself. [Config.Budget] can
// bound the sum.
//
// Protocols: BEP 5 (DHT), 32 (IPv6), 42 (node IDs by address), 43 (read-only
// nodes), 44 (items). It stands on github.com/anacrolix/dht, which makes the
// queries and matches their answers; lookups, routing table, stores and answers
// are this package's.
package dht

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrNoAnswer is matched by the errors of Join, Get, Put, Reput, Announce and
	// Peers when no node is known or none that was asked answered.
	ErrNoAnswer = errors.New("the DHT does not answer")
	// ErrNotStored is matched by the errors of Put, Reput and Announce when nodes
	// answered but too few took what was written.
	ErrNotStored = errors.New("not stored")
	// ErrNewer is matched by the errors of Put and Reput when nodes hold an item
	// with a higher sequence number.
	ErrNewer = errors.New("a newer item is there")
	// ErrInvalid is matched by the errors for arguments out of range.
	ErrInvalid = errors.New("invalid argument")
)

// closeWait bounds how long Close waits for a socket to let go.
const closeWait = 500 * time.Millisecond

// Config configures a Node. The zero value of each field but Conns is a default.
type Config struct {
	// Conns are open packet connections, at most one bound to an IPv4 address and
	// at most one to an IPv6 address; each carries the DHT of its family. New takes
	// over reading; writes may be shared with others. Their Close must end a
	// ReadFrom under way. Addresses are *net.UDPAddr, or print as ip:port.
	Conns []net.PacketConn
	// Bootstrap returns the addresses of nodes to begin with, and may resolve names.
	// It is called by every attempt to join, with a ctx that ends with the node; nil = none.
	Bootstrap func(ctx context.Context) ([]netip.AddrPort, error)
	// Returned, unless nil, is called when nodes answer again after half a minute
	// in which none did although they were asked: our line was gone. Our address
	// may be another now, for which see Changed. It is called by a goroutine of
	// the node, which Close waits for.
	Returned func()
	// Table is the routing table that Node.Table returned in an earlier run. A
	// damaged one is ignored, logged and counted; nil = none.
	Table []byte
	// ReadOnly makes a node that only asks (BEP 43): it answers nobody and stores
	// nothing for others. For lines where serving costs too much; lookups of such
	// nodes are slower.
	ReadOnly bool
	// Logger gets the few messages that there are, at debug and warn level; nil = none.
	Logger *slog.Logger

	// Budget, if set, is called before each query packet, and may wait until there
	// is budget for it. An error (ctx's at least) drops the packet. Answers to
	// others do not ask it. It is called from many goroutines; nil = no bound.
	Budget func(ctx context.Context) error
	// QueryRate is how many packets per second are sent to one IP address (on
	// loopback: to one port) for queries, with bursts of 3 times that, and as
	// much more for puts. 0 = 2; negative = no bound, for private networks
	// with few nodes.
	QueryRate float64
	// ServeRate is how many bytes per second are answered to one IP address (the
	// /64 of an IPv6 one; on loopback one port), with bursts of 4 times that.
	// 0 = 2,048; negative = no bound.
	ServeRate float64

	// MaxItems and MaxItemBytes bound the items held for others, a few hundred
	// bytes of overhead each included; the one used longest ago goes. 0 = 4,096
	// items, 4 MiB.
	MaxItems     int
	MaxItemBytes int
	// MaxInfohashes and MaxPeers bound the peers held for others: infohashes, and
	// peers under one. 0 = 1,024, 100.
	MaxInfohashes int
	MaxPeers      int
	// MaxTargets bounds the items and infohashes whose holders are remembered, for
	// asking and writing them directly, at about 1.5 KB each. 0 = 4,096.
	MaxTargets int
}

// withDefaults returns the config with its zeros filled in.
func (c Config) withDefaults() Config {
	fill := func(v *int, otherwise int) {
		if *v <= 0 {
			*v = otherwise
		}
	}
	fill(&c.MaxItems, 4096)
	fill(&c.MaxItemBytes, 4<<20)
	fill(&c.MaxInfohashes, 1024)
	fill(&c.MaxPeers, 100)
	fill(&c.MaxTargets, 4096)
	if c.QueryRate == 0 {
		c.QueryRate = 2
	}
	if c.ServeRate == 0 {
		c.ServeRate = 2048
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Node is a node of the Mainline DHT. Its methods are safe for concurrent use.
type Node struct {
	cfg      Config
	log      *slog.Logger
	families []*family // IPv4 first
	items    *itemStore
	peers    *peerStore
	holders  *holders
	pace     *limiter // packets of queries to one address,
	ahead    *limiter // and those of puts and announces that need not wait for it
	served   *limiter // bytes of answers to one source
	counters counters

	ctx       context.Context // ends with the node
	cancel    context.CancelFunc
	ready     chan struct{}
	readyOnce sync.Once
	keepOnce  sync.Once
	joins     chan chan error
	changed   chan struct{}
	silent    chan struct{}                    // a family may have fallen silent,
	again     chan struct{}                    // or be answered again
	known     atomic.Pointer[[]netip.AddrPort] // what Config.Bootstrap gave last

	wait   sync.WaitGroup // every goroutine and call; only begin and spawn add to it from outside of it
	mu     sync.Mutex     // guards closed, and Add of wait against Wait
	closed bool
	gone   chan struct{} // closed when Close is done
}

// New starts a node on cfg.Conns. It sends nothing before Join, but answers
// others. On an error the connections are closed too.
func New(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	n := &Node{
		cfg:     cfg,
		log:     cfg.Logger,
		items:   newItemStore(cfg.MaxItems, cfg.MaxItemBytes),
		peers:   newPeerStore(cfg.MaxInfohashes, cfg.MaxPeers),
		holders: newHolders(cfg.MaxTargets, putMost*len(cfg.Conns)),
		pace:    newLimiter(cfg.QueryRate, 3*cfg.QueryRate),
		ahead:   newLimiter(cfg.QueryRate/2, 3*cfg.QueryRate),
		served:  newLimiter(cfg.ServeRate, 4*cfg.ServeRate),
		ready:   make(chan struct{}),
		joins:   make(chan chan error),
		changed: make(chan struct{}, 1),
		silent:  make(chan struct{}, 1),
		again:   make(chan struct{}, 1),
		gone:    make(chan struct{}),
	}
	n.counters.values = make(map[string]uint64)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := checkConns(cfg.Conns); err != nil {
		for _, conn := range cfg.Conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
		return nil, err
	}
	var four, six saved
	if len(cfg.Table) > 0 {
		var err error
		if four, six, err = parseSaved(cfg.Table); err != nil {
			n.count("saved_table_damaged")
			n.log.Warn("dht: the saved routing table is damaged, starting without", "error", err)
			four, six = saved{}, saved{}
		}
	}
	for i, conn := range cfg.Conns {
		f, err := newFamily(n, conn)
		if err != nil {
			for _, rest := range cfg.Conns[i:] {
				_ = rest.Close()
			}
			_ = n.Close()
			return nil, fmt.Errorf("starting the DHT on %v: %w", conn.LocalAddr(), err)
		}
		f.remember(four, six)
		n.families = append(n.families, f)
	}
	if len(n.families) == 2 && n.families[0].six {
		n.families[0], n.families[1] = n.families[1], n.families[0]
	}
	for _, f := range n.families {
		f.start()
	}
	return n, nil
}

// checkConns says whether there is one connection, or one of each family.
func checkConns(conns []net.PacketConn) error {
	if len(conns) == 0 {
		return fmt.Errorf("no connection: give one for IPv4, one for IPv6, or both: %w", ErrInvalid)
	}
	taken := make(map[bool]bool)
	for _, conn := range conns {
		if conn == nil {
			return fmt.Errorf("a connection is nil: %w", ErrInvalid)
		}
		local, ok := addrPort(conn.LocalAddr())
		if !ok {
			return fmt.Errorf("the local address %v of a connection is not an IP address and port: %w", conn.LocalAddr(), ErrInvalid)
		}
		if six := local.Addr().Is6(); taken[six] {
			return fmt.Errorf("%v is the second connection of its address family: %w", local, ErrInvalid)
		} else {
			taken[six] = true
		}
	}
	return nil
}

// Close ends the node: operations under way return errors that match
// net.ErrClosed, the connections are closed, and all goroutines have gone when it
// returns, within a second. It may be called more than once.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		<-n.gone
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	for _, f := range n.families {
		f.close()
	}
	n.wait.Wait()
	close(n.gone)
	return nil
}

// begin enters an operation of a caller: its ctx ends with the node, too. The
// caller calls end when the operation is over.
func (n *Node) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, nil, fmt.Errorf("the DHT node is closed: %w", net.ErrClosed)
	}
	n.wait.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(n.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
		n.wait.Done()
	}, nil
}

// spawn runs f on a goroutine that Close waits for; false when it is too late.
func (n *Node) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.wait.Go(f)
	return true
}

// stopped returns the error of an operation whose ctx is done.
func (n *Node) stopped(ctx context.Context) error {
	err := ctx.Err()
	if n.ctx.Err() != nil {
		err = net.ErrClosed
	}
	return fmt.Errorf("stopped before the DHT operation was complete: %w", err)
}

// noAnswer returns the error of an operation that nobody answered.
func (n *Node) noAnswer(asked int) error {
	if asked == 0 {
		return fmt.Errorf("no node to ask is known, join first: %w", ErrNoAnswer)
	}
	return fmt.Errorf("asked %d nodes: %w", asked, ErrNoAnswer)
}

// familyOf returns the family of an address, or nil.
func (n *Node) familyOf(addr netip.AddrPort) *family {
	for _, f := range n.families {
		if f.takes(addr) {
			return f
		}
	}
	return nil
}

// LocalAddrs returns the local addresses of the connections, IPv4 first.
func (n *Node) LocalAddrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, f := range n.families {
		addrs = append(addrs, f.local)
	}
	return addrs
}

// NumNodes returns how many nodes the routing table holds.
func (n *Node) NumNodes() int {
	sum := 0
	for _, f := range n.families {
		f.mu.Lock()
		sum += f.table.len()
		f.mu.Unlock()
	}
	return sum
}

// Stats returns every counter by name, those that never counted aside: packets
// in and out, queries, answers, and each reason for which something was dropped
// or refused. nodes, items and infohashes are gauges.
func (n *Node) Stats() map[string]uint64 {
	stats := n.counters.snapshot()
	stats["nodes"] = uint64(n.NumNodes())
	stats["items"] = uint64(n.items.len())
	stats["infohashes"] = uint64(n.peers.len())
	return stats
}

func (n *Node) count(name string) { n.counters.add(name) }

// counters count by name. The names are constants of this package.
type counters struct {
	mu     sync.Mutex
	values map[string]uint64
}

func (c *counters) add(name string) {
	c.mu.Lock()
	c.values[name]++
	c.mu.Unlock()
}

func (c *counters) snapshot() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]uint64, len(c.values)+3)
	for name, value := range c.values {
		out[name] = value
	}
	return out
}
