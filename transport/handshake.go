package transport

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// handshakeKind is the first byte of a handshake datagram: kind ‖ attempt ID (8) ‖ DTLS records.
	handshakeKind     = 0xCC
	handshakeOverhead = 1 + len(attemptID{})
	// maxHandshake is the longest handshake datagram that is taken, in bytes.
	maxHandshake = 2048
	// maxHeld is how many datagrams wait for their sender's address to be accepted.
	maxHeld = 4
)

// attemptID names an attempt: the first bytes of the hash of both signed offers. Nothing in DTLS itself tells apart two
// handshakes between the same two sockets.
type attemptID [8]byte

// handshakeConn carries the DTLS of one attempt, and of no other, for whatever addresses it comes from. It sends to one
// place: where the last datagram that it took came from, until SetRemote fixes it. All methods are safe for concurrent
// use; writes never block.
type handshakeConn struct {
	m      *mux
	id     attemptID
	accept func(netip.AddrPort) bool
	queue  *muxQueue

	mu     sync.Mutex // guards what follows
	base   *muxBase   // with remote, where datagrams go; nil if unknown
	remote netip.AddrPort
	fixed  bool
	muted  bool
	closed bool
	held   []muxPacket // from addresses that are not accepted yet, oldest first
}

var _ net.PacketConn = (*handshakeConn)(nil)

// handshakeConn makes the conn of an attempt; one that is there for the same ID is closed. At most 32 datagrams wait for
// its reader. accept, which may be nil, says whose datagrams are taken; it is called on the sockets' readers and must not
// block. A datagram from elsewhere waits until an address answers its first check, and is then judged again: so one that
// overtakes the answer is not lost.
func (m *mux) handshakeConn(id attemptID, accept func(netip.AddrPort) bool) *handshakeConn {
	h := &handshakeConn{m: m, id: id, accept: accept, queue: newMuxQueue()}
	m.mu.Lock()
	old, closed := m.handshakes[id], m.closed
	if !closed {
		m.handshakes[id] = h
	}
	m.mu.Unlock()
	if old != nil {
		_ = old.Close() // never fails
	}
	if closed {
		_ = h.Close()
	}
	return h
}

// handleHandshake takes a handshake datagram of a socket. It does not block nor keep b.
func (m *mux) handleHandshake(b []byte, from netip.AddrPort) {
	if base := m.socket(from.Addr()); base != nil {
		base.handleHandshake(b, from)
	}
}

// handleHandshake takes a handshake datagram that came by the base. It does not block nor keep b.
func (base *muxBase) handleHandshake(b []byte, from netip.AddrPort) {
	m := base.m
	if len(b) > maxHandshake {
		m.drops.add(dropOversize)
		return
	}
	if len(b) <= handshakeOverhead || b[0] != handshakeKind {
		m.drops.add(dropNoAttempt)
		return
	}
	m.mu.Lock()
	h := m.handshakes[attemptID(b[1:handshakeOverhead])]
	m.mu.Unlock()
	if h == nil {
		m.drops.add(dropNoAttempt)
		return
	}
	h.arrived(newMuxPacket(base, b[handshakeOverhead:], unmapped(from)))
}

// arrived takes a datagram, or holds it.
func (h *handshakeConn) arrived(p muxPacket) {
	if h.accepts(p.from) {
		h.take(p)
		return
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	if len(h.held) >= maxHeld {
		h.held = h.held[1:]
		h.m.drops.add(dropUnvalidated)
	}
	h.held = append(h.held, p)
	h.mu.Unlock()
	if h.accepts(p.from) { // since
		h.recheck()
	}
}

// recheck judges what is held again.
func (h *handshakeConn) recheck() {
	h.mu.Lock()
	held := h.held
	h.held = nil
	h.mu.Unlock()
	for _, p := range held {
		if h.accepts(p.from) {
			h.take(p)
			continue
		}
		h.mu.Lock()
		if !h.closed && len(h.held) < maxHeld {
			h.held = append(h.held, p)
		} else {
			h.m.drops.add(dropUnvalidated)
		}
		h.mu.Unlock()
	}
}

// accepts must be called without a lock: accept may come back to the mux.
func (h *handshakeConn) accepts(from netip.AddrPort) bool { return h.accept == nil || h.accept(from) }

// take gives a datagram to the reader, and follows its sender.
func (h *handshakeConn) take(p muxPacket) {
	h.mu.Lock()
	if !h.fixed {
		h.base, h.remote = p.base, p.from
	}
	h.mu.Unlock()
	if !h.queue.push(p) {
		h.m.drops.add(dropQueueFull)
	}
}

// Remote returns where datagrams go; not valid while that is unknown.
func (h *handshakeConn) Remote() netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.remote
}

