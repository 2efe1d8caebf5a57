package transport

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/ice/v4"
)

const (
	// checkLife is how long the answer to a check is waited for; pion forgets its own after 4 s.
	checkLife = 5 * time.Second
	// maxChecks, maxRemotes and maxAsked bound what a conn remembers: checks that wait for their answer, remote
	// addresses, and requests that wait for pion's answer.
	maxChecks  = 1024
	maxRemotes = 64
	maxAsked   = 2 * muxQueueLen
)

// muxConfig is what a mux needs.
type muxConfig struct {
	// send sends a datagram by the socket of to's family. It must not block nor keep b.
	send func(b []byte, to netip.AddrPort) error
	// bases are the sockets' addresses, one a family; further ones of a family are ignored, since each would repeat
	// every check on the same path. Unspecified IPs are right.
	bases []netip.AddrPort
	// budget is shared by all that sends checks; nil makes one.
	budget *destinations
	now    func() time.Time // nil is time.Now
}

// mux shares the node's sockets between ICE agents, handshakes and requests to STUN servers. What arrives is told apart
// without the remote address, since two attempts may run between the same two sockets: a check by the user name fragment
// it is for, an answer by the transaction ID of its request, a handshake datagram by the attempt ID in its header. All
// methods are safe for concurrent use.
type mux struct {
	budget  *destinations
	now     func() time.Time
	sockets []*muxBase // one a family
	drops   muxCounters
	done    chan struct{} // closed by Close

	mu         sync.Mutex // guards what follows, and the state of all conns but their queues
	closed     bool
	agents     map[string]*muxAgent // by local ufrag
	checks     map[stunID]*muxCheck
	handshakes map[attemptID]*handshakeConn
}

// muxAgent is what belongs to one local ufrag: an agent's conns, or several agents'.
type muxAgent struct {
	conns    []*muxConn
	expected bool        // before its agent was made
	waiting  []muxPacket // checks that came meanwhile
}

// muxCheck is a request of ours that waits for its answer.
type muxCheck struct {
	id     stunID
	base   *muxBase
	to     netip.AddrPort
	at     time.Time
	conn   *muxConn         // the agent's that sent it,
	answer chan stunMessage // or, if nil, where a STUN server's answer goes
}

// muxBase is where datagrams leave and arrive: a socket, or a relay.
type muxBase struct {
	m    *mux
	addr netip.AddrPort
	send func(b []byte, to netip.AddrPort) error
}

var _ ice.UDPMux = (*mux)(nil)

// newMux makes a mux. It has no goroutine.
func newMux(c muxConfig) *mux {
	m := &mux{
		budget:     c.budget,
		now:        c.now,
		done:       make(chan struct{}),
		agents:     make(map[string]*muxAgent),
		checks:     make(map[stunID]*muxCheck),
		handshakes: make(map[attemptID]*handshakeConn),
	}
	if m.budget == nil {
		m.budget = newDestinations()
	}
	if m.now == nil {
		m.now = time.Now
	}
	for _, addr := range c.bases {
		addr = unmapped(addr)
		if addr.IsValid() && m.socket(addr.Addr()) == nil {
			m.sockets = append(m.sockets, &muxBase{m, addr, c.send})
		}
	}
	return m
}

// socket returns the base of ip's family, nil if there is none.
func (m *mux) socket(ip netip.Addr) *muxBase {
	for _, b := range m.sockets {
		if b.addr.Addr().Is4() == ip.Unmap().Is4() {
			return b
		}
	}
	return nil
}

// relay makes a base of a relayed candidate: send sends by the relay, and must not block nor keep b; what comes by the
// relay is given to the base's handleSTUN and handleHandshake. For an agent, conn makes what ice.Agent.AddVirtualCandidate
// takes. The base outlives the agents and costs nothing; forgetting it frees it.
func (m *mux) relay(addr netip.AddrPort, send func(b []byte, to netip.AddrPort) error) *muxBase {
	return &muxBase{m, unmapped(addr), send}
}

// handleSTUN takes a STUN datagram of a socket. It does not block nor keep b.
func (m *mux) handleSTUN(b []byte, from netip.AddrPort) {
	if base := m.socket(from.Addr()); base != nil {
		base.handleSTUN(b, from)
	}
}

// handleSTUN takes a STUN datagram that came by the base. It does not block nor keep b.
func (base *muxBase) handleSTUN(b []byte, from netip.AddrPort) {
	m := base.m
	if len(b) > maxSTUN {
		m.drops.add(dropOversize)
		return
	}
	msg, ok := parseSTUN(b)
	if !ok {
		m.drops.add(dropMalformed)
		return
	}
	drop := dropMethod
	if msg.method == stunBinding {
		switch msg.class {
		case stunRequest:
			drop = m.request(base, msg, b, unmapped(from))
		case stunSuccess, stunError:
			drop = m.answer(base, msg, b, unmapped(from))
		case stunIndication: // only keeps NAT mappings
		}
	}
	if drop != dropNone {
		m.drops.add(drop)
	}
}

// request gives a check to the agent that it is for. Where one offer of ours became two attempts there are two with one
// ufrag: both get it, and the one whose peer it is not from drops it.
func (m *mux) request(base *muxBase, msg stunMessage, b []byte, from netip.AddrPort) muxDrop {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.agents[msg.localUfrag()]
	if a == nil {
		return dropNoAgent
	}
	p := newMuxPacket(base, b, from)
	found, drop := false, dropNone
	for _, c := range a.conns {
		if c.base == base {
			found, drop = true, max(drop, c.asks(p, msg.id))
		}
	}
	if found {
		return drop
	}
	if !a.expected {
		return dropNoAgent
	}
	if len(a.waiting) >= muxQueueLen { // the newest are worth most: their sender still waits for the answer
		a.waiting = slices.Delete(a.waiting, 0, 1)
		drop = dropQueueFull
	}
	a.waiting = append(a.waiting, p)
	return drop
}

// answer gives an answer to the conn, or the call, that sent the request.
func (m *mux) answer(base *muxBase, msg stunMessage, b []byte, from netip.AddrPort) muxDrop {
	m.mu.Lock()
	k := m.checks[msg.id]
	if k == nil || k.conn != nil && m.now().Sub(k.at) > checkLife {
		m.mu.Unlock()
		return dropNoCheck
	}
	if k.base != base || k.to != from {
		m.mu.Unlock()
		return dropElsewhere
	}
	delete(m.checks, msg.id)
	if k.conn == nil {
		m.mu.Unlock()
		k.answer <- msg.clone() // has room for this one
		return dropNone
	}
	ok := k.conn.queue.push(newMuxPacket(base, b, from))
	var waiting []*handshakeConn
	if k.conn.answeredBy(from) {
		for _, h := range m.handshakes {
			waiting = append(waiting, h)
		}
	}
	m.mu.Unlock()
	for _, h := range waiting {
		h.recheck()
	}
	if !ok {
		return dropQueueFull
	}
	return dropNone
}

// expect has checks for a local ufrag wait for the agent that is yet to be made, so that it need not wait for the next
// ones; they come as soon as the peer has seen our offer. It ends by forget, which drops them if there is no agent.
func (m *mux) expect(ufrag string) (forget func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agent(ufrag).expected = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if a := m.agents[ufrag]; a != nil {
			a.expected, a.waiting = false, nil
			m.tidy(ufrag)
		}
	}
}

// answered says whether addr answered a check of the agent with the local ufrag, which is the proof that whoever is there
// agrees to be sent to: a request alone, even an authentic one, may have come from elsewhere.
func (m *mux) answered(ufrag string, addr netip.AddrPort) bool {
	addr = unmapped(addr)
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.agents[ufrag]; a != nil {
		for _, c := range a.conns {
			if r := c.remotes[addr]; r != nil && r.answered {
				return true
			}
		}
	}
	return false
}

// GetListenAddresses returns the address of each socket, one a family.
func (m *mux) GetListenAddresses() []net.Addr {
	addrs := make([]net.Addr, len(m.sockets))
	for i, b := range m.sockets {
		addrs[i] = net.UDPAddrFromAddrPort(b.addr)
	}
	return addrs
}

// GetConn returns a new conn for the candidate of the agent with the local ufrag on the socket of addr's family. Closing
// it leaves the socket open.
func (m *mux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return nil, fmt.Errorf("ice conn at %v: not a UDP address", addr)
	}
	base := m.socket(udp.AddrPort().Addr())
	if base == nil {
		return nil, fmt.Errorf("ice conn at %v: no socket of that family", addr)
	}
	return base.conn(ufrag)
}

// conn returns a new conn of the agent with the local ufrag on the base. Closing it leaves the base as it is.
func (base *muxBase) conn(ufrag string) (net.PacketConn, error) {
	m := base.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, net.ErrClosed
	}
	c := newMuxConn(base, ufrag)
	a := m.agent(ufrag)
	a.conns = append(a.conns, c)
	rest := a.waiting[:0]
	for _, p := range a.waiting {
		if p.base != base {
			rest = append(rest, p)
			continue
		}
		if drop := c.asks(p, stunID(p.b[8:stunHeader])); drop != dropNone {
			m.drops.add(drop)
		}
	}
	clear(a.waiting[len(rest):])
	a.waiting = rest
	return c, nil
}

// RemoveConnByUfrag does nothing: agents close their conns, which is enough, and another agent may have the same ufrag.
func (m *mux) RemoveConnByUfrag(string) {}

// Close closes all conns, and so ends their reads. The sockets stay open. It may be called again.
func (m *mux) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	close(m.done)
	var conns []net.PacketConn
	for _, a := range m.agents {
		for _, c := range a.conns {
			conns = append(conns, c)
		}
	}
	for _, h := range m.handshakes {
		conns = append(conns, h)
	}
	clear(m.agents) // those that are only expected too
	m.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // never fails
	}
	return nil
}

// counters returns how many datagrams were dropped, by the reason's name; those that are zero are left out.
func (m *mux) counters() map[string]uint64 { return m.drops.byName() }

// agent returns the entry of a ufrag, and makes it if there is none. Called with m.mu held.
func (m *mux) agent(ufrag string) *muxAgent {
	a := m.agents[ufrag]
	if a == nil {
		a = &muxAgent{}
		m.agents[ufrag] = a
	}
	return a
}

// tidy forgets a ufrag that nothing belongs to. Called with m.mu held.
func (m *mux) tidy(ufrag string) {
	if a := m.agents[ufrag]; a != nil && len(a.conns) == 0 && !a.expected {
		delete(m.agents, ufrag)
	}
}

// unmapped returns addr with a 4-in-6 address as IPv4.
func unmapped(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
