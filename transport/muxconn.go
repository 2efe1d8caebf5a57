package transport

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// muxConn is what an ICE agent reads and writes at one local candidate. Only STUN passes. It thins the agent's checks
// and holds them to the budgets; what it drops it reports as sent, as the network would. All methods are safe for
// concurrent use; writes never block.
type muxConn struct {
	base  *muxBase
	ufrag string
	queue *muxQueue

	// Guarded by base.m.mu.
	closed  bool
	sent    []*muxCheck // that may still be answered, oldest first
	asked   []muxAsked  // that the agent may still answer, oldest first
	remotes map[netip.AddrPort]*muxRemote
}

// muxAsked is a request that was given to the agent.
type muxAsked struct {
	id   stunID
	from netip.AddrPort
	size int
}

var _ net.PacketConn = (*muxConn)(nil)

func newMuxConn(base *muxBase, ufrag string) *muxConn {
	return &muxConn{base: base, ufrag: ufrag, queue: newMuxQueue(), remotes: make(map[netip.AddrPort]*muxRemote)}
}

// asks gives a check to the agent. Called with m.mu held.
func (c *muxConn) asks(p muxPacket, id stunID) muxDrop {
	r := c.remotes[p.from]
	switch {
	case r != nil:
		r.heard = true
	case len(c.remotes) >= maxRemotes: // each authentic one costs the agent a candidate, whoever sent it
		return dropRemotes
	}
	if !c.queue.push(p) {
		return dropQueueFull
	}
	if len(c.asked) >= maxAsked {
		c.asked = slices.Delete(c.asked, 0, 1)
	}
	c.asked = append(c.asked, muxAsked{id, p.from, len(p.b)})
	return dropNone
}

// answeredBy notes that a check to addr was answered from there; it says whether that was the first time. Called with
// m.mu held.
func (c *muxConn) answeredBy(addr netip.AddrPort) bool {
	r := c.remotes[addr] // the check made it
	first := !r.answered
	r.heard, r.answered = true, true
	return first
}

// admit decides on a message to addr, and counts it. Called with m.mu held.
func (c *muxConn) admit(msg stunMessage, size int, to netip.AddrPort, now time.Time) muxDrop {
	if !sendable(to) {
		return dropDestination
	}
	r := c.remotes[to]
	if r == nil {
		if len(c.remotes) >= maxRemotes {
			return dropRemotes
		}
		r = &muxRemote{}
		c.remotes[to] = r
	}
	if msg.class == stunRequest {
		if drop := r.refuses(now); drop != dropNone {
			return drop
		}
	} else if drop := c.replies(msg.id, size, to, r.answered); drop != dropNone {
		return drop
	}
	if !r.answered && !c.base.m.budget.take(to.Addr(), now) {
		return dropBudget
	}
	if msg.class == stunRequest {
		r.sent(now)
		c.remember(msg.id, to, now)
	}
	return dropNone
}

// replies says why an answer of the agent must not go to an address, and takes the request it answers. To whoever has not
// proven to be there goes nothing that is larger than what seemed to come from there.
func (c *muxConn) replies(id stunID, size int, to netip.AddrPort, answered bool) muxDrop {
	i := slices.IndexFunc(c.asked, func(a muxAsked) bool { return a.id == id && a.from == to })
	if i < 0 {
		return dropUnasked
	}
	larger := size > c.asked[i].size
	c.asked = slices.Delete(c.asked, i, i+1)
	if larger && !answered {
		return dropLarger
	}
	return dropNone
}

// remember has the answer to a check come to the conn.
func (c *muxConn) remember(id stunID, to netip.AddrPort, now time.Time) {
	for len(c.sent) > 0 && (len(c.sent) >= maxChecks || now.Sub(c.sent[0].at) > checkLife) {
		c.forget(c.sent[0])
		c.sent = c.sent[1:]
	}
	k := &muxCheck{id: id, base: c.base, to: to, at: now, conn: c}
	c.base.m.checks[id] = k
	c.sent = append(c.sent, k)
}

func (c *muxConn) forget(k *muxCheck) {
	if c.base.m.checks[k.id] == k {
		delete(c.base.m.checks, k.id)
	}
}

// ReadFrom takes one message. After Close it gives net.ErrClosed.
func (c *muxConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromAddrPort is ReadFrom without an allocation, as pion asks for it.
func (c *muxConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	p, err := c.queue.pop()
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return copy(b, p.b), p.from, nil
}

// WriteTo sends one message to addr, a *net.UDPAddr.
func (c *muxConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("send check to %v: not a UDP address", addr)
	}
	return c.WriteToAddrPort(b, udp.AddrPort())
}

// WriteToAddrPort is WriteTo without an allocation, as pion asks for it.
func (c *muxConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	m := c.base.m
	to = unmapped(to)
	msg, ok := parseSTUN(b)
	drop := dropNotSTUN
	m.mu.Lock()
	if c.closed {
		m.mu.Unlock()
		return 0, net.ErrClosed
	}
	if ok && msg.class != stunIndication {
		drop = c.admit(msg, len(b), to, m.now())
	}
	m.mu.Unlock()
	if drop != dropNone {
		m.drops.add(drop)
		return len(b), nil
	}
	if err := c.base.send(b, to); err != nil {
		m.drops.add(dropSendFailed)
		return 0, fmt.Errorf("send check to %v: %w", to, err)
	}
	return len(b), nil
}

// Close ends reads and forgets what the conn sent. It may be called again.
func (c *muxConn) Close() error {
	if !c.queue.close() {
		return nil
	}
	m := c.base.m
	m.mu.Lock()
	defer m.mu.Unlock()
	c.closed = true
	for _, k := range c.sent {
		c.forget(k)
	}
	c.sent, c.asked = nil, nil
	clear(c.remotes)
	if a := m.agents[c.ufrag]; a != nil { // the mux may be closed
		a.conns = slices.DeleteFunc(a.conns, func(o *muxConn) bool { return o == c })
		m.tidy(c.ufrag)
	}
	return nil
}

// LocalAddr returns the address of the socket or relay.
func (c *muxConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.base.addr) }

// SetDeadline does nothing: pion calls it just before Close, which ends reads without a warning in its log.
func (c *muxConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline sets when reads fail with an error that matches os.ErrDeadlineExceeded.
func (c *muxConn) SetReadDeadline(t time.Time) error { return c.queue.setDeadline(t) }

// SetWriteDeadline does nothing: writes never block.
func (c *muxConn) SetWriteDeadline(time.Time) error { return nil }
