package udpio

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// queueLimit bounds the bytes that wait in a virtual conn.
	queueLimit = 1 << 20
	// queueOverhead is what a waiting datagram counts beyond its bytes.
	queueOverhead = 256
)

// virtual is the part of a Socket that carries one kind, as a net.PacketConn.
type virtual struct {
	socket   *Socket
	kind     Kind
	receiver *receiver // push, as the socket knows it

	mu            sync.Mutex // guards what follows
	closed        bool
	queue         []datagram
	queued        int        // bytes, overhead included
	arrived       *sync.Cond // a datagram, the deadline or Close
	readDeadline  time.Time
	readTimer     *time.Timer
	writeDeadline time.Time
}

var _ net.PacketConn = (*virtual)(nil)

type datagram struct {
	b    []byte
	from netip.AddrPort
}

func newVirtual(s *Socket, k Kind) *virtual {
	v := &virtual{socket: s, kind: k}
	v.arrived = sync.NewCond(&v.mu)
	v.receiver = &receiver{v.push}
	return v
}

// push queues a copy of a datagram; it is called by the socket's reader.
func (v *virtual) push(b []byte, from netip.AddrPort) {
	v.mu.Lock()
	defer v.mu.Unlock()
	size := len(b) + queueOverhead
	switch {
	case v.closed: // it was being called when the conn was closed
		v.socket.counters.unheard[v.kind].Add(1)
	case v.queued+size > queueLimit:
		v.socket.counters.queueFull[v.kind].Add(1)
	default:
		v.queued += size
		v.queue = append(v.queue, datagram{slices.Clone(b), from})
		v.arrived.Signal()
	}
}

// LocalAddr returns the socket's address as a *net.UDPAddr.
func (v *virtual) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(v.socket.local) }

// ReadFrom takes one datagram and returns its sender as a *net.UDPAddr. What does not fit into b is lost.
func (v *virtual) ReadFrom(b []byte) (int, net.Addr, error) {
	d, err := v.next()
	if err != nil {
		return 0, nil, v.opError("read", nil, err)
	}
	return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
}

// next waits for a datagram.
func (v *virtual) next() (datagram, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for {
		switch {
		case v.closed:
			return datagram{}, net.ErrClosed
		case passed(v.readDeadline):
			return datagram{}, os.ErrDeadlineExceeded
		case len(v.queue) > 0:
			d := v.queue[0]
			v.queue[0] = datagram{}
			v.queue = v.queue[1:]
			v.queued -= len(d.b) + queueOverhead
			return d, nil
		}
		v.queue = nil // an idle conn holds no memory
		v.arrived.Wait()
	}
}

// WriteTo sends by the socket; it holds no lock of the conn meanwhile, so that Close never waits for it.
func (v *virtual) WriteTo(b []byte, addr net.Addr) (int, error) {
	v.mu.Lock()
	closed, late := v.closed, passed(v.writeDeadline)
	v.mu.Unlock()
	switch {
	case closed:
		return 0, v.opError("write", addr, net.ErrClosed)
	case late:
		return 0, v.opError("write", addr, os.ErrDeadlineExceeded)
	}
	to, err := addrPort(addr)
	if err != nil {
		return 0, v.opError("write", addr, err)
	}
	if err := v.socket.WriteTo(b, to); err != nil {
		return 0, err // the socket's error says it all
	}
	return len(b), nil
}

// SetDeadline sets both deadlines. Zero is none.
func (v *virtual) SetDeadline(t time.Time) error { return v.setDeadlines(&t, &t) }

// SetReadDeadline sets when reads, those that wait included, fail.
func (v *virtual) SetReadDeadline(t time.Time) error { return v.setDeadlines(&t, nil) }

// SetWriteDeadline sets when writes begin to fail.
func (v *virtual) SetWriteDeadline(t time.Time) error { return v.setDeadlines(nil, &t) }

func (v *virtual) setDeadlines(read, write *time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return v.opError("set", nil, net.ErrClosed)
	}
	if write != nil {
		v.writeDeadline = *write
	}
	if read != nil {
		v.readDeadline = *read
		if v.readTimer != nil {
			v.readTimer.Stop()
			v.readTimer = nil
		}
		if wait := time.Until(*read); !read.IsZero() && wait > 0 {
			v.readTimer = time.AfterFunc(wait, v.wake)
		}
		v.arrived.Broadcast()
	}
	return nil
}

// wake has waiting reads look at the deadline.
func (v *virtual) wake() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.arrived.Broadcast()
}

// Close ends waiting reads and leaves the socket open. It may be called again, and after the socket's Close.
func (v *virtual) Close() error {
	v.shut()
	v.socket.forget(v)
	return nil
}

// shut closes the conn for its user.
func (v *virtual) shut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.queue, v.queued = nil, 0
	if v.readTimer != nil {
		v.readTimer.Stop()
	}
	v.arrived.Broadcast()
}

func (v *virtual) opError(op string, to net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: v.LocalAddr(), Addr: to, Err: err}
}

func passed(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }
