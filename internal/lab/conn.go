package lab

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxDatagram is the largest payload of a UDP datagram over IPv4.
const maxDatagram = 65507

// Conn is a UDP socket of a [Host]. It behaves as a *net.UDPConn does: a Read into a buffer too short loses the rest,
// writes never block, deadline errors match os.ErrDeadlineExceeded and those after Close net.ErrClosed, and one that
// was opened with "udp" at no address speaks both families and gives IPv4 senders as 4-in-6 addresses. All methods are
// safe for concurrent use.
type Conn struct {
	host    *Host
	network string
	v4, v6  bool
	remote  netip.AddrPort // where DialContext connected it to, or not valid

	// Guarded by host.net.mu.
	local         netip.AddrPort
	closed        bool
	queue         []*datagram
	queued        int // bytes, overhead included
	dropped       uint64
	arrived       *sync.Cond // a datagram, the deadline or Close
	readDeadline  time.Time
	readTimer     *time.Timer
	writeDeadline time.Time
}

var (
	_ net.PacketConn = (*Conn)(nil)
	_ net.Conn       = (*Conn)(nil)
)

// newConn makes a conn that no host knows yet.
func newConn(h *Host, network string, at, remote netip.AddrPort) *Conn {
	c := &Conn{host: h, network: network, remote: remote, arrived: sync.NewCond(&h.net.mu)}
	addr := at.Addr()
	switch {
	case addr.IsValid() && !addr.IsUnspecified():
		c.v4, c.v6 = addr.Is4(), !addr.Is4()
	case network == "udp4":
		c.v4, addr = true, netip.IPv4Unspecified()
	case network == "udp6":
		c.v6, addr = true, netip.IPv6Unspecified()
	default:
		c.v4, c.v6, addr = true, true, netip.IPv6Unspecified()
	}
	c.local = netip.AddrPortFrom(addr, at.Port())
	return c
}

// speaks says whether addr is of a family of the conn.
func (c *Conn) speaks(addr netip.Addr) bool { return addr.Is4() && c.v4 || addr.Is6() && c.v6 }

// conflicts says whether the conns cannot have the same port.
func (c *Conn) conflicts(o *Conn) bool {
	if !(c.v4 && o.v4) && !(c.v6 && o.v6) {
		return false
	}
	a, b := c.local.Addr(), o.local.Addr()
	return a.IsUnspecified() || b.IsUnspecified() || a == b
}

// LocalAddr returns the *net.UDPAddr the conn is bound to.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

// RemoteAddr returns the *net.UDPAddr the conn was dialled to, nil when it was not.
func (c *Conn) RemoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

// Dropped returns how many datagrams found the receive buffer full.
func (c *Conn) Dropped() uint64 {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	return c.dropped
}

// Read is ReadFrom without the sender's address.
func (c *Conn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(b)
	return n, err
}

// ReadFrom takes one datagram and returns its sender as a *net.UDPAddr.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort takes one datagram.
func (c *Conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	d, err := c.next()
	if err != nil {
		return 0, netip.AddrPort{}, c.opError("read", nil, err)
	}
	from := d.from
	if c.v4 && c.v6 {
		from = netip.AddrPortFrom(netip.AddrFrom16(from.Addr().As16()), from.Port())
	}
	return copy(b, d.b), from, nil
}

// next waits for a datagram.
func (c *Conn) next() (*datagram, error) {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	for {
		switch {
		case c.closed:
			return nil, net.ErrClosed
		case passed(c.readDeadline):
			return nil, os.ErrDeadlineExceeded
		case len(c.queue) > 0:
			d := c.queue[0]
			c.queue[0] = nil
			c.queue = c.queue[1:]
			c.queued -= len(d.b) + datagramOverhead
			return d, nil
		}
		c.queue = nil // an idle conn holds no memory
		c.arrived.Wait()
	}
}

// take puts a datagram into the receive buffer, if it has room. Called with net.mu held.
func (c *Conn) take(d *datagram) bool {
	size := len(d.b) + datagramOverhead
	if c.queued+size > c.host.net.opts.ReceiveBuffer {
		c.dropped++
		return false
	}
	c.queued += size
	c.queue = append(c.queue, d)
	c.arrived.Signal()
	return true
}