// path returns where datagrams go, and by which base; nil while that is unknown.
func (h *handshakeConn) path() (*muxBase, netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.base, h.remote
}

// SetRemote fixes where datagrams go, by the socket of its family.
func (h *handshakeConn) SetRemote(to netip.AddrPort) { h.setRemote(h.m.socket(to.Addr()), to) }

// setRemote fixes where datagrams go, by a base: for a relay.
func (h *handshakeConn) setRemote(base *muxBase, to netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.base, h.remote, h.fixed = base, unmapped(to), true
}

// mute drops what is sent from now on, so that DTLS can be closed without its alert reaching the peer.
func (h *handshakeConn) mute() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.muted = true
}

// ReadFrom takes the DTLS records of one datagram. After Close it gives net.ErrClosed.
func (h *handshakeConn) ReadFrom(b []byte) (int, net.Addr, error) {
	p, err := h.queue.pop()
	if err != nil {
		return 0, nil, err
	}
	return copy(b, p.b), net.UDPAddrFromAddrPort(p.from), nil
}

// WriteTo sends DTLS records to the conn's remote address; the one given is what DTLS began with, and not looked at.
// While there is none the records are dropped, and DTLS repeats them.
func (h *handshakeConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	h.mu.Lock()
	base, to, muted, closed := h.base, h.remote, h.muted, h.closed
	h.mu.Unlock()
	switch {
	case closed:
		return 0, net.ErrClosed
	case muted:
		h.m.drops.add(dropMuted)
		return len(b), nil
	case base == nil:
		h.m.drops.add(dropNoRemote)
		return len(b), nil
	}
	out := make([]byte, 0, handshakeOverhead+len(b))
	out = append(out, handshakeKind)
	out = append(out, h.id[:]...)
	out = append(out, b...)
	if err := base.send(out, to); err != nil {
		h.m.drops.add(dropSendFailed)
		return 0, fmt.Errorf("send handshake to %v: %w", to, err)
	}
	return len(b), nil
}

// Close ends reads and forgets the attempt. It may be called again.
func (h *handshakeConn) Close() error {
	if !h.queue.close() {
		return nil
	}
	h.mu.Lock()
	h.closed = true
	h.held = nil
	h.mu.Unlock()
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.m.handshakes[h.id] == h {
		delete(h.m.handshakes, h.id)
	}
	return nil
}

// LocalAddr returns the address of the base that is sent by, or of the first socket.
func (h *handshakeConn) LocalAddr() net.Addr {
	h.mu.Lock()
	base := h.base
	h.mu.Unlock()
	if base == nil {
		if len(h.m.sockets) == 0 {
			return &net.UDPAddr{}
		}
		base = h.m.sockets[0]
	}
	return net.UDPAddrFromAddrPort(base.addr)
}

// SetDeadline is SetReadDeadline: writes never block.
func (h *handshakeConn) SetDeadline(t time.Time) error { return h.queue.setDeadline(t) }

// SetReadDeadline sets when reads fail with an error that matches os.ErrDeadlineExceeded.
func (h *handshakeConn) SetReadDeadline(t time.Time) error { return h.queue.setDeadline(t) }

// SetWriteDeadline does nothing: writes never block.
func (h *handshakeConn) SetWriteDeadline(time.Time) error { return nil }
