// Package lab is an in-process UDP network for tests: hosts with addresses, joined by links that delay, lose,
// duplicate, reorder and throttle datagrams as told, on the internet or behind NATs. A [Path] is such a link by itself,
// stepped, for tests without sockets.
//
// It uses mutexes, condition variables and one timer, nothing of the operating system, so that it runs in a
// testing/synctest bubble, where hours pass in microseconds, and in real time alike. A [Network] and all that uses
// it belong into the same bubble. While nothing is in flight no goroutine and no timer of it is alive; a datagram in
// flight costs an entry in one heap.
//
// Chance is drawn from [Options.Seed], by a stream of its own for each pair of addresses and direction: what happens
// on one link does not depend on the traffic of others. In virtual time the same program with the same seed sees the
// same network, ports of NATs included. Datagrams that are due at the same instant arrive in the order in which they
// were sent.
package lab

import (
	"container/heap"
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

// Stats counts the datagrams of a [Network] or of a [Path] since it was made. Sent + Duplicated is the sum of Delivered,
// of the drops and of what is still in flight.
type Stats struct {
	Sent        uint64 // handed to the network by a Conn, or to the path
	SentBytes   uint64 // their payload
	Delivered   uint64 // put into the receive buffer of a Conn
	Duplicated  uint64 // copies made by a link
	Reordered   uint64 // held back by a link so that later ones could overtake, or overtook by less jitter
	Lost        uint64 // dropped: lost by a link's chance
	QueueFull   uint64 // dropped: the queue before a link of limited rate was full
	TooLong     uint64 // dropped: above the MTU of a link
	BufferFull  uint64 // dropped: the receive buffer of the Conn was full
	Partitioned uint64 // dropped: a partition or a black hole was in the way
	Filtered    uint64 // dropped: a NAT had no mapping for it, or its filter refused the sender
	NoMapping   uint64 // dropped: a NAT had no port left, or does not translate the address family
	HostDown    uint64 // dropped: the receiving host was down
	NoHost      uint64 // dropped: no host has the address
	NoPort      uint64 // dropped: nothing listens at the port, or it is connected to another address
}

// Network is a set of hosts and the links between them. Its own methods Host, SetLink and so on are those of the
// internet, the [Segment] that hosts are on unless they are behind a [NAT]. All methods are safe for concurrent use.
type Network struct {
	*Segment // the internet
	opts     Options
	epoch    time.Time

	mu       sync.Mutex // guards everything below, and the state of all segments, NATs, hosts and conns
	closed   bool
	segments []*Segment
	hosts    []*Host
	names    map[string][]netip.Addr
	taps     []func(from, to netip.AddrPort, b []byte)
	stats    Stats // but for what paths count
	flight   flight
	seq      uint64      // of the last datagram put in flight
	timer    *time.Timer // runs when flight's first datagram is due
	armed    time.Duration
}

// datagram is one datagram in flight, then in a receive buffer.
type datagram struct {
	due      time.Duration // since the network's epoch
	seq      uint64
	segment  *Segment // that it travels through
	origin   *Host    // that sent it; nil behind a NAT
	inward   bool     // it has come in through a NAT
	from, to netip.AddrPort
	b        []byte // copies share it
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
		names: make(map[string][]netip.Addr),
		armed: -1,
	}
	n.Segment = newSegment(n, opts.Seed, opts.Default, nil)
	n.timer = time.AfterFunc(time.Hour, n.tick)
	n.timer.Stop()
	return n
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

// Tap has f see every datagram that is handed to the network from now on, in the order of sending, lost ones included
// and duplicates once, with the addresses that the sender's Conn gave it, before any NAT. Calls come one at a time,
// with the network locked: f must not use the network or anything on it, and b is valid during the call only.
func (n *Network) Tap(f func(from, to netip.AddrPort, b []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taps = append(n.taps, f)
}

// Stats returns the counters.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	total := n.stats
	for _, s := range n.segments {
		for _, k := range s.paths {
			total.Duplicated += k.stats.Duplicated
			total.Reordered += k.stats.Reordered
			total.Lost += k.stats.Lost
			total.QueueFull += k.stats.QueueFull
			total.TooLong += k.stats.TooLong
		}
	}
	return total
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
	for _, h := range n.hosts {
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
	d := &datagram{due: now, origin: h, from: from, to: to, b: slices.Clone(b)}
	switch s := h.segment(from.Addr()); {
	case s == nil || to.Addr().IsLoopback(): // it stays on the host
		h.arrive(s, d)
	case h.holeOut && !h.local(to.Addr()):
		n.stats.Partitioned++
	default:
		s.carry(d)
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

// deliverDue delivers what is due by now, and what that gives rise to at a NAT. Called with n.mu held.
func (n *Network) deliverDue(now time.Duration) {
	for len(n.flight) > 0 && n.flight[0].due <= now {
		d := heap.Pop(&n.flight).(*datagram)
		d.segment.land(d)
	}
}

func (n *Network) now() time.Duration { return time.Since(n.epoch) }

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
