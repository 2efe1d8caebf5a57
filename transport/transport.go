package transport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gocarrier/carrier/crypto"
)

// Socket is one of the node's UDP sockets, one an address family. Whoever owns
// it gives what arrives to [Transport.HandleSTUN], [Transport.HandleHandshake]
// and [Transport.HandleData] by the first byte.
type Socket interface {
	LocalAddr() netip.AddrPort
	WriteTo(b []byte, to netip.AddrPort) error
	// WriteSegments sends b cut into datagrams of size bytes, the last of which
	// may be shorter. It does not keep b.
	WriteSegments(b []byte, size int, to netip.AddrPort) error
	// WriteWhole sends a datagram that neither the system nor a router may
	// fragment. Any error, such as that it is too large for the first link of the
	// way or that the system cannot do so, means that it has not left.
	WriteWhole(b []byte, to netip.AddrPort) error
}

// Net opens connections to TURN servers and resolves the names of servers.
type Net interface {
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// TURNServer is a relay (RFC 8656) and what it wants to know of its users.
type TURNServer struct {
	Address  string // host:port, over UDP
	Username string
	Password string
}

// Signal carries offers to friends, sealed and signed, by whatever ways there
// are.
type Signal interface {
	// Offer makes this our open offer to the friend, in place of any earlier one,
	// and sends it; nil withdraws it. It is called without locks and must not
	// block.
	Offer(to crypto.ID, offer []byte)
}

// Rows keeps the generations of offers, by friend.
type Rows interface {
	// Generations gives the highest of our own, and of the friend's, that were
	// set; zeros at first.
	Generations(peer crypto.ID) (own, seen uint64)
	// SetGenerations keeps them, and calls then once they are durable, not within
	// the call.
	SetGenerations(peer crypto.ID, own, seen uint64, then func())
}

// Handler is told of links and of what comes by them. The calls for one link
// come one after the other, on its goroutine and without locks; they must not
// block. LinkUp comes first, LinkDown last.
type Handler interface {
	// LinkUp: the link is confirmed by both ends and carries data.
	LinkUp(l *Link)
	// LinkChanged: its path has changed, or whether it is suspect.
	LinkChanged(l *Link)
	// LinkDown: it has ended. The transport makes another if one is wanted.
	LinkDown(l *Link, err error)
	// Control is a message of the peer's SendControl; body is the handler's.
	Control(l *Link, kind uint8, body []byte)
	// Lane was opened by the peer.
	Lane(l *Link, lane *Lane)
	// Datagram has come; b is the handler's.
	Datagram(l *Link, session, flow uint64, b []byte)
}

// Config is what a Transport needs. Logger, STUN, TURN and Window may be zero.
type Config struct {
	Identity    *crypto.Identity
	Incarnation crypto.Incarnation // ours, under which offers are signed
	Start       uint64             // nonce of this run
	Sockets     []Socket           // at most one an address family
	Net         Net
	// Addresses are where our sockets can be reached: on this machine's
	// networks, and as others on the internet see them. Like Rows.Generations it
	// must not wait for a call of Connect, Offer or AddressesChanged.
	Addresses func() (local, reflexive []netip.AddrPort)
	STUN      []string     // host:port of servers asked for our address; usually the DHT says it
	TURN      []TURNServer // relays for pairs that find no other path
	Signal    Signal
	Rows      Rows
	Handler   Handler
	Logger    *slog.Logger // nil discards
	// LaneWindow and LinkWindow bound what is buffered for reading, in bytes, of
	// one lane and of all lanes of a link; 0: 16 and 32 MiB.
	LaneWindow, LinkWindow int
	// InsecureKeyLog, unless nil, is told the secrets of every link that is made: the
	// DTLS handshake's in the NSS key log format, which Wireshark reads, and what it
	// exports for the link as "CARRIER_LINK", the link's ID and the secret, all in
	// hexadecimal. Whoever has them reads the link. It is for the analysis of
	// recordings, and used by several goroutines at once.
	InsecureKeyLog io.Writer
}

// Transport makes and keeps the links of one node. All methods are safe for
// concurrent use; none blocks but Close and Drain.
type Transport struct {
	config  Config
	self    crypto.ID
	log     *slog.Logger
	mux     *mux
	direct  *direct
	buffers sync.Pool
	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // attempts, and questions to STUN servers

	reflector *reflector

	readdressing sync.Mutex // one readdress after the other; before mu

	mu     sync.Mutex // before Link.mu
	relays []*relay
	peers  map[crypto.ID]*peer
	live   map[*Link]struct{} // that have not stopped, those of peers forgotten included
	closed bool

	unknown atomic.Uint64 // data packets of no link

	idsMu  sync.RWMutex // a leaf
	ids    map[connID]linkID
	counts map[string]uint64 // of links that have ended, and of the transport itself
}

// linkID is what a connection ID stands for.
type linkID struct {
	link  *Link
	index uint32
}

// New makes a Transport that has no links. It starts to ask for relays and STUN
// servers, if there are any.
func New(c Config) (*Transport, error) {
	switch {
	case c.Identity == nil || c.Incarnation.IsZero():
		return nil, errors.New("transport needs an identity and an incarnation")
	case len(c.Sockets) == 0 || c.Net == nil || c.Addresses == nil || c.Signal == nil || c.Rows == nil || c.Handler == nil:
		return nil, errors.New("transport needs sockets, net, addresses, signal, rows and handler")
	}
	t := &Transport{
		config: c, self: c.Identity.ID(), log: c.Logger,
		direct: &direct{sockets: c.Sockets},
		peers:  map[crypto.ID]*peer{}, live: map[*Link]struct{}{}, counts: map[string]uint64{}, ids: map[connID]linkID{},
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.buffers.New = func() any { b := make([]byte, roundSize); return &b }
	t.ctx, t.cancel = context.WithCancel(context.Background())
	var bases []netip.AddrPort
	for _, s := range c.Sockets {
		bases = append(bases, s.LocalAddr())
	}
	t.mux = newMux(muxConfig{send: t.direct.send, bases: bases})
	t.mu.Lock() // what is started here may come back at once
	defer t.mu.Unlock()
	for _, server := range c.TURN {
		t.relays = append(t.relays, newRelay(relayConfig{
			server: server, net: c.Net, mux: t.mux, log: t.log, onData: t.data, changed: t.readdress,
		}))
	}
	t.reflector = newReflector(t)
	return t, nil
}

// HandleSTUN takes a STUN datagram from a socket's reader. It does not keep b.
func (t *Transport) HandleSTUN(b []byte, from netip.AddrPort) { t.mux.handleSTUN(b, from) }

// HandleHandshake takes a handshake datagram from a socket's reader. It does
// not keep b.
func (t *Transport) HandleHandshake(b []byte, from netip.AddrPort) { t.mux.handleHandshake(b, from) }

// HandleData takes a data packet from a socket's reader. b is overwritten.
func (t *Transport) HandleData(b []byte, from netip.AddrPort) { t.data(b, t.direct, from) }

// data gives a data packet to the link whose connection ID it bears.
func (t *Transport) data(b []byte, c conduit, from netip.AddrPort) {
	id, ok := dataConnID(b)
	if ok {
		t.idsMu.RLock()
		to, known := t.ids[id]
		t.idsMu.RUnlock()
		if known {
			to.link.receive(b, c, unmapped(from), to.index)
			return
		}
	}
	t.unknown.Add(1) // no lock, as anybody can send any number of these
}

// register notes connection IDs of a link, those of n indexes from first.
func (t *Transport) register(l *Link, first, n uint32) {
	ids := l.keys.inIDs(first, n)
	t.idsMu.Lock()
	defer t.idsMu.Unlock()
	for i, id := range ids {
		t.ids[id] = linkID{l, first + uint32(i)}
	}
}

// unregister forgets the first n connection IDs of a link.
func (t *Transport) unregister(l *Link, n uint32) {
	ids := l.keys.inIDs(0, n)
	t.idsMu.Lock()
	defer t.idsMu.Unlock()
	for _, id := range ids {
		delete(t.ids, id)
	}
}

// Stats returns every counter by name. The map is the caller's.
func (t *Transport) Stats() map[string]uint64 {
	all := t.mux.counters()
	if n := t.unknown.Load(); n > 0 {
		all["data.unknown"] = n
	}
	t.idsMu.RLock()
	for name, n := range t.counts {
		all[name] += n
	}
	t.idsMu.RUnlock()
	t.mu.Lock()
	links, relays := slices.Collect(maps.Keys(t.live)), t.relays
	t.mu.Unlock()
	for _, l := range links {
		l.addStats(all)
	}
	for _, r := range relays {
		r.addStats(all)
	}
	return all
}

func (t *Transport) count(name string) {
	t.idsMu.Lock()
	defer t.idsMu.Unlock()
	t.counts[name]++
}

// Close ends all links, telling their peers, and returns when every goroutine
// has gone. It may be called again.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	for _, p := range t.peers {
		p.close()
	}
	links, relays := slices.Collect(maps.Keys(t.live)), t.relays
	t.mu.Unlock()
	t.cancel()
	for _, l := range links {
		l.Close(CodeShutdown, "the node stops")
		l.hurry()
	}
	for _, l := range links {
		<-l.stopped
	}
	t.tasks.Wait()
	for _, r := range relays {
		r.close()
	}
	return t.mux.Close()
}
