package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"github.com/gocarrier/carrier/internal/udpio"
)

const (
	// relayProbe is how often the server is asked whether the allocation is still there. It keeps the NAT mapping
	// toward the server too.
	relayProbe = 25 * time.Second
	// maxRelayPeers bounds the peers' addresses of an allocation, for each of which a channel is kept at the server.
	// When there are more, which takes weeks, another allocation is made.
	maxRelayPeers = 1024
	// maxRelayWaiting is how many datagrams to one host wait for the server's permission.
	maxRelayWaiting = 32
	// relayRefusal is how long a host that the server refused is not tried again.
	relayRefusal = 30 * time.Second
	// maxRelayed is the longest datagram of the server that is taken, in bytes.
	maxRelayed = 2048
	// maxReadErrors is how many read errors in a row mean that the socket is gone.
	maxReadErrors = 8
	readErrorWait = 10 * time.Millisecond
)

// errRelayFull ends an allocation that has too many peers.
var errRelayFull = errors.New("the allocation has served too many peers")

// allocation is one allocation at a TURN server, on a socket of its own.
type allocation struct {
	relay  *relay
	server netip.AddrPort
	socket net.PacketConn
	client *turn.Client
	conn   net.PacketConn // relays
	base   *muxBase
	failed chan error // capacity 1: why it is of no use any more
	stop   chan struct{}
	tasks  sync.WaitGroup

	mu     sync.Mutex // guards what follows
	closed bool
	peers  map[netip.AddrPort]*relayPeer
	hosts  map[netip.Addr]*relayHost
}

// relayPeer is an address that was sent to.
type relayPeer struct {
	addr *net.UDPAddr
	host *relayHost
}

// relayHost is an IP address, to which the server permits to send or not.
type relayHost struct {
	permitted bool      // writes do not wait
	refused   time.Time // when; zero: never
	asking    bool      // permit runs
	waiting   []relayWaiting
}

// relayWaiting is a datagram that waits for the server's permission.
type relayWaiting struct {
	b  []byte
	to *net.UDPAddr
}

// newAllocation allocates at a server; ctx bounds the call only.
func newAllocation(ctx context.Context, r *relay, server netip.AddrPort) (*allocation, error) {
	network, address := "udp4", "0.0.0.0:0"
	if server.Addr().Is6() {
		network, address = "udp6", "[::]:0"
	}
	socket, err := r.net.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	a := &allocation{
		relay: r, server: server, socket: socket, failed: make(chan error, 1), stop: make(chan struct{}),
		peers: make(map[netip.AddrPort]*relayPeer), hosts: make(map[netip.Addr]*relayHost),
	}
	if err := a.allocate(ctx); err != nil {
		a.close()
		return nil, err
	}
	a.tasks.Go(a.receive)
	a.tasks.Go(a.probe)
	return a, nil
}

func (a *allocation) allocate(ctx context.Context) (err error) {
	a.client, err = turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: a.server.String(), Username: a.relay.server.Username, Password: a.relay.server.Password,
		Conn: a.socket, Net: noNet{}, LoggerFactory: pionLogs{a.relay.log},
	})
	if err != nil {
		return err
	}
	a.tasks.Go(a.read)
	if a.conn, err = a.client.AllocateWithContext(ctx); err != nil {
		return err
	}
	addr, ok := udpAddrPort(a.conn.LocalAddr())
	if !ok || !sendable(addr) {
		return fmt.Errorf("the server gave the address %v, which nobody can send to", a.conn.LocalAddr())
	}
	a.base = a.relay.mux.relay(addr, a.send)
	return nil
}

// fail says that the allocation is of no use any more; the first reason counts.
func (a *allocation) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

// close gives the allocation back. The socket goes before the client, so that nothing new waits for an answer.
func (a *allocation) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	close(a.stop)
	if a.conn != nil {
		_ = a.conn.Close() // sends, and has nobody to tell
	}
	_ = a.socket.Close() // likewise
	if a.client != nil {
		a.client.Close()
	}
	a.tasks.Wait()
}

// read gives the server's datagrams, and no other's, to the client.
func (a *allocation) read() {
	b := make([]byte, maxRelayed)
	for failures := 0; ; {
		n, from, err := a.socket.ReadFrom(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // such as word that the server is not reached; its silence is noticed elsewhere
			if failures++; failures == maxReadErrors {
				a.fail(fmt.Errorf("read from the relay's socket: %w", err))
				return
			}
			select {
			case <-time.After(readErrorWait):
			case <-a.stop:
			}
			continue
		}
		failures = 0
		if addr, ok := udpAddrPort(from); !ok || addr != a.server {
			a.relay.dropped.Add(1)
			continue
		}
		if taken, err := a.client.HandleInbound(b[:n], from); err != nil || !taken {
			a.relay.dropped.Add(1)
		}
	}
}

