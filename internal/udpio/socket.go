// Package udpio is the one UDP socket of an address family that all parts of a node share, so that one NAT mapping
// serves all of them. It tells datagrams apart by their first byte ([Kind]) and gives each kind to its listener: by
// calling it on the reader's goroutine ([Socket.Handle]), or through a virtual net.PacketConn ([Socket.Conn]). What
// nobody listens for is dropped and counted.
//
// A system call for each datagram is most of what bulk data costs. On Linux, [Socket.WriteSegments] gives the kernel many
// datagrams in one call (UDP_SEGMENT), and the reader takes many in one (UDP_GRO); each is found at run time, and the
// environment variable CARRIER_NO_GSO=1 keeps sockets opened thereafter from using them. Elsewhere, on other networks
// than the operating system's, and where the kernel or a device refuses, each datagram has a call of its own.
package udpio

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// readBuffer is larger than any UDP datagram can be (65,507 bytes over IPv4, 65,527 over IPv6), so that none is cut
// short: DHT messages have no limit of their own. Datagrams that are read together are not more either. There is one
// buffer a socket, and the system backs only as much of it with memory as the largest read touched.
const readBuffer = 1<<16 - 1

// socketBuffer is how much the system is asked to hold of what was not read or sent yet, each way: some 30 ms of a gigabit
// a second, in which a reader may well not get to run.
const socketBuffer = 4 << 20

const (
	// patientReads is how many read errors in a row are met by reading again at once.
	patientReads = 8
	// transientWait and persistentWait bound the wait before reading again after more.
	transientWait  = time.Millisecond
	persistentWait = time.Second
)

// udpConn is the part of a *net.UDPConn that needs no allocation for an address.
type udpConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// Socket is a UDP socket shared by [Kind]. All methods are safe for concurrent use.
type Socket struct {
	conn     udpConn
	offload  offload
	refused  atomic.Bool // offload.send will not work on the devices here
	local    netip.AddrPort
	counters counters
	closing  chan struct{} // closed by Close
	done     chan struct{} // closed when the reader has gone

	receivers [kinds]atomic.Pointer[receiver]
	turn      atomic.Pointer[map[netip.AddrPort]bool]

	whole sync.Mutex // one WriteWhole after the other

	mu    sync.Mutex // guards what follows
	conns map[*virtual]struct{}
	over  bool // the reader has gone
}

// receiver takes the datagrams of a kind.
type receiver struct {
	f func(b []byte, from netip.AddrPort)
}

// Listen opens a socket of n (nil is [OS]) at address, "ip:port" or ":port", and starts its reader. network is "udp4" or
// "udp6". ctx bounds the call only. A port that is taken gives an error that matches syscall.EADDRINUSE.
func Listen(ctx context.Context, n Net, network, address string) (*Socket, error) {
	if n == nil {
		n = OS{}
	}
	pc, err := n.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("open %s socket at %s: %w", network, address, err)
	}
	local, err := addrPort(pc.LocalAddr())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("local address of the %s socket at %s: %w", network, address, err), pc.Close())
	}
	conn, ok := pc.(udpConn)
	if !ok {
		conn = adapter{pc}
	}
	enlarge(conn)
	s := &Socket{
		conn:    conn,
		offload: findOffload(conn),
		local:   local,
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		conns:   make(map[*virtual]struct{}),
	}
	go s.read()
	return s, nil
}

// enlarge asks for large socket buffers. Linux gives as much as its limits allow; systems that refuse a size are asked for
// half of it.
func enlarge(conn udpConn) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return
	}
	for _, set := range []func(int) error{udp.SetReadBuffer, udp.SetWriteBuffer} {
		for size := socketBuffer; size >= socketBuffer/16 && set(size) != nil; size /= 2 {
		}
	}
}

// LocalAddr returns the address the socket is bound to; its IP is unspecified when that is any.
func (s *Socket) LocalAddr() netip.AddrPort { return s.local }

// Stats returns the counters.
func (s *Socket) Stats() Stats { return s.counters.stats() }

// Done is closed when the reader has gone: after Close, or when the system closed the socket.
func (s *Socket) Done() <-chan struct{} { return s.done }

// Handle has f called for each datagram of kind k, instead of the listener the kind had; nil drops them. Calls come one
// at a time on the reader's goroutine, so f must not block and must not call Close; b is valid during the call only, and
// f may overwrite it. A call that is under way may end after Handle has returned.
func (s *Socket) Handle(k Kind, f func(b []byte, from netip.AddrPort)) {
	if f == nil {
		s.receivers[k].Store(nil)
		return
	}
	s.receivers[k].Store(&receiver{f})
}