// Write sends to the address the conn was dialled to.
func (c *Conn) Write(b []byte) (int, error) {
	if !c.remote.IsValid() {
		return 0, c.opError("write", nil, os.NewSyscallError("write", syscall.ENOTCONN))
	}
	return c.write(b, c.remote)
}

// WriteTo sends to addr, a *net.UDPAddr.
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok || udp == nil {
		return 0, c.opError("write", addr, errors.New("address is not a *net.UDPAddr"))
	}
	return c.WriteToUDPAddrPort(b, udp.AddrPort())
}

// WriteToUDPAddrPort sends to addr. It never blocks: what the network cannot carry is dropped on the way and counted
// there.
func (c *Conn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	if c.remote.IsValid() {
		return 0, c.opError("write", net.UDPAddrFromAddrPort(addr), net.ErrWriteToConnected)
	}
	return c.write(b, netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port()))
}

func (c *Conn) write(b []byte, to netip.AddrPort) (int, error) {
	if err := c.send(b, to); err != nil {
		return 0, c.opError("write", net.UDPAddrFromAddrPort(to), err)
	}
	return len(b), nil
}

func (c *Conn) send(b []byte, to netip.AddrPort) error {
	n := c.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case passed(c.writeDeadline):
		return os.ErrDeadlineExceeded
	case !c.speaks(to.Addr()):
		return &net.AddrError{Err: "address is not of the socket's family", Addr: to.String()}
	case to.Port() == 0 || to.Addr().IsUnspecified():
		return os.NewSyscallError("sendto", syscall.EINVAL)
	case len(b) > maxDatagram:
		return os.NewSyscallError("sendto", syscall.EMSGSIZE)
	}
	from := c.local.Addr()
	source, err := c.host.source(to.Addr())
	if err != nil {
		return err
	}
	switch {
	case from.IsUnspecified():
		from = source
	case !c.host.local(from): // the host has lost it
		return os.NewSyscallError("sendto", syscall.EADDRNOTAVAIL)
	case from.IsLoopback() && !c.host.local(to.Addr()):
		return os.NewSyscallError("sendto", syscall.EINVAL)
	}
	n.send(c.host, netip.AddrPortFrom(from, c.local.Port()), to, b)
	return nil
}

// SetDeadline sets both deadlines. Zero is none.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(&t, &t)
}

// SetReadDeadline sets when reads, those that wait included, fail.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(&t, nil)
}

// SetWriteDeadline sets when writes begin to fail.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(nil, &t)
}

func (c *Conn) setDeadlines(read, write *time.Time) error {
	mu := &c.host.net.mu
	mu.Lock()
	defer mu.Unlock()
	if c.closed {
		return c.opError("set", nil, net.ErrClosed)
	}
	if write != nil {
		c.writeDeadline = *write
	}
	if read != nil {
		c.readDeadline = *read
		if c.readTimer != nil {
			c.readTimer.Stop()
			c.readTimer = nil
		}
		if wait := time.Until(*read); !read.IsZero() && wait > 0 {
			c.readTimer = time.AfterFunc(wait, func() {
				mu.Lock()
				defer mu.Unlock()
				c.arrived.Broadcast()
			})
		}
		c.arrived.Broadcast()
	}
	return nil
}

// Close frees the port and ends waiting reads. A second Close gives an error that matches net.ErrClosed.
func (c *Conn) Close() error {
	c.host.net.mu.Lock()
	defer c.host.net.mu.Unlock()
	if c.closed {
		return c.opError("close", nil, net.ErrClosed)
	}
	c.shut()
	c.host.forget(c)
	return nil
}

// shut closes the conn without freeing its port. Called with net.mu held.
func (c *Conn) shut() {
	c.closed = true
	c.queue, c.queued = nil, 0
	if c.readTimer != nil {
		c.readTimer.Stop()
	}
	c.arrived.Broadcast()
}

func (c *Conn) opError(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: c.network, Source: c.LocalAddr(), Addr: to, Err: err}
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }
