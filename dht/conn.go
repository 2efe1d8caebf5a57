package dht

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// tagSize is how many bytes of a keyed hash follow the library's transaction ID
// on the wire. The library counts its IDs up, so that without the hash anybody
// could guess them and answer in another node's name.
const tagSize = 4

// conn is the net.PacketConn that the library gets. Nothing reaches the library
// but answers, checked and rewritten; queries go to the family's own queue.
// Nothing leaves the library but what stamp has rewritten.
type conn struct {
	inner  net.PacketConn
	family *family

	macing sync.Mutex
	mac    hash.Hash // with a key that is drawn at random

	open      chan struct{} // closed when reading may begin
	closeOnce sync.Once
	closed    chan struct{} // closed by Close
	stopped   chan struct{} // closed when the library's read loop has its last error
}

var _ net.PacketConn = (*conn)(nil)

// ReadFrom gives the library the next answer. It fails only after Close: the
// library panics at any error before.
func (c *conn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case <-c.open:
	case <-c.closed:
		return 0, nil, c.stop()
	}
	var pause time.Duration
	for {
		n, from, err := c.inner.ReadFrom(p)
		select {
		case <-c.closed:
			return 0, nil, c.stop()
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			c.family.node.count("socket_closed")
			<-c.closed
			return 0, nil, c.stop()
		}
		if err != nil {
			// ICMP errors and the like. Paused, so that a broken socket does not spin.
			c.family.node.count("read_error")
			pause = min(max(2*pause, time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-c.closed:
				return 0, nil, c.stop()
			}
			continue
		}
		pause = 0
		addr, ok := addrPort(from)
		if !ok || addr.Port() == 0 || !c.family.takes(addr) {
			c.family.node.count("packet_bad_source")
			continue
		}
		if n = c.accept(p, n, addr); n > 0 {
			return n, net.UDPAddrFromAddrPort(addr), nil
		}
	}
}

// stop closes stopped; only the library's one reading goroutine calls it.
func (c *conn) stop() error {
	select {
	case <-c.stopped:
	default:
		close(c.stopped)
	}
	return net.ErrClosed
}

// accept checks the datagram in p[:n]. An answer to us is left in p as the
// library shall see it, and its length returned; for all else it returns 0.
func (c *conn) accept(p []byte, n int, from netip.AddrPort) int {
	node := c.family.node
	node.count("packets_in")
	m, err := parseMessage(slices.Clone(p[:min(n, maxPacket+1)]))
	if err != nil {
		node.count(err.Error())
		return 0
	}
	if m.kind == 'q' {
		c.family.enqueue(m, from)
		return 0
	}
	id, ok := c.untag(m.t, from)
	if !ok {
		node.count("answer_unasked")
		return 0
	}
	return copy(p, m.canonical(id))
}

// WriteTo sends a query of the library.
func (c *conn) WriteTo(p []byte, to net.Addr) (int, error) {
	addr, ok := addrPort(to)
	if !ok {
		return 0, errors.New("address is not an IP address and port")
	}
	b, ok := c.stamp(p, addr)
	if !ok {
		c.family.node.count("query_malformed") // the library encodes otherwise than it did
		return 0, errors.New("query is not in the form expected")
	}
	if err := c.send(b, addr); err != nil {
		return 0, err
	}
	return len(p), nil
}

// send writes one datagram to the socket.
func (c *conn) send(b []byte, to netip.AddrPort) error {
	c.family.node.count("packets_out")
	_, err := c.inner.WriteTo(b, net.UDPAddrFromAddrPort(to))
	if err != nil {
		c.family.node.count("write_error")
	}
	return err
}

// The parts of a query of the library that stamp rewrites.
var (
	queryHead = []byte("d1:ad2:id20:")
	queryTail = []byte("1:y1:qe")
)

// stamp returns the library's query p with our node ID (the library's is fixed
// when it starts, ours follows our address) and a tag on its transaction ID.
func (c *conn) stamp(p []byte, to netip.AddrPort) ([]byte, bool) {
	if len(p) < len(queryHead)+20 || !bytes.HasPrefix(p, queryHead) || !bytes.HasSuffix(p, queryTail) {
		return nil, false
	}
	body := p[:len(p)-len(queryTail)]
	for size := 9; size > 0; size-- {
		start := len(body) - size - len("1:t1:")
		if start < len(queryHead)+20 || string(body[start:start+5]) != "1:t"+string(rune('0'+size))+":" {
			continue
		}
		id := c.family.currentID()
		b := append(make([]byte, 0, len(p)+8), queryHead...)
		b = append(b, id[:]...)
		b = append(b, body[len(queryHead)+20:start]...)
		b = append(b, "1:t"...)
		b = appendString(b, c.tag(body[start+5:], to))
		return append(b, queryTail...), true
	}
	return nil, false
}

// tag returns transaction ID t with the keyed hash of it and addr behind it.
func (c *conn) tag(t []byte, addr netip.AddrPort) []byte {
	var room [sha256.Size]byte
	c.macing.Lock()
	defer c.macing.Unlock()
	c.mac.Reset()
	c.mac.Write(t)
	c.mac.Write(appendCompact(room[:0], addr))
	return append(slices.Clone(t), c.mac.Sum(room[:0])[:tagSize]...)
}

func newMAC() hash.Hash {
	key := randomSecret()
	return hmac.New(sha256.New, key[:])
}

// untag returns the library's transaction ID in t, if we drew t for addr.
func (c *conn) untag(t []byte, addr netip.AddrPort) ([]byte, bool) {
	if len(t) <= tagSize {
		return nil, false
	}
	id := t[:len(t)-tagSize]
	return id, hmac.Equal(c.tag(id, addr), t)
}

// Close closes the socket and ends ReadFrom.
func (c *conn) Close() error {
	var err error
	c.closeOnce.Do(func() {
		close(c.closed)
		err = c.inner.Close()
	})
	return err
}

func (c *conn) LocalAddr() net.Addr { return c.inner.LocalAddr() }

// SetDeadline does nothing: the library sets none.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: the library sets none.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: the library sets none.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// addrPort returns addr as an IP address and port, without a mapped form.
func addrPort(addr net.Addr) (netip.AddrPort, bool) {
	var ap netip.AddrPort
	switch a := addr.(type) {
	case nil:
		return ap, false
	case *net.UDPAddr:
		ap = a.AddrPort()
	default:
		var err error
		if ap, err = netip.ParseAddrPort(addr.String()); err != nil {
			return ap, false
		}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.Addr().IsValid()
}