// Conn returns a virtual conn that gets the datagrams of kind k, instead of the listener the kind had, and sends by the
// socket. It holds up to 1 MiB of unread datagrams, of which each counts 256 bytes more than it has; what comes beyond
// is dropped and counted. Closing it leaves the socket open; closing the socket ends its reads with net.ErrClosed.
func (s *Socket) Conn(k Kind) net.PacketConn {
	v := newVirtual(s, k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		v.shut()
		return v
	}
	s.conns[v] = struct{}{}
	s.receivers[k].Store(v.receiver)
	return v
}

// forget takes a closed virtual conn out.
func (s *Socket) forget(v *virtual) {
	s.receivers[v.kind].CompareAndSwap(v.receiver, nil) // unless another has taken over
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, v)
}

// SetTURNServers says who may send TURN channel data; at first nobody may.
func (s *Socket) SetTURNServers(servers []netip.AddrPort) {
	set := make(map[netip.AddrPort]bool, len(servers))
	for _, a := range servers {
		set[unmap(a)] = true
	}
	s.turn.Store(&set)
}

// WriteTo sends one datagram, and does not keep b. An error is about this datagram, or matches net.ErrClosed.
func (s *Socket) WriteTo(b []byte, to netip.AddrPort) error {
	if _, err := s.conn.WriteToUDPAddrPort(b, unmap(to)); err != nil {
		s.counters.writeErrors.Add(1)
		return err
	}
	s.counters.countSent(b)
	return nil
}

// Close closes the socket and its virtual conns, and returns when the reader's goroutine has gone. It may be called
// again, and then returns nil.
func (s *Socket) Close() error {
	s.mu.Lock()
	var err error
	select {
	case <-s.closing:
	default:
		close(s.closing)
		err = s.conn.Close()
	}
	s.mu.Unlock()
	<-s.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// read is the reader's goroutine.
func (s *Socket) read() {
	defer s.end()
	b := make([]byte, readBuffer)
	failures := 0
	for {
		n, size, from, err := s.receive(b)
		switch {
		case err == nil:
			failures = 0
			s.deliver(b[:n], size, unmap(from))
		case errors.Is(err, net.ErrClosed):
			return
		default:
			s.counters.readErrors.Add(1)
			failures++
			if !s.pause(failures, err) {
				return
			}
		}
	}
}

// pause waits before reading again, so that an error that stays costs little, and one that passes no datagrams. It
// returns false when the socket is being closed.
func (s *Socket) pause(failures int, err error) bool {
	var wait time.Duration
	if over := failures - patientReads; over > 0 {
		wait = min(transientWait<<min(over-1, 10), persistentWait)
		if transient(err) {
			wait = transientWait
		}
	}
	if wait == 0 {
		select {
		case <-s.closing:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.closing:
		return false
	case <-timer.C:
		return true
	}
}

// dispatch gives a datagram to the listener of its kind.
func (s *Socket) dispatch(b []byte, from netip.AddrPort) {
	if len(b) == 0 {
		s.counters.empty.Add(1)
		return
	}
	k, ok := KindOf(b[0])
	if !ok {
		s.counters.unknown.Add(1)
		return
	}
	s.counters.received[k].add(len(b))
	if k == TURNChannel {
		if servers := s.turn.Load(); servers == nil || !(*servers)[from] {
			s.counters.notTURN.Add(1)
			return
		}
	}
	r := s.receivers[k].Load()
	if r == nil {
		s.counters.unheard[k].Add(1)
		return
	}
	r.f(b, from)
}

// end ends the virtual conns after the reader.
func (s *Socket) end() {
	s.mu.Lock()
	s.over = true
	for v := range s.conns {
		v.shut()
	}
	clear(s.conns)
	s.mu.Unlock()
	close(s.done)
}

// adapter makes a udpConn of any net.PacketConn, at the price of allocations.
type adapter struct{ net.PacketConn }

func (a adapter) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, addr, err := a.ReadFrom(b)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	from, err := addrPort(addr)
	return n, from, err
}

func (a adapter) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return a.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

// addrPort turns a net.Addr into its IP and port, with 4-in-6 as IPv4.
func addrPort(addr net.Addr) (netip.AddrPort, error) {
	if udp, ok := addr.(*net.UDPAddr); ok && udp != nil {
		if ap := unmap(udp.AddrPort()); ap.IsValid() {
			return ap, nil
		}
		return netip.AddrPort{}, &net.AddrError{Err: "no IP address", Addr: udp.String()}
	}
	if addr == nil {
		return netip.AddrPort{}, &net.AddrError{Err: "no address"}
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.AddrPort{}, &net.AddrError{Err: "not an IP address and port", Addr: addr.String()}
	}
	return unmap(ap), nil
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
