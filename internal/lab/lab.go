// Package lab is an in-process UDP network for tests: hosts with addresses, joined by links that delay, lose,
// duplicate, reorder and throttle datagrams as told.
//
// It uses mutexes, condition variables and one timer, nothing of the operating system, so that it runs in a
// testing/synctest bubble, where hours pass in microseconds, and in real time alike. A [Network] and all that uses
// it belong into the same bubble. While nothing is in flight no goroutine and no timer of it is alive; a datagram in
// flight costs an entry in one heap.
//
// Chance is drawn from [Options.Seed], by a stream of its own for each pair of addresses and direction: what happens
// on one link does not depend on the traffic of others. In virtual time the same program with the same seed sees the
// same network. Datagrams that are due at the same instant arrive in the order in which they were sent.
package lab

import (
	"container/heap"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// DefaultReceiveBuffer is the [Options.ReceiveBuffer] that zero stands for.
const DefaultReceiveBuffer = 256 << 10

// datagramOverhead is what a datagram takes of the receive buffer besides its bytes, so that empty ones are bounded
// too.
const datagramOverhead = 64

// Options are the properties of a [Network]. The zero value is a perfect network.
type Options struct {
	// Seed chooses the run: the same seed draws the same chances.
	Seed uint64
	// Default is the link between two addresses that SetLink was not called for.
	Default Link
	// ReceiveBuffer bounds what waits in one Conn, in bytes, 64 more counted for each datagram; what comes beyond is
	// dropped and counted. Zero means DefaultReceiveBuffer.
	ReceiveBuffer int
}

// Stats counts the datagrams of a [Network] since New. Sent + Duplicated is the sum of Delivered, of the drops and of
// what is still in flight.
type Stats struct {
	Sent        uint64 // handed to the network by a Conn
	SentBytes   uint64 // their payload
	Delivered   uint64 // put into the receive buffer of a Conn
	Duplicated  uint64 // copies made by a link
	Reordered   uint64 // held back by a link, so that later ones could overtake
	Lost        uint64 // dropped: lost by a link's chance
	QueueFull   uint64 // dropped: the queue before a link of limited rate was full
	BufferFull  uint64 // dropped: the receive buffer of the Conn was full
	Partitioned uint64 // dropped: the addresses were partitioned
	HostDown    uint64 // dropped: the receiving host was down
	NoHost      uint64 // dropped: no host has the address
	NoPort      uint64 // dropped: nothing listens at the port, or it is connected to another address
}

// Network is a set of hosts and the links between them. All methods are safe for concurrent use.
type Network struct {
	opts  Options
	epoch time.Time

	mu         sync.Mutex // guards everything below, and the state of all hosts and conns
	closed     bool
	hosts      map[netip.Addr]*Host
	names      map[string][]netip.Addr
	set        map[pair]Link // what SetLink said
	links      map[pair]*link
	partitions []partition
	taps       []func(from, to netip.AddrPort, b []byte)
	stats      Stats
	flight     flight
	seq        uint64      // of the last datagram put in flight
	timer      *time.Timer // runs when flight's first datagram is due
	armed      time.Duration
}

// pair is one direction between two addresses.
type pair struct{ from, to netip.Addr }

// partition is two groups of addresses that cannot reach each other; a nil b is everybody who is not in a.
type partition struct{ a, b map[netip.Addr]bool }

func (p partition) cuts(x, y netip.Addr) bool {
	if p.b == nil {
		return p.a[x] != p.a[y]
	}
	return p.a[x] && p.b[y] || p.a[y] && p.b[x]
}

// datagram is one datagram in flight, then in a receive buffer.
type datagram struct {
	due      time.Duration // since the network's epoch
	seq      uint64
	origin   *Host
	from, to netip.AddrPort
	b        []byte
}

// New makes a network without hosts. Close it when done.
func New(opts Options) *Network {
	if opts.ReceiveBuffer <= 0 {
		opts.ReceiveBuffer = DefaultReceiveBuffer
	}
	opts.Default.check()
	n := &Network{
		opts:  opts,
		epoch: time.Now(),
		hosts: make(map[netip.Addr]*Host),
		names: make(map[string][]netip.Addr),
		set:   make(map[pair]Link),
		links: make(map[pair]*link),
		armed: -1,
	}
	n.timer = time.AfterFunc(time.Hour, n.tick)
	n.timer.Stop()
	return n
}

// Host returns the host that has addr, IPv4 or IPv6, and makes it when there is none. [Host.AddAddr] gives it more
// addresses. It panics on an address no host can have: invalid, unspecified, loopback or multicast.
func (n *Network) Host(addr netip.Addr) *Host {
	addr = usable(addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[addr]
	if h == nil {
		h = &Host{net: n, addrs: []netip.Addr{addr}, ports: make(map[uint16][]*Conn), nextPort: firstEphemeral}
		n.hosts[addr] = h
	}
	return h
}

// Name makes host resolve to addrs in every host's LookupNetIP, in this order; without addrs the name is forgotten.
func (n *Network) Name(host string, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(addrs) == 0 {
		delete(n.names, host)
		return
	}
	n.names[host] = slices.Clone(addrs)
}

// SetLink sets the link from one address to another, in this direction only. It holds for datagrams sent from now on,
// with an empty queue; those in flight arrive as they would have. From an address to itself or to another of the same
// host the link is perfect unless set.
func (n *Network) SetLink(from, to netip.Addr, l Link) {
	l.check()
	p := pair{from.Unmap(), to.Unmap()}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.set[p] = l
	if k := n.links[p]; k != nil {
		k.reset(l)
	}
}

// Partition cuts every address of a off from every address of b, both ways, in addition to earlier partitions; with b
// nil from every address that is not in a. Datagrams in flight between them are lost too.
func (n *Network) Partition(a, b []netip.Addr) {
	p := partition{a: addrSet(a)}
	if b != nil {
		p.b = addrSet(b)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.partitions = append(n.partitions, p)
}

// Heal ends all partitions.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.partitions = nil
}

// Tap has f see every datagram that is handed to the network from now on, in the order of sending, lost ones included
// and duplicates once. Calls come one at a time, with the network locked: f must not use the network or anything on
// it, and b is valid during the call only.
func (n *Network) Tap(f func(from, to netip.AddrPort, b []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taps = append(n.taps, f)
}

// Stats returns the counters.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Close ends the network: every Conn is closed and what is in flight is gone. It may be called again.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.closed = true
	n.timer.Stop()
	n.flight = nil
	for h := range maps.Values(n.hosts) {
		for _, conns := range h.ports {
			for _, c := range conns {
				c.shut()
			}
		}
		clear(h.ports)
	}
}

// send takes a datagram of a host into the network. Called with n.mu held.
func (n *Network) send(h *Host, from, to netip.AddrPort, b []byte) {
	now := n.now()
	n.deliverDue(now) // first what is due, so that equal times keep the order of sending
	n.stats.Sent++
	n.stats.SentBytes += uint64(len(b))
	for _, f := range n.taps {
		f(from, to, b)
	}
	if n.cut(from.Addr(), to.Addr()) {
		n.stats.Partitioned++
		return
	}
	d := datagram{due: now, origin: h, from: from, to: to}
	p := pair{from.Addr(), to.Addr()}
	l, set := n.set[p]
	if !set && !h.local(to.Addr()) {
		l = n.opts.Default
	}
	if l == (Link{}) {
		d.b = slices.Clone(b)
		n.deliver(&d)
		return
	}
	k := n.links[p]
	if k == nil {
		k = newLink(l, n.opts.Seed, p)
		n.links[p] = k
	}
	for _, due := range k.carry(now, len(b), &n.stats) {
		d := d
		d.due, d.b = due, slices.Clone(b)
		n.seq++
		d.seq = n.seq
		heap.Push(&n.flight, &d)
	}
	n.deliverDue(now)
	n.arm(now)
}

// tick runs when the first datagram in flight is due.
func (n *Network) tick() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.armed = -1
	now := n.now()
	n.deliverDue(now)
	n.arm(now)
}

// arm sets the timer for the first datagram in flight. Called with n.mu held.
func (n *Network) arm(now time.Duration) {
	if n.closed || len(n.flight) == 0 || n.flight[0].due == n.armed {
		return
	}
	n.armed = n.flight[0].due
	n.timer.Reset(n.armed - now)
}

// deliverDue delivers what is due by now. Called with n.mu held.
func (n *Network) deliverDue(now time.Duration) {
	for len(n.flight) > 0 && n.flight[0].due <= now {
		d := heap.Pop(&n.flight).(*datagram)
		if n.cut(d.from.Addr(), d.to.Addr()) {
			n.stats.Partitioned++
			continue
		}
		n.deliver(d)
	}
}

// deliver puts a datagram into the receive buffer of the conn it is for. Called with n.mu held.
func (n *Network) deliver(d *datagram) {
	h := n.hosts[d.to.Addr()]
	if d.to.Addr().IsLoopback() {
		h = d.origin
	}
	switch {
	case h == nil:
		n.stats.NoHost++
	case h.down && h != d.origin:
		n.stats.HostDown++
	default:
		c := h.receiver(d.from, d.to)
		switch {
		case c == nil:
			n.stats.NoPort++
		case !c.take(d):
			n.stats.BufferFull++
		default:
			n.stats.Delivered++
		}
	}
}

// cut says whether a partition is between x and y. Called with n.mu held.
func (n *Network) cut(x, y netip.Addr) bool {
	if x == y {
		return false
	}
	for _, p := range n.partitions {
		if p.cuts(x, y) {
			return true
		}
	}
	return false
}

func (n *Network) now() time.Duration { return time.Since(n.epoch) }

// usable returns addr in the form in which the network knows it.
func usable(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsLoopback() || addr.IsMulticast() {
		panic("lab: " + addr.String() + " cannot be the address of a host")
	}
	return addr
}

func addrSet(addrs []netip.Addr) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		set[a.Unmap()] = true
	}
	return set
}

// flight is the heap of datagrams in flight, first due first, equal ones in the order of sending.
type flight []*datagram

func (f flight) Len() int { return len(f) }

func (f flight) Less(i, j int) bool {
	if f[i].due != f[j].due {
		return f[i].due < f[j].due
	}
	return f[i].seq < f[j].seq
}

func (f flight) Swap(i, j int) { f[i], f[j] = f[j], f[i] }

func (f *flight) Push(x any) { *f = append(*f, x.(*datagram)) }

func (f *flight) Pop() any {
	old := *f
	last := len(old) - 1
	d := old[last]
	old[last] = nil
	*f = old[:last]
	return d
}