// receive tells apart what peers have sent.
func (a *allocation) receive() {
	b := make([]byte, maxRelayed)
	for {
		n, addr, err := a.conn.ReadFrom(b)
		if errors.Is(err, io.ErrShortBuffer) {
			a.relay.dropped.Add(1)
			continue
		}
		if err != nil {
			a.fail(fmt.Errorf("read from the relay: %w", err)) // or it is being closed
			return
		}
		from, ok := udpAddrPort(addr)
		if !ok || n == 0 {
			a.relay.dropped.Add(1)
			continue
		}
		switch kind, known := udpio.KindOf(b[0]); {
		case known && kind == udpio.STUN:
			a.base.handleSTUN(b[:n], from)
		case known && kind == udpio.Handshake:
			a.base.handleHandshake(b[:n], from)
		case known && kind == udpio.Data:
			a.relay.onData(b[:n], a.relay, from)
		default:
			a.relay.dropped.Add(1)
		}
	}
}

// send sends one datagram. The first ones to a host wait, here and not in the caller, for the server's permission.
func (a *allocation) send(b []byte, to netip.AddrPort) error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return net.ErrClosed
	}
	p := a.peer(to)
	if p == nil {
		a.mu.Unlock()
		a.fail(errRelayFull)
		return errRelayFull
	}
	if p.host.permitted {
		a.mu.Unlock()
		_, err := a.conn.WriteTo(b, p.addr)
		return err
	}
	defer a.mu.Unlock()
	h := p.host
	if len(h.waiting) >= maxRelayWaiting || !h.refused.IsZero() && time.Since(h.refused) < relayRefusal {
		a.relay.refused.Add(1)
		return nil // as the network would
	}
	h.waiting = append(h.waiting, relayWaiting{slices.Clone(b), p.addr})
	if !h.asking {
		h.asking = true
		a.tasks.Go(func() { a.permit(h) })
	}
	return nil
}

// peer returns the entry of an address, nil if there is no room for it. Called with a.mu held.
func (a *allocation) peer(to netip.AddrPort) *relayPeer {
	p := a.peers[to]
	if p != nil || len(a.peers) >= maxRelayPeers {
		return p
	}
	h := a.hosts[to.Addr()]
	if h == nil {
		h = &relayHost{}
		a.hosts[to.Addr()] = h
	}
	p = &relayPeer{addr: net.UDPAddrFromAddrPort(to), host: h}
	a.peers[to] = p
	return p
}

// permit sends what waits, the first of which has the client ask for permission.
func (a *allocation) permit(h *relayHost) {
	for {
		a.mu.Lock()
		if len(h.waiting) == 0 {
			h.asking, h.permitted = false, true
			a.mu.Unlock()
			return
		}
		w := h.waiting[0]
		h.waiting = h.waiting[1:]
		a.mu.Unlock()
		if _, err := a.conn.WriteTo(w.b, w.to); err != nil {
			a.mu.Lock()
			h.asking, h.waiting, h.refused = false, nil, time.Now()
			a.mu.Unlock()
			a.relay.log.Debug("relay refused", "server", a.server, "peer", w.to, "err", err)
			return
		}
	}
}

// probe asks the server from time to time whether the allocation is there. The client keeps it alive, but does not say
// when it has failed to.
func (a *allocation) probe() {
	tick := time.NewTicker(relayProbe)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-a.stop:
			return
		}
		if a.asked() != nil { // perhaps only because the nonce was stale
			if err := a.asked(); err != nil {
				a.fail(fmt.Errorf("the turn server no longer knows the allocation: %w", err))
				return
			}
		}
	}
}

// asked asks for a permission, of which the server's own address is in no need. That it is refused is an answer too.
func (a *allocation) asked() error {
	err := a.client.CreatePermission(a.conn.LocalAddr())
	var answer *stun.TurnError
	if errors.As(err, &answer) && answer.ErrorCodeAttr.Code == stun.CodeForbidden {
		return nil
	}
	return err
}

// udpAddrPort returns a UDP address without allocating, and 4-in-6 as IPv4.
func udpAddrPort(addr net.Addr) (netip.AddrPort, bool) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	return unmapped(udp.AddrPort()), true
}
